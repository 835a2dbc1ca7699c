"""What is looked at in every labelled set once it stands in columns.

Each check takes a set and the name of its label file, and gives the set back without what cannot be
used; what was left out, or kept in doubt, is added to ``problems`` with the entry's name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from tetrapose.data.reading import Split, content_groups, missing_pictures
from tetrapose.data.splits.apply import through
from tetrapose.data.splits.digest import digest
from tetrapose.errors import UserError
from tetrapose.images import ImageError, read_size
from tetrapose.structures import PoseSet, Problem

MANY = 20  # so many missing pictures are first told as a sum
SLACK = 2.0  # px by which a box or point may leave its picture unremarked: 1-based labels, rounding


def checked(
    pose_set: PoseSet,
    where: str,
    *,
    split: Split | None = None,
    sizes: bool = False,
    pictures: bool = True,
) -> PoseSet:
    """A split's pictures through all checks; with ``pictures``, groups of identical ones join.

    The split comes first, so that nothing is told of pictures that were not asked for.
    """
    pose_set = replace(pose_set, digest=digest(pose_set))
    if split is not None:
        pose_set = through(pose_set, split, Path(where).parent)
    if pictures:
        pose_set = pictures_there(pose_set, where)
        same = content_groups(pose_set.root, pose_set.files)
        pose_set = replace(pose_set, groups=joined_groups(pose_set.groups, same))
    if sizes and pictures:
        pose_set = sizes_read(pose_set, where)
    for check in (ids_unique, points_finite, boxes_usable, noted_outside):
        pose_set = check(pose_set, where)
    return pose_set


def joined_groups(*labellings: np.ndarray) -> np.ndarray:
    """(M,) groups that are no finer than any of the given ones: the first picture of each.

    A video stays whole, and two videos that share a picture are one group.
    """
    groups = np.arange(len(labellings[0]), dtype=np.int64)
    while True:
        before = groups
        for labels in labellings:
            _, inverse = np.unique(labels, return_inverse=True)
            first = np.full(inverse.max(initial=-1) + 1, len(groups), dtype=np.int64)
            np.minimum.at(first, inverse, groups)
            groups = first[inverse]
        if (groups == before).all():
            return groups


def sizes_read(pose_set: PoseSet, where: str) -> PoseSet:
    """With the sizes of the pictures as shown; without those whose header cannot be read."""
    sizes = np.zeros((len(pose_set.files), 2), dtype=np.int32)
    keep = np.ones(len(pose_set.files), dtype=bool)
    problems: list[Problem] = []
    for index, file in enumerate(pose_set.files):
        try:
            width, height = read_size(pose_set.root / file)
        except ImageError as error:
            keep[index] = False
            problems.append(Problem(f"{where}: picture {file}", str(error), "replace the picture"))
            continue
        sizes[index] = width, height
        told = pose_set.sizes[index]
        if told.all() and tuple(told) != (width, height):
            what = f"is {width}x{height}, the label file says {_size_text(told)}; kept"
            fix = "see whether the labels fit: resized or turned since it was labelled?"
            problems.append(Problem(f"{where}: picture {file}", what, fix, False))
    pose_set = with_problems(replace(pose_set, sizes=sizes), tuple(problems))
    return pose_set if keep.all() else pose_set.select_images(keep)


def pictures_there(pose_set: PoseSet, where: str) -> PoseSet:
    """Without the pictures that are not on the disk; a UserError when not one of them is."""
    missing = missing_pictures(pose_set.root, pose_set.files)
    if not missing:
        return pose_set
    if len(missing) == len(set(pose_set.files)):
        raise UserError(
            f"{where}: none of its {len(missing)} pictures is there; looked for "
            f"{pose_set.root / pose_set.files[0]}"
        )
    problems = tuple(
        Problem(f"{where}: picture {file}", f"missing in {pose_set.root}", "add it, or drop it")
        for file in pose_set.files
        if file in missing
    )
    if len(problems) > MANY:
        told = f"{len(missing):,} of {len(set(pose_set.files)):,} pictures are missing in"
        first = next(file for file in pose_set.files if file in missing)
        what = f"{told} {pose_set.root}, first {first}"
        fix = "complete the copy, or name a split of those at hand"
        problems = (Problem(where, what, fix), *problems)
    keep = np.array([file not in missing for file in pose_set.files])
    return with_problems(pose_set.select_images(keep), problems)


def ids_unique(pose_set: PoseSet, where: str) -> PoseSet:
    """Without the instances whose annotation id stood before."""
    _, first = np.unique(pose_set.annotation_ids, return_index=True)
    repeated = np.ones(len(pose_set), dtype=bool)
    repeated[first] = False
    return without(
        pose_set,
        repeated,
        where,
        lambda i: "this annotation id stood before",
        "give each annotation an id of its own",
    )


def points_finite(pose_set: PoseSet, where: str) -> PoseSet:
    """With labelled points that have no finite place turned to unlabelled."""
    lost = pose_set.labelled & ~np.isfinite(pose_set.keypoints).all(axis=-1)
    if lost.any():
        names = np.array(pose_set.skeleton.names)
        problems = tuple(
            Problem(
                _entry(pose_set, where, int(i)),
                f"{', '.join(names[lost[i]])}: labelled, yet not finite; taken as not labelled",
                "correct the coordinates, or set the flag to 0",
            )
            for i in np.flatnonzero(lost.any(axis=1))
        )
        visibility = np.where(lost, 0, pose_set.visibility).astype(np.uint8)
        pose_set = with_problems(replace(pose_set, visibility=visibility), problems)
    keypoints = np.where(pose_set.labelled[..., None], pose_set.keypoints, np.nan)
    return replace(pose_set, keypoints=keypoints.astype(np.float32))


def boxes_usable(pose_set: PoseSet, where: str) -> PoseSet:
    """Without the instances whose box is not finite, empty, or wholly outside its picture."""
    boxes = pose_set.bboxes.astype(np.float64)
    finite = np.asarray(np.isfinite(boxes).all(axis=1))
    boxes = np.where(finite[:, None], boxes, 0.0)
    empty = np.logical_and(finite, (boxes[:, 2:] <= boxes[:, :2]).any(axis=1))
    size, known = picture_sizes(pose_set)
    beyond = ((boxes[:, :2] >= size) | (boxes[:, 2:] <= -0.5)).any(axis=1)
    outside = np.logical_and(finite & known, beyond)

    def what(i: int) -> str:
        shown = _box_text(pose_set.bboxes[i])
        if empty[i]:
            return f"the box {shown} is empty"
        if outside[i]:
            return f"the box {shown} lies outside its picture of {_size_text(size[i])}"
        return f"the box {shown} holds NaN or infinity"

    fix = "correct the box, or remove the entry"
    return without(pose_set, ~finite | empty | outside, where, what, fix)


def noted_outside(pose_set: PoseSet, where: str) -> PoseSet:
    """The same set; boxes and labelled points that leave their picture are noted as doubts."""
    size, known = picture_sizes(pose_set)
    boxes = pose_set.bboxes
    box_out = known & ((boxes[:, :2] < -0.5 - SLACK) | (boxes[:, 2:] > size + SLACK)).any(axis=1)
    points = pose_set.keypoints
    with np.errstate(invalid="ignore"):
        beyond = (points < -0.5 - SLACK) | (
            (points > size[:, None] - 0.5 + SLACK) & known[:, None, None]
        )
    point_out = beyond.any(axis=-1) & pose_set.labelled
    names = np.array(pose_set.skeleton.names)
    problems = []
    for i in np.flatnonzero(box_out | point_out.any(axis=1)):
        parts = [f"the box {_box_text(boxes[i])}"] if box_out[i] else []
        parts += [
            f"{name} ({x:g}, {y:g})"
            for name, (x, y) in zip(names[point_out[i]], points[i, point_out[i]], strict=True)
        ]
        picture = f"its picture of {_size_text(size[i])}" if known[i] else "its picture"
        what = f"{', '.join(parts)} outside {picture}; kept"
        problems.append(Problem(_entry(pose_set, where, int(i)), what, "check the label", False))
    return with_problems(pose_set, tuple(problems))


def picture_sizes(pose_set: PoseSet) -> tuple[np.ndarray, np.ndarray]:
    """(N, 2) size of each instance's picture, and (N,) whether it is known."""
    size = pose_set.sizes[pose_set.image_index].astype(np.float64)
    return size, np.asarray((size > 0).all(axis=1))


def without(
    pose_set: PoseSet, bad: np.ndarray, where: str, what: Callable[[int], str], fix: str
) -> PoseSet:
    """Without the instances of mask ``bad`` (N,), one problem each, ``what(i)`` its words."""
    if not bad.any():
        return pose_set
    problems = tuple(
        Problem(_entry(pose_set, where, int(i)), what(i), fix)
        for i in map(int, np.flatnonzero(bad))
    )
    return with_problems(pose_set.select_instances(~bad), problems)


def with_problems(pose_set: PoseSet, problems: tuple[Problem, ...]) -> PoseSet:
    """The set with further problems."""
    return replace(pose_set, problems=pose_set.problems + problems)


def _entry(pose_set: PoseSet, where: str, i: int) -> str:
    file = pose_set.files[pose_set.image_index[i]]
    return f"{where}: annotation {pose_set.annotation_ids[i]} ({file})"


def _box_text(box: np.ndarray) -> str:
    return "[" + ", ".join(f"{value:g}" for value in box) + "]"


def _size_text(size: np.ndarray) -> str:
    return f"{size[0]:g}x{size[1]:g}"
