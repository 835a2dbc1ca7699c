"""A picture to be read back, as it is and as a file."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image


def scene(width: int = 90, height: int = 60) -> Image.Image:
    """A soft picture without symmetry, kind to JPEG."""
    rows, columns = np.mgrid[:height, :width]
    red = 255 * columns / width
    green = 255 * rows / height
    blue = 128 + 100 * np.sin(columns / 9) * np.cos(rows / 13)
    return Image.fromarray(np.stack([red, green, blue], -1).astype(np.uint8))


def truth(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.convert("RGB"))


def close(pixels: np.ndarray, expected: np.ndarray, tolerance: float = 4) -> bool:
    """Equal up to what a lossy format changes."""
    assert pixels.shape == expected.shape
    assert pixels.dtype == np.uint8
    return float(np.abs(pixels.astype(int) - expected.astype(int)).mean()) < tolerance


def jpeg(**options) -> bytes:
    stream = io.BytesIO()
    scene(200, 150).save(stream, "JPEG", **options)
    return stream.getvalue()
