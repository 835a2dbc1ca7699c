"""A picture's animals as the page sends and gets them: plain values in, Instances out, and back.

The form, which is also what "Export JSON" writes:

  {"format": "tetrapose-pose/1", "skeleton": "union26",
   "picture": {"name": "dog.jpg", "width": 640, "height": 480},
   "animals": [{"label": "dog", "bbox": [x1, y1, x2, y2],
                "keypoints": {"nose": [x, y, v], "left_eye": null, ...}}]}

Pixels as everywhere: the centre of the top-left one is (0, 0). v is COCO's 1 hidden or 2 visible;
null, or a name left out, is a point that is not there. ``bbox`` may be null.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tetrapose import skeletons
from tetrapose.data.gather import boxes_around
from tetrapose.errors import UserError
from tetrapose.geometry import box_area
from tetrapose.skeletons import Skeleton, mapping
from tetrapose.structures import Instances, PoseSet

FORMAT = "tetrapose-pose/1"
MOST_ANIMALS = 64
MOST_TEXT = 120  # characters of a name or label that are kept
FARTHEST = 100_000.0  # pixels from the picture's corner
LARGEST_SIDE = 16_384
OFFERED = ("union26", "union21", "union24", "quadruped")  # first in the list, in this order


@dataclass(frozen=True)
class Posed:
    """The animals of one picture of ``size`` (width, height); ``labels`` names each animal."""

    skeleton: Skeleton
    name: str
    size: tuple[int, int]
    instances: Instances
    labels: tuple[str, ...]


def read(content: Any) -> Posed:
    """Plain values of the form above; a UserError names the first thing that is wrong."""
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"the pose: not of the form {FORMAT}; export it again from the studio")
    skeleton = shipped(content.get("skeleton"))
    picture = content.get("picture")
    if not isinstance(picture, dict):
        raise UserError("the pose: its picture is missing (name, width and height are due)")
    size = (side(picture.get("width"), "width"), side(picture.get("height"), "height"))
    animals = content.get("animals")
    if not isinstance(animals, list) or not all(isinstance(one, dict) for one in animals):
        raise UserError("the pose: animals must be a list of objects")
    if len(animals) > MOST_ANIMALS:
        raise UserError(f"the pose: {len(animals)} animals; at most {MOST_ANIMALS} are taken")
    count = len(skeleton)
    keypoints = np.full((len(animals), count, 2), np.nan)
    visibility = np.zeros((len(animals), count), dtype=np.uint8)
    for row, animal in enumerate(animals):
        _read_points(animal, row, skeleton, keypoints[row], visibility[row])
    given = [box(animal.get("bbox"), row) for row, animal in enumerate(animals)]
    boxes = np.array(given, dtype=np.float64).reshape(-1, 4)
    return Posed(
        skeleton=skeleton,
        name=text(picture.get("name"), "picture"),
        size=size,
        instances=Instances(keypoints, visibility, _holding(boxes, keypoints, size)),
        labels=tuple(text(animal.get("label"), "animal") for animal in animals),
    )


def to_plain(posed: Posed) -> dict[str, Any]:
    """The form above, places rounded to hundredths of a pixel."""
    names = posed.skeleton.names
    scores = posed.instances.scores
    animals = []
    for row, label in enumerate(posed.labels):
        points = zip(posed.instances.keypoints[row], posed.instances.visibility[row], strict=True)
        animal: dict[str, Any] = {
            "label": label,
            "bbox": [round(float(v), 2) for v in posed.instances.bboxes[row]],
            "keypoints": {
                name: [round(float(x), 2), round(float(y), 2), int(seen)] if seen else None
                for name, ((x, y), seen) in zip(names, points, strict=True)
            },
        }
        if not np.isfinite(posed.instances.bboxes[row]).all():
            animal["bbox"] = None
        if scores is not None:
            rounded = (round(float(score), 3) for score in scores[row])
            animal["scores"] = dict(zip(names, rounded, strict=True))
        animals.append(animal)
    width, height = posed.size
    return {
        "format": FORMAT,
        "skeleton": posed.skeleton.name,
        "picture": {"name": posed.name, "width": width, "height": height},
        "animals": animals,
    }


def carried(posed: Posed, target: str) -> tuple[Posed, dict[str, list[str]]]:
    """The animals on another skeleton, and which of its points are exact, near and absent.

    Points that only the old skeleton has are lost; boxes stay.
    """
    found = mapping.between(posed.skeleton, shipped(target))
    old = posed.instances
    scores = None if old.scores is None else mapping.carried(old.scores, found, empty=0.0)
    moved = replace(
        old,
        keypoints=mapping.carried(old.keypoints, found, empty=np.nan),
        visibility=mapping.carried(old.visibility, found, empty=0),
        scores=scores,
    )
    grades = {
        word: [name for _, name in found.named(grade)]
        for word, grade in (
            ("exact", mapping.EXACT), ("near", mapping.NEAR), ("absent", mapping.ABSENT)
        )
    }  # fmt: skip
    grades["lost"] = list(found.lost)
    return replace(posed, skeleton=found.target, instances=moved), grades


def to_set(posed: Posed, root: Path, file: str) -> PoseSet:
    """A labelled set of this one picture, ``root / file``; animals without a point are left out."""
    rows = np.flatnonzero((posed.instances.visibility > 0).any(axis=1))
    names = tuple(dict.fromkeys(posed.labels[row] for row in rows)) or ("animal",)
    boxes = posed.instances.bboxes[rows]
    return PoseSet(
        skeleton=posed.skeleton,
        root=root,
        source="studio",
        licence="own",
        files=(file,),
        image_ids=np.array([1]),
        sizes=np.array([posed.size]),
        groups=np.zeros(1, dtype=np.int64),
        image_index=np.zeros(len(rows), dtype=np.int64),
        keypoints=posed.instances.keypoints[rows],
        visibility=posed.instances.visibility[rows],
        bboxes=boxes.astype(np.float32),
        areas=box_area(boxes),
        species=np.array([names.index(posed.labels[row]) for row in rows], dtype=np.int64),
        species_names=names,
        crowd=np.zeros(len(rows), dtype=bool),
        annotation_ids=np.arange(1, len(rows) + 1),
    )


@cache
def presets() -> dict[str, dict[str, Any]]:
    """Animals to begin with: view -> ``title`` and ``places``, place -> (x, y) in 0..1."""
    file = resources.files("tetrapose.app") / "presets.yaml"
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    return {
        view: {
            "title": entry["title"],
            "places": {name: (x / 1000, y / 1000) for name, (x, y) in entry["places"].items()},
        }
        for view, entry in content.items()
    }


def preset(view: str, skeleton: Skeleton) -> np.ndarray:
    """(K, 2) the points of a preset in 0..1 of its longer side, NaN where its places lack one."""
    places = presets()[view]["places"]
    rows = [places.get(point.place, (math.nan, math.nan)) for point in skeleton.keypoints]
    return np.array(rows, dtype=np.float64).reshape(-1, 2)


def shipped(name: Any) -> Skeleton:
    """A shipped skeleton by name, never a file: the name comes from the page."""
    if not isinstance(name, str) or name not in skeletons.available():
        raise UserError(f"no skeleton {text(name, '')!r} ships; the page's list has those that do")
    return skeletons.load(name)


def side(value: Any, what: str) -> int:
    """A whole number of pixels that a picture's side may have."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LARGEST_SIDE:
        raise UserError(f"the picture's {what} must be a whole number from 1 to {LARGEST_SIDE}")
    return value


def text(value: Any, otherwise: str) -> str:
    """One line of printable text; ``otherwise`` where there is none."""
    if not isinstance(value, str):
        return otherwise
    line = " ".join("".join(c if c.isprintable() else " " for c in value).split())
    return line[:MOST_TEXT].strip() or otherwise


def _read_points(
    animal: dict[str, Any], row: int, skeleton: Skeleton, places: np.ndarray, seen: np.ndarray
) -> None:
    """Fill (K, 2) and (K,) of one animal."""
    given = animal.get("keypoints")
    if not isinstance(given, dict):
        raise UserError(f"the pose: animal {row + 1} has no keypoints by name")
    for name, value in given.items():
        if name not in skeleton.names:
            told = text(name, "")
            raise UserError(f"the pose: {skeleton.name} has no keypoint {told!r}")
        if value is None:
            continue
        index = skeleton.index(name)
        numbers = _numbers(value, 3, f"animal {row + 1}, {name}: [x, y, v]")
        if numbers[2] not in (0, 1, 2):
            raise UserError(f"the pose: animal {row + 1}, {name}: v is 0, 1 or 2")
        if numbers[2] > 0:
            places[index] = numbers[:2]
            seen[index] = int(numbers[2])


def box(value: Any, row: int) -> list[float]:
    """Four numbers of animal ``row`` (from 0) as x1, y1, x2, y2; NaN for null."""
    if value is None:
        return [math.nan] * 4
    x1, y1, x2, y2 = _numbers(value, 4, f"animal {row + 1}, bbox: [x1, y1, x2, y2]")
    if not (x2 > x1 and y2 > y1):
        raise UserError(f"the pose: animal {row + 1}: its bbox has no area")
    return [x1, y1, x2, y2]


def _numbers(value: Any, count: int, what: str) -> list[float]:
    good = isinstance(value, list) and len(value) == count
    if not good or not all(
        isinstance(v, int | float) and not isinstance(v, bool) and abs(v) <= FARTHEST for v in value
    ):
        raise UserError(f"the pose: {what} must be {count} finite numbers")
    return [float(v) for v in value]


def _holding(boxes: np.ndarray, keypoints: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Boxes (N, 4) widened to hold their points, cut at the picture; made of these where NaN.

    One that would lie wholly beside the picture is not cut.
    """
    around = boxes_around(keypoints, np.zeros((len(keypoints), 2)))
    given = ~np.isnan(boxes)
    low = np.where(given, np.fmin(boxes, np.tile(_least(keypoints), 2)), around)[:, :2]
    high = np.where(given, np.fmax(boxes, np.tile(-_least(-keypoints), 2)), around)[:, 2:]
    whole = np.concatenate([low, high], axis=1)
    cut = np.clip(whole, -0.5, np.tile(np.array(size) - 0.5, 2))
    inside = (cut[:, 2:] - cut[:, :2] > 0).all(axis=1, keepdims=True)
    return np.where(inside, cut, whole)


def _least(keypoints: np.ndarray) -> np.ndarray:
    """(N, 2) the least x and y of the points that are there, NaN where there is none."""
    there = np.isfinite(keypoints)
    least = np.where(there, keypoints, np.inf).min(axis=1, initial=np.inf)
    return np.where(np.isfinite(least), least, np.nan)
