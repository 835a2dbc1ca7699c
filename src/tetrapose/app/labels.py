"""Corrected predictions as labels: a COCO file a skeleton, which ``coco:FILE`` reads back.

  FOLDER/labels/union26/labels.json
  FOLDER/labels/union26/images/3f2a....jpg     the picture's own bytes

Saving a picture again replaces its animals. A file that cannot be understood is left alone.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tetrapose.app.poses import Posed, to_set
from tetrapose.app.uploads import Picture, told
from tetrapose.data import coco
from tetrapose.data.reading import load_json, write_text
from tetrapose.errors import UserError

LISTS = ("images", "annotations", "categories")


@dataclass(frozen=True)
class Saved:
    """Where a label went, and how many pictures and animals the file holds now."""

    file: Path
    pictures: int
    animals: int


class LabelBook:
    """The label files below one folder; one writer at a time."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lock = threading.Lock()

    def save(self, posed: Posed, picture: Picture, source: Path) -> Saved:
        """Write a picture's animals; ``source`` is the picture's file as it was handed in."""
        if not picture.file:
            raise UserError("an empty canvas is no label; drop a photograph to label it")
        if not (posed.instances.visibility > 0).any():
            raise UserError("there is no point to save; place at least one")
        if posed.size != picture.size:
            raise UserError("the pose is of a picture of another size; load the picture anew")
        folder = self.root / posed.skeleton.name
        name = f"{picture.id}{source.suffix}"
        with self._lock, told():
            book = self._open(folder / "labels.json")
            fresh = one_picture(posed, folder, name)
            _merge(book, fresh, name)
            (folder / "images").mkdir(parents=True, exist_ok=True)
            target = folder / "images" / name
            if not target.exists():
                draft = target.with_name(f".{name}.part")
                shutil.copyfile(source, draft)
                draft.replace(target)
            file = folder / "labels.json"
            write_text(file, json.dumps(book, allow_nan=False))
        return Saved(file, len(book["images"]), len(book["annotations"]))

    def _open(self, file: Path) -> dict[str, Any]:
        if not file.exists():
            info = {"description": "labels made in the tetrapose studio"}
            return {"info": info, **{key: [] for key in LISTS}}
        book = load_json(file)
        if not isinstance(book, dict) or not all(isinstance(book.get(k), list) for k in LISTS):
            raise UserError(f"{file.name}: not a COCO label file any more; move it away first")
        return book


def one_picture(posed: Posed, folder: Path, name: str) -> dict[str, Any]:
    """A COCO file's content for this picture alone, as ``data.coco`` writes it."""
    pose_set = to_set(posed, folder, name)
    if not np.isfinite(pose_set.bboxes).all():
        raise UserError("an animal has no box; place its points anew")
    with tempfile.TemporaryDirectory(prefix="tetrapose-") as scratch:
        file = Path(scratch) / "labels.json"
        coco.write(pose_set, file)
        return load_json(file)


def _merge(book: dict[str, Any], fresh: dict[str, Any], name: str) -> None:
    """Put a picture's entries in the place of those of the same name."""
    images, annotations, categories = (book[key] for key in LISTS)
    old = [entry for entry in images if entry.get("file_name") == name]
    image_id = old[0]["id"] if old else _next(images)
    book["images"] = [entry for entry in images if entry not in old]
    book["images"].append({**fresh["images"][0], "id": image_id})
    gone = {entry["id"] for entry in old}
    kept = [entry for entry in annotations if entry.get("image_id") not in gone]
    numbers = {}
    for category in fresh["categories"]:
        there = next((c for c in categories if c.get("name") == category["name"]), None)
        if there is None:
            there = {**category, "id": _next(categories)}
            categories.append(there)
        numbers[category["id"]] = there["id"]
    for entry in fresh["annotations"]:
        row = {**entry, "id": _next(kept), "image_id": image_id}
        kept.append({**row, "category_id": numbers[entry["category_id"]]})
    book["annotations"] = kept
    book.setdefault("licenses", fresh["licenses"])


def _next(entries: list[dict[str, Any]]) -> int:
    return 1 + max((e["id"] for e in entries if isinstance(e.get("id"), int)), default=0)
