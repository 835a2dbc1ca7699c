"""What crosses rooms: numpy columns of labelled animals, records as views of them, predictions."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tetrapose.skeletons import Skeleton


@dataclass(frozen=True)
class Problem:
    """One thing that was left out or looks wrong, in words a user can act on.

    ``where`` names the file and, after it, the entry; ``what`` says what is wrong; ``fix`` what to
    do.
    ``left_out`` is False for a warning about something that was kept all the same.
    """

    where: str
    what: str
    fix: str
    left_out: bool = True

    def __str__(self) -> str:
        return f"{self.where}: {self.what} ({self.fix})"


@dataclass(frozen=True)
class Instances:
    """N animals of one picture on one skeleton; labels and predictions alike.

    keypoints (N, K, 2): x, y in picture pixels, centre of the top-left pixel at (0, 0); NaN where
    there is none. visibility (N, K) uint8: COCO's 0 not labelled, 1 hidden, 2 visible. bboxes
    (N, 4): x1, y1, x2, y2. scores (N, K) in 0..1 per keypoint and bbox_scores (N,), or None for
    labels.
    """

    keypoints: np.ndarray
    visibility: np.ndarray
    bboxes: np.ndarray
    scores: np.ndarray | None = None
    bbox_scores: np.ndarray | None = None

    def __post_init__(self) -> None:
        n, k = self.keypoints.shape[:2]
        _demand("keypoints", self.keypoints, (n, k, 2))
        _demand("visibility", self.visibility, (n, k))
        _demand("bboxes", self.bboxes, (n, 4))
        if self.scores is not None:
            _demand("scores", self.scores, (n, k))
        if self.bbox_scores is not None:
            _demand("bbox_scores", self.bbox_scores, (n,))

    def __len__(self) -> int:
        return len(self.keypoints)


@dataclass(frozen=True)
class ImageRecord:
    """One picture with its instances: a view of a row of a PoseSet."""

    path: Path
    size: tuple[int, int]
    instances: Instances
    source: str
    key: int
    group: int
    licence: str


@dataclass(frozen=True)
class PoseSet:
    """A labelled set in columns: M pictures, N instances, K keypoints.

    Picture columns: files (paths below ``root``), image_ids (M,), sizes (M, 2) width, height with 0
    for unknown, groups (M,) what no split may cut. Instance columns: image_index (N,) into the
    pictures, keypoints (N, K, 2) NaN where not labelled, visibility (N, K) 0/1/2, bboxes (N, 4)
    x1 y1 x2 y2, areas (N,) px^2 as OKS uses them, species (N,) into ``species_names``, crowd (N,),
    annotation_ids (N,) unique. ``weights`` (N, K) says how much each labelled point counts in
    training, None for 1 throughout: a point that stands for one nearby may count less.
    ``digest`` names the labels that were read, whole, before any split (data/splits/digest.py).
    ``problems`` lists entries that the reader left out or doubts.
    """

    skeleton: Skeleton
    root: Path
    source: str
    licence: str
    files: tuple[str, ...]
    image_ids: np.ndarray
    sizes: np.ndarray
    groups: np.ndarray
    image_index: np.ndarray
    keypoints: np.ndarray
    visibility: np.ndarray
    bboxes: np.ndarray
    areas: np.ndarray
    species: np.ndarray
    species_names: tuple[str, ...]
    crowd: np.ndarray
    annotation_ids: np.ndarray
    problems: tuple[Problem, ...] = field(default=(), repr=False)
    weights: np.ndarray | None = None
    digest: str = ""

    def __post_init__(self) -> None:
        m, n, k = len(self.files), len(self.image_index), len(self.skeleton)
        _demand("image_ids", self.image_ids, (m,))
        _demand("sizes", self.sizes, (m, 2))
        _demand("groups", self.groups, (m,))
        _demand("keypoints", self.keypoints, (n, k, 2))
        _demand("visibility", self.visibility, (n, k))
        _demand("bboxes", self.bboxes, (n, 4))
        for name in ("areas", "species", "crowd", "annotation_ids"):
            _demand(name, getattr(self, name), (n,))
        if self.weights is not None:
            _demand("weights", self.weights, (n, k))

    def __len__(self) -> int:
        """Number of instances."""
        return len(self.image_index)

    @property
    def labelled(self) -> np.ndarray:
        """(N, K) True where a keypoint carries a label."""
        return self.visibility > 0

    def path(self, image: int) -> Path:
        """Where picture number ``image`` lies."""
        return self.root / self.files[image]

    def select_instances(self, keep: np.ndarray) -> PoseSet:
        """The same pictures with only the instances of a mask or index array."""
        columns = (
            "image_index", "keypoints", "visibility", "bboxes", "areas", "species", "crowd",
            "annotation_ids",
        )  # fmt: skip
        weights = None if self.weights is None else self.weights[keep]
        return replace(
            self, weights=weights, **{name: getattr(self, name)[keep] for name in columns}
        )

    def select_images(self, keep: np.ndarray) -> PoseSet:
        """Only the pictures of a boolean mask (M,), with their instances."""
        keep = np.asarray(keep, dtype=bool)
        new_index = np.cumsum(keep) - 1
        kept = self.select_instances(keep[self.image_index])
        return replace(
            kept,
            files=tuple(f for f, k in zip(self.files, keep, strict=True) if k),
            image_ids=self.image_ids[keep],
            sizes=self.sizes[keep],
            groups=self.groups[keep],
            image_index=new_index[kept.image_index],
        )

    def record(self, image: int) -> ImageRecord:
        """Picture number ``image`` with its instances."""
        rows = np.flatnonzero(self.image_index == image)
        return ImageRecord(
            path=self.path(image),
            size=(int(self.sizes[image, 0]), int(self.sizes[image, 1])),
            instances=Instances(self.keypoints[rows], self.visibility[rows], self.bboxes[rows]),
            source=self.source,
            key=int(self.image_ids[image]),
            group=int(self.groups[image]),
            licence=self.licence,
        )


def _demand(name: str, array: Any, shape: tuple[int, ...]) -> None:
    if getattr(array, "shape", None) != shape:
        raise ValueError(
            f"{name} must have shape {shape}, not {getattr(array, 'shape', type(array))}"
        )
