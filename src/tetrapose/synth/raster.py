"""Triangles to pixels: which surface is nearest at each, and where on it, without a loop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NEAR = 1e-3  # nothing nearer the camera than this is drawn
EDGE = 1e-3  # pixels by which a face is widened, so that rounding opens no seam


@dataclass(frozen=True)
class Covered:
    """Pixels of faces before any hides another: pixel (flat), face, inverse depth, all (P,).

    ``planes`` (F, 6) of each face that is drawn, ``kept`` (F,) rising: corner 1's weight is
    a x + b y + c, corner 2's d x + e y + f.
    """

    pixel: np.ndarray
    face: np.ndarray
    inverse: np.ndarray
    kept: np.ndarray
    planes: np.ndarray
    size: tuple[int, int]


@dataclass(frozen=True)
class Fragments:
    """The nearest surface at each covered pixel, in rising order of pixels.

    pixel (P,) flat index (row * width + column); face (P,) into the faces; weights (3, P) of the
    face's corners on the picture; depth (P,) along the camera's axis.
    """

    pixel: np.ndarray
    face: np.ndarray
    weights: np.ndarray
    depth: np.ndarray


def rasterise(
    points: np.ndarray,
    depths: np.ndarray,
    faces: np.ndarray,
    size: tuple[int, int],
    *,
    cull: bool = True,
) -> Covered:
    """Every covered pixel of every front face.

    ``points`` (V, 2) are pixels of a picture of ``size`` (width, height) whose top-left pixel has
    its centre at (0, 0); ``depths`` (V,). A pixel is covered when its centre lies inside. Faces
    whose corners run clockwise as seen are backs and are left out with ``cull``.
    """
    width, height = size
    corners = points.astype(np.float32).take(faces, axis=0)
    side1, side2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = side1[:, 0] * side2[:, 1] - side1[:, 1] * side2[:, 0]
    inverse = (1 / np.maximum(depths, NEAR)).astype(np.float32).take(faces)
    keep = (area < -1e-9) if cull else (np.abs(area) > 1e-9)
    keep &= inverse.max(axis=1) < 1 / NEAR
    kept = np.flatnonzero(keep)
    corners, near = corners[kept], inverse[kept]
    planes = _planes(corners[:, 0], side1[kept], side2[kept], area[kept])
    # inverse depth is flat in the picture: u x + v y + w over each face
    flat = planes[:, :3] * (near[:, 1] - near[:, 0])[:, None]
    flat += planes[:, 3:] * (near[:, 2] - near[:, 0])[:, None]
    flat[:, 2] += near[:, 0]
    face, y, left, right = _rows(corners, height)
    start = np.maximum(np.ceil(left - EDGE), 0)
    stop = np.minimum(np.floor(right + EDGE), width - 1)
    slope = flat.take(face, axis=0)
    rise = slope[:, 0]
    first = rise * start + slope[:, 1] * y + slope[:, 2]
    row, step = _count_out(start, stop)
    value = first.take(row) + rise.take(row) * step.astype(np.float32)
    base = y.astype(np.int64) * width + start.astype(np.int64)
    return Covered(base.take(row) + step, kept.take(face.take(row)), value, kept, planes, size)


def _planes(
    corner: np.ndarray, side1: np.ndarray, side2: np.ndarray, area: np.ndarray
) -> np.ndarray:
    a, b = side2[:, 1] / area, -side2[:, 0] / area
    d, e = -side1[:, 1] / area, side1[:, 0] / area
    c = -a * corner[:, 0] - b * corner[:, 1]
    f = -d * corner[:, 0] - e * corner[:, 1]
    return np.stack([a, b, c, d, e, f], axis=1)


def _rows(corners: np.ndarray, height: int) -> tuple[np.ndarray, ...]:
    """Faces cut into rows: face, row number, left and right end, one entry a row of a face."""
    order = np.argsort(corners[:, :, 1], axis=1, kind="stable")
    upper, middle, lower = np.take_along_axis(corners, order[..., None], axis=1).swapaxes(0, 1)
    low = np.maximum(np.ceil(upper[:, 1]), 0)
    high = np.minimum(np.floor(lower[:, 1]), height - 1)
    face, step = _count_out(low, high)
    # x along each side = m y + b; the long side, and the two short ones that meet at the middle
    long, first, second = (
        _slope(a, b) for a, b in ((upper, lower), (upper, middle), (middle, lower))
    )
    table = np.stack(
        [
            low, middle[:, 1],
            long, upper[:, 0] - long * upper[:, 1],
            first, upper[:, 0] - first * upper[:, 1],
            second, middle[:, 0] - second * middle[:, 1],
        ],
        axis=1,
    ).take(face, axis=0).T  # fmt: skip
    y = table[0] + step.astype(np.float32)
    one = table[2] * y + table[3]
    other = np.where(y < table[1], table[4] * y + table[5], table[6] * y + table[7])
    return face, y, np.minimum(one, other), np.maximum(one, other)


def _slope(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    rise = b[:, 1] - a[:, 1]
    return np.where(rise > 0, (b[:, 0] - a[:, 0]) / np.where(rise > 0, rise, 1), 0)


def _count_out(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each i as many entries as there are whole numbers low[i]..high[i]: i, and 0, 1, 2 ..."""
    counts = np.maximum(high - low + 1, 0).astype(np.int64)
    index = np.repeat(np.arange(len(counts)), counts)
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    return index, np.arange(len(index)) - starts


def nearest(covered: Covered) -> Fragments:
    """Keep at each pixel the surface with the least depth; of equals, the last."""
    width, height = covered.size
    buffer = np.zeros(width * height, dtype=np.float32)
    np.maximum.at(buffer, covered.pixel, covered.inverse)
    winners = np.flatnonzero(covered.inverse == buffer.take(covered.pixel))
    owner = np.full(width * height, -1, dtype=np.int32)
    owner[covered.pixel[winners]] = covered.face[winners]
    pixel = np.flatnonzero(buffer)
    face = owner.take(pixel)
    y = (pixel // width).astype(np.float32)
    x = pixel.astype(np.float32) - y * width
    slot = np.zeros(int(covered.kept.max(initial=0)) + 1, dtype=np.int64)
    slot[covered.kept] = np.arange(len(covered.kept))
    plane = covered.planes.take(slot.take(face), axis=0).T
    w1 = np.clip(plane[0] * x + plane[1] * y + plane[2], 0, 1)
    w2 = np.clip(plane[3] * x + plane[4] * y + plane[5], 0, 1)
    return Fragments(pixel, face, np.stack([1 - w1 - w2, w1, w2]), 1 / buffer.take(pixel))
