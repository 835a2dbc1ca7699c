"""Coats: where on the body which colour stands, as a few smooth fields over the resting animal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tetrapose.synth import noise
from tetrapose.synth.mesh import AROUND, Mesh, Tube

FIELDS = ("tone", "phase", "flat", "along", "around")


@dataclass(frozen=True)
class Paint:
    """A coat on a mesh.

    ``fields`` (V, 5) in the order of FIELDS; ``colours`` (T, 3, 3) base, second and mark of each
    tube, RGB in 0..1. A place shows base, or second as ``tone`` goes to 1, or mark where
    ``rough`` sin(phase) + flat is over 0 (with ``spotted``, sin(phase) times a wave around).
    """

    fields: np.ndarray
    colours: np.ndarray
    rough: float
    spotted: float


def rgb(text: str) -> np.ndarray:
    """'#rrggbb' -> three values in 0..1."""
    return np.array([int(text[i : i + 2], 16) / 255 for i in (1, 3, 5)])


def paint(rng: np.random.Generator, coat: dict[str, Any], tubes: list[Tube], rest: Mesh) -> Paint:
    """Lay a coat over an animal; ``rest`` is its mesh standing at rest."""
    points = rest.points.astype(np.float32)
    parts = np.array([_kind(tube.name) for tube in tubes])[rest.tube]
    tone = _tone(coat, points, rest, parts)
    tone += 0.12 * noise.waves(rng, points, 0.15) * (tone > 0.02)
    phase, flat = _pattern(rng, coat, points, rest, parts)
    fields = np.stack([np.clip(tone, 0, 1), phase, flat, rest.along, rest.around], axis=1).astype(
        np.float32
    )
    spotted = 2 * np.pi / coat["scale"] if coat["pattern"] == "spots" else 0.0
    rough = {"stripes": 1.0, "spots": 1.0, "patches": 0.14, "solid": 0.0}[coat["pattern"]]
    return Paint(fields, _colours(coat, tubes), rough, spotted)


def _kind(name: str) -> str:
    for kind in ("upper", "lower", "foot", "ear", "horn", "mane", "crest", "forelock"):
        if name.endswith(kind):
            return kind
    return name


def _smooth(value: np.ndarray, low: float, high: float) -> np.ndarray:
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


@dataclass(frozen=True)
class _Body:
    """Corners by what schemes ask of them: kind of tube, side and height of the resting place.

    ``top`` is -1 underneath to 1 on top of the tube; ``share`` 0..1 along head or tail.
    """

    kind: np.ndarray
    y: np.ndarray
    z: np.ndarray
    top: np.ndarray
    share: np.ndarray

    def on(self, *kinds: str) -> np.ndarray:
        return np.isin(self.kind, kinds)


def _belly(body: _Body) -> np.ndarray:
    inner = body.on("upper", "lower") * _smooth(-np.abs(body.y), -0.1, -0.04)
    return np.where(body.on("trunk", "neck", "head"), _smooth(-body.top, 0.15, 0.75), inner)


def _points(body: _Body) -> np.ndarray:
    part = np.where(body.on("upper", "lower", "foot"), _smooth(-body.z, -0.42, -0.15), 0.0)
    part = np.where(body.on("head"), _smooth(body.share, 0.35, 0.75), part)
    return np.where(body.on("tail"), 1.0, part)


def _saddle(body: _Body) -> np.ndarray:
    part = np.where(body.on("neck"), _smooth(body.top, -0.25, 0.3), 0.0)
    part = np.where(body.on("trunk", "upper"), _smooth(body.z, 0.62, 0.8), part)
    part = np.where(body.on("tail"), _smooth(body.top, -0.4, 0.4), part)
    return np.where(body.on("head"), 0.8 * _smooth(body.share, 0.5, 0.8), part)


def _blaze(body: _Body) -> np.ndarray:
    return (body.on("head") & (body.top > 0)) * _smooth(-np.abs(body.y), -0.03, -0.015)


_LIMB = ("upper", "lower", "foot")
SCHEMES: dict[str, Callable[[_Body], np.ndarray]] = {
    "belly": _belly,
    "points": _points,
    "saddle": _saddle,
    "blaze": _blaze,
    "legs": lambda body: body.on(*_LIMB) * _smooth(-body.z, -0.42, -0.25),
    "socks": lambda body: body.on(*_LIMB) * _smooth(-body.z, -0.20, -0.15),
    "face": lambda body: body.on("head") * 1.0,
    "muzzle": lambda body: body.on("head") * _smooth(body.share, 0.62, 0.8),
    "tip": lambda body: body.on("tail") * _smooth(body.share, 0.72, 0.85),
}


def _tone(coat: dict[str, Any], points: np.ndarray, rest: Mesh, parts: np.ndarray) -> np.ndarray:
    """How far the second colour stands in for the base, by the schemes that the coat names."""
    share = np.zeros(len(points))
    for kind in ("head", "tail"):
        mine = parts == kind
        share[mine] = rest.along[mine] / max(float(rest.along[mine].max()), 1e-6)
    body = _Body(parts, points[:, 1], points[:, 2], rest.height, share)
    tone = np.zeros(len(points), dtype=np.float32)
    for scheme, amount in coat.get("tone", {}).items():
        tone = np.maximum(tone, SCHEMES[scheme](body) * amount)
    # the second colour of an ear is that of its hollow side, which looks forward
    return np.where(body.on("ear"), _smooth(-body.top, 0.1, 0.7), tone).astype(np.float32)


def _pattern(
    rng: np.random.Generator,
    coat: dict[str, Any],
    points: np.ndarray,
    rest: Mesh,
    parts: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """(phase, flat) of the marks."""
    kind = coat["pattern"]
    if kind == "solid":
        return np.zeros(len(points)), np.full(len(points), -2.0)
    scale, cover = coat["scale"], coat["cover"] + rng.normal(0, 0.06)
    under = np.where(np.isin(parts, ("trunk", "neck", "head")), _smooth(-rest.height, 0.3, 0.9), 0)
    bare = np.isin(parts, ("ear", "horn", "foot", "mane", "crest", "forelock"))
    if kind == "patches":
        flat = noise.waves(rng, points, scale) + (2 * cover - 1) - 0.8 * under
        phase = 4 * noise.waves(rng, points, scale / 3)
    else:
        warp = noise.waves(rng, points, 2.2 * scale) + 0.4 * noise.waves(rng, points, scale)
        phase = 2 * np.pi * _course(points, rest, parts) / scale + coat.get("warp", 1.6) * warp
        flat = 2 * cover - 1 - 1.1 * under * coat.get("fade", 1.0)
        flat = flat + 0.25 * noise.waves(rng, points, 1.5 * scale)
        head = parts == "head"
        ahead = _smooth(rest.along / max(float(rest.along[head].max()), 1e-6), 0.55, 0.7)
        flat = flat - np.where(head, coat.get("calm_head", 0.5) + 1.2 * ahead, 0)
    return phase, np.where(bare, -2.0, flat)


def _course(points: np.ndarray, rest: Mesh, parts: np.ndarray) -> np.ndarray:
    """How far along the body a place is, so that bands cross it and meet where parts join.

    Along the trunk it runs forward; down a limb it turns downwards; over neck, head and tail it
    follows their axes.
    """
    x, z = points[:, 0], points[:, 2]
    course = x.copy()
    limb = np.isin(parts, ("upper", "lower", "foot"))
    for tube in np.unique(rest.tube[~np.isin(parts, ("trunk", "udder"))]):
        mine = rest.tube == tube
        if not limb[mine][0]:
            start = x[mine][: 2 * AROUND].mean()
            course[mine] = start + rest.along[mine] * (-1 if parts[mine][0] == "tail" else 1)
    down = _smooth(-z, -0.74, -0.52)
    middle = np.where(x > -0.4, 0.04, -0.8)
    turned = middle + (1 - down) * (x - middle) - down * (z - 0.6)
    return np.where(limb, turned, course)


def _colours(coat: dict[str, Any], tubes: list[Tube]) -> np.ndarray:
    base = rgb(coat["base"])
    second = rgb(coat.get("second", coat["base"]))
    mark = rgb(coat.get("mark", coat["base"]))
    out = np.empty((len(tubes), 3, 3))
    for i, tube in enumerate(tubes):
        kind = _kind(tube.name)
        trio = [base, second, mark]
        if kind in ("mane", "crest", "forelock") or (kind == "tail" and "hair" in coat):
            trio = [rgb(coat.get("hair", coat["base"]))] * 3
        elif kind == "horn":
            trio = [rgb("#cbbf9f"), rgb("#cbbf9f"), rgb("#cbbf9f")]
        elif kind == "foot" and "hoof" in coat:
            trio = [rgb(coat["hoof"])] * 3
        elif kind == "ear":
            other = any(scheme in coat.get("tone", {}) for scheme in ("points", "face"))
            outer = rgb(coat.get("parts", {}).get("ear", coat["second" if other else "base"]))
            trio = [outer, 0.5 * outer + 0.5 * rgb("#b98a7c"), outer]
        elif kind in coat.get("parts", {}):
            trio = [rgb(coat["parts"][kind])] * 3
        out[i] = trio
    return out
