"""One fingerprint of a set's labels: the same labels give the same one, in whatever order."""

from __future__ import annotations

import hashlib

import numpy as np

from tetrapose.structures import PoseSet

GRAIN = 0.01  # px: what a conversion between formats may move a coordinate by


def digest(pose_set: PoseSet) -> str:
    """64 hex digits over keypoint names, picture names, and every animal's labels.

    Pictures count by name and animals by annotation id, so the order of a file's entries does not
    matter; coordinates count in hundredths of a pixel. Not counted: sizes and contents of pictures,
    image ids, areas, and where the set lies. So a set and its copy in another format have the same
    digest as long as names and ids stay.
    """
    by_name = sorted(range(len(pose_set.files)), key=lambda i: pose_set.files[i])
    place = np.empty(len(by_name), dtype=np.int64)
    place[by_name] = np.arange(len(by_name))
    order = np.argsort(pose_set.annotation_ids, kind="stable")
    names = sorted(pose_set.species_names)
    species = np.array([names.index(name) for name in pose_set.species_names], dtype=np.int64)
    points = np.where(pose_set.labelled[..., None], pose_set.keypoints, 0.0)
    columns = (
        pose_set.annotation_ids[order],
        place[pose_set.image_index[order]],
        species[pose_set.species[order]],
        pose_set.crowd[order],
        pose_set.visibility[order],
        _grains(points[order]),
        _grains(pose_set.bboxes[order]),
    )
    made = hashlib.sha256()
    lists = (pose_set.skeleton.names, [pose_set.files[i] for i in by_name], names)
    for texts in lists:
        made.update(f"{len(texts)}\n".encode())
        made.update("\n".join(texts).encode("utf-8", "surrogateescape"))
    for column in columns:
        made.update(f"\n{column.shape}\n".encode())
        made.update(np.ascontiguousarray(column, dtype="<i8").tobytes())
    return made.hexdigest()


def _grains(values: np.ndarray) -> np.ndarray:
    """Whole hundredths; what is not finite counts as one value that no label has."""
    values = values.astype(np.float64) / GRAIN
    far = np.where(np.isfinite(values), np.clip(values, -1e15, 1e15), 2e15)
    return np.rint(far).astype(np.int64)
