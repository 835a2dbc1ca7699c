"""From a labelled set to crops: one instance, one affine warp, points moved by the same matrix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, TypedDict

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


class CropDataset(Dataset):
    """Crops of a PoseSet's instances, addressed by (epoch, row).

    Randomness is a function of (seed, epoch, row) alone: not of the worker, the order or what was
    drawn before, so that a resumed run sees what an uninterrupted one would have seen. ``size`` is
    the crop's (width, height); ``padding`` multiplies the box before any change.
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
    ) -> None:
        self.pose_set = pose_set
        self.size = (int(size[0]), int(size[1]))
        self.changes = tuple(changes)
        self.target_changes = tuple(target_changes)
        self.seed = seed
        self.centers, self.sizes = geometry.box_to_region(
            pose_set.bboxes, aspect=self.size[0] / self.size[1], padding=padding
        )

    def __len__(self) -> int:
        return len(self.pose_set)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, np.ndarray | int | bool]:
        """The sample of ``key`` = (epoch, row)."""
        epoch, row = key
        rng = np.random.default_rng((self.seed, epoch, row))
        data = self.pose_set
        points = data.keypoints[row].astype(np.float64)
        region = Region(self.centers[row], self.sizes[row])
        for change in self.changes:
            region = change(region, Labels(points, data.skeleton), rng)
        matrix = geometry.crop_matrix(
            region.center,
            region.size,
            self.size,
            rotation=region.rotation,
            mirror=region.mirror,
        )
        moved = geometry.transform_points(matrix, points)
        if region.mirror:
            moved = moved[data.skeleton.flip_indices]
        weights = self._weights(row)
        if region.mirror:
            weights = weights[data.skeleton.flip_indices]
        weights = weights * np.isfinite(moved).all(-1)
        for target_change in self.target_changes:
            moved, weights = target_change(moved, weights, rng)
        pixels, readable = self._pixels(int(data.image_index[row]), matrix, region)
        return {
            "image": np.ascontiguousarray(pixels.transpose(2, 0, 1)),
            "keypoints": moved.astype(np.float32),
            "weights": weights if readable else np.zeros_like(weights),
            "index": row,
            "readable": readable,
        }

    def _weights(self, row: int) -> np.ndarray:
        given = self.pose_set.weights
        if given is None:
            return np.ones(len(self.pose_set.skeleton), dtype=np.float32)
        return np.asarray(given[row], dtype=np.float32)

    def _pixels(self, image: int, matrix: np.ndarray, region: Region) -> tuple[np.ndarray, bool]:
        path = self.pose_set.path(image)
        known = self.pose_set.sizes[image]
        least = None
        if known.min() > 0:
            # the reduced picture must keep the crop's own resolution inside the region
            least = int(np.ceil(known.min() * max(self.size) / float(region.size.max())))
        try:
            picture, full = images.read_image(path, least=least)
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
        index=stack("index"),
        readable=stack("readable"),
    )
