"""What is drawn on a head: eyes, nose and mouth, in head lengths from the nape."""

from __future__ import annotations

from typing import Any

import numpy as np

from tetrapose.synth.body import head_surface
from tetrapose.synth.coat import rgb


def draw(
    shape: dict[str, Any], coat: dict[str, Any], local: np.ndarray, colour: np.ndarray
) -> np.ndarray:
    """Colours (3, n) of places on the head (3, n: forward, left, up) with the face laid over."""
    colour = _mouth(shape["head"], coat, local, colour)
    colour = _nose(shape["head"], coat, local, colour)
    for side in (1.0, -1.0):
        colour = _eye(shape, coat, local, colour, side)
    return colour


def _lay(colour: np.ndarray, cover: np.ndarray, over: np.ndarray) -> np.ndarray:
    return colour + (over[:, None] - colour) * np.clip(cover, 0, 1)


def _far(offset: np.ndarray) -> np.ndarray:
    return np.sqrt((offset * offset).sum(axis=0))


def _disc(distance: np.ndarray, radius: float, soft: float = 0.012) -> np.ndarray:
    return (radius - distance) / soft + 0.5


def _eye(
    shape: dict[str, Any],
    coat: dict[str, Any],
    local: np.ndarray,
    colour: np.ndarray,
    side: float,
) -> np.ndarray:
    t, degrees, radius = shape["head"]["eye"]
    centre = head_surface(shape, (t, degrees), side)
    near = np.flatnonzero(_far(local - centre[:, None]) < radius * 2)
    if not len(near):
        return colour
    part, offset = colour[:, near], local[:, near] - centre[:, None]
    distance = _far(offset)
    part = _lay(part, _disc(distance, radius * 1.35, 0.4 * radius) * 0.75, rgb("#1c1510"))
    part = _lay(part, _disc(distance, radius), rgb(coat.get("eye", "#3a2413")))
    slit = np.array([1.0, 1.0, 0.35]) if coat.get("slit") else np.array([1.0, 1.0, 1.0])
    part = _lay(part, _disc(_far(offset * slit[:, None]), radius * 0.5), rgb("#080808"))
    shine = np.array([0.25, -0.1 * side, 0.4]) * radius
    gleam = _disc(_far(offset - shine[:, None]), radius * 0.28)
    part = _lay(part, gleam, np.array([1.0, 1.0, 1.0]))
    out = colour.copy()
    out[:, near] = part
    return out


def _nose(
    head: dict[str, Any], coat: dict[str, Any], local: np.ndarray, colour: np.ndarray
) -> np.ndarray:
    t, y, z = local
    kind, size = head["nose"]
    tint = rgb(coat.get("nose", "#2a211f"))
    if kind == "button":
        tip = head["rows"][-1][0] + 0.06
        away = np.sqrt(((t - tip) / 1.2) ** 2 + y**2 + ((z - 0.03) * 1.1) ** 2)
        return _lay(colour, _disc(away, size, 0.02), tint)
    if kind == "muzzle":
        colour = _lay(colour, (t - (1 - size)) / 0.06 + 0.5, tint)
    ahead, apart = (1.05, 0.09) if kind == "muzzle" else (0.97, 0.075)
    for side in (1.0, -1.0):
        away = np.sqrt((t - ahead) ** 2 + (y - side * apart) ** 2 + ((z - 0.04) * 0.8) ** 2)
        colour = _lay(colour, _disc(away, 0.035, 0.02) * 0.85, rgb("#15100e"))
    return colour


def _mouth(
    head: dict[str, Any], coat: dict[str, Any], local: np.ndarray, colour: np.ndarray
) -> np.ndarray:
    start, front, back = head["mouth"]
    t, _, z = local
    line = front + (back - front) * (1 - t) / max(1 - start, 1e-3)
    cover = (0.018 - np.abs(z - line)) / 0.012 * (t > start)
    return _lay(colour, np.clip(cover, 0, 1) * 0.6, rgb("#1a1210"))
