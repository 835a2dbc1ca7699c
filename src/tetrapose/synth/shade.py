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
    """n places on a solid: corners (n, 3) of their faces, weights (n, 3), and tubes (n,)."""

    corners: np.ndarray
    weights: np.ndarray
    tube: np.ndarray

    def some(self, mask: np.ndarray) -> Place:
        """Only some of the places."""
        return Place(self.corners[mask], self.weights[mask], self.tube[mask])

    def values(self, table: np.ndarray) -> np.ndarray:
        """(n, C) float32 from values of the corners (V, C)."""
        table = np.ascontiguousarray(table, dtype=np.float32)
        out = table.take(self.corners[:, 0], axis=0) * self.weights[:, :1]
        out += table.take(self.corners[:, 1], axis=0) * self.weights[:, 1:2]
        out += table.take(self.corners[:, 2], axis=0) * self.weights[:, 2:]
        return out


def normals_at(
    place: Place, normals: np.ndarray, at: tuple[np.ndarray, np.ndarray], height: int
) -> np.ndarray:
    """(n, 3) normals at pixels ``at`` (x, y), evened over neighbours so that joins do not show."""
    x, y = at
    top, left = int(y.min()), int(x.min())
    plane = np.zeros((int(y.max()) - top + 1, int(x.max()) - left + 1, 3), dtype=np.float32)
    plane[y - top, x - left] = place.values(normals)
    reach = max(5, round(5 * height / 512) | 1)
    even = cv2.blur(plane, (reach, reach))[y - top, x - left]
    return even / np.maximum(np.sqrt(np.einsum("pi,pi->p", even, even)), 1e-6)[:, None]


def colour_solid(solid: Solid, place: Place, fine: float) -> np.ndarray:
    """Coat colours (n, 3) of places on a solid; ``fine`` is how much of the world a pixel spans."""
    paint = solid.paint
    fields = place.values(paint.fields)
    tone, phase, flat, along, around = fields.T
    table = paint.colours.astype(np.float32).reshape(-1, 9).take(place.tube, axis=0)
    table = table.reshape(-1, 3, 3)
    colour = table[:, 0] + (table[:, 1] - table[:, 0]) * tone[:, None]
    # hair lies along the body; a fleece and leaves lie every way
    every_way = solid.curl[place.tube] > 0
    stretch = np.where(every_way, np.float32(300), np.float32(160))
    grain = noise.sample(along * stretch, around * np.where(every_way, stretch, 420), noise.FINE)
    if paint.rough:
        wave = np.sin(phase + 0.25 * grain)
        if paint.spotted:
            wave = wave * np.sin(around * paint.spotted + 0.8 * np.sin(phase * 0.37))
        mark = np.clip((paint.rough * wave + flat) * 4 + 0.5, 0, 1)[:, None]
        colour = colour + (table[:, 2] - colour) * mark
    detail = float(np.clip(0.012 / max(fine, 1e-6), 0.25, 1))
    colour = colour * (1 + solid.fur * detail * grain)[:, None]
    if solid.face is not None:
        on = np.flatnonzero(place.tube == solid.face.tube)
        if len(on):
            local = place.some(on).values(solid.face.local)
            colour[on] = face.draw(solid.face.shape, solid.face.coat, local, colour[on])
    return np.clip(colour, 0, 1)


def ruffled(solid: Solid, place: Place, normals: np.ndarray) -> np.ndarray:
    """Normals (n, 3) turned this way and that over a fleece or leaves."""
    if not solid.curl.any():
        return normals
    along, around = place.values(solid.paint.fields[:, 3:]).T
    turned = normals.copy()
    for axis in range(3):
        tilt = noise.sample(along * 260 + 71 * axis, around * 260, noise.FINE)
        turned[:, axis] += solid.curl[place.tube] * tilt
    return turned / np.sqrt(np.einsum("pi,pi->p", turned, turned))[:, None]


def lit(
    colour: np.ndarray, normals: np.ndarray, view: np.ndarray, light: Light, gloss: float
) -> np.ndarray:
    """Colours under the light (n, 3), not clipped; ``view`` (n, 3) points to the camera."""
    toward = light.direction.astype(np.float32)
    facing = normals @ toward
    direct = np.clip((facing + 0.25) / 1.25, 0, 1)[:, None]
    up = (normals[:, 2:3] + 1) / 2
    around = light.ground + (light.sky - light.ground) * up
    half = view + toward
    half = half / np.maximum(np.linalg.norm(half, axis=1), 1e-6)[:, None]
    shine = np.clip(np.einsum("pi,pi->p", normals, half), 0, 1) ** 24 * gloss * (facing > 0)
    edge = (1 - np.clip(np.einsum("pi,pi->p", normals, view), 0, 1)) ** 3
    return colour * (around + light.colour * direct + 0.18 * edge[:, None]) + shine[:, None]
