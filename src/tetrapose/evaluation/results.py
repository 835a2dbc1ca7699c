"""COCO results (a list of dicts) laid beside a labelled set."""

from __future__ import annotations

from collections.abc import Mapping as Table
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np

from tetrapose.errors import UserError
from tetrapose.evaluation import oks
from tetrapose.evaluation.predictions import Predictions, truth_of
from tetrapose.skeletons.mapping import Mapping, carried
from tetrapose.structures import PoseSet, Problem

PAIRING = (
    "by likeness: the instances and predictions of a picture are joined one to one, highest OKS"
    " first; an instance left alone was not found"
)
SPECIES_FROM_TRUTH = (
    "the predictions do not tell species apart: each counts for the species of the instance most"
    " like it in its picture"
)


@dataclass(frozen=True)
class Read:
    """Predictions from a file, the entries that had to be left out, and remarks on the reading."""

    predictions: Predictions
    problems: list[Problem]
    notes: tuple[str, ...]


def from_results(
    pose_set: PoseSet,
    entries: Any,
    sigmas: np.ndarray,
    *,
    categories: Table[int, int],
    where: str = "results",
) -> Read:
    """Entries with image_id or file_name, category_id, keypoints (x, y, score a point) and score.

    ``categories`` takes category ids to species rows. A file that knows one category alone, beside
    a set of several species, counts by the truth's species and says so. Where entries carry a bbox,
    it gives their areas as in pycocotools; otherwise the extent of the points does. Faulty entries
    are left out and listed; UserError where nothing can be used.
    """
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        raise UserError(
            f"{where}: COCO results are a list of entries, not {type(entries).__name__}"
        )
    blind = len(np.unique(pose_set.species)) > 1 and len(_categories_in(entries)) <= 1
    finder = _Finder.of(pose_set, {} if blind else categories)
    rows, problems = [], []
    for number, entry in enumerate(entries):
        try:
            rows.append(finder.row(entry))
        except ValueError as error:
            fix = "mend or remove the entry; it was left out"
            problems.append(Problem(f"{where}: entry {number}", str(error), fix))
    if not rows:
        first = f"; the first: {problems[0].what}" if problems else ""
        raise UserError(f"{where}: none of its {len(entries)} entries can be used{first}")
    image, species, triples, score, area = (np.array(column) for column in zip(*rows, strict=True))
    points = triples[..., :2]
    if not all("bbox" in entry for entry in entries if isinstance(entry, Table)):
        area = oks.keypoint_extent(points)
    instance, nearest = _pair(pose_set, points, image, sigmas)
    if blind:
        known = nearest >= 0
        species = np.where(known, pose_set.species[np.maximum(nearest, 0)], -1)
    predictions = Predictions(points, triples[..., 2], score, area, image, species, instance)
    return Read(predictions, problems, (SPECIES_FROM_TRUTH,) if blind else ())


def carried_entries(entries: Any, mapping: Mapping) -> Any:
    """Entries with their points on the mapping's target; absent points score 0 at (0, 0).

    Entries that do not hold three numbers for each point of the source stay as they are, for
    ``from_results`` to tell.
    """
    if not isinstance(entries, list):
        return entries
    count, moved = 3 * len(mapping.source), []
    for entry in entries:
        numbers = entry.get("keypoints") if isinstance(entry, dict) else None
        if isinstance(numbers, list) and len(numbers) == count:
            triples = np.array(numbers, dtype=object).reshape(1, -1, 3)
            points = carried(triples, mapping, empty=0.0)
            entry = {**entry, "keypoints": points.ravel().tolist()}
        moved.append(entry)
    return moved


def _categories_in(entries: Sequence[Any]) -> set[Any]:
    return {entry.get("category_id") for entry in entries if isinstance(entry, Table)}


@dataclass(frozen=True)
class _Finder:
    """Looks up pictures and species of entries; ValueError says what is wrong with one."""

    images: dict[int, int]
    files: dict[str, int]
    categories: Table[int, int]
    keypoints: int

    @staticmethod
    def of(pose_set: PoseSet, categories: Table[int, int]) -> _Finder:
        files: dict[str, int] = {}
        for row, name in enumerate(pose_set.files):
            files[name] = row
            base = PurePath(name).name
            files[base] = -1 if base in files and files[base] != row else row
        images = {int(image_id): row for row, image_id in enumerate(pose_set.image_ids)}
        return _Finder(images, files, categories, len(pose_set.skeleton))

    def row(self, entry: Any) -> tuple[int, int, np.ndarray, float, float]:
        """Picture, species (-1 where there are no categories), points (K, 3), score, area."""
        if not isinstance(entry, Table):
            raise ValueError(f"an entry is an object, not {type(entry).__name__}")
        points = _numbers(entry, "keypoints").reshape(-1)
        if points.size != 3 * self.keypoints:
            raise ValueError(f"{points.size} numbers in keypoints, {3 * self.keypoints} are due")
        score = float(_numbers(entry, "score").reshape(1)[0])
        width, height = _numbers(entry, "bbox").reshape(4)[2:] if "bbox" in entry else (0.0, 0.0)
        return (
            self._image(entry), self._species(entry), points.reshape(-1, 3), score,
            float(width * height),
        )  # fmt: skip

    def _image(self, entry: Table[str, Any]) -> int:
        name = entry.get("file_name")
        if name is not None:
            row = self.files.get(str(name), self.files.get(PurePath(str(name)).name))
            if row is None:
                raise ValueError(f"picture {name!r} is not in the set")
            if row < 0:
                raise ValueError(f"several pictures of the set are called {name!r}")
            return row
        if entry.get("image_id") not in self.images:
            raise ValueError(f"image_id {entry.get('image_id')!r} is not in the set")
        return self.images[entry["image_id"]]

    def _species(self, entry: Table[str, Any]) -> int:
        if not self.categories:
            return -1
        if entry.get("category_id") not in self.categories:
            raise ValueError(f"category_id {entry.get('category_id')!r} is no category of the set")
        return self.categories[entry["category_id"]]


def _numbers(entry: Table[str, Any], key: str) -> np.ndarray:
    try:
        values = np.asarray(entry[key], dtype=np.float64)
    except KeyError:
        raise ValueError(f"{key} is missing") from None
    except (TypeError, ValueError):
        raise ValueError(f"{key} does not hold numbers alone") from None
    if not np.isfinite(values).all():
        raise ValueError(f"{key} holds a value that is not finite")
    return values


def _pair(
    pose_set: PoseSet, points: np.ndarray, image: np.ndarray, sigmas: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(M,) instance joined to each prediction and the one most like it, -1 for none."""
    truth = truth_of(pose_set)
    counts = np.flatnonzero(truth.labelled.any(axis=1) & ~truth.crowd)
    prediction, place = oks.pairs_by_key(image, pose_set.image_index[counts])
    instance = counts[place]
    likeness = oks.similarity(truth, instance, points, prediction, sigmas)
    joined, nearest = np.full(len(points), -1), np.full(len(points), -1)
    taken = np.zeros(len(pose_set), dtype=bool)
    for pair in np.argsort(-likeness, kind="stable"):
        guess, of = prediction[pair], instance[pair]
        if nearest[guess] < 0:
            nearest[guess] = of
        if joined[guess] < 0 and not taken[of] and likeness[pair] > 0:
            joined[guess], taken[of] = of, True
    return joined, nearest
