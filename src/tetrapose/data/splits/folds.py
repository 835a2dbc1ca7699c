"""Folds: every picture is held out once."""

from __future__ import annotations

import numpy as np

from tetrapose.data.splits.draw import units
from tetrapose.errors import UserError
from tetrapose.structures import PoseSet


def folds(
    pose_set: PoseSet, count: int, *, seed: int = 0, groups: np.ndarray | None = None
) -> np.ndarray:
    """(M,) the fold 0..count-1 of each picture that holds an animal, -1 for the others.

    Groups are shuffled, the largest dealt first, each to the fold that holds the fewest pictures.
    Drawn with NumPy's generator, unlike the other recipes: figures were published on these folds.
    """
    if count < 2:
        raise UserError(f"{count} folds: at least 2 are due")
    made = units(pose_set, groups)
    if len(made) < count:
        raise UserError(f"{count} folds: the set has only {len(made)} groups of pictures")
    order = np.random.default_rng(seed).permutation(len(made))
    order = order[np.argsort(-made.pictures[order], kind="stable")]
    filled = np.zeros(count, dtype=np.int64)
    fold_of_unit = np.empty(len(made), dtype=np.int64)
    for unit in order:
        fold_of_unit[unit] = filled.argmin()
        filled[filled.argmin()] += made.pictures[unit]
    of = made.of_picture
    return np.where(of >= 0, fold_of_unit[np.maximum(of, 0)], -1)
