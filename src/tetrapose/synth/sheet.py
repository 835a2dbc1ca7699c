"""A contact sheet of a written folder: pictures side by side with their labels drawn in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tetrapose.errors import UserError

SIDE = 320  # px of a picture on the sheet
COLOURS = {"left": (255, 170, 40), "right": (70, 150, 255), "": (250, 250, 250)}


def sheet(folder: str | Path, skeleton: str, *, most: int = 24, columns: int = 6) -> np.ndarray:
    """(H, W, 3) uint8 RGB of the first pictures; seen points are full, hidden ones rings.

    Orange is the animal's left, blue its right, white the midline.
    """
    folder = Path(folder)
    content = json.loads((folder / f"{skeleton}.json").read_text(encoding="utf-8"))
    categories = {entry["id"]: entry for entry in content["categories"]}
    tiles = []
    for image in content["images"][:most]:
        pixels = cv2.imread(str(folder / "images" / image["file_name"]))
        if pixels is None:
            raise UserError(f"{folder}/images/{image['file_name']}: cannot be read")
        scale = SIDE / max(pixels.shape[:2])
        tile = cv2.resize(pixels[..., ::-1], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        blank = np.full((SIDE, SIDE, 3), 24, dtype=np.uint8)
        blank[: tile.shape[0], : tile.shape[1]] = tile
        for entry in content["annotations"]:
            if entry["image_id"] == image["id"]:
                _draw(blank, entry, categories[entry["category_id"]], scale)
        tiles.append(blank)
    columns = min(columns, len(tiles))
    tiles += [np.full_like(tiles[0], 24)] * (-len(tiles) % columns)
    rows = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    return np.vstack(rows)


def _draw(tile: np.ndarray, entry: dict[str, Any], category: dict[str, Any], scale: float) -> None:
    keypoints = np.array(entry["keypoints"], dtype=float).reshape(-1, 3)
    # pixel centres are whole numbers before and after the change of size
    places = [tuple(int(round(v)) for v in (p[:2] + 0.5) * scale - 0.5) for p in keypoints]
    seen = keypoints[:, 2]
    for a, b in category["skeleton"]:
        if seen[a - 1] and seen[b - 1]:
            cv2.line(tile, places[a - 1], places[b - 1], (225, 225, 225), 1, cv2.LINE_AA)
    for name, place, flag in zip(category["keypoints"], places, seen, strict=True):
        side = "left" if "left" in name else "right" if "right" in name else ""
        if flag:
            if flag == 2:
                cv2.circle(tile, place, 4, (20, 20, 20), -1, cv2.LINE_AA)
            cv2.circle(tile, place, 3, COLOURS[side], -1 if flag == 2 else 1, cv2.LINE_AA)
    x, y, width, height = (v * scale for v in entry["bbox"])
    corners = ((int(x), int(y)), (int(x + width), int(y + height)))
    cv2.rectangle(tile, *corners, (235, 235, 235), 1)
    label = (max(int(x) + 3, 3), max(int(y) - 4, 12))
    for colour, thick in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(tile, category["name"], label, 0, 0.42, colour, thick, cv2.LINE_AA)
