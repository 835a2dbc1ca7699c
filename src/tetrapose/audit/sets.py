"""A set that a reader has opened, in the columns of an audit."""

from __future__ import annotations

import numpy as np

from tetrapose.audit.definitions import Definition
from tetrapose.audit.findings import finding, number
from tetrapose.audit.raw import Sheet
from tetrapose.structures import PoseSet


def of_set(pose_set: PoseSet, name: str) -> Sheet:
    """Raw columns of a set that a reader has opened; what it left out is told as broken."""
    count, points = len(pose_set), len(pose_set.skeleton)
    left_out = [problem for problem in pose_set.problems if problem.left_out]
    sizes = np.where(pose_set.sizes > 0, pose_set.sizes, np.nan)
    labelled = pose_set.labelled
    return Sheet(
        name=name,
        layout="set",
        content=None,
        image_names=list(pose_set.files),
        image_ids=pose_set.image_ids.tolist(),
        image_rows=np.arange(len(pose_set.files)),
        sizes=sizes.astype(np.float64).reshape(-1, 2),
        ids=pose_set.annotation_ids.tolist(),
        rows=np.arange(count),
        image_index=pose_set.image_index,
        species=pose_set.species,
        species_names=pose_set.species_names,
        keypoint_names=(pose_set.skeleton.names,) * len(pose_set.species_names),
        boxes=pose_set.bboxes.astype(np.float64),
        box_form="xyxy",
        areas=pose_set.areas.astype(np.float64),
        points=np.where(labelled[..., None], pose_set.keypoints, 0.0).astype(np.float64),
        flags=pose_set.visibility.astype(np.float64),
        counts=np.full(count, points, dtype=np.int64),
        num_keypoints=np.full(count, np.nan),
        origins=np.zeros(count, dtype=np.int64),
        definitions=(
            Definition(pose_set.skeleton.name, (), pose_set.skeleton.names, None, {}, {}, {}),
        ),
        early=tuple(
            finding(
                "entry-broken",
                [problem.where for problem in left_out],
                f"{number(len(left_out), 'entry')} left out by the reader",
                details=[f"{problem.what}; {problem.fix}" for problem in left_out],
            )
        ),
    )
