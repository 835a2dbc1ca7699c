"""Splits that cut no group: a video, a burst, or copies of one picture stay together."""

from __future__ import annotations

import numpy as np

from tetrapose.errors import UserError
from tetrapose.structures import PoseSet


def folds(pose_set: PoseSet, count: int, *, seed: int = 0) -> np.ndarray:
    """(M,) the fold 0..count-1 of each picture that holds an animal, -1 for the others.

    Groups are shuffled, the largest dealt first, each to the fold that holds the fewest pictures.
    """
    if count < 2:
        raise UserError(f"{count} folds: at least 2 are due")
    used = np.zeros(len(pose_set.files), dtype=bool)
    used[pose_set.image_index] = True
    groups, members = np.unique(pose_set.groups[used], return_counts=True)
    if len(groups) < count:
        raise UserError(f"{count} folds: the set has only {len(groups)} groups of pictures")
    order = np.random.default_rng(seed).permutation(len(groups))
    order = order[np.argsort(-members[order], kind="stable")]
    filled = np.zeros(count, dtype=np.int64)
    fold_of_group = np.empty(len(groups), dtype=np.int64)
    for group in order:
        fold_of_group[group] = filled.argmin()
        filled[filled.argmin()] += members[group]
    fold = np.full(len(pose_set.files), -1, dtype=np.int64)
    fold[used] = fold_of_group[np.searchsorted(groups, pose_set.groups[used])]
    return fold
