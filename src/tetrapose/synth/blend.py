"""Smooth joins: where two tubes meet, both surfaces move onto one rounded surface.

The rounding is the polynomial smooth minimum of two distances, which for |a - b| < k is
min(a, b) - k / 4 (1 - |a - b| / k)^2. On one tube's surface its own distance is 0, so the other's
distance alone says how far a corner moves and where it then looks.
Source: Inigo Quilez, "smooth minimum" (the quadratic form).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Rings:
    """Oval rings of all tubes, R of them: frames (R, 3, 3) with rows axis, top, left."""

    centre: np.ndarray
    frames: np.ndarray
    up: np.ndarray
    down: np.ndarray
    side: np.ndarray


def soften(
    grid: np.ndarray,
    normals: np.ndarray,
    rings: Rings,
    spans: list[tuple[int, int]],
    joins: list[tuple[int, int, float]],
) -> tuple[np.ndarray, np.ndarray]:
    """Corners (R, A, 3) and normals with the joins (tube, tube, width k) rounded.

    ``spans`` are the rings from, to of each tube.
    """
    moved, turned = grid.copy(), normals.copy()
    for tube, (low, high) in enumerate(spans):
        others = [(b if a == tube else a, width) for a, b, width in joins if tube in (a, b)]
        if not others:
            continue
        points = grid[low:high, :-1].reshape(-1, 3).astype(np.float32)
        chosen = [_body(spans[other]) for other, _ in others]
        widths = np.repeat([width for _, width in others], [len(c) for c in chosen])
        # of several neighbours the one that reaches deepest decides: sums would bulge
        away, outward, scale = _distance(points, rings, np.concatenate(chosen), widths)
        near = np.flatnonzero(np.abs(away) < 1)
        away, scale = away[near, None], scale[near, None]
        shift = scale * ((1 - np.abs(away)) ** 2 / 4 + np.maximum(-away, 0))
        share = (1 - away) / 2
        ring, corner = np.divmod(near, grid.shape[1] - 1)
        ring += low
        way = normals[ring, corner] * (1 - share) + outward[near] * share
        way /= np.maximum(np.sqrt(np.einsum("ni,ni->n", way, way)), 1e-6)[:, None]
        moved[ring, corner] += way * shift
        turned[ring, corner] = way
    moved[:, -1], turned[:, -1] = moved[:, 0], turned[:, 0]
    return moved, turned


def _body(span: tuple[int, int]) -> np.ndarray:
    """The rings between a tube's rounded ends; of many every other: each reaches past the next."""
    low, high = span[0] + 3, span[1] - 3
    return np.arange(low, high, 2 if high - low > 12 else 1)


def _distance(
    points: np.ndarray, rings: Rings, chosen: np.ndarray, widths: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How far points (n, 3) lie outside the nearest chosen ring (inside: negative), in its width.

    Also which way is out there (n, 3), and the width (n,). A ring counts as an ellipsoid whose axis
    along the tube is as short as the shorter of the two others.
    """
    frames = rings.frames[chosen].astype(np.float32)
    offset = np.einsum("rij,rj->ir", rings.frames[chosen], rings.centre[chosen])
    axis, top, left = (points @ frames[:, i].T - offset[i].astype(np.float32) for i in range(3))
    side, up, down = (v[chosen].astype(np.float32) for v in (rings.side, rings.up, rings.down))
    short, side, up, down = 1 / np.minimum(side, (up + down) / 2), 1 / side, 1 / up, 1 / down
    square = (axis * short) ** 2 + (left * side) ** 2 + (top * np.where(top > 0, up, down)) ** 2
    length = np.sqrt(axis * axis + top * top + left * left)
    away = length * (1 - 1 / np.sqrt(np.maximum(square, 1e-6))) / widths.astype(np.float32)
    best = away.argmin(axis=1)
    rows = np.arange(len(points))
    axis, top, left = axis[rows, best], top[rows, best], left[rows, best]
    slope = [axis * short[best] ** 2, 0 * top, left * side[best] ** 2]
    slope[1] = top * np.where(top > 0, up[best], down[best]) ** 2
    outward = np.einsum("in,nij->nj", np.stack(slope), frames[best])
    outward /= np.maximum(np.sqrt(np.einsum("ni,ni->n", outward, outward)), 1e-9)[:, None]
    return away[rows, best], outward, widths[best].astype(np.float32)
