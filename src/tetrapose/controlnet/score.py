"""How well painted animals keep to the asked pose: painted pictures back through the pose model.

Two controls say what the figures mean: real pictures with their own points are what the pose model
itself reaches, and points dealt out anew among those of each animal are what chance does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tetrapose import images
from tetrapose.controlnet.poses import Pose, from_points
from tetrapose.controlnet.stock import Stock, open_stock
from tetrapose.errors import UserError
from tetrapose.evaluation import score as scoring
from tetrapose.evaluation.predictions import (
    in_given_boxes,
    mapping_notes,
    pairs_of,
)
from tetrapose.evaluation.protocols import Protocol, protocol
from tetrapose.geometry import box_area
from tetrapose.skeletons import Skeleton, mapping
from tetrapose.structures import PoseSet

LIST = "pictures.jsonl"  # what generate writes
BOXES = {
    "asked": "the pose model looks into the asked animals' boxes",
    "found": "the pose model looks into boxes that the finder found, which cost what is missed",
}


@dataclass(frozen=True)
class Asked:
    """Pictures with the poses that were asked for: row i of ``set`` is picture i of ``files``."""

    pose_set: PoseSet
    captions: tuple[str, ...]
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.pose_set.files)


@dataclass(frozen=True)
class Scored:
    """Figures of one set of pictures, and each animal's points as they were found.

    ``keypoints`` (N, K, 2) and ``oks`` (N,) in the order of the asked animals, NaN for none.
    """

    figures: dict[str, Any]
    keypoints: np.ndarray
    oks: np.ndarray


def painted(folder: str | Path, skeleton: Skeleton) -> Asked:
    """The pictures that ``tetrapose controlnet generate`` wrote, their poses on a skeleton.

    UserError for a folder without its list, and where no picture's points are known (drawn by
    hand).
    """
    root = Path(folder)
    rows = read_list(root)
    known = [row for row in rows if row.get("pose")]
    if not known:
        raise UserError(
            f"{root}: no picture whose points are known; pictures of drawn pose pictures"
            " (--pose-picture) cannot be scored"
        )
    missing = [row["file"] for row in known if not (root / row["file"]).is_file()]
    if missing:
        raise UserError(f"{root}: {len(missing)} pictures are missing, {missing[0]} for one")
    poses = [from_points(row["pose"], f"{root}: {row['file']}") for row in known]
    captions = [str(row.get("prompt", "")) for row in known]
    return _asked(root, [row["file"] for row in known], poses, captions, skeleton)


def real(libraries: Sequence[str | Path], skeleton: Skeleton, most: int = 0) -> Asked:
    """The pictures of libraries of triplets with their own points, where they lie in the shards.

    ``most`` takes that many, evenly spread; 0 takes all.
    """
    stock = open_stock(libraries)
    rows = np.arange(len(stock))
    if 0 < most < len(stock):
        rows = np.unique(np.linspace(0, len(stock) - 1, most).round().astype(int))
    poses = [from_points(stock.points(row), stock.keys[row]) for row in rows.tolist()]
    captions = [stock.caption(row) for row in rows.tolist()]
    files = [_inside(stock, row) for row in rows.tolist()]
    return _asked(Path("/"), files, poses, captions, skeleton)


def shuffled(asked: Asked, seed: int = 0) -> Asked:
    """The same pictures with each animal's points dealt out anew among their names."""
    draw = np.random.default_rng(seed)
    one = asked.pose_set
    points, seen = one.keypoints.copy(), one.visibility.copy()
    for row in range(len(one)):
        there = np.flatnonzero(seen[row] > 0)
        points[row, there] = points[row, _moved(there, draw)]
    return replace(asked, pose_set=replace(one, keypoints=points, visibility=seen))


def score(
    asked: Asked,
    predictor: Any,
    *,
    finder: Any = None,
    progress: Callable[[int], None] | None = None,
) -> Scored:
    """Predict on the pictures and compare with what was asked; COCO's figures, PCK, per keypoint.

    With a ``finder`` its boxes are looked into, else those that were asked for. Areas are those of
    the asked boxes, all species are one category.
    """
    pose_set = asked.pose_set
    if finder is None:
        made = predictor.predict_set(pose_set, progress=progress)
        told = in_given_boxes(pose_set, made.keypoints, made.scores)
        problems = made.problems
    else:
        from tetrapose.inference.found import find_in_set, predict_found

        found = find_in_set(finder, pose_set, progress=progress)
        told, problems = predict_found(predictor, found, pose_set), found.problems
    rules = _rules(asked, "asked" if finder is None else "found", predictor)
    figures = scoring.score(pose_set, told, rules)
    pairs = pairs_of(told, pose_set)
    likeness = scoring.instance_oks(pose_set, pairs, rules)
    figures["pictures"] = len(asked)
    figures["unreadable"] = [str(one) for one in problems]
    return Scored(figures, pairs.predicted, likeness)


def short(figures: dict[str, Any]) -> dict[str, float]:
    """The figures of a table: AP and PCK in percent, mean OKS."""
    shares = figures["pck"]["box_side"]
    return {
        "AP": 100 * figures["AP"],
        "AP50": 100 * figures["AP50"],
        "PCK@0.05": 100 * _number(shares, "0.05"),
        "PCK@0.1": 100 * _number(shares, "0.1"),
        "OKS": float(figures["oks"] if figures["oks"] is not None else np.nan),
    }


def read_list(folder: Path) -> list[dict[str, Any]]:
    """What ``pictures.jsonl`` tells of each picture; UserError where there is none."""
    path = folder / LIST
    if not path.is_file():
        raise UserError(
            f"{folder}: no pictures of tetrapose controlnet generate ({LIST} is missing)"
        )
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row = json.loads(line)
            row["file"], _ = str(row["file"]), row["seed"]
        except (ValueError, KeyError, TypeError):
            continue  # cut off by what ended the program; its picture is made again
        if "/" in row["file"] or row["file"].startswith("."):
            raise UserError(f"{path}: line {number} names a file outside the folder")
        rows.append(row)
    return rows


def _inside(stock: Stock, row: int) -> str:
    """A triplet's picture as ``images.read_image`` finds it within its shard."""
    start, length = stock.places[row, 0].tolist()
    path = stock.files[int(stock.shard[row])].resolve()
    return f"{path.as_posix().lstrip('/')}/{images.member(start, length, '.jpg')}"


def _asked(
    root: Path, files: list[str], poses: list[Pose], captions: list[str], skeleton: Skeleton
) -> Asked:
    notes: list[str] = []
    points, seen, boxes, index, labels = [], [], [], [], []
    hows: dict[str, mapping.Mapping] = {}
    for number, pose in enumerate(poses):
        name = pose.skeleton.name
        if name not in hows:
            hows[name] = mapping.between(pose.skeleton, skeleton)
            notes += [f"{name}: {note}" for note in mapping_notes(hows[name])]
        one = pose.instances
        points.append(mapping.carried(one.keypoints, hows[name], empty=np.nan))
        seen.append(mapping.carried(one.visibility, hows[name], empty=0))
        boxes.append(one.bboxes)
        index += [number] * len(one)
        labels += list(pose.labels)
    names = tuple(dict.fromkeys(labels))
    all_boxes = np.concatenate(boxes).astype(np.float64)
    count = len(index)
    pose_set = PoseSet(
        skeleton=skeleton,
        root=root,
        source="asked",
        licence="",
        files=tuple(files),
        image_ids=np.arange(1, len(files) + 1),
        sizes=np.array([pose.size for pose in poses]),
        groups=np.arange(len(files)),
        image_index=np.array(index, dtype=np.int64),
        keypoints=np.concatenate(points),
        visibility=np.concatenate(seen).astype(np.uint8),
        bboxes=all_boxes,
        areas=box_area(all_boxes),
        species=np.array([names.index(label) for label in labels], dtype=np.int64),
        species_names=names,
        crowd=np.zeros(count, dtype=bool),
        annotation_ids=np.arange(1, count + 1),
    )
    return Asked(pose_set, tuple(captions), tuple(notes))


def _rules(asked: Asked, boxes: str, predictor: Any) -> Protocol:
    return protocol(
        "coco-pooled",
        area="box",
        boxes=BOXES[boxes],
        flip_test=predictor.flip,
        decoder=str(predictor.protocol["codec"].get("decoder", "")),
        notes=asked.notes,
    )


def _moved(there: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """The same indices in another order, each in another's place where there is more than one."""
    order = draw.permutation(len(there))
    out = np.empty_like(there)
    out[order] = there[np.roll(order, 1)]
    return out


def _number(values: dict[str, Any], key: str) -> float:
    value = values.get(key)
    return float("nan") if value is None else float(value)
