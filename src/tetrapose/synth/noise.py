"""Random fields: tiles that wrap, and smooth waves through space."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

TILE = 256
FINE = 6


@lru_cache(maxsize=8)
def tile(kind: int = 0) -> np.ndarray:
    """(TILE, TILE) float32 about 0, deviation 1, wrapping; of kind FINE without blotches."""
    rng = np.random.default_rng([20, kind])
    total = np.zeros((TILE, TILE), dtype=np.float32)
    for octave in range(5 if kind == FINE else 2, 8):
        cells = 2**octave
        grid = rng.standard_normal((cells, cells)).astype(np.float32)
        wrapped = np.pad(grid, 2, mode="wrap")
        step = TILE // cells
        big = cv2.resize(wrapped, None, fx=step, fy=step, interpolation=cv2.INTER_CUBIC)
        total += big[2 * step : 2 * step + TILE, 2 * step : 2 * step + TILE] * 0.72**octave
    return (total - total.mean()) / total.std()


def sample(x: np.ndarray, y: np.ndarray, kind: int = 0) -> np.ndarray:
    """The tile at any places, in cells, nearest cell, wrapped."""
    mask = TILE - 1
    column = np.floor(x).astype(np.int32) & mask
    row = np.floor(y).astype(np.int32) & mask
    return tile(kind)[row, column]


def waves(rng: np.random.Generator, points: np.ndarray, scale: float, count: int = 7) -> np.ndarray:
    """A smooth field about 0, deviation 1, at points (n, 3); features about ``scale`` across."""
    directions = rng.standard_normal((count, 3)) / scale * 1.6
    offsets = rng.uniform(0, 2 * np.pi, count)
    angle = points.astype(np.float32) @ directions.T.astype(np.float32)
    return np.sin(angle + offsets.astype(np.float32)).sum(axis=1) * np.float32(np.sqrt(2 / count))
