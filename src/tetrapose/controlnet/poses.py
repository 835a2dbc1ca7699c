"""A pose as a generator is asked for it: animals on a skeleton in a picture of some size."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tetrapose import geometry, skeletons
from tetrapose.data.gather import boxes_around
from tetrapose.errors import UserError
from tetrapose.evaluation.predictions import instance_scores
from tetrapose.skeletons import Skeleton
from tetrapose.structures import Instances

LEAST_SCORE = 0.3  # of a predicted point that is drawn, as triplets are made
FARTHEST = 100_000.0
LARGEST_SIDE = 16_384


@dataclass(frozen=True)
class Pose:
    """Animals in pixels of a picture of ``size`` (width, height); ``labels`` names each."""

    skeleton: Skeleton
    size: tuple[int, int]
    instances: Instances
    labels: tuple[str, ...]

    def resized(self, size: tuple[int, int]) -> Pose:
        """The same animals in a picture of another size."""
        matrix = geometry.resize_matrix(self.size, size)
        one = self.instances
        corners = geometry.transform_points(matrix, one.bboxes.reshape(-1, 2, 2))
        points = geometry.transform_points(matrix, one.keypoints)
        moved = replace(one, keypoints=points, bboxes=corners.reshape(-1, 4))
        return replace(self, size=size, instances=moved)


def to_points(pose: Pose) -> dict[str, Any]:
    """Plain values in the form of a triplet's points (``triplets.rows.Triplet``)."""
    one = pose.instances
    animals = []
    for row, label in enumerate(pose.labels):
        there = one.visibility[row] > 0
        animals.append(
            {
                "species": label,
                "bbox": _rounded(one.bboxes[row]),
                "keypoints": [
                    [round(float(x), 3), round(float(y), 3), int(v)] if seen else [None, None, 0]
                    for (x, y), v, seen in zip(
                        one.keypoints[row], one.visibility[row], there, strict=True
                    )
                ],
            }
        )
    return {"skeleton": pose.skeleton.name, "size": list(pose.size), "animals": animals}


def from_points(content: Any, where: str) -> Pose:
    """A pose of a triplet's points; UserError for what is not of that form."""
    try:
        skeleton = skeletons.load(str(content["skeleton"]))
        width, height = (_side(value, where) for value in content["size"])
        animals = list(content["animals"])
        points = np.full((len(animals), len(skeleton), 2), np.nan)
        seen = np.zeros((len(animals), len(skeleton)), dtype=np.uint8)
        boxes = np.full((len(animals), 4), np.nan)
        for row, animal in enumerate(animals):
            if len(animal["keypoints"]) != len(skeleton):
                raise ValueError(
                    f"animal {row + 1} has {len(animal['keypoints'])} points, {skeleton.name} has"
                    f" {len(skeleton)}"
                )
            for k, (x, y, v) in enumerate(animal["keypoints"]):
                if v:
                    points[row, k], seen[row, k] = (float(x), float(y)), int(v)
            boxes[row] = [float(v) for v in animal["bbox"]]
        labels = tuple(str(animal.get("species") or "animal") for animal in animals)
    except UserError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{where}: not a pose ({type(error).__name__}: {error})") from None
    return checked(Pose(skeleton, (width, height), Instances(points, seen, boxes), labels), where)


def from_predictions(path: Path, content: list[Any], picture: str, size: tuple[int, int] | None
) -> Pose:  # fmt: skip
    """The animals of one picture of ``predictions.json`` as ``tetrapose predict`` writes it.

    ``picture`` names it (its file_name, or the end of it), "" the only one there is; ``size`` is
    its (width, height), which the file does not tell. The skeleton stands in
    ``predictions.meta.json`` beside it. Points that score below ``LEAST_SCORE`` are left out.
    """
    names = sorted({str(one.get("file_name")) for one in content if isinstance(one, dict)})
    chosen = [name for name in names if name.endswith(picture)]
    if len(chosen) != 1:
        raise UserError(
            f"{path}: which picture? --picture names one of {', '.join(names[:4])}"
            f"{' and more' if len(names) > 4 else ''}"
        )
    if size is None:
        raise UserError(f"{path}: does not tell the size of {chosen[0]}; give --size WIDTH HEIGHT")
    meta = path.with_name("predictions.meta.json")
    try:
        skeleton = skeletons.from_dict(json.loads(meta.read_text(encoding="utf-8"))["skeleton"])
        rows = [one for one in content if one["file_name"] == chosen[0]]
        table = np.array([one["keypoints"] for one in rows], dtype=np.float64)
        table = table.reshape(len(rows), len(skeleton), 3)
        boxes = geometry.xywh_to_xyxy(np.array([one["bbox"] for one in rows], dtype=np.float64))
        labels = tuple(str(one.get("group") or "animal") for one in rows)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: its poses cannot be read ({error}); predict again") from None
    there = table[..., 2] >= LEAST_SCORE
    points = np.where(there[..., None], table[..., :2], np.nan)
    seen = np.where(there, 2, 0).astype(np.uint8)
    return checked(Pose(skeleton, size, Instances(points, seen, boxes), labels), str(path))


def from_photograph(path: str | Path, finder: Any, predictor: Any) -> Pose:
    """The pose of the animals on a photograph, found and predicted; UserError for none."""
    seen = finder.find(path)
    if not len(seen):
        raise UserError(f"{path}: no animal was found; give its points instead (--pose)")
    one = predictor.predict(path, seen.bboxes)
    sure = one.scores >= LEAST_SCORE
    drawn = Instances(
        np.where(sure[..., None], one.keypoints, np.nan),
        np.where(sure, one.visibility, 0).astype(np.uint8),
        one.bboxes,
    )
    order = np.argsort(-instance_scores(one.scores, seen.scores), kind="stable")
    rows = [row for row in order.tolist() if sure[row].any()]
    kept = Instances(drawn.keypoints[rows], drawn.visibility[rows], drawn.bboxes[rows])
    labels = tuple(seen.groups[row] or "animal" for row in rows)
    return checked(Pose(predictor.skeleton, seen.size, kept, labels), str(path))


def checked(pose: Pose, where: str) -> Pose:
    """The pose with a box for every animal; UserError where there is no point to follow."""
    one = pose.instances
    if not (one.visibility > 0).any():
        raise UserError(f"{where}: there is no point to follow")
    places = one.keypoints[one.visibility > 0]
    if not np.isfinite(places).all() or (np.abs(places) > FARTHEST).any():
        raise UserError(f"{where}: a point's place is not a number within {FARTHEST:g} px")
    around = boxes_around(one.keypoints, np.tile(np.array(pose.size), (len(one), 1)))
    boxes = np.where(np.isfinite(one.bboxes).all(axis=1, keepdims=True), one.bboxes, around)
    return replace(pose, instances=replace(one, bboxes=boxes))


def _side(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LARGEST_SIDE:
        raise UserError(f"{where}: a side of {value!r} px; whole numbers from 1 to {LARGEST_SIDE}")
    return value


def _rounded(box: np.ndarray) -> list[float]:
    return [round(float(value), 3) for value in box]
