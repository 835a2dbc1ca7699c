"""Tubes to triangles: every solid of a picture is a tube with oval rings along a bent axis."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tetrapose.synth.blend import Rings, soften

AROUND = 18  # corners of a ring; the seam's corner is stored twice
CAP = (
    (1.0, 0.02),
    (0.92, 0.42),
    (0.62, 0.80),
)  # (shift out, radius) of the rings that close an end


@dataclass(frozen=True)
class Tube:
    """A solid around an axis.

    ``rows`` (n, 9): centre x y z, radius up, down and to the side, and the lateral direction (the
    animal's left) as x y z; a smooth curve passes through every row. ``rings`` is how many rings
    are drawn between its ends, ``caps`` how far the ends bulge in multiples of the end's radius
    (0 ends flat). ``part`` names the body part, ``name`` the tube itself.
    """

    name: str
    part: str
    rows: np.ndarray
    rings: int
    caps: tuple[float, float] = (1.0, 1.0)


@dataclass(frozen=True)
class Mesh:
    """Corners of many tubes, R rings of AROUND + 1 corners each, flattened.

    points and normals (V, 3), along (V,) length from the tube's start and around (V,) arc over the
    ring, both in the units of the points; height (V,) -1 underneath to 1 on top; tube (V,) index
    into the tubes; faces (F, 3) wound anticlockwise seen from outside; face_tube (F,).
    """

    points: np.ndarray
    normals: np.ndarray
    along: np.ndarray
    around: np.ndarray
    height: np.ndarray
    tube: np.ndarray
    faces: np.ndarray
    face_tube: np.ndarray


@lru_cache(maxsize=256)
def _curve(rows: int, rings: int) -> np.ndarray:
    """(rings + 6, rows) weights of a Catmull-Rom curve that runs evenly through the rows.

    The first and the last ring stand four times: for themselves and the rings that close the end.
    """
    out = np.zeros((rings, rows))
    for i, at in enumerate(np.linspace(0, rows - 1, rings)):
        k = min(int(at), rows - 2)
        t = at - k
        weights = (
            (-t + 2 * t**2 - t**3) / 2,
            (2 - 5 * t**2 + 3 * t**3) / 2,
            (t + 4 * t**2 - 3 * t**3) / 2,
            (-(t**2) + t**3) / 2,
        )
        for j, weight in zip(range(k - 1, k + 3), weights, strict=True):
            # beyond the ends the curve goes on straight: p[-1] = 2 p[0] - p[1]
            if j < 0:
                out[i, 0] += 2 * weight
                out[i, 1] -= weight
            elif j >= rows:
                out[i, rows - 1] += 2 * weight
                out[i, rows - 2] -= weight
            else:
                out[i, j] += weight
    return np.pad(out, ((len(CAP), len(CAP)), (0, 0)), mode="edge")


@dataclass(frozen=True)
class _Plan:
    """What depends on the numbers of rings alone."""

    faces: np.ndarray
    face_tube: np.ndarray
    ring_tube: np.ndarray
    before: np.ndarray
    after: np.ndarray
    shift: np.ndarray
    shrink: np.ndarray
    spans: list[tuple[int, int]]


@lru_cache(maxsize=64)
def _plan(counts: tuple[int, ...]) -> _Plan:
    cap = len(CAP)
    faces, face_tube, ring_tube, before, after, shift, shrink = ([] for _ in range(7))
    start, columns, spans = 0, AROUND + 1, []
    for tube, count in enumerate(counts):
        total = count + 2 * cap
        index = np.arange(start, start + total)
        first, last = start + cap, start + total - cap - 1
        before.append(np.clip(index - 1, first, last - 1))
        after.append(np.clip(index + 1, first + 1, last))
        moves = np.zeros(total)
        sizes = np.ones(total)
        for i, (out, radius) in enumerate(CAP):
            moves[i], moves[total - 1 - i] = -out, out
            sizes[i] = sizes[total - 1 - i] = radius
        shift.append(moves)
        shrink.append(sizes)
        ring_tube.append(np.full(total, tube))
        ring, corner = np.meshgrid(index[:-1], np.arange(AROUND), indexing="ij")
        a = (ring * columns + corner).ravel()
        faces.append(np.stack([a, a + 1, a + columns], axis=1))
        faces.append(np.stack([a + 1, a + columns + 1, a + columns], axis=1))
        face_tube.append(np.full(2 * len(a), tube))
        spans.append((start, start + total))
        start += total
    return _Plan(
        faces=np.concatenate(faces),
        face_tube=np.concatenate(face_tube),
        ring_tube=np.concatenate(ring_tube),
        before=np.concatenate(before),
        after=np.concatenate(after),
        shift=np.concatenate(shift),
        shrink=np.concatenate(shrink),
        spans=spans,
    )


@lru_cache(maxsize=1)
def _circle() -> tuple[np.ndarray, np.ndarray]:
    angle = np.linspace(0, 2 * np.pi, AROUND + 1)
    cos, sin = np.cos(angle), np.sin(angle)
    cos[-1], sin[-1] = cos[0], sin[0]
    return cos, sin


def build(
    tubes: list[Tube], joins: tuple[tuple[str, str, float], ...] = (), *, bare: bool = False
) -> Mesh:
    """All tubes as one mesh; ``joins`` names pairs of tubes to round into one another, and how far.

    With ``bare`` the normals are left at zero, for a mesh that is not drawn.
    """
    plan = _plan(tuple(tube.rings for tube in tubes))
    rows = np.concatenate([_curve(len(tube.rows), tube.rings) @ tube.rows for tube in tubes])
    caps = np.array([tube.caps for tube in tubes])[plan.ring_tube]
    centre, up, down, side = rows[:, :3], rows[:, 3], rows[:, 4], rows[:, 5]
    tangent = _unit(centre[plan.after] - centre[plan.before])
    top = _unit(np.cross(tangent, rows[:, 6:9]))
    left = np.cross(top, tangent)
    bulge = np.where(plan.shift < 0, caps[:, 0], caps[:, 1]) * np.minimum((up + down) / 2, side)
    centre = centre + tangent * (plan.shift * bulge)[:, None]
    cos, sin = _circle()
    rise = np.where(sin[None] > 0, up[:, None], down[:, None]) * sin * plan.shrink[:, None]
    reach = side[:, None] * cos * plan.shrink[:, None]
    grid = centre[:, None] + top[:, None] * rise[..., None] + left[:, None] * reach[..., None]
    normals = np.zeros_like(grid) if bare else _grid_normals(grid, plan, tangent)
    if joins:
        rings = Rings(centre, np.stack([tangent, top, left], axis=1), up, down, side)
        names = [tube.name for tube in tubes]
        pairs = [(names.index(a), names.index(b), width) for a, b, width in joins]
        grid, normals = soften(grid, normals, rings, plan.spans, pairs)
    girth = (up + down + 2 * side) * (np.pi / 4)
    return Mesh(
        points=grid.reshape(-1, 3),
        normals=normals.reshape(-1, 3),
        along=np.repeat(_lengths(centre, plan), AROUND + 1),
        around=(girth[:, None] * np.linspace(0, 2, AROUND + 1)).ravel(),
        height=np.broadcast_to(sin, grid.shape[:2]).ravel(),
        tube=np.repeat(plan.ring_tube, AROUND + 1),
        faces=plan.faces,
        face_tube=plan.face_tube,
    )


def _lengths(centre: np.ndarray, plan: _Plan) -> np.ndarray:
    """(R,) length along the axis from each ring's tube's start."""
    step = np.linalg.norm(np.diff(centre, axis=0, prepend=centre[:1]), axis=1)
    along = np.cumsum(step)
    starts = np.array([along[low] for low, _ in plan.spans])
    return along - starts[plan.ring_tube]


def _grid_normals(grid: np.ndarray, plan: _Plan, tangent: np.ndarray) -> np.ndarray:
    """Outward normals from differences along and around, the ends looking along the axis."""
    index = np.arange(len(grid))
    tube = plan.ring_tube
    ahead = np.minimum(index + 1, len(grid) - 1)
    ahead = np.where(tube[ahead] == tube, ahead, index)
    behind = np.maximum(index - 1, 0)
    behind = np.where(tube[behind] == tube, behind, index)
    along = grid[ahead] - grid[behind]
    around = np.empty_like(grid)
    around[:, 1:-1] = grid[:, 2:] - grid[:, :-2]
    around[:, 0] = around[:, -1] = grid[:, 1] - grid[:, -2]
    normals = np.cross(around, along)
    closed = plan.shrink < 0.1
    normals[closed] = (tangent[closed] * np.sign(plan.shift[closed])[:, None])[:, None]
    return _unit(normals)


def _unit(vectors: np.ndarray) -> np.ndarray:
    length = np.sqrt((vectors * vectors) @ np.ones(3))[..., None]
    return vectors / np.maximum(length, 1e-12)
