"""From a labelled set to crops: one instance, one affine warp, points moved by the same matrix."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from tetrapose import geometry, images
from tetrapose.data.augment import Labels, Region
from tetrapose.structures import PoseSet


class Batch(TypedDict):
    """What a training step gets. ``readable`` is False where the picture could not be decoded."""

    image: Tensor  # (B, 3, H, W) uint8 RGB
    keypoints: Tensor  # (B, K, 2) float32 crop pixels, NaN where unlabelled
    weights: Tensor  # (B, K) float32
    visibility: Tensor  # (B, K) uint8 as in COCO, 0 where there is no point
    index: Tensor  # (B,) row of the set
    readable: Tensor  # (B,) bool


class Change(Protocol):
    """A random change of the region; see ``data.augment``."""

    def __call__(self, region: Region, labels: Labels, rng: np.random.Generator) -> Region:
        """The changed region."""
        ...


class TargetChange(Protocol):
    """A random change of points (K, 2) and weights (K,) alone."""

    def __call__(
        self, keypoints: np.ndarray, weights: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """The changed points and weights."""
        ...


class Pictures(Protocol):
    """Where crops take pictures from: their files, or a cache (``data.cache``)."""

    def read(self, image: int, scale: float) -> tuple[np.ndarray, tuple[int, int]]:
        """Pixels (h, w, 3) uint8 RGB of picture number ``image`` and the full size they stand for.

        They keep ``scale`` of the full resolution, where the source has it. Raises ImageError.
        """
        ...


class Files:
    """Pictures read from their files. Names lie in one buffer: no object a picture in a worker."""

    def __init__(self, pose_set: PoseSet) -> None:
        names = [os.fsencode(file) for file in pose_set.files]
        self.root = str(pose_set.root)
        self.ends = np.cumsum([0, *map(len, names)])
        self.names = np.frombuffer(b"".join(names), dtype=np.uint8)

    def path(self, image: int) -> str:
        """Where picture number ``image`` lies."""
        name = self.names[self.ends[image] : self.ends[image + 1]].tobytes()
        return os.path.join(self.root, os.fsdecode(name))

    def read(self, image: int, scale: float) -> tuple[np.ndarray, tuple[int, int]]:
        """The picture, a JPEG decoded at reduced size where ``scale`` allows; see ``Pictures``."""
        return images.read_image(self.path(image), scale=scale)


class CropDataset(Dataset):
    """Crops of a PoseSet's instances, addressed by (epoch, row).

    Randomness is a function of (seed, epoch, row) alone: not of the worker, the order or what was
    drawn before, so that a resumed run sees what an uninterrupted one would have seen. ``size`` is
    the crop's (width, height); ``padding`` multiplies the box before any change; ``warp`` is the
    codec's (``geometry.crop_matrix``). ``pictures`` takes the place of the set's files. A copy in a
    worker holds columns, and no ``pose_set``.
    """

    def __init__(
        self,
        pose_set: PoseSet,
        *,
        size: tuple[int, int],
        padding: float = 1.25,
        changes: Sequence[Change] = (),
        target_changes: Sequence[TargetChange] = (),
        seed: int = 0,
        pictures: Pictures | None = None,
        warp: str = "borders",
    ) -> None:
        self.pose_set = pose_set
        self.size = (int(size[0]), int(size[1]))
        self.changes = tuple(changes)
        self.target_changes = tuple(target_changes)
        self.seed = seed
        self.warp = warp
        self.pictures: Pictures = pictures if pictures is not None else Files(pose_set)
        self.centers, self.sizes = geometry.box_to_region(
            pose_set.bboxes, aspect=self.size[0] / self.size[1], padding=padding
        )
        self.skeleton = pose_set.skeleton
        self.keypoints = pose_set.keypoints
        self.visibility = pose_set.visibility
        self.weights = pose_set.weights
        self.image_index = pose_set.image_index
        self.flips = pose_set.skeleton.flip_indices

    def __len__(self) -> int:
        return len(self.image_index)

    def __getstate__(self) -> dict[str, Any]:
        """Without the set: its names and problems are an object each."""
        return {name: value for name, value in vars(self).items() if name != "pose_set"}

    def __getitem__(self, key: tuple[int, int]) -> dict[str, np.ndarray | int | bool]:
        """The sample of ``key`` = (epoch, row)."""
        epoch, row = key
        rng = np.random.default_rng((self.seed, epoch, row))
        points = self.keypoints[row].astype(np.float64)
        region = Region(self.centers[row], self.sizes[row])
        for change in self.changes:
            region = change(region, Labels(points, self.skeleton), rng)
        matrix = geometry.crop_matrix(
            region.center,
            region.size,
            self.size,
            rotation=region.rotation,
            mirror=region.mirror,
            warp=self.warp,
        )
        moved = geometry.transform_points(matrix, points)
        weights, seen = self._weights(row), self.visibility[row]
        if region.mirror:
            moved, weights, seen = moved[self.flips], weights[self.flips], seen[self.flips]
        weights = weights * np.isfinite(moved).all(-1)
        for target_change in self.target_changes:
            moved, weights = target_change(moved, weights, rng)
        pixels, readable = self._pixels(int(self.image_index[row]), matrix, region)
        return {
            "image": np.ascontiguousarray(pixels.transpose(2, 0, 1)),
            "keypoints": moved.astype(np.float32),
            "weights": weights if readable else np.zeros_like(weights),
            "visibility": np.where(np.isfinite(moved).all(-1), seen, 0).astype(np.uint8),
            "index": row,
            "readable": readable,
        }

    def matrix(self, row: int) -> np.ndarray:
        """(2, 3) from the picture of ``row`` to its crop before any change."""
        center, size = self.centers[row], self.sizes[row]
        return geometry.crop_matrix(center, size, self.size, warp=self.warp)

    def scales(self) -> np.ndarray:
        """(M,) the share of each picture's resolution that its crops show at the closest.

        1 at most; 0 for pictures without an instance. A change that does not tell how far it may
        zoom in (see ``data.augment``) leaves pictures whole.
        """
        sizes = self.sizes
        for change in self.changes:
            closest = getattr(change, "closest", None)
            sizes = closest(sizes, self.keypoints, self.skeleton) if closest else 0 * sizes
        wanted = np.zeros(len(self.pose_set.files))
        side = np.maximum(sizes.max(axis=1), max(self.size))
        np.maximum.at(wanted, self.image_index, max(self.size) / side)
        return wanted

    def _weights(self, row: int) -> np.ndarray:
        if self.weights is None:
            return np.ones(len(self.skeleton), dtype=np.float32)
        return np.asarray(self.weights[row], dtype=np.float32)

    def _pixels(self, image: int, matrix: np.ndarray, region: Region) -> tuple[np.ndarray, bool]:
        # what is read must keep the crop's own resolution inside the region
        scale = max(self.size) / float(region.size.max())
        try:
            picture, full = self.pictures.read(image, scale)
        except images.ImageError:
            return np.zeros((self.size[1], self.size[0], 3), np.uint8), False
        have = (picture.shape[1], picture.shape[0])
        if have != full:
            matrix = geometry.compose(matrix, geometry.resize_matrix(have, full))
        return images.warp(picture, matrix, self.size), True


class EpochSampler(Sampler[tuple[int, int]]):
    """Keys (epoch, row), drawn by (seed, epoch) alone; Lightning calls ``set_epoch``.

    ``draws`` (N,) says how often a row is seen in an epoch on average, once each when it is None:
    2.5 is two or three times, by a systematic draw whose sum is the same in every epoch. An epoch
    of training ends with a full batch: the rows left over are others in every epoch.
    """

    def __init__(
        self, length: int, *, seed: int = 0, shuffle: bool = True, draws: np.ndarray | None = None
    ) -> None:
        if draws is not None and (len(draws) != length or not (draws >= 0).all()):
            raise ValueError(f"draws must be {length} numbers from 0 on")
        self.rows, self.seed, self.shuffle, self.draws = length, seed, shuffle, draws
        self.length = length if draws is None else round(float(np.sum(draws)))
        self.epoch = 0

    def __len__(self) -> int:
        return self.length

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next pass draws."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[int, int]]:
        rng = np.random.default_rng((self.seed, self.epoch))
        if self.draws is not None:
            rows = self._drawn(rng)
        else:
            rows = rng.permutation(self.rows) if self.shuffle else np.arange(self.rows)
        return iter([(self.epoch, int(row)) for row in rows])

    def _drawn(self, rng: np.random.Generator) -> np.ndarray:
        assert self.draws is not None
        order = rng.permutation(self.rows)
        share = self.draws[order].astype(np.float64)
        ends = np.cumsum(share) * (self.length / max(share.sum(), 1e-12))
        offset = rng.random()
        # the last end is a whole number but for rounding, which must not cost or add a row
        marks = np.append(np.floor(ends[:-1] + offset), self.length + np.floor(offset))
        counts = np.diff(marks, prepend=np.floor(offset)).astype(np.int64)
        rows = np.repeat(order, counts)
        return rng.permutation(rows) if self.shuffle else np.sort(rows)


def to_batch(samples: Sequence[dict[str, np.ndarray | int | bool]]) -> Batch:
    """Samples -> one Batch; arrays are stacked once, without a tensor a sample."""

    def stack(name: str) -> Tensor:
        return torch.from_numpy(np.stack([sample[name] for sample in samples]))

    return Batch(
        image=stack("image"),
        keypoints=stack("keypoints"),
        weights=stack("weights"),
        visibility=stack("visibility"),
        index=stack("index"),
        readable=stack("readable"),
    )
