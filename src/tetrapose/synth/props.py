"""Loose things that stand about and may hide an animal: trees, bushes, rocks, fences, boxes."""

from __future__ import annotations

import numpy as np

from tetrapose.synth import noise
from tetrapose.synth.coat import rgb
from tetrapose.synth.mesh import Tube

COLOURS = {
    "tree": ("#5a4632", "#3f5a2c"), "bush": ("#3d5a2a", "#5d7a3a"), "rock": ("#77736c", "#8f8a80"),
    "fence": ("#7a6a52", "#cfcac0"), "post": ("#6b6f73", "#8a5a3a"), "box": ("#a8794a", "#4f6f9a"),
    "ball": ("#c23b32", "#3d78b8"), "cushion": ("#8a4f6f", "#c9b48a"),
}  # fmt: skip


def make(
    rng: np.random.Generator, kind: str, place: np.ndarray, across: np.ndarray
) -> tuple[list[Tube], list[np.ndarray], float]:
    """Tubes of one thing on the ground at ``place``, their colours, and how rough its skin is.

    ``across`` is a level direction along which long things run.
    """
    x, y = place[:2]
    choice = [rgb(c) for c in COLOURS[kind]]
    if kind == "tree":
        radius, height = rng.uniform(0.06, 0.2), rng.uniform(2.5, 5)
        stem = _column(x, y, [0, height / 2, height], [radius * 1.3, radius, radius * 0.7])
        crown = _column(
            x, y, height + np.array([-0.6, 0, 1, 1.8]), np.array([0.4, 1.2, 1.3, 0.5]) * height / 4
        )
        return [Tube("tree", "prop", stem, 8), Tube("crown", "prop", crown, 10)], choice, 0.04
    if kind in ("bush", "rock", "ball", "cushion"):
        high = {
            "bush": (0.25, 0.7),
            "rock": (0.1, 0.35),
            "ball": (0.08, 0.2),
            "cushion": (0.12, 0.25),
        }
        size = rng.uniform(*high[kind])
        wide = size * rng.uniform(
            *{"ball": (0.5, 0.5001), "cushion": (1.5, 2.5)}.get(kind, (0.6, 1.3))
        )
        levels = np.array([0.04, 0.3, 0.7, 0.96]) * size
        rows = _column(x, y, levels, wide * np.array([0.75, 1.0, 0.8, 0.35]))
        if kind == "ball":
            rows = _column(x, y, levels, size / 2 * np.array([0.4, 0.92, 0.92, 0.4]))
        colour = choice[0] + (choice[1] - choice[0]) * rng.random()
        rough = {"bush": 0.16 * size, "rock": 0.12 * size}.get(kind, 0.0)
        return [Tube(kind, "prop", rows, 9, (0.1, 0.5))], [colour], rough
    if kind == "fence":
        colour = choice[int(rng.integers(2))]
        return _fence(rng, place, across, colour)
    size = rng.uniform(0.15, 0.6) if kind == "box" else rng.uniform(0.03, 0.09)
    tall = size * rng.uniform(0.8, 2) if kind == "box" else rng.uniform(0.6, 2.5)
    rows = _column(x, y, [0, tall / 2, tall], [size, size, size])
    tone = choice[0] + (choice[1] - choice[0]) * rng.random()
    return [Tube(kind, "prop", rows, 4, (0.0, 0.06))], [tone], 0.0


def _column(x: float, y: float, heights, radii) -> np.ndarray:  # noqa: ANN001 lists or arrays
    heights, radii = np.asarray(heights, float), np.asarray(radii, float)
    centres = np.stack([x + 0 * heights, y + 0 * heights, heights], axis=1)
    lateral = np.tile([0.0, 1.0, 0.0], (len(heights), 1))
    return np.concatenate([centres, np.stack([radii] * 3, axis=1), lateral], axis=1)


def _fence(
    rng: np.random.Generator, place: np.ndarray, across: np.ndarray, colour: np.ndarray
) -> tuple[list[Tube], list[np.ndarray], float]:
    height, gap = rng.uniform(0.5, 1.1), rng.uniform(1.2, 2.0)
    tubes = []
    for i in range(-3, 4):
        at = place + across * (i * gap)
        rows = _column(at[0], at[1], [0, height / 2, height * 1.1], [0.05, 0.05, 0.045])
        tubes.append(Tube("post", "prop", rows, 4, (0.0, 0.2)))
    for level in (0.4, 0.9):
        ends = [place + across * (i * gap * 3) + (0, 0, height * level) for i in (-1, 0, 1)]
        rows = np.concatenate(
            [np.array(ends), np.full((3, 3), 0.032), np.tile([0.0, 0.0, 1.0], (3, 1))], axis=1
        )
        tubes.append(Tube("rail", "prop", rows, 4, (0.0, 0.0)))
    return tubes, [colour] * len(tubes), 0.0


def roughen(points: np.ndarray, normals: np.ndarray, rough: np.ndarray, seed: int) -> np.ndarray:
    """Points moved along their normals by a random field, ``rough`` (V,) deep."""
    rng = np.random.default_rng(seed)
    field = noise.waves(rng, points, 0.35) + 0.7 * noise.waves(rng, points, 0.12)
    return points + normals * (field * rough)[:, None]
