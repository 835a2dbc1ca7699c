"""Light on surfaces: one colour a covered pixel, from its normal and its coat."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from tetrapose.synth import face, noise
from tetrapose.synth.solids import Solid


@dataclass(frozen=True)
class Light:
    """A far light: direction towards it (3,), and RGB of it, of the sky and of the ground."""

    direction: np.ndarray
    colour: np.ndarray
    sky: np.ndarray
    ground: np.ndarray


@dataclass(frozen=True)
class Place:
    """n places on a solid: corners (3, n) of their faces, weights (3, n), and tubes (n,)."""

    corners: np.ndarray
    weights: np.ndarray
    tube: np.ndarray

    def some(self, mask: np.ndarray) -> Place:
        """Only some of the places."""
        return Place(self.corners[:, mask], self.weights[:, mask], self.tube[mask])

    def values(self, table: np.ndarray) -> np.ndarray:
        """(C, n) float32 from values of the corners (V, C)."""
        out = np.empty((table.shape[1], len(self.tube)), dtype=np.float32)
        for row, column in zip(out, np.ascontiguousarray(table.T, dtype=np.float32), strict=True):
            np.multiply(column.take(self.corners[0]), self.weights[0], out=row)
            row += column.take(self.corners[1]) * self.weights[1]
            row += column.take(self.corners[2]) * self.weights[2]
        return out


def unit(vectors: np.ndarray) -> np.ndarray:
    """(3, n) vectors of length 1."""
    x, y, z = vectors
    return vectors / np.maximum(np.sqrt(x * x + y * y + z * z), 1e-6)


def normals_at(
    place: Place, normals: np.ndarray, at: tuple[np.ndarray, np.ndarray], height: int
) -> np.ndarray:
    """(3, n) normals at pixels ``at`` (x, y), evened over neighbours so that joins do not show."""
    x, y = at
    top, left = int(y.min()), int(x.min())
    size = (int(y.max()) - top + 1, int(x.max()) - left + 1)
    spot = (y - top) * size[1] + (x - left)
    reach = max(5, round(5 * height / 512) | 1)
    even = place.values(normals)
    for row in even:
        plane = np.zeros(size[0] * size[1], dtype=np.float32)
        plane[spot] = row
        row[:] = cv2.blur(plane.reshape(size), (reach, reach)).ravel().take(spot)
    return unit(even)


def colour_solid(solid: Solid, place: Place, fine: float) -> np.ndarray:
    """Coat colours (3, n) of places on a solid; ``fine`` is how much of the world a pixel spans."""
    paint = solid.paint
    tone, phase, flat, along, around = place.values(paint.fields)
    table = paint.colours.astype(np.float32).transpose(1, 2, 0)  # base, second, mark; channel; tube
    # hair lies along the body; a fleece and leaves lie every way
    every_way = (solid.curl > 0)[place.tube]
    stretch = np.where(every_way, np.float32(300), np.float32(160))
    across = np.where(every_way, np.float32(300), np.float32(420))
    grain = noise.sample(along * stretch, around * across, noise.FINE)
    detail = float(np.clip(0.012 / max(fine, 1e-6), 0.25, 1))
    uneven = 1 + (solid.fur * detail) * grain
    mark = None
    if paint.rough:
        wave = np.sin(phase + 0.25 * grain)
        if paint.spotted:
            wave = wave * np.sin(around * paint.spotted + 0.8 * np.sin(phase * 0.37))
        mark = np.clip((paint.rough * wave + flat) * 4 + 0.5, 0, 1)
    colour = np.empty((3, len(tone)), dtype=np.float32)
    for channel, row in enumerate(colour):
        base, second, over = (table[i, channel].take(place.tube) for i in range(3))
        row[:] = base + (second - base) * tone
        if mark is not None:
            row += (over - row) * mark
        row *= uneven
    if solid.face is not None:
        on = np.flatnonzero(place.tube == solid.face.tube)
        if len(on):
            local = place.some(on).values(solid.face.local)
            colour[:, on] = face.draw(solid.face.shape, solid.face.coat, local, colour[:, on])
    return np.clip(colour, 0, 1)


def ruffled(solid: Solid, place: Place, normals: np.ndarray) -> np.ndarray:
    """Normals (3, n) turned this way and that over a fleece or leaves."""
    if not solid.curl.any():
        return normals
    along, around = place.values(solid.paint.fields[:, 3:])
    depth = solid.curl.astype(np.float32)[place.tube]
    tilts = [
        depth * noise.sample(along * 260 + 71 * axis, around * 260, noise.FINE) for axis in range(3)
    ]
    return unit(normals + np.stack(tilts))


def lit(
    colour: np.ndarray, normals: np.ndarray, view: np.ndarray, light: Light, gloss: float
) -> np.ndarray:
    """Colours under the light (3, n), not clipped; ``view`` (3, n) points to the camera."""
    tx, ty, tz = (float(v) for v in light.direction)
    nx, ny, nz = normals
    facing = nx * tx + ny * ty + nz * tz
    direct = np.clip((facing + 0.25) / 1.25, 0, 1)
    up = (nz + 1) / 2
    vx, vy, vz = view
    hx, hy, hz = vx + tx, vy + ty, vz + tz
    half = (nx * hx + ny * hy + nz * hz) / np.sqrt(np.maximum(hx * hx + hy * hy + hz * hz, 1e-9))
    shine = np.clip(half, 0, 1) ** 8
    shine = shine * shine * shine * gloss * (facing > 0)
    edge = 1 - np.clip(nx * vx + ny * vy + nz * vz, 0, 1)
    edge = 0.18 * edge * edge * edge
    out = np.empty_like(colour)
    for i, row in enumerate(out):
        sky, ground, strength = (float(v[i]) for v in (light.sky, light.ground, light.colour))
        row[:] = colour[i] * (ground + (sky - ground) * up + strength * direct + edge) + shine
    return out
