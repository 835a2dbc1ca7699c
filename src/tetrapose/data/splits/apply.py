"""A set seen through splits: plain lists of picture names, or parts of split files."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from tetrapose.data.reading import Split, read_split
from tetrapose.data.splits import files
from tetrapose.data.splits.files import Part, Wanted
from tetrapose.errors import UserError
from tetrapose.structures import PoseSet, Problem


@dataclass
class _Kept:
    """What the splits together keep: pictures (M,), animals (N,), points (N, K)."""

    pictures: np.ndarray
    animals: np.ndarray
    points: np.ndarray

    @staticmethod
    def nothing_of(pose_set: PoseSet) -> _Kept:
        return _Kept(
            np.zeros(len(pose_set.files), dtype=bool),
            np.zeros(len(pose_set), dtype=bool),
            np.zeros(pose_set.visibility.shape, dtype=bool),
        )


def through(pose_set: PoseSet, split: Split, folder: Path) -> PoseSet:
    """Only what the splits name: pictures, animals and points, of several splits all together.

    A split is a text file with one picture name a line (``#`` begins a comment), or
    ``FILE.json:PART``. A bare file name is looked for in ``folder``, the set's own, when there is
    none where the program runs. Pictures go by their path or the end of it ("a.jpg"). Names that
    the set lacks become problems. UserError when nothing is found, or when a split file was made
    from other labels than these (``FILE.json:PART:anyway`` takes it all the same).
    """
    kept = _Kept.nothing_of(pose_set)
    tails = _tails(pose_set)
    problems: list[Problem] = []
    lists: dict[str, Path] = {}
    places: list[Path] = []
    for one in [split] if isinstance(split, (str, Path)) else split:
        asked = files.wanted(one)
        path = _place(Path(one) if asked is None else asked.path, folder)
        places.append(path)
        if asked is None:
            lists = read_split(path, folder) | lists
            continue
        problems += _take_file(kept, pose_set, replace(asked, path=path), tails, folder)
    problems += _take_names(kept, pose_set, lists, tails)
    if not kept.pictures.any():
        _raise_nothing(pose_set, places, lists, problems)
    visibility = np.where(kept.points, pose_set.visibility, 0).astype(np.uint8)
    keypoints = np.where(visibility[..., None] > 0, pose_set.keypoints, np.nan)
    hides = bool((visibility != pose_set.visibility)[kept.animals].any())
    if hides:
        pose_set = replace(pose_set, visibility=visibility, keypoints=keypoints)
    chosen = pose_set.select_instances(kept.animals).select_images(kept.pictures)
    return replace(chosen, problems=pose_set.problems + tuple(problems))


def _place(path: Path, folder: Path) -> Path:
    if not path.exists() and not path.is_absolute() and (folder / path).exists():
        return folder / path
    return path


def _absent(path: Path, folder: Path, pattern: str) -> UserError:
    there = [file.name for file in folder.glob(pattern)] if folder.is_dir() else []
    near = get_close_matches(path.name, there, n=3) or sorted(there)
    tail = f"; {folder} has {', '.join(near)}" if near else f", nor in {folder}"
    return UserError(f"split {path}: no such file{tail}")


def _tails(pose_set: PoseSet) -> dict[str, list[int]]:
    """Pictures by their path and by every end of it."""
    tails: dict[str, list[int]] = defaultdict(list)
    for index, file in enumerate(pose_set.files):
        parts = file.split("/")
        for start in range(len(parts)):
            tails["/".join(parts[start:])].append(index)
    return tails


def _take_names(
    kept: _Kept, pose_set: PoseSet, names: dict[str, Path], tails: dict[str, list[int]]
) -> list[Problem]:
    """Keep the pictures of plain lists, whole."""
    mask = np.zeros(len(pose_set.files), dtype=bool)
    problems = _found(mask, names, tails)
    animals = mask[pose_set.image_index]
    kept.pictures |= mask
    kept.animals |= animals
    kept.points[animals] = True
    return problems


def _found(mask: np.ndarray, names: dict[str, Path], tails: dict[str, list[int]]) -> list[Problem]:
    """Mark the pictures of ``names`` in ``mask``; a problem each name that fits none or several."""
    problems = []
    for name, path in names.items():
        found = tails.get(name, [])
        if len(found) == 1:
            mask[found[0]] = True
        elif found:
            what = f"{len(found)} pictures end in this name"
            problems.append(Problem(f"{path}: {name}", what, "write more of the path"))
        else:
            what = "the set has no such picture"
            problems.append(Problem(f"{path}: {name}", what, "correct or remove the line"))
    return problems


def _take_file(
    kept: _Kept, pose_set: PoseSet, asked: Wanted, tails: dict[str, list[int]], folder: Path
) -> list[Problem]:
    """Keep what the asked parts of a split file name."""
    if not asked.path.exists():
        raise _absent(asked.path, folder, "*.json")
    split = files.load(asked.path)
    parts = files.chosen(split, asked)
    told = split.source
    if told["digest"] != pose_set.digest and not asked.anyway:
        raise UserError(
            f"split {asked.path}: was made from other labels than {pose_set.root} has now "
            f"({told.get('pictures')} pictures, {told.get('animals')} animals, "
            f"digest {told['digest'][:12]}; now {len(pose_set.files)}, {len(pose_set)}, "
            f"{pose_set.digest[:12]}); make the split again, or add :{files.ANYWAY} after the part"
        )
    problems: list[Problem] = []
    for part in parts:
        problems += _take_part(kept, pose_set, part, asked.path, tails)
    return problems


def _take_part(
    kept: _Kept, pose_set: PoseSet, part: Part, path: Path, tails: dict[str, list[int]]
) -> list[Problem]:
    mask = np.ones(len(pose_set.files), dtype=bool)
    problems: list[Problem] = []
    if part.pictures is not None:
        mask[:] = False
        problems = _found(mask, dict.fromkeys(part.pictures, path), tails)
    animals = mask[pose_set.image_index]
    if part.annotations is not None:
        animals &= np.isin(pose_set.annotation_ids, np.array(part.annotations))
        unknown = np.setdiff1d(np.array(part.annotations), pose_set.annotation_ids)
        problems += [
            Problem(f"{path}: annotation {i}", "the set has no such annotation", "make it again")
            for i in unknown.tolist()
        ]
    points = np.repeat(animals[:, None], len(pose_set.skeleton), axis=1)
    if part.shown is not None:
        points &= shown_points(pose_set, part, path)
    kept.pictures |= mask
    kept.animals |= animals
    kept.points |= points
    return problems


def shown_points(pose_set: PoseSet, part: Part, path: Path) -> np.ndarray:
    """(N, K) True where a block of the part lists the animal and the point."""
    shown = np.zeros(pose_set.visibility.shape, dtype=bool)
    names = pose_set.skeleton.names
    for block in part.shown or ():
        odd = [name for name in block.points if name not in names]
        if odd:
            raise UserError(
                f"split {path}: shows {', '.join(odd)}, which {pose_set.skeleton.name} has not"
            )
        rows = np.isin(pose_set.annotation_ids, np.array(block.annotations))
        columns = np.array([names.index(name) for name in block.points], dtype=np.int64)
        shown[np.flatnonzero(rows)[:, None], columns] = True
    return shown


def counted(pose_set: PoseSet, part: Part) -> tuple[int, int, int]:
    """How many pictures, animals and labelled points of a set a part of it has."""
    kept = _Kept.nothing_of(pose_set)
    _take_part(kept, pose_set, part, Path("new"), _tails(pose_set))
    labelled = kept.points & pose_set.labelled
    return int(kept.pictures.sum()), int(kept.animals.sum()), int(labelled.sum())


def _raise_nothing(
    pose_set: PoseSet, places: list[Path], lists: dict[str, Path], problems: list[Problem]
) -> None:
    told = " and ".join(sorted({str(path) for path in places}))
    if not lists and not problems:
        raise UserError(f"split {told}: names no picture: nothing but comments or empty lines")
    example = f"; the set's are like {pose_set.files[0]}" if pose_set.files else ""
    count = len(lists) or len(problems)
    raise UserError(
        f"split {told}: none of its {count} names is a picture of {pose_set.root}{example}"
    )
