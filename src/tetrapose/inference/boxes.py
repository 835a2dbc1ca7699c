"""Boxes from a file: COCO annotations, results with ``file_name``, or CSV."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from tetrapose.data.reading import load_json
from tetrapose.errors import UserError
from tetrapose.structures import Problem

COLUMNS = ("file_name", "x1", "y1", "x2", "y2")
FORMS = (
    "COCO annotations (images and annotations), a list of results with file_name and bbox,"
    f" or CSV with the columns {','.join(COLUMNS)}"
)


@dataclass(frozen=True)
class Row:
    """One bbox, x1 y1 x2 y2, of a picture or, with ``frame``, of one frame of a video."""

    name: str
    bbox: tuple[float, float, float, float]
    frame: int | None = None
    category: int = 1


@dataclass(frozen=True)
class PictureBoxes:
    """The boxes of one picture: ``bboxes`` (N, 4), a category each, and the file's id for it."""

    bboxes: np.ndarray
    categories: tuple[int, ...]
    image_id: int | None


class BoxFile:
    """Boxes by picture. A picture is found by its path's end, the longest name that fits."""

    def __init__(
        self, rows: Iterable[Row], image_ids: Mapping[str, int], problems: Iterable[Problem]
    ) -> None:
        self.problems = tuple(problems)
        self.image_ids = dict(image_ids)
        self._rows: dict[tuple[str, ...], list[Row]] = {
            PurePath(name).parts: [] for name in self.image_ids
        }
        for row in rows:
            self._rows.setdefault(PurePath(row.name).parts, []).append(row)
        self._frames: dict[tuple[str, ...], dict[int | None, list[int]]] = {}
        self._names: dict[str, list[tuple[str, ...]]] = defaultdict(list)
        for parts in self._rows:
            self._names[parts[-1]].append(parts)

    @property
    def example(self) -> str:
        """One of the names in the file."""
        return PurePath(*next(iter(self._rows), ("?",))).as_posix()

    def find(self, path: Path, *, frame: int | None = None) -> PictureBoxes | None:
        """The boxes of a picture, or of a video's frame; None where the file does not name it.

        Rows without a frame hold for every frame.
        """
        have = Path(path).absolute().parts
        fitting = [parts for parts in self._names[path.name] if have[-len(parts) :] == parts]
        if not fitting:
            return None
        best = max(fitting, key=len)
        if best not in self._frames:  # looked through once: films ask for frame after frame
            by_frame = self._frames.setdefault(best, defaultdict(list))
            for number, row in enumerate(self._rows[best]):
                by_frame[row.frame].append(number)
        numbers = set(self._frames[best].get(None, ())) | set(self._frames[best].get(frame, ()))
        rows = [self._rows[best][number] for number in sorted(numbers)]
        return PictureBoxes(
            np.array([row.bbox for row in rows], dtype=np.float64).reshape(-1, 4),
            tuple(row.category for row in rows),
            self.image_ids.get(PurePath(*best).as_posix()),
        )


def read_boxes(path: Path) -> BoxFile:
    """A file of boxes in one of ``FORMS``; faulty entries are left out and listed in ``problems``.

    Raises UserError where nothing can be used, or where COCO's x, y, width, height seem to hold
    corners.
    """
    image_ids: dict[str, int] = {}
    if path.suffix.lower() == ".json":
        content = load_json(path)
        if isinstance(content, dict) and {"images", "annotations"} <= content.keys():
            image_ids, rows = _coco(content, path)
        elif isinstance(content, list):
            rows = _results(content)
        else:
            raise UserError(f"{path}: not a file of boxes; due is {FORMS}")
    else:
        rows = _csv(path)
    good: list[Row] = []
    problems: list[Problem] = []
    for where, entry in rows:
        if isinstance(entry, Row):
            good.append(entry)
        else:
            problems.append(Problem(f"{path}: {where}", entry, "mend or remove it"))
    if not good:
        first = f"; {problems[0].where}: {problems[0].what}" if problems else ""
        raise UserError(f"{path}: holds no boxes that can be used{first.replace(f'{path}: ', '')}")
    return BoxFile(good, image_ids, problems)


Entries = Iterator[tuple[str, Row | str]]


def _coco(content: dict[str, Any], path: Path) -> tuple[dict[str, int], Entries]:
    try:
        pictures = {entry["id"]: entry for entry in content["images"]}
        names = {key: PurePath(entry["file_name"]).as_posix() for key, entry in pictures.items()}
        image_ids = {name: int(key) for key, name in names.items()}
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{path}: each of its images needs a numeric id and a file_name") from None
    annotations = content["annotations"]
    if not isinstance(annotations, list):
        raise UserError(f"{path}: annotations must be a list")
    _refuse_corners(pictures, annotations, path)

    def rows() -> Entries:
        for number, entry in enumerate(annotations):
            where = f"annotation {number}"
            if not isinstance(entry, dict):
                yield where, "not an object"
            elif entry.get("iscrowd"):
                continue
            elif entry.get("image_id") not in names:
                yield where, f"image_id {entry.get('image_id')!r} is none of its images"
            else:
                yield where, _row(names[entry["image_id"]], entry)

    return image_ids, rows()


def _refuse_corners(pictures: dict[Any, Any], annotations: list[Any], path: Path) -> None:
    """Raise where most boxes leave their picture as x, y, width, height and fit it as corners."""
    leaves = judged = 0
    for entry in annotations:
        picture = pictures.get(entry.get("image_id"), {}) if isinstance(entry, dict) else {}
        try:
            x, y, c, d = (float(v) for v in entry["bbox"])
            width, height = float(picture["width"]), float(picture["height"])
        except (KeyError, TypeError, ValueError):
            continue
        judged += 1
        outside = x + c > width + 1 or y + d > height + 1
        leaves += outside and x < c <= width + 1 and y < d <= height + 1
    if leaves > judged / 2:
        raise UserError(
            f"{path}: bbox seems to hold x1, y1, x2, y2 where COCO has x, y, width, height"
            f" ({leaves} of {judged} leave their picture); mend it, or give the boxes as CSV"
        )


def _results(content: list[Any]) -> Entries:
    for number, entry in enumerate(content):
        where = f"entry {number}"
        if not isinstance(entry, dict) or "file_name" not in entry:
            yield where, "lacks file_name"
        else:
            yield where, _row(str(entry["file_name"]), entry)


def _row(name: str, entry: dict[str, Any]) -> Row | str:
    """The row of an entry with a COCO bbox, or what is wrong with it."""
    try:
        x, y, width, height = (float(value) for value in entry["bbox"])
        frame = entry.get("frame")
        category = int(entry.get("category_id", 1))
        row = Row(name, (x, y, x + width, y + height), None if frame is None else int(frame))
    except KeyError:
        return "lacks a bbox"
    except (TypeError, ValueError):
        return "bbox must be four numbers: x, y, width, height"
    if not np.isfinite(row.bbox).all():
        return "bbox holds a value that is not finite"
    if width <= 0 or height <= 0:
        return f"bbox has width {width:g} and height {height:g}; both must be above 0"
    return Row(row.name, row.bbox, row.frame, category)


def _csv(path: Path) -> Entries:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; --boxes is whole, or a file of boxes") from None
    except (OSError, UnicodeDecodeError):
        raise UserError(f"{path}: cannot be read; due is {FORMS}") from None
    table = csv.DictReader(io.StringIO(text))
    missing = [name for name in COLUMNS if name not in (table.fieldnames or ())]
    if missing:
        raise UserError(f"{path}: lacks the columns {', '.join(missing)}; due is {FORMS}")
    for line in table:
        where = f"line {table.line_num}"
        try:
            x1, y1, x2, y2 = (float(line[name]) for name in COLUMNS[1:])
            frame = int(line["frame"]) if line.get("frame") else None
        except (TypeError, ValueError):
            yield where, "x1, y1, x2, y2 must be numbers, and frame a whole one"
            continue
        if not np.isfinite([x1, y1, x2, y2]).all():
            yield where, "holds a value that is not finite"
        elif x2 <= x1 or y2 <= y1:
            yield where, "the box is empty (is it x, y, width, height? due is x1, y1, x2, y2)"
        else:
            yield where, Row(PurePath(line["file_name"]).as_posix(), (x1, y1, x2, y2), frame)
