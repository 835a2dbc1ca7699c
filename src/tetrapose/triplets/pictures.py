"""The bytes of items, wherever they lie, and what a picture must be to be used."""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from tetrapose import images
from tetrapose.audit import hashes
from tetrapose.audit.pictures import LEAST
from tetrapose.errors import UserError
from tetrapose.triplets import tars
from tetrapose.triplets.library import Library, read_json
from tetrapose.triplets.rows import Item
from tetrapose.triplets.settings import Settings

DETAIL = 1024  # px that the shorter side keeps when a JPEG is decoded at less than full size


@dataclass(frozen=True)
class Scanned:
    """What a picture is, from its bytes; ``reason`` is one of ``rows.REASONS`` where it is unfit.

    ``small`` (32, 32) uint8 grey shows it whole.
    """

    reason: str = ""
    sha256: str = ""
    size: tuple[int, int] = (0, 0)
    phash: int = 0
    mirrored: int = 0
    small: np.ndarray | None = None


def scan(name: str, data: bytes, settings: Settings) -> Scanned:
    """Check and hash a picture file; its size is looked at before anything is decoded."""
    digest = hashlib.sha256(data).hexdigest()
    size = (0, 0)
    try:
        if not data:
            raise images.ImageError(f"{name}: the file is empty")
        size = images.plain_jpeg(data) or _announced(data)
        if size[0] * size[1] > settings.most_pixels:
            return Scanned("too_large", digest, size)
        if 0 < min(size) < settings.least_side:
            return Scanned("too_small", digest, size)
        pixels, size = images.read_image(name, least=LEAST, data=data)
    except images.ImageError as error:
        return Scanned(reason_of(name, error), digest, size)
    return Scanned("", digest, size, *looked(pixels))


def looked(pixels: np.ndarray) -> tuple[int, int, np.ndarray]:
    """Hash, mirrored hash and small grey picture (32, 32) of a picture's pixels (H, W, 3)."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (hashes.SIDE, hashes.SIDE), interpolation=cv2.INTER_AREA)
    # hashing makes this very picture of what it is given: it is made once
    return *hashes.picture_hash(cv2.cvtColor(small, cv2.COLOR_GRAY2RGB)), small


def _announced(data: bytes) -> tuple[int, int]:
    """The size in a picture file's header, nothing decoded; (0, 0) where decoding will tell why."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data)) as image:
                return image.size
    except Exception:  # noqa: BLE001 foreign bytes make decoders raise anything
        return (0, 0)


def reason_of(name: str, error: UserError) -> str:
    """The reason for which a picture could not be read, the words of the error after it."""
    told = str(error).removeprefix(f"{name}: ")
    return "too_large" if "larger than the bound" in told else f"unreadable:{told}"


def decode(name: str, data: bytes, settings: Settings) -> tuple[np.ndarray, tuple[int, int]]:
    """Pixels (H, W, 3) uint8 RGB, perhaps of a JPEG at reduced size, and the full (width, height).

    Raises ImageError.
    """
    return images.read_image(name, least=max(settings.size, DETAIL), data=data)


def bytes_of(
    library: Library, part: int, items: Sequence[Item], *, only: Set[int] | None = None
) -> Iterator[tuple[int, bytes | str]]:
    """Place and bytes of each item of a part, or the reason for which there are none, in order.

    ``only`` names the places that are asked for.
    """
    tables = _Tables()
    fetched = _Fetched(library, part)
    for place, item in enumerate(items):
        if only is None or place in only:
            yield place, _bytes(item, place, tables, fetched)


def _bytes(item: Item, place: int, tables: _Tables, fetched: _Fetched) -> bytes | str:
    if item.url:
        return fetched.get(place)
    if not item.path:
        return "no_address"
    try:
        if item.row >= 0:
            return tables.get(Path(item.path), item.column, item.row)
        return images.read_bytes(item.path)
    except UserError as error:
        return reason_of(item.path, error)


class _Tables:
    """Rows of tables, asked for in rising order, read a batch at a time."""

    def __init__(self) -> None:
        self._of: tuple[Path, str] | None = None
        self._start = 0
        self._values: list[Any] = []
        self._batches: Iterator[list[Any]] = iter(())

    def get(self, path: Path, column: str, row: int) -> bytes:
        """The picture in a row: bytes, or a Hugging Face image with bytes or a path beside."""
        if self._of != (path, column) or row < self._start:
            self._of, self._values = (path, column), []
            self._start, self._batches = tars.from_row(path, column, row)
        while row >= self._start + len(self._values):
            self._start += len(self._values)
            batch = next(self._batches, None)
            if batch is None:
                raise UserError(f"{path}: ends before row {row}; it was another file when listed")
            self._values = batch
        value = self._values[row - self._start]
        if isinstance(value, dict):
            beside = value.get("path")
            value = value.get("bytes")
            if value is None and beside:
                return images.read_bytes(path.parent / beside)
        if not isinstance(value, bytes):
            raise UserError(f"{path}: row {row} holds no picture in {column}; name the column")
        return value


class _Fetched:
    """What a part's addresses answered."""

    def __init__(self, library: Library, part: int) -> None:
        self._pack = library.fetched(part)
        self._index: dict[str, Any] = {}

    def get(self, place: int) -> bytes | str:
        """The bytes that came, or the reason for which none did."""
        if not self._index:
            self._index = read_json(self._pack.with_suffix(".json"))
        entry = self._index[str(place)]
        if isinstance(entry, str):
            return entry
        start, length = entry
        with open(self._pack, "rb") as file:
            return os.pread(file.fileno(), length, start)


def chunks(values: Iterator[Any], size: int) -> Iterator[list[Any]]:
    """Lists of ``size`` values each, the last one shorter."""
    while some := list(islice(values, size)):
        yield some
