"""From a picture and its bboxes to the crops that a network looks at, and the way back."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from tetrapose import geometry, images
from tetrapose.errors import UserError
from tetrapose.structures import Problem

Picture = str | Path | np.ndarray | Image.Image


@dataclass(frozen=True)
class Item:
    """A picture to look at, and where: ``bboxes`` (N, 4) x1 y1 x2 y2, or None for all of it.

    ``key`` comes back with the prediction and names an item that is not a file.
    """

    image: Picture
    bboxes: np.ndarray | None = None
    key: Hashable = None


@dataclass(frozen=True)
class Cutter:
    """How crops are cut: ``size`` (width, height), ``padding`` of bboxes, ``preview``'s side.

    ``preview`` 0 keeps no picture; otherwise a copy no longer than that is kept to draw on.
    ``warp`` is the codec's: ``geometry.crop_matrix``.
    """

    size: tuple[int, int]
    padding: float
    preview: int = 0
    warp: str = "borders"


@dataclass(frozen=True)
class Cut:
    """A picture taken apart: ``crops`` (n, h, w, 3) of the bboxes ``rows`` that can be used.

    ``matrices`` (n, 2, 3) take picture pixels to crop pixels; ``size`` is the picture's (width,
    height), (0, 0) where it cannot be read.
    """

    key: Hashable
    size: tuple[int, int]
    bboxes: np.ndarray
    rows: np.ndarray
    crops: np.ndarray
    matrices: np.ndarray
    preview: np.ndarray | None
    problems: tuple[Problem, ...]


def cut(item: Item, cutter: Cutter) -> Cut:
    """Read a picture and cut its animals out; whatever cannot be used is told in ``problems``.

    A JPEG file much larger than its crops is decoded at reduced size.
    """
    bboxes = None if item.bboxes is None else as_bboxes(item.bboxes)
    width, height = cutter.size
    try:
        pixels, size = pixels_for(item.image, bboxes, cutter)
    except UserError as error:
        return Cut(
            item.key,
            (0, 0),
            np.zeros((0, 4)) if bboxes is None else bboxes,
            np.zeros(0, dtype=np.int64),
            np.zeros((0, height, width, 3), np.uint8),
            np.zeros((0, 2, 3)),
            None,
            (unreadable(item, error),),
        )
    if bboxes is None:
        bboxes = geometry.whole_picture_box(*size)[None].astype(np.float64)
    faults = _box_faults(bboxes, size)
    rows = np.array([i for i in range(len(bboxes)) if i not in faults], dtype=np.int64)
    matrices = _matrices(bboxes[rows], cutter)
    have = (pixels.shape[1], pixels.shape[0])
    to_full = geometry.resize_matrix(have, size)
    crops = [images.warp(pixels, geometry.compose(m, to_full), cutter.size) for m in matrices]
    return Cut(
        key=item.key,
        size=size,
        bboxes=bboxes,
        rows=rows,
        crops=np.stack(crops) if crops else np.zeros((0, height, width, 3), np.uint8),
        matrices=matrices,
        preview=_shrink(pixels, cutter.preview) if cutter.preview else None,
        problems=tuple(
            Problem(f"{name_of(item)}: bbox {i}", what, "give x1, y1, x2, y2 in pixels")
            for i, what in faults.items()
        ),
    )


def as_bboxes(bboxes: np.ndarray) -> np.ndarray:
    """(N, 4) float64; one bbox may be given as (4,). Raises UserError for any other shape."""
    try:
        values = np.asarray(bboxes, dtype=np.float64)
    except (TypeError, ValueError):
        raise UserError("bboxes must be numbers: x1, y1, x2, y2 for each animal") from None
    if values.size == 0:
        return values.reshape(0, 4)
    if values.shape == (4,):
        values = values[None]
    if values.ndim != 2 or values.shape[1] != 4:
        raise UserError(f"bboxes must be (N, 4), x1 y1 x2 y2 each, not {values.shape}")
    return values


def as_pixels(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 RGB of an RGB, grey or RGBA array; transparency is laid on white."""
    if image.dtype != np.uint8:
        raise UserError(f"an image array must be uint8 (0..255), not {image.dtype}")
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[2] not in (1, 3, 4) or 0 in image.shape:
        raise UserError(
            f"an image array must be (H, W), (H, W, 3) RGB or (H, W, 4) RGBA, not {image.shape}"
        )
    if image.shape[2] == 1:
        return np.repeat(image, 3, axis=2)
    if image.shape[2] == 4:
        alpha = image[..., 3:].astype(np.float32) / 255
        return np.round(image[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    return image


def name_of(item: Item) -> str:
    """What to call an item to its user."""
    return str(item.image) if isinstance(item.image, str | Path) else str(item.key or "picture")


def unreadable(item: Item, error: UserError) -> Problem:
    """The problem of a picture that cannot be used, from the error that says so."""
    name = name_of(item)
    what, _, fix = str(error).removeprefix(f"{name}: ").partition("; ")
    return Problem(name, what, fix or "replace or remove it")


def pixels_for(
    image: Picture, bboxes: np.ndarray | None, cutter: Cutter
) -> tuple[np.ndarray, tuple[int, int]]:
    """A picture as large as its crops ask for, (H, W, 3) uint8 RGB, and its true (width, height).

    Raises UserError for what cannot be read.
    """
    if isinstance(image, str | Path):
        return images.read_image(image, least=_least(image, bboxes, cutter))
    if isinstance(image, Image.Image):
        image = images.to_rgb(image)
    if not isinstance(image, np.ndarray):
        raise UserError(f"an image is a path, an array or a PIL image, not {type(image).__name__}")
    pixels = as_pixels(image)
    return pixels, (pixels.shape[1], pixels.shape[0])


def _least(path: str | Path, bboxes: np.ndarray | None, cutter: Cutter) -> int | None:
    """Pixels that the shorter side must keep for crop and preview alike; None for all of them."""
    try:
        size = images.read_size(path)
    except images.ImageError:
        return None  # reading it will tell why
    if bboxes is None:
        bboxes = geometry.whole_picture_box(*size)[None]
    bboxes = bboxes[np.isfinite(bboxes).all(axis=1)]
    _, regions = geometry.box_to_region(
        bboxes, aspect=cutter.size[0] / cutter.size[1], padding=cutter.padding
    )
    scale = float((cutter.size[0] / regions[:, 0]).max(initial=0.0))
    scale = max(scale, cutter.preview / max(size))
    return max(int(np.ceil(min(size) * min(scale, 1.0))), 1)


def _matrices(bboxes: np.ndarray, cutter: Cutter) -> np.ndarray:
    centers, sizes = geometry.box_to_region(
        bboxes, aspect=cutter.size[0] / cutter.size[1], padding=cutter.padding
    )
    matrices = [
        geometry.crop_matrix(center, size, cutter.size, warp=cutter.warp)
        for center, size in zip(centers, sizes, strict=True)
    ]
    return np.array(matrices, dtype=np.float64).reshape(-1, 2, 3)


def _box_faults(bboxes: np.ndarray, size: tuple[int, int]) -> dict[int, str]:
    """What is wrong with each bbox that cannot be used, by row."""
    faults = {}
    for row, (x1, y1, x2, y2) in enumerate(bboxes.tolist()):
        if not np.isfinite([x1, y1, x2, y2]).all():
            faults[row] = "a side is not a finite number"
        elif x2 <= x1 or y2 <= y1:
            shown = f"{x1:g}, {y1:g}, {x2:g}, {y2:g}"
            faults[row] = f"{shown} is empty (is it x, y, width, height?)"
        elif x1 >= size[0] - 0.5 or y1 >= size[1] - 0.5 or x2 <= -0.5 or y2 <= -0.5:
            faults[row] = f"lies outside the picture of {size[0]}x{size[1]}"
    return faults


def _shrink(pixels: np.ndarray, side: int) -> np.ndarray:
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return pixels
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
