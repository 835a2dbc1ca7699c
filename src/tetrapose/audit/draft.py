"""A copy of a label file's content that is being mended: entries by row, removed ones as None."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from tetrapose.audit.definitions import Definition
from tetrapose.audit.raw import Sheet


class Draft:
    """The content with its annotations and pictures as lists that keep their rows until the end."""

    def __init__(self, sheet: Sheet) -> None:
        self.sheet = sheet
        self.content = copy.deepcopy(sheet.content)
        self.keyed = sheet.layout == "animal_pose"
        images = self.content.get("images", [])
        self.images: list[Any] = (
            [{"id": k, "file_name": v} for k, v in images.items()] if self.keyed else list(images)
        )
        self.annotations: list[Any] = list(self.content.get("annotations", []))
        self.place = {int(row): i for i, row in enumerate(sheet.rows)}

    def finished(self) -> Any:
        """The mended content."""
        if self.sheet.layout == "definition":
            return self.content
        images = [entry for entry in self.images if entry is not None]
        self.content["images"] = (
            {entry["id"]: entry["file_name"] for entry in images} if self.keyed else images
        )
        self.content["annotations"] = [e for e in self.annotations if e is not None]
        return self.content

    def entry(self, row: int) -> dict[str, Any] | None:
        """The annotation of a row, None if it was removed."""
        return self.annotations[row]

    def points(self, row: int) -> np.ndarray:
        """(K, 3) x, y, flag of an annotation."""
        return np.array(self.annotations[row]["keypoints"], dtype=np.float64).reshape(-1, 3)

    def set_points(self, row: int, points: np.ndarray) -> None:
        """Write (K, 3) back in the form they had, whole numbers as such, and count them anew."""
        entry = self.annotations[row]
        nested = bool(entry["keypoints"]) and isinstance(entry["keypoints"][0], list)
        rows = [[plain(value) for value in point] for point in points.tolist()]
        entry["keypoints"] = rows if nested else [value for point in rows for value in point]
        if "num_keypoints" in entry and not self.keyed:
            entry["num_keypoints"] = int((points[:, 2] > 0).sum())

    def corners(self, row: int) -> np.ndarray:
        """(4,) x1, y1, x2, y2 of an annotation's box."""
        box = np.array(self.annotations[row]["bbox"], dtype=np.float64)
        return box if self.keyed else np.concatenate([box[:2], box[:2] + box[2:]])

    def set_corners(self, row: int, corners: np.ndarray) -> None:
        """Write the box in the file's own form; an area that is told follows it."""
        entry = self.annotations[row]
        side = corners[2:] - corners[:2]
        box = corners if self.keyed else np.concatenate([corners[:2], side])
        entry["bbox"] = [plain(round(float(value), 4)) for value in box]
        if "area" in entry:
            entry["area"] = plain(round(float(side[0] * side[1]), 4))

    def remove_pictures(self, rows: Sequence[int]) -> None:
        """Take out pictures with their annotations."""
        gone = {str(self.images[row]["id"]) for row in rows if self.images[row] is not None}
        for row in rows:
            self.images[row] = None
        for row, entry in enumerate(self.annotations):
            if isinstance(entry, dict) and str(entry.get("image_id")) in gone:
                self.annotations[row] = None

    def holders(self, one: Definition) -> list[dict[str, Any]]:
        """The objects of the content that hold a definition."""
        found = []
        for path in (one.path, *one.shared):
            held = self.content
            for step in path:
                held = held[step]
            found.append(held)
        return found


def plain(value: float) -> float | int:
    """Whole numbers without a decimal point."""
    return int(value) if float(value).is_integer() else value
