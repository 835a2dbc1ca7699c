"""A pinhole camera over a ground plane at z = 0."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Camera:
    """Where the picture is taken from, and how it falls on the pixels.

    ``place`` (3,) in the world, ``axes`` (3, 3) with rows right, up, forward, ``focal`` in pixels,
    ``middle`` the pixel on the optical axis, ``size`` (width, height); pixel centres are whole
    numbers.
    """

    place: np.ndarray
    axes: np.ndarray
    focal: float
    middle: tuple[float, float]
    size: tuple[int, int]

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(..., 3) world -> (..., 2) pixels and (...) depth along the axis."""
        local = (np.asarray(points) - self.place) @ self.axes.T
        depth = np.maximum(local[..., 2], 1e-6)
        x = self.middle[0] + self.focal * local[..., 0] / depth
        y = self.middle[1] - self.focal * local[..., 1] / depth
        return np.stack([x, y], axis=-1), local[..., 2]

    def rays(self) -> np.ndarray:
        """(3, H, W) float32 directions in the world, of length 1 along the axis."""
        width, height = self.size
        x = ((np.arange(width) - self.middle[0]) / self.focal).astype(np.float32)
        y = ((self.middle[1] - np.arange(height)) / self.focal).astype(np.float32)
        right, up, forward = self.axes.astype(np.float32)
        return np.stack(
            [
                (f + r * x)[None] + (u * y)[:, None]
                for r, u, f in zip(right, up, forward, strict=True)
            ]
        )

    def toward(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """(3, n) float32 unit directions from what pixels (n,) show to the camera."""
        right, up, forward = self.axes.astype(np.float32)
        across = ((x - self.middle[0]) / self.focal).astype(np.float32)
        rise = ((self.middle[1] - y) / self.focal).astype(np.float32)
        away = np.stack(
            [f + r * across + u * rise for r, u, f in zip(right, up, forward, strict=True)]
        )
        return away / -np.sqrt(1 + across * across + rise * rise)

    def finer(self, factor: int) -> Camera:
        """The same view on a grid whose cells are 1 / factor of a pixel."""
        x, y = ((v + 0.5) * factor - 0.5 for v in self.middle)
        size = (self.size[0] * factor, self.size[1] * factor)
        return Camera(self.place, self.axes, self.focal * factor, (x, y), size)


def axes(azimuth: float, elevation: float, roll: float) -> np.ndarray:
    """Rows right, up, forward of a camera that stands at that azimuth and looks back."""
    back = np.array(
        [
            np.cos(azimuth) * np.cos(elevation),
            np.sin(azimuth) * np.cos(elevation),
            np.sin(elevation),
        ]
    )
    right = np.array([-np.sin(azimuth), np.cos(azimuth), 0.0])
    up = np.cross(back, right)
    cos, sin = np.cos(roll), np.sin(roll)
    return np.stack([right * cos + up * sin, up * cos - right * sin, -back])


def frame(
    points: np.ndarray,
    view: np.ndarray,
    distance: float,
    fill: float,
    shift: tuple[float, float],
    size: tuple[int, int],
) -> Camera:
    """A camera whose picture holds the points (n, 3) in a share ``fill`` of the tighter side.

    ``view`` as from ``axes``; ``distance`` from the middle of the points in their own extents;
    ``shift`` moves them off the middle, in shares of the room that is left.
    """
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    extent = float(np.linalg.norm(points.max(axis=0) - points.min(axis=0)))
    place = middle - view[2] * distance * extent
    unit = Camera(place, view, 1.0, (0.0, 0.0), size)
    flat, _ = unit.project(points)
    low, high = flat.min(axis=0), flat.max(axis=0)
    span = np.maximum(high - low, 1e-3)
    room = np.array(size, dtype=float)
    focal = float((fill * room / span).min())
    spare = room - span * focal
    at = (room - 1) / 2 + np.array(shift) * np.abs(spare) / 2
    centre = at - focal * (low + high) / 2
    return Camera(place, view, focal, (float(centre[0]), float(centre[1])), size)
