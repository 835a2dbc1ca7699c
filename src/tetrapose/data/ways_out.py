"""What every way out needs: what a form cannot hold, pictures beside labels, no overwriting."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from tetrapose.data import naming
from tetrapose.data.gather import boxes_around
from tetrapose.errors import UserError
from tetrapose.geometry import box_area
from tetrapose.structures import PoseSet

PLACING = ("copy", "link", "none")
CLOSE = 1.0  # px by which a box or the root of an area may differ unremarked


def lost(pose_set: PoseSet, holds: frozenset[str]) -> tuple[str, ...]:
    """What of this set does not come back from a form that holds ``holds`` (names of ``FACETS``).

    Only what the set really has is told: a set of one species loses no species.
    """
    told = [words(pose_set) for name, words in FACETS.items() if name not in holds]
    return tuple(words for words in told if words)


def _species(pose_set: PoseSet) -> str:
    names = pose_set.species_names
    used = {names[i] for i in np.unique(pose_set.species)}
    return f"the species ({', '.join(sorted(used)[:4])})" if used - {"animal"} else ""


def _counted(what: str, of: Callable[[PoseSet], np.ndarray]) -> Callable[[PoseSet], str]:
    def words(pose_set: PoseSet) -> str:
        count = int(of(pose_set).sum())
        return f"{what} {count:,}" if count else ""

    return words


def _boxes(pose_set: PoseSet) -> np.ndarray:
    made = boxes_around(pose_set.keypoints, pose_set.sizes[pose_set.image_index])
    return np.asarray(~(np.abs(made - pose_set.bboxes) <= CLOSE).all(axis=1))


def _areas(pose_set: PoseSet) -> np.ndarray:
    return np.abs(np.sqrt(pose_set.areas) - np.sqrt(box_area(pose_set.bboxes))) > CLOSE


def _groups(pose_set: PoseSet) -> str:
    shared = len(pose_set.files) - len(np.unique(pose_set.groups))
    return "which pictures belong together (videos, copies)" if shared else ""


def _sigmas(pose_set: PoseSet) -> str:
    skeleton = pose_set.skeleton
    try:
        found = naming.match(skeleton.names)
    except UserError:
        return "sigmas, parts and places of the skeleton"
    order = [found.index(name) for name in skeleton.names]
    same = np.array_equal(found.sigmas[order], skeleton.sigmas)
    return "" if same else f"the sigmas: its names are {found.name}'s"


def _weights(pose_set: PoseSet) -> str:
    return "" if pose_set.weights is None else "the weights of points"


FACETS: dict[str, Callable[[PoseSet], str]] = {
    "species": _species,
    "hidden": _counted("that points are hidden, of", lambda s: np.asarray(s.visibility == 1)),
    "boxes": _counted("boxes (made of the points when read again), of", _boxes),
    "areas": _counted("areas (the box's when read again), of", _areas),
    "crowds": _counted("that animals are crowds, of", lambda s: s.crowd),
    "pointless": _counted(
        "animals without a point,", lambda s: np.asarray(~s.labelled.any(axis=1))
    ),
    "groups": _groups,
    "sigmas": _sigmas,
    "weights": _weights,
    "licence": lambda s: "the licence",
}


def empty_folder(path: Path) -> Path:
    """The folder, made; a UserError where something lies in it: nothing is ever overwritten."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        if next(path.iterdir(), None) is not None:
            raise UserError(f"{path}: the folder is not empty; name a new one")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from None
    return path


def place(pose_set: PoseSet, names: Sequence[str], root: Path, how: str) -> None:
    """Each picture as ``names[i]`` below ``root``: copied, as a hard link, or not at all (none)."""
    if how not in PLACING:
        raise UserError(f"pictures={how}: it is {', '.join(PLACING)}")
    if how == "none":
        return
    for index, name in enumerate(names):
        source, target = pose_set.path(index), root / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if how == "link":
                os.link(source, target)
            else:
                shutil.copyfile(source, target)
        except OSError as error:
            fix = "; copy them instead" if how == "link" else ""
            raise UserError(f"{source}: not placed as {target} ({error.strerror}){fix}") from None


def distinct(names: Sequence[str]) -> list[str]:
    """The names, with a number before the suffix where one stood before (also in other letters)."""
    seen: set[str] = set()
    out = []
    for name in names:
        stem, suffix = os.path.splitext(name)
        new, number = name, 1
        while new.lower() in seen:
            number += 1
            new = f"{stem}_{number}{suffix}"
        seen.add(new.lower())
        out.append(new)
    return out
