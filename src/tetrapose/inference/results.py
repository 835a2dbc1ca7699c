"""Predictions as others read them: COCO results with ``file_name``, CSV, and what made them."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from tetrapose.errors import UserError
from tetrapose.evaluation.predictions import instance_scores
from tetrapose.geometry import xyxy_to_xywh
from tetrapose.skeletons import Skeleton
from tetrapose.structures import Instances


def to_entries(
    instances: Instances,
    *,
    file_name: str,
    image_id: int,
    category_ids: Sequence[int] | None = None,
    groups: Sequence[str] | None = None,
    **more: Any,
) -> list[dict[str, Any]]:
    """COCO results: one dict an animal, with ``file_name`` and what ``more`` names (frame, time).

    ``groups`` are what a finder took the animals for; with them and ``bbox_scores`` an entry says
    ``group`` and ``bbox_score`` too.

    ``bbox`` is x, y, width, height; ``keypoints`` x, y, score a point, zeros where there is none.
    Animals without any point (a bbox that could not be used) have no entry.
    """
    if instances.scores is None:
        raise ValueError("labels have no scores: these are no predictions")
    finite = np.isfinite(instances.keypoints)
    there = finite[..., 0] & finite[..., 1]
    points = np.where(there[..., None], instances.keypoints, 0.0).round(2) + 0.0
    scores = np.where(there, instances.scores, 0.0).round(4)
    whole = instance_scores(scores, instances.bbox_scores).round(5)
    boxes = xyxy_to_xywh(instances.bboxes).round(2) + 0.0
    triples = np.concatenate([points, scores[..., None]], axis=-1)
    triples = triples.reshape(len(instances), 3 * points.shape[1])  # there may be none
    told: list[dict[str, Any]] = [{} for _ in range(len(instances))]
    if groups is not None and instances.bbox_scores is not None:
        told = [
            {"group": group, "bbox_score": round(float(value), 4)}
            for group, value in zip(groups, instances.bbox_scores, strict=True)
        ]
    return [
        {
            "image_id": int(image_id),
            "file_name": file_name,
            **more,
            "category_id": int(category_ids[row]) if category_ids is not None else 1,
            "bbox": boxes[row].tolist(),
            "keypoints": triples[row].tolist(),
            "score": float(whole[row]),
            **told[row],
        }
        for row in np.flatnonzero(there.any(axis=1)).tolist()
    ]


class ResultWriter:
    """Predictions on disk the moment they are made.

    ``add`` appends to ``predictions.jsonl``, one entry a line, so that whatever ends the program
    leaves what was done. ``finish`` turns it into ``predictions.json`` (and ``.csv``), each there
    whole or not at all, and ``predictions.meta.json``. Memory does not grow with the entries.
    """

    def __init__(self, folder: Path, skeleton: Skeleton, *, csv: bool = False) -> None:
        self.folder, self.skeleton, self.csv = folder, skeleton, csv
        self.count = 0
        self.lines = folder / "predictions.jsonl"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = self.lines.open("w", encoding="utf-8")
        except OSError as error:
            raise UserError(f"{folder}: cannot be written to ({error.strerror})") from None

    def add(self, entries: Iterable[Mapping[str, Any]]) -> None:
        """Put entries on disk."""
        for entry in entries:
            self._file.write(json.dumps(entry, ensure_ascii=False, allow_nan=False) + "\n")
            self.count += 1
        self._file.flush()

    def finish(self, meta: Mapping[str, Any]) -> list[Path]:
        """Write the final files from what was added, remove the lines, and return the paths."""
        self._file.close()
        paths = [self.folder / "predictions.json", self.folder / "predictions.meta.json"]
        with self._draft(paths[0]) as file:
            for number, line in enumerate(self._read_lines()):
                file.write(("[\n" if number == 0 else ",\n") + line.rstrip("\n"))
            file.write("\n]\n" if self.count else "[]\n")
        described = {
            "keypoints": list(self.skeleton.names), "skeleton": self.skeleton.to_dict(), **meta
        }  # fmt: skip
        with self._draft(paths[1]) as file:
            json.dump(described, file, indent=2, ensure_ascii=False)
            file.write("\n")
        if self.csv:
            paths.append(self.folder / "predictions.csv")
            with self._draft(paths[2]) as file:
                writer = csv.writer(file)
                writer.writerow(csv_header(self.skeleton))
                writer.writerows(csv_row(json.loads(line)) for line in self._read_lines())
        self.lines.unlink()
        return paths

    def discard(self) -> None:
        """End without final files."""
        self._file.close()
        self.lines.unlink(missing_ok=True)

    def _read_lines(self) -> Iterator[str]:
        with self.lines.open(encoding="utf-8") as file:
            yield from file

    @staticmethod
    def _draft(path: Path) -> _Draft:
        return _Draft(path)


class _Draft:
    """A text file that takes its name only once it is whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.part = path.with_name(f".{path.name}.part")

    def __enter__(self) -> TextIO:
        self.file = self.part.open("w", encoding="utf-8", newline="")
        return self.file

    def __exit__(self, kind: Any, *_: Any) -> None:
        self.file.close()
        if kind is None:
            self.part.replace(self.path)
        else:
            self.part.unlink(missing_ok=True)


def csv_header(skeleton: Skeleton) -> list[str]:
    """Column names of ``predictions.csv``: one row an animal."""
    first = ["file_name", "frame", "time", "image_id", "x1", "y1", "x2", "y2", "score"]
    return first + [f"{name}_{part}" for name in skeleton.names for part in ("x", "y", "score")]


def csv_row(entry: Mapping[str, Any]) -> list[Any]:
    """The row of an entry; frame and time are empty for pictures."""
    x, y, width, height = entry["bbox"]
    box = [round(v, 2) for v in (x, y, x + width, y + height)]
    place = [entry.get(key, "") for key in ("file_name", "frame", "time", "image_id")]
    return [*place, *box, entry["score"], *entry["keypoints"]]
