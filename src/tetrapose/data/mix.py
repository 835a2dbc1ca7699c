"""Several sets as one: each brought onto one skeleton by name, then joined row after row."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tetrapose.errors import UserError
from tetrapose.skeletons import Skeleton
from tetrapose.skeletons.mapping import EXACT, NEAR, Mapping, between, carried
from tetrapose.structures import PoseSet


@dataclass(frozen=True)
class Mix:
    """Joined sets: ``pose_set`` on the common skeleton, ``part`` (N,) into the sets' ``names``."""

    pose_set: PoseSet
    part: np.ndarray
    names: tuple[str, ...]


def onto(
    pose_set: PoseSet, skeleton: Skeleton, *, near: float = 1.0, mapping: Mapping | None = None
) -> PoseSet:
    """The set on another skeleton: points moved by place, unlabelled where it has no such point.

    ``near`` is the weight of near points in training, 0 leaves them out. ``mapping`` takes the
    place of the one that places give. Raises UserError when no point is left or ``near`` is not in
    0..1.
    """
    if not 0 <= near <= 1:
        raise UserError(f"near={near}: the weight of near points is between 0 and 1")
    mapping = mapping or between(pose_set.skeleton, skeleton)
    mapping = mapping if near > 0 else mapping.without_near()
    if not (mapping.grade > 0).any():
        raise UserError(
            f"{pose_set.source} ({pose_set.skeleton.name}) and {skeleton.name} have no keypoint in "
            "common"
        )
    count = np.where(mapping.grade == NEAR, near, (mapping.grade == EXACT).astype(float))
    weights = None
    if pose_set.weights is not None:
        weights = carried(pose_set.weights, mapping, empty=0.0) * count
    elif (mapping.grade == NEAR).any() and near < 1:
        weights = np.broadcast_to(count, (len(pose_set), len(count)))
    return replace(
        pose_set,
        skeleton=skeleton,
        keypoints=carried(pose_set.keypoints, mapping, empty=np.nan),
        visibility=carried(pose_set.visibility, mapping, empty=0),
        weights=None if weights is None else weights.astype(np.float32),
    )


def join(sets: Sequence[PoseSet], names: Sequence[str] | None = None) -> Mix:
    """Sets on one skeleton as one set; ids and groups are numbered anew, so that none collide.

    Species of equal name are one species. Raises UserError for no set or different skeletons.
    """
    if not sets:
        raise UserError("a mix needs one set at least")
    odd = [s for s in sets if s.skeleton.names != sets[0].skeleton.names]
    if odd:
        raise UserError(
            f"{odd[0].source} stands on {odd[0].skeleton.name}, {sets[0].source} on "
            f"{sets[0].skeleton.name}; bring all onto one skeleton first"
        )
    root = Path(os.path.commonpath([os.path.abspath(s.root) for s in sets]))
    names = tuple(names) if names is not None else tuple(s.source for s in sets)
    species_names = tuple(dict.fromkeys(name for s in sets for name in s.species_names))
    place = {name: i for i, name in enumerate(species_names)}
    pictures = np.cumsum([0, *(len(s.files) for s in sets)])
    total = int(sum(len(s) for s in sets))
    weights = None
    if any(s.weights is not None for s in sets):
        weights = np.concatenate(
            [np.ones(s.visibility.shape, np.float32) if s.weights is None else s.weights
             for s in sets]
        )  # fmt: skip

    def rows(name: str) -> np.ndarray:
        return np.concatenate([getattr(s, name) for s in sets])

    pose_set = PoseSet(
        skeleton=sets[0].skeleton,
        root=root,
        source=" + ".join(dict.fromkeys(s.source for s in sets)),
        licence="; ".join(dict.fromkeys(s.licence for s in sets)),
        files=tuple(
            os.path.relpath(os.path.join(os.path.abspath(s.root), file), root)
            for s in sets
            for file in s.files
        ),
        image_ids=np.arange(1, pictures[-1] + 1, dtype=np.int64),
        sizes=rows("sizes"),
        groups=_groups_apart(sets),
        image_index=np.concatenate(
            [s.image_index + first for s, first in zip(sets, pictures[:-1], strict=True)]
        ),
        keypoints=rows("keypoints"),
        visibility=rows("visibility"),
        bboxes=rows("bboxes"),
        areas=rows("areas"),
        species=np.concatenate(
            [np.array([place[n] for n in s.species_names], dtype=np.int64)[s.species] for s in sets]
        ),
        species_names=species_names,
        crowd=rows("crowd"),
        annotation_ids=np.arange(1, total + 1, dtype=np.int64),
        problems=tuple(problem for s in sets for problem in s.problems),
        weights=weights,
    )
    part = np.repeat(np.arange(len(sets)), [len(s) for s in sets])
    return Mix(pose_set, part, names)


def _groups_apart(sets: Sequence[PoseSet]) -> np.ndarray:
    """Group numbers of each set, moved past those of the sets before."""
    out, past = [], 0
    for one in sets:
        _, numbered = np.unique(one.groups, return_inverse=True)
        out.append(numbered.astype(np.int64) + past)
        past += int(numbered.max()) + 1 if len(numbered) else 0
    return np.concatenate(out)
