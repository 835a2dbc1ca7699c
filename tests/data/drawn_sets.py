"""Sets in columns, drawn: no files behind them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from tetrapose import skeletons
from tetrapose.data.splits.digest import digest
from tetrapose.structures import PoseSet


def drawn_set(seed: int, *, pictures: int = 24, copies: bool = True) -> PoseSet:
    """AP-10K's points on dogs, cats and sheep; every picture has an animal, a third are copies."""
    rng = np.random.default_rng(seed)
    known = skeletons.load("ap10k")
    animals = np.minimum(rng.geometric(0.6, pictures), 6)
    image_index = np.repeat(np.arange(pictures), animals)
    count = len(image_index)
    groups = np.arange(pictures)
    if copies:
        groups = np.where(rng.random(pictures) < 0.3, rng.integers(0, pictures, pictures), groups)
        groups = groups[groups]
    visibility = (rng.random((count, len(known))) < 0.7).astype(np.uint8) * 2
    places = rng.uniform(0, 99, (count, len(known), 2)).round(1)
    mostly = np.repeat(rng.integers(0, 3, pictures), animals)
    other = rng.integers(0, 3, count)
    made = PoseSet(
        skeleton=known,
        root=Path("nowhere"),
        source="drawn",
        licence="ours",
        files=tuple(f"images/{i:04}.jpg" for i in rng.permutation(pictures)),
        image_ids=np.arange(pictures) + 1,
        sizes=np.full((pictures, 2), 100, dtype=np.int32),
        groups=groups,
        image_index=image_index,
        keypoints=np.where(visibility[..., None] > 0, places, np.nan).astype(np.float32),
        visibility=visibility,
        bboxes=np.tile(np.array([0, 0, 99, 99], dtype=np.float32), (count, 1)),
        areas=np.full(count, 9801.0),
        species=np.where(rng.random(count) < 0.9, mostly, other),
        species_names=("dog", "cat", "sheep"),
        crowd=np.zeros(count, dtype=bool),
        annotation_ids=rng.permutation(count) + 100,
    )
    return replace(made, digest=digest(made))


def shuffled(pose_set: PoseSet, seed: int) -> PoseSet:
    """The same labels with pictures, animals and species in another order."""
    rng = np.random.default_rng(seed)
    pictures = rng.permutation(len(pose_set.files))
    species = rng.permutation(len(pose_set.species_names))
    back = np.argsort(pictures)
    moved = replace(
        pose_set,
        files=tuple(pose_set.files[i] for i in pictures),
        image_ids=pose_set.image_ids[pictures],
        sizes=pose_set.sizes[pictures],
        groups=pose_set.groups[pictures] + 1000,
        image_index=back[pose_set.image_index],
        species=np.argsort(species)[pose_set.species],
        species_names=tuple(pose_set.species_names[i] for i in species),
    )
    moved = moved.select_instances(rng.permutation(len(moved)))
    return replace(moved, digest=digest(moved))
