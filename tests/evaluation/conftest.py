"""A small labelled set made up from numbers, and predictions near it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tetrapose import skeletons
from tetrapose.structures import PoseSet


def make_set(seed: int = 0, *, pictures: int = 12, instances: int = 30, skeleton="animal_pose"):
    """Random animals of three species, a few points unlabelled, one crowd, one bare instance."""
    rng = np.random.default_rng(seed)
    skeleton = skeletons.load(skeleton)
    k = len(skeleton)
    corner = rng.uniform(0, 300, (instances, 2))
    side = rng.uniform(60, 200, (instances, 2))
    points = corner[:, None] + rng.uniform(0.05, 0.95, (instances, k, 2)) * side[:, None]
    visibility = rng.choice([0, 1, 2], p=[0.2, 0.2, 0.6], size=(instances, k)).astype(np.uint8)
    visibility[1] = 0
    return PoseSet(
        skeleton=skeleton,
        root=Path("nowhere"),
        source="made up",
        licence="none",
        files=tuple(f"images/{i:03}.jpg" for i in range(pictures)),
        image_ids=np.arange(pictures) * 3 + 5,
        sizes=np.tile([640, 480], (pictures, 1)),
        groups=np.arange(pictures),
        image_index=rng.integers(0, pictures, instances),
        keypoints=np.where(visibility[..., None] > 0, points, np.nan),
        visibility=visibility,
        bboxes=np.concatenate([corner, corner + side], axis=1),
        areas=np.prod(side, axis=1),
        species=rng.integers(0, 3, instances),
        species_names=("dog", "cat", "cow"),
        crowd=np.arange(instances) == 2,
        annotation_ids=np.arange(instances) + 1,
    )


def near(pose_set: PoseSet, noise: float, seed: int = 0):
    """Points for every row, labels moved by noise (box centres where unlabelled), and scores."""
    rng = np.random.default_rng(seed)
    middle = (pose_set.bboxes[:, :2] + pose_set.bboxes[:, 2:]) / 2
    points = np.where(np.isnan(pose_set.keypoints), middle[:, None], pose_set.keypoints)
    points = points + rng.normal(0, noise, points.shape) if noise else points
    return points, rng.uniform(0.3, 1.0, points.shape[:2])


@pytest.fixture
def made_up():
    """``make_set`` and ``near``, for tests that want several."""
    return make_set, near
