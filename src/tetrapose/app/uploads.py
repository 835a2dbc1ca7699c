"""A file that somebody hands to the page: bounded, decoded once, kept below the studio's folder.

Nothing of what it is called reaches the disk: a picture's folder is named after its content.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import secrets
import shutil
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tetrapose import geometry, images
from tetrapose.app.poses import LARGEST_SIDE, text
from tetrapose.errors import UserError
from tetrapose.weights.files import replace_file

FORMATS = {
    "JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "BMP": ".bmp", "GIF": ".gif", "TIFF": ".tif"
}  # fmt: skip
ID = re.compile(r"[0-9a-f]{20}")
SHOWN = 2048  # longer side of what the page shows
ABOUT = "about.json"


@dataclass(frozen=True)
class Limits:
    """What an upload may be: bytes of the file, pixels of the picture, seconds until it is here.

    ``seconds`` bounds sending, and looking at the picture anew; ``kept`` how many pictures the
    folder holds before the oldest go (saved labels have copies of their own).
    """

    megabytes: float = 25.0
    megapixels: float = 50.0
    seconds: float = 30.0
    kept: int = 200

    @property
    def bytes(self) -> int:
        """Of a file."""
        return int(self.megabytes * 1e6)


@dataclass(frozen=True)
class Picture:
    """A picture the studio holds. ``file`` is its name in its own folder, "" for an empty canvas.

    ``size`` (width, height) as shown, of the full picture.
    """

    id: str
    name: str
    size: tuple[int, int]
    file: str


class Shelf:
    """The pictures below one folder, each in a folder of its own."""

    def __init__(self, root: Path, limits: Limits) -> None:
        self.root = root
        self.limits = limits
        self._lock = threading.Lock()

    def folder(self, id: str) -> Path:
        """Where a picture lies; UserError for what is no id of one."""
        if not isinstance(id, str) or not ID.fullmatch(id):
            raise UserError("no such picture; drop it anew")
        return self.root / id

    def get(self, id: str) -> Picture:
        """A picture by its id; UserError where it is not, or no longer, here."""
        about = self.folder(id) / ABOUT
        try:
            content = json.loads(about.read_text(encoding="utf-8"))
            return Picture(id, content["name"], tuple(content["size"]), content["file"])
        except (OSError, ValueError, KeyError, TypeError):
            raise UserError("this picture is no longer kept; drop it anew") from None

    def pixels(self, picture: Picture) -> np.ndarray:
        """(H, W, 3) uint8 RGB of the full picture."""
        if not picture.file:
            return np.full((picture.size[1], picture.size[0], 3), 255, dtype=np.uint8)
        return images.read_image(self.folder(picture.id) / picture.file)[0]

    def add(self, data: bytes, name: str) -> Picture:
        """Keep an uploaded file; UserError, in one line, where it is none that can be used."""
        name = text(name, "picture")
        suffix = check(data, name, self.limits)
        id = hashlib.sha256(data).hexdigest()[:20]
        folder = self.folder(id)
        with told(), self._lock:
            if (folder / ABOUT).exists():
                return self._again(id, name)
            self._prune()
            draft = self.root / f".{secrets.token_hex(8)}.part"
            draft.mkdir(parents=True)
            try:
                file = draft / f"original{suffix}"
                file.write_bytes(data)
                pixels, size = _decoded(file, name)
                (draft / "shown.jpg").write_bytes(_shown(pixels))
                _write_about(draft, Picture(id, name, size, file.name))
                shutil.rmtree(folder, ignore_errors=True)  # what a killed run may have left
                draft.rename(folder)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
        return Picture(id, name, size, f"original{suffix}")

    def canvas(self, width: int, height: int) -> Picture:
        """An empty ground to pose on."""
        picture = Picture(secrets.token_hex(10), f"canvas {width} x {height}", (width, height), "")
        with told(), self._lock:
            self._prune()
            folder = self.folder(picture.id)
            folder.mkdir(parents=True)
            _write_about(folder, picture)
        return picture

    def keep_pose(self, picture: Picture, content: dict[str, Any]) -> None:
        """Keep how a picture's animals stand, for the next time the page is opened."""
        data = json.dumps(content, allow_nan=False).encode()
        with told():
            replace_file(self.folder(picture.id) / "pose.json", data)

    def pose(self, picture: Picture) -> dict[str, Any] | None:
        """What ``keep_pose`` kept last, None before."""
        try:
            return json.loads((self.folder(picture.id) / "pose.json").read_bytes())
        except (OSError, ValueError):
            return None

    def _again(self, id: str, name: str) -> Picture:
        """A picture that is here already, under the name it has now, as the newest."""
        there = self.get(id)
        picture = Picture(id, name, there.size, there.file)
        _write_about(self.folder(id), picture)
        return picture

    def _prune(self) -> None:
        """Drop the oldest pictures beyond the bound."""
        there = [one for one in self.root.glob("*/" + ABOUT) if ID.fullmatch(one.parent.name)]
        there.sort(key=lambda about: about.stat().st_mtime)
        for about in there[: max(0, len(there) + 1 - self.limits.kept)]:
            shutil.rmtree(about.parent, ignore_errors=True)


def check(data: bytes, name: str, limits: Limits) -> str:
    """The suffix of an acceptable picture file, by its content alone; UserError for others."""
    if not data:
        raise UserError(f"{name}: the file is empty")
    if len(data) > limits.bytes:
        raise UserError(f"{name}: {len(data) / 1e6:.1f} MB; at most {limits.megabytes:g} are taken")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of size: that is judged here
            with Image.open(io.BytesIO(data), formats=tuple(FORMATS)) as image:
                kind, (width, height) = image.format, image.size
    except Image.DecompressionBombError:
        raise UserError(_too_large(name, limits)) from None
    except Exception:  # noqa: BLE001 foreign bytes make decoders raise anything
        raise UserError(
            f"{name}: not a picture that can be read (JPEG, PNG, WebP, BMP, GIF or TIFF is)"
        ) from None
    if width * height > limits.megapixels * 1e6 or max(width, height) > LARGEST_SIDE:
        raise UserError(_too_large(name, limits))
    return FORMATS[str(kind)]


def _too_large(name: str, limits: Limits) -> str:
    return f"{name}: more than {limits.megapixels:g} megapixels or {LARGEST_SIDE} a side; shrink it"


def _decoded(file: Path, name: str) -> tuple[np.ndarray, tuple[int, int]]:
    try:
        return images.read_image(file)
    except UserError as error:
        raise UserError(str(error).replace(str(file), name)) from None  # no path of ours


def _shown(pixels: np.ndarray) -> bytes:
    """The picture as the page shows it: upright, plain colours, without what cameras add to it."""
    scale = SHOWN / max(pixels.shape[:2])
    if scale < 1:
        width, height = (max(1, round(v * scale)) for v in pixels.shape[1::-1])
        matrix = geometry.resize_matrix((pixels.shape[1], pixels.shape[0]), (width, height))
        pixels = images.warp(pixels, matrix, (width, height))
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=90)
    return out.getvalue()


def _write_about(folder: Path, picture: Picture) -> None:
    replace_file(folder / ABOUT, json.dumps(asdict(picture)).encode())


@contextmanager
def told() -> Iterator[None]:
    """Whatever the disk says becomes one line, which names no path."""
    try:
        yield
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise UserError(f"the studio's folder cannot be written ({why})") from None
