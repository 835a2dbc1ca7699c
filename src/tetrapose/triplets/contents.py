"""Whether the bytes of an answer are a whole picture within bounds, by decoding them."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

ENDS_EARLY = ("truncated", "not enough", "unexpected end", "premature", "broken data stream")


@dataclass(frozen=True)
class Bounds:
    """``most_bytes`` of a file, ``least_side`` px of its shorter side, ``most_pixels`` in all."""

    most_bytes: int = 30_000_000
    least_side: int = 64
    most_pixels: int = 100_000_000


def check(data: bytes, bounds: Bounds) -> str:
    """The reason (``rows.REASONS``) for which bytes are no usable picture, or "".

    The size is read from the header before anything is decoded; then the whole picture is, so that
    one which ends early is found whatever the answer's headers said.
    """
    if not data:
        return "truncated:0 bytes"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data)) as image:
                width, height = image.size
                if _outside(image.size, bounds):
                    return _outside(image.size, bounds)
                # at an eighth where JPEG allows it: the whole stream is read all the same
                image.draft(None, (max(width // 8, 1), max(height // 8, 1)))
                image.load()
    except UnidentifiedImageError:
        return f"wrong_type:{_looks_like(data)}"
    except Image.DecompressionBombError:
        return "too_large:a picture bomb"
    except Exception as error:  # noqa: BLE001 foreign bytes make decoders raise anything
        told = " ".join(str(error).split())[:60] or type(error).__name__
        early = isinstance(error, EOFError) or any(word in told.lower() for word in ENDS_EARLY)
        return f"truncated:{len(data)} bytes" if early else f"unreadable:{told}"
    return ""


def _outside(size: tuple[int, int], bounds: Bounds) -> str:
    if size[0] * size[1] > bounds.most_pixels:
        return f"too_large:{size[0]}x{size[1]}"
    return f"too_small:{size[0]}x{size[1]}" if min(size) < bounds.least_side else ""


def _looks_like(data: bytes) -> str:
    start = data[:256].lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<head")):
        return "a web page"
    if start.startswith((b"<svg", b"<?xml")):
        return "a drawing or XML"
    if start.startswith((b"{", b"[")):
        return "JSON"
    return "no picture"
