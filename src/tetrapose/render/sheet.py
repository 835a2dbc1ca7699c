"""Many pictures on one: a contact sheet with captions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

GROUND = (24, 26, 32)
TEXT = (222, 226, 232)
GAP = 10
CAPTION = 24


def sheet(
    images: Sequence[np.ndarray],
    captions: Sequence[str] | None = None,
    *,
    columns: int | None = None,
    tile: int = 256,
) -> np.ndarray:
    """One RGB picture of all ``images`` (each (H, W, 3) uint8), fitted whole into square tiles.

    Captions stand below their pictures and are shortened to the tile's width. ``columns`` defaults
    to a sheet a little wider than high; no pictures give a sheet of one empty tile.
    """
    if captions is not None and len(captions) != len(images):
        raise ValueError(f"{len(captions)} captions for {len(images)} images")
    count = max(len(images), 1)
    columns = min(columns or math.ceil(math.sqrt(count * 1.3)), count)
    rows = math.ceil(count / columns)
    pitch = tile + GAP + (CAPTION if captions is not None else 0)
    page = np.full((rows * pitch + GAP, columns * (tile + GAP) + GAP, 3), GROUND, dtype=np.uint8)
    corners = [
        (GAP + (i % columns) * (tile + GAP), GAP + (i // columns) * pitch) for i in range(count)
    ]
    for image, (x, y) in zip(images, corners, strict=False):
        small = fit(image, tile)
        height, width = small.shape[:2]
        top, left = y + (tile - height) // 2, x + (tile - width) // 2
        page[top : top + height, left : left + width] = small
    if captions is None:
        return page
    canvas = Image.fromarray(page)
    pen = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(size=14)
    for caption, (x, y) in zip(captions, corners, strict=False):
        text = _shortened(caption, font, tile)
        pen.text((x + tile / 2, y + tile + CAPTION / 2), text, fill=TEXT, font=font, anchor="mm")
    return np.array(canvas)


def fit(image: np.ndarray, side: int) -> np.ndarray:
    """The picture scaled so that its longer side is ``side``."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(image, size, interpolation=method)


def _shortened(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
