"""Random changes of the crop region: pure draws, one affine warp made of all of them.

Each change is a frozen dataclass called as ``change(region, labels, rng) -> region``; the region is
warped once, so pixels and points can never be moved differently. ``closest`` tells how far a change
may zoom in: the smallest sizes (N, 2) to which regions of ``sizes`` (N, 2) around animals with
``keypoints`` (N, K, 2) may come. Caches keep pictures as sharp as that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tetrapose import geometry
from tetrapose.skeletons import Skeleton


@dataclass(frozen=True)
class Region:
    """What to crop: center, size (2,) in picture pixels, rotation in degrees, mirrored or not."""

    center: np.ndarray
    size: np.ndarray
    rotation: float = 0.0
    mirror: bool = False


@dataclass(frozen=True)
class Labels:
    """One instance's points (K, 2) in picture pixels, NaN where unlabelled, on its skeleton."""

    keypoints: np.ndarray
    skeleton: Skeleton


@dataclass(frozen=True)
class Jitter:
    """Scale, shift and rotation, drawn afresh at every sight of the sample.

    ``scale``: the region's size is multiplied by exp of a uniform draw between the logs of the two
    bounds. ``shift``: uniform, in shares of the region's size, to either side. ``rotation``: normal
    with this standard deviation in degrees, cut at twice it, for a share ``rotation_chance``.
    """

    scale: tuple[float, float] = (0.75, 1.4)
    shift: float = 0.08
    rotation: float = 25.0
    rotation_chance: float = 0.7

    def __call__(self, region: Region, labels: Labels, rng: np.random.Generator) -> Region:
        """The changed region."""
        low, high = np.log(self.scale[0]), np.log(self.scale[1])
        factor = float(np.exp(rng.uniform(low, high)))
        moved = region.center + rng.uniform(-self.shift, self.shift, 2) * region.size
        turn = float(np.clip(rng.normal(0, self.rotation), -2 * self.rotation, 2 * self.rotation))
        turned = turn if rng.random() < self.rotation_chance else 0.0
        return replace(
            region,
            center=moved,
            size=region.size * factor,
            rotation=region.rotation + turned,
        )

    def closest(self, sizes: np.ndarray, keypoints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
        """The smallest sizes."""
        return sizes * self.scale[0]


@dataclass(frozen=True)
class Mirror:
    """Left-right flip with this chance; names are exchanged through the skeleton."""

    chance: float = 0.5

    def __call__(self, region: Region, labels: Labels, rng: np.random.Generator) -> Region:
        """The changed region."""
        return replace(region, mirror=region.mirror != (rng.random() < self.chance))

    def closest(self, sizes: np.ndarray, keypoints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
        """The sizes as they are."""
        return sizes


@dataclass(frozen=True)
class HalfBody:
    """Crop to the front or the back half of the animal, so that close-ups are known.

    Applied with ``chance`` when more than ``least`` points are labelled; either half is drawn with
    even odds among those with two labelled points or more; the half's box grows by ``padding``.
    Source: half-body transform of HRNet's JointsDataset, whose normal draw favoured the upper half.
    """

    chance: float = 0.2
    least: int = 8
    padding: float = 1.5

    def __call__(self, region: Region, labels: Labels, rng: np.random.Generator) -> Region:
        """The changed region."""
        draw, front_first = rng.random() < self.chance, rng.random() < 0.5
        known = np.asarray(np.isfinite(labels.keypoints).all(-1))
        if not draw or known.sum() <= self.least:
            return region
        front = np.zeros(len(known), dtype=bool)
        front[labels.skeleton.upper_indices()] = True
        halves = [known & front, known & ~front]
        chosen = next((h for h in halves[:: 1 if front_first else -1] if h.sum() >= 2), None)
        if chosen is None:
            return region
        box = geometry.points_box(labels.keypoints[chosen][None])[0]
        aspect = region.size[0] / region.size[1]
        tall = max(box[3] - box[1], (box[2] - box[0]) / aspect, 0.2 * region.size[1])
        height = float(tall) * self.padding
        center = (box[:2] + box[2:]) / 2
        return replace(region, center=center, size=np.array([height * aspect, height]))

    def closest(self, sizes: np.ndarray, keypoints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
        """The sizes around the smaller half, where a half may be drawn."""
        known = np.isfinite(keypoints).all(-1)
        front = np.isin(np.arange(len(skeleton)), skeleton.upper_indices())
        aspect = sizes[:, 0] / sizes[:, 1]
        height = sizes[:, 1]
        for half in (known & front, known & ~front):
            box = geometry.points_box(np.where(half[..., None], keypoints, np.nan))
            wide, high = box[:, 2] - box[:, 0], box[:, 3] - box[:, 1]
            tall = np.fmax(np.fmax(high, wide / aspect), 0.2 * sizes[:, 1]) * self.padding
            drawn = (known.sum(1) > self.least) & (half.sum(1) >= 2) & (self.chance > 0)
            height = np.where(drawn, np.minimum(height, tall), height)
        return np.stack([height * aspect, height], axis=-1)
