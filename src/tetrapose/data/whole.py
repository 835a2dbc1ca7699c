"""Whole pictures with the boxes in them, for what has to find animals.

Pictures are laid on a canvas by the same affine matrix as crops are; boxes go the same way. As with
crops, all randomness is a function of (seed, epoch, row).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from tetrapose import geometry, images
from tetrapose.data.groups import group_numbers
from tetrapose.structures import PoseSet

GREY = 114  # of the canvas where it shows no picture
SEEN = 0.3  # an animal of which less than this is on the canvas is neither wanted nor held against
TINY = 4.0  # pixels of the canvas; so is one whose longer side is shorter


class PictureBatch(TypedDict):
    """What a finder's step gets; M and R are those of the sample that has most."""

    image: Tensor  # (B, 3, H, W) uint8 RGB
    boxes: Tensor  # (B, M, 4) float32 canvas pixels, NaN rows where there are fewer
    groups: Tensor  # (B, M) int64, -1 unknown
    regions: Tensor  # (B, R, 5) x1 y1 x2 y2 and what cells without a box in it count
    index: Tensor  # (B,) row of the set
    readable: Tensor  # (B,) bool


@dataclass(frozen=True)
class PictureSet:
    """M pictures and their N boxes in columns, from one or several labelled sets.

    paths (M,); sizes (M, 2) width, height, 0 for unknown; starts (M + 1,) rows of a picture are
    starts[i]:starts[i + 1]; bboxes (N, 4) picture pixels; groups (N,) into ``group_names`` or -1;
    crowd (N,) regions of uncounted animals; background (M,) how much a place without a box counts,
    less where animals may be unlabelled; draws (M,) mean sights of a picture in an epoch.
    """

    paths: tuple[Path, ...]
    sizes: np.ndarray
    starts: np.ndarray
    bboxes: np.ndarray
    groups: np.ndarray
    crowd: np.ndarray
    background: np.ndarray
    draws: np.ndarray
    group_names: tuple[str, ...]

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.paths)


def picture_set(
    pose_set: PoseSet,
    group_names: Sequence[str],
    *,
    share: float = 1.0,
    herd: int = 0,
    group: str | None = None,
) -> PictureSet:
    """A labelled set by its pictures; boxes without an area are left out.

    ``share`` is how often a picture is seen in an epoch. Where not every animal is labelled it is
    those in herds that are left out: with ``herd`` pictures of that many animals or more have a
    background that counts half. ``group`` is that of all animals, where species say it by breed.
    """
    keep = np.isfinite(pose_set.bboxes).all(axis=1) & (geometry.box_area(pose_set.bboxes) > 0)
    rows = np.flatnonzero(keep)
    rows = rows[np.argsort(pose_set.image_index[rows], kind="stable")]
    counts = np.bincount(pose_set.image_index[rows], minlength=len(pose_set.files))
    numbers = group_numbers(pose_set.species, pose_set.species_names, group_names)
    if group is not None:
        numbers = np.full(len(pose_set), list(group_names).index(group), dtype=np.int64)
    crowded = (counts >= herd) if herd else np.zeros(len(counts), dtype=bool)
    return PictureSet(
        paths=tuple(pose_set.path(i) for i in range(len(pose_set.files))),
        sizes=np.asarray(pose_set.sizes, dtype=np.int64),
        starts=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        bboxes=pose_set.bboxes[rows].astype(np.float64),
        groups=numbers[rows],
        crowd=np.asarray(pose_set.crowd, dtype=bool)[rows],
        background=np.where(crowded, 0.5, 1.0),
        draws=np.full(len(pose_set.files), float(share)),
        group_names=tuple(group_names),
    )


def without_animals(
    paths: Sequence[Path], group_names: Sequence[str], *, share: float = 1.0
) -> PictureSet:
    """Pictures that show no animal."""
    count = len(paths)
    return PictureSet(
        paths=tuple(paths),
        sizes=np.zeros((count, 2), dtype=np.int64),
        starts=np.zeros(count + 1, dtype=np.int64),
        bboxes=np.zeros((0, 4)),
        groups=np.zeros(0, dtype=np.int64),
        crowd=np.zeros(0, dtype=bool),
        background=np.ones(count),
        draws=np.full(count, float(share)),
        group_names=tuple(group_names),
    )


def joined(sets: Sequence[PictureSet]) -> PictureSet:
    """Several sets as one, in their order; their groups must be the same."""
    if not sets or any(one.group_names != sets[0].group_names for one in sets):
        raise ValueError("one set or more with the same groups are due")
    past = np.cumsum([0, *(len(one.bboxes) for one in sets)])
    ends = [one.starts[1:] + first for one, first in zip(sets, past, strict=False)]

    def column(name: str) -> np.ndarray:
        return np.concatenate([getattr(one, name) for one in sets])

    return PictureSet(
        paths=tuple(path for one in sets for path in one.paths),
        starts=np.concatenate([[0], *ends]).astype(np.int64),
        group_names=sets[0].group_names,
        **{n: column(n) for n in ("sizes", "bboxes", "groups", "crowd", "background", "draws")},
    )


@dataclass(frozen=True)
class Look:
    """How pictures are laid on the canvas in training; the defaults of all but ``side`` change it.

    ``side`` of the square canvas in pixels, or pairs (first epoch, side): small at first costs
    less. ``zoom``: the picture is shown that much larger than it fits, drawn between the logs;
    ``stretch`` of one axis against the other, to either side; ``mirror`` chance; ``mosaic`` chance
    of four pictures on one canvas; ``empty`` chance of a part of the picture without any box.
    """

    side: int | tuple[tuple[int, int], ...] = 320
    zoom: tuple[float, float] = (0.6, 2.0)
    stretch: float = 0.12
    mirror: float = 0.5
    mosaic: float = 0.3
    empty: float = 0.06

    def __post_init__(self) -> None:
        if not isinstance(self.side, int):
            steps = tuple(sorted((int(epoch), int(side)) for epoch, side in self.side))
            object.__setattr__(self, "side", steps)
        sides = [self.side] if isinstance(self.side, int) else [side for _, side in self.side]
        if not sides or any(side < 32 or side % 32 for side in sides):
            raise ValueError(f"side {self.side!r}: multiples of 32 are due")
        if not isinstance(self.side, int) and self.side[0][0] != 0:
            raise ValueError(f"side {self.side!r}: the first pair is that of epoch 0")

    def side_at(self, epoch: int) -> int:
        """The side in an epoch."""
        if isinstance(self.side, int):
            return self.side
        return next(side for first, side in reversed(self.side) if first <= epoch)


class WholeDataset(Dataset):
    """Canvases of a PictureSet, addressed by (epoch, row); ``look`` None: as they are, ``side``."""

    def __init__(
        self, data: PictureSet, *, look: Look | None = None, side: int = 320, seed: int = 0
    ) -> None:
        self.data, self.look, self.side, self.seed = data, look, side, seed
        self.odds = np.cumsum(data.draws) / max(float(data.draws.sum()), 1e-12)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, np.ndarray | int | bool]:
        """The sample of ``key`` = (epoch, row)."""
        epoch, row = key
        look = self.look
        if look is None:
            view = self._view(row, (self.side, self.side), None)
            return _sample([((0, 0), view)], self.side, row)
        rng = np.random.default_rng((self.seed, epoch, row))
        side = look.side_at(epoch)
        if rng.random() >= look.mosaic:
            view = self._view(row, (side, side), self._region(row, (side, side), rng))
            return _sample([((0, 0), view)], side, row)
        x, y = (int(v) for v in np.round(rng.uniform(0.35, 0.65, 2) * side))
        others = np.searchsorted(self.odds, rng.random(3), side="right")
        rows = [row, *(min(int(other), len(self.data) - 1) for other in others)]
        corners = [(0, 0, x, y), (x, 0, side, y), (0, y, x, side), (x, y, side, side)]
        parts = []
        for one, at in zip(rows, rng.permutation(4), strict=True):
            left, top, right, bottom = corners[at]
            size = (right - left, bottom - top)
            parts.append(((left, top), self._view(one, size, self._region(one, size, rng))))
        return _sample(parts, side, row)

    def _size(self, row: int) -> tuple[int, int]:
        """Width and height of a picture, 0 and 0 where it cannot be read."""
        width, height = (int(v) for v in self.data.sizes[row])
        if width and height:
            return width, height
        try:
            return images.read_size(self.data.paths[row])
        except images.ImageError:
            return 0, 0

    def _region(self, row: int, size: tuple[int, int], rng: np.random.Generator) -> Region | None:
        """A random part of the picture for a viewport of ``size``."""
        assert self.look is not None
        look, picture = self.look, np.array(self._size(row), dtype=np.float64)
        # every draw is made whatever the others say, so that one change moves no other
        empty, whole, mirror = rng.random() < look.empty, rng.random(), rng.random() < look.mirror
        zoom = np.exp(rng.uniform(*np.log(look.zoom)))
        stretch = np.exp(rng.uniform(-look.stretch, look.stretch))
        if picture.min() <= 0:
            return None
        shown = fitting(picture, size) / zoom * [stretch, 1 / stretch]
        boxes = self._boxes(row)
        if empty:
            free = _free_window(picture, boxes, np.array(size), rng)
            if free is not None:
                return Region(*free, mirror)
        middle = (picture - 1) / 2
        slack = np.abs(picture - shown) / 2
        center = middle + rng.uniform(-1, 1, 2) * slack
        if zoom > 1 and len(boxes) and whole < 0.8:  # an animal is to be seen, whole or in part
            box = boxes[rng.integers(len(boxes))]
            wanted = rng.uniform(box[:2], box[2:])
            center = np.clip(center, wanted - shown / 2, wanted + shown / 2)
        return Region(center, shown, mirror)

    def _boxes(self, row: int) -> np.ndarray:
        return self.data.bboxes[self.data.starts[row] : self.data.starts[row + 1]]

    def _view(self, row: int, size: tuple[int, int], region: Region | None) -> View:
        """A picture's part on a viewport of ``size``; all of it where no region is given."""
        data = self.data
        known = self._size(row)
        if min(known) <= 0:
            return _blank(size)
        if region is None:
            region = Region((np.array(known) - 1) / 2, fitting(np.array(known), size), False)
        matrix = geometry.crop_matrix(region.center, region.size, size, mirror=region.mirror)
        scale = float(np.max(np.array(size) / region.size))
        try:
            least = int(np.ceil(min(known) * min(scale, 1.0)))
            pixels, full = images.read_image(data.paths[row], least=max(least, 1))
        except images.ImageError:
            return _blank(size)
        have = (pixels.shape[1], pixels.shape[0])
        to_view = geometry.compose(matrix, geometry.resize_matrix(have, full))
        rows = slice(int(data.starts[row]), int(data.starts[row + 1]))
        boxes = moved_boxes(data.bboxes[rows], matrix)
        low, high = np.array([-0.5, -0.5] * 2), np.tile(np.array(size) - 0.5, 2)
        cut = np.clip(boxes, low, high)
        seen = geometry.box_area(cut) / np.maximum(geometry.box_area(boxes), 1e-9)
        longer = (cut[:, 2:] - cut[:, :2]).max(axis=1, initial=0)
        wanted = (seen >= SEEN) & (longer >= TINY) & ~data.crowd[rows]
        doubtful = cut[~wanted & (geometry.box_area(cut) > 0)]
        regions = np.column_stack([doubtful, np.zeros(len(doubtful))])
        if data.background[row] < 1:
            whole = [*geometry.whole_picture_box(*size), data.background[row]]
            regions = np.concatenate([regions, [whole]])
        shown = images.warp(pixels, to_view, size, fill=GREY)
        return View(shown, cut[wanted], data.groups[rows][wanted], regions, True)


@dataclass(frozen=True)
class Region:
    """The part of a picture that is shown: center, size (2,) in its pixels, mirrored or not."""

    center: np.ndarray
    size: np.ndarray
    mirror: bool


@dataclass(frozen=True)
class View:
    """Pixels (h, w, 3) with boxes (n, 4), groups (n,) and regions (r, 5) in their frame."""

    pixels: np.ndarray
    boxes: np.ndarray
    groups: np.ndarray
    regions: np.ndarray
    readable: bool


def fitting(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(2,) the region around a picture (width, height) that a canvas of ``size`` shows in full."""
    return np.array(size) / np.min(np.array(size) / np.asarray(picture, dtype=np.float64))


def moved_boxes(boxes: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Boxes (N, 4) under a (2, 3) matrix that does not turn, but may mirror."""
    corners = geometry.transform_points(matrix, np.reshape(boxes, (-1, 2, 2)))
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)


def collate(samples: Sequence[dict[str, np.ndarray | int | bool]]) -> PictureBatch:
    """Samples -> one PictureBatch, boxes and regions filled up with NaN."""

    def stack(name: str) -> Tensor:
        return torch.from_numpy(np.stack([sample[name] for sample in samples]))

    def filled(name: str, empty: float) -> Tensor:
        arrays = [np.asarray(sample[name]) for sample in samples]
        out = np.full((len(arrays), max(map(len, arrays)), *arrays[0].shape[1:]), empty)
        for row, array in zip(out, arrays, strict=True):
            row[: len(array)] = array
        return torch.from_numpy(out.astype(arrays[0].dtype))

    return PictureBatch(
        image=stack("image"),
        boxes=filled("boxes", np.nan),
        groups=filled("groups", -1),
        regions=filled("regions", np.nan),
        index=stack("index"),
        readable=stack("readable"),
    )


def _sample(
    parts: Sequence[tuple[tuple[int, int], View]], side: int, row: int
) -> dict[str, np.ndarray | int | bool]:
    """Views put on one canvas at their corners (left, top)."""
    canvas = np.full((side, side, 3), GREY, np.uint8)
    boxes, regions = [], []
    for (left, top), view in parts:
        height, width = view.pixels.shape[:2]
        canvas[top : top + height, left : left + width] = view.pixels
        boxes.append(view.boxes + np.array([left, top, left, top]))
        regions.append(view.regions + np.array([left, top, left, top, 0]))
    return {
        "image": np.ascontiguousarray(canvas.transpose(2, 0, 1)),
        "boxes": np.concatenate(boxes).astype(np.float32),
        "groups": np.concatenate([view.groups for _, view in parts]),
        "regions": np.concatenate(regions).astype(np.float32),
        "index": row,
        "readable": parts[0][1].readable,
    }


def _blank(size: tuple[int, int]) -> View:
    """In place of a picture that cannot be read: nothing is wanted of it."""
    width, height = size
    region = np.array([[*geometry.whole_picture_box(width, height), 0.0]])
    pixels = np.full((height, width, 3), GREY, np.uint8)
    return View(pixels, np.zeros((0, 4)), np.zeros(0, dtype=np.int64), region, False)


def _free_window(
    picture: np.ndarray, boxes: np.ndarray, size: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray] | None:
    """Center and size of a part of the picture, shaped as ``size``, that no box touches.

    None where ten draws find none, or the picture is too small to be cut into.
    """
    largest = size * np.min(picture / size)
    for _ in range(10):
        window = largest * rng.uniform(0.35, 1.0)
        low = rng.uniform(0, 1, 2) * (picture - window) - 0.5
        high = low + window
        if window.min() < 48:
            continue
        apart = (boxes[:, :2] >= high).any(axis=1) | (boxes[:, 2:] <= low).any(axis=1)
        if apart.all():
            return (low + high) / 2, window
    return None
