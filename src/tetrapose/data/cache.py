"""Pictures of a set kept decoded, as large as their crops need: built once, never stale.

Whole pictures are kept, so that any shift, turn or scale is served; they are reduced to the share
of their resolution that the closest crop shows, and never enlarged. A cache is used when it holds
all pictures of the set at that share or more, each file is what it was when it was packed, and
every byte passes its checksum; else it is built anew, and a line says why.

A file counts as what it was when its length, both times and inode are; where they are not (a copy
on another disk), the digest of its content decides.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tetrapose import images
from tetrapose.data import packs
from tetrapose.data.packs import RAW, Index, Picture, Unfit
from tetrapose.structures import PoseSet

AT_ONCE = 64  # pictures decoded before they are written: bounds the memory
ROUNDING = 1e-9

Tell = Callable[[str], None]


class Cached:
    """Pictures out of a cache; see ``data.crops.Pictures``. Memory is shared by all workers."""

    def __init__(self, folder: Path, index: Index, rows: np.ndarray) -> None:
        """``rows`` (M,) the place in the index of each picture of the set, -1 for none."""
        self.folder, self.name, self.length = folder, index.data, index.length
        self.starts, self.sizes, self.fulls = (
            column[rows] for column in (index.starts, index.sizes, index.fulls)
        )
        self.starts = np.where(rows < 0, -1, self.starts)
        broken = [row for row, file in enumerate(index.files) if file in index.faults]
        self.faulty = np.isin(rows, broken)
        self.data = packs.mapped(folder, index)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "data"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        # the data's name holds their digest: under it lie these or none
        path = self.folder / self.name
        self.data = packs.mapped_file(path, self.length)

    def read(self, image: int, scale: float) -> tuple[np.ndarray, tuple[int, int]]:
        """The picture as it was kept, whatever ``scale``. Raises ImageError."""
        start = int(self.starts[image])
        if start < 0 or self.faulty[image]:
            raise images.ImageError(f"picture {image} could not be decoded when it was packed")
        width, height = self.sizes[image].tolist()
        pixels = self.data[start : start + 3 * width * height].reshape(height, width, 3)
        full = self.fulls[image].tolist()
        return pixels, (full[0], full[1])


def cached(
    pose_set: PoseSet,
    scales: np.ndarray,
    folder: str | Path,
    name: str,
    *,
    tell: Tell = lambda _: None,
    threads: int = 0,
) -> Cached:
    """The cache ``name`` in ``folder`` for the pictures with ``scales`` (M,) over 0.

    ``scales`` are shares of the resolution, 1 for whole; built with ``threads`` (0: as many as
    there are processors) where there is none that holds. Pictures that cannot be decoded are noted
    in it and raise ImageError when read. Raises UserError when the folder cannot be written or is
    full.
    """
    folder = Path(folder)
    with packs.locked(folder, name):
        try:
            index = packs.read(folder, name)
            rows = _fitting(index, pose_set, scales)
            packs.check_data(packs.mapped(folder, index), index)
        except Unfit as why:
            began = time.monotonic()
            wanted = int((scales > 0).sum())
            tell(f"cache {folder / name}: {why}; packing {wanted:,} pictures")
            made = _pictures(pose_set, scales, threads or os.cpu_count() or 1)
            index = packs.write(folder, name, made, encoding=RAW)
            rows = _places(index, pose_set, scales)
            took = time.monotonic() - began
            tell(f"cache {folder / name}: {index.length / 2**20:,.0f} MiB in {took:.0f} s")
        return Cached(folder, index, rows)


def _places(index: Index, pose_set: PoseSet, scales: np.ndarray) -> np.ndarray:
    """(M,) where in the index each wanted picture stands, -1 for those not wanted."""
    known = {file: row for row, file in enumerate(index.files)}
    places = [
        known.get(file, -2) if scale > 0 else -1
        for file, scale in zip(pose_set.files, scales, strict=True)
    ]
    return np.array(places, dtype=np.int64)


def _fitting(index: Index, pose_set: PoseSet, scales: np.ndarray) -> np.ndarray:
    """``_places`` of an index that serves this set. Raises Unfit."""
    if index.encoding != RAW:
        raise Unfit(f"it holds {index.encoding}, not pixels")
    rows = _places(index, pose_set, scales)
    absent = np.flatnonzero(rows == -2)
    if len(absent):
        first = pose_set.files[absent[0]]
        raise Unfit(f"it lacks {len(absent):,} of the pictures, such as {first}")
    wanted = np.flatnonzero(rows >= 0)
    small = wanted[index.scales[rows[wanted]] < np.minimum(scales[wanted], 1) - ROUNDING]
    if len(small):
        raise Unfit(f"{len(small):,} pictures are wanted larger than it has them")
    for image in wanted.tolist():
        path, row = pose_set.path(image), rows[image]
        if packs.stamp(path) != tuple(index.stamps[row].tolist()):
            now = packs.content(path)
            if now != index.contents[row] or not now:
                raise Unfit(f"{pose_set.files[image]} has changed since")
    return rows


def _pictures(pose_set: PoseSet, scales: np.ndarray, threads: int) -> Iterator[Picture]:
    """The wanted pictures in their order, decoded by several threads, few at once in memory."""
    wanted = np.flatnonzero(scales > 0).tolist()

    def one(image: int) -> Picture:
        return _picture(pose_set, image, min(float(scales[image]), 1.0))

    with ThreadPoolExecutor(threads) as pool:
        for first in range(0, len(wanted), AT_ONCE):
            yield from pool.map(one, wanted[first : first + AT_ONCE])


def _picture(pose_set: PoseSet, image: int, scale: float) -> Picture:
    path, file = pose_set.path(image), pose_set.files[image]
    # before the pixels: what changes from here on is seen the next time
    stamp, content = packs.stamp(path), packs.content(path)
    try:
        pixels, full = shrunk(path, scale)
    except images.ImageError as error:
        return Picture(file, b"", (0, 0), (0, 0), scale, stamp, content, str(error))
    size = (pixels.shape[1], pixels.shape[0])
    return Picture(file, pixels.tobytes(), size, full, scale, stamp, content)


def shrunk(path: str | Path, scale: float) -> tuple[np.ndarray, tuple[int, int]]:
    """A picture at ``scale`` (0..1) of its resolution, and the full size that it stands for.

    Sides are rounded up. Raises ImageError.
    """
    pixels, full = images.read_image(path, scale=scale)
    size = tuple(int(np.ceil(side * scale - ROUNDING)) for side in full)
    if size[0] < pixels.shape[1] or size[1] < pixels.shape[0]:
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return pixels, full
