"""Builds as data, and the drawing of one individual from a build."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import yaml

from tetrapose.errors import UserError


@dataclass(frozen=True)
class Individual:
    """One animal: the numbers of its build after its own deviations, and its coat."""

    build: str
    shape: dict[str, Any]
    coat: dict[str, Any]


@cache
def load() -> dict[str, dict[str, Any]]:
    """All builds by name, as they stand in builds.yaml."""
    text = (resources.files("tetrapose.synth") / "builds.yaml").read_text(encoding="utf-8")
    table = yaml.safe_load(text)
    for name, own in list(table.items()):
        if "like" in own:  # the other stands before it in the file
            whole = _own(table[own.pop("like")])
            _merge(whole, own)
            table[name] = whole
    return table


def names() -> tuple[str, ...]:
    """Names of the builds, sorted; their order gives the category ids of written sets."""
    return tuple(sorted(load()))


def check(chosen: list[str] | tuple[str, ...] | None) -> tuple[str, ...]:
    """The chosen builds, or all; an unknown one is a UserError that names those there are."""
    if not chosen:
        return names()
    odd = [name for name in chosen if name not in names()]
    if odd:
        raise UserError(f"no build {', '.join(odd)}; there are: {', '.join(names())}")
    return tuple(sorted(set(chosen)))


def draw(rng: np.random.Generator, build: str) -> Individual:
    """An individual of a build: a variant where it has several, its own proportions, a coat."""
    table = load()[build]
    data = _own({k: v for k, v in table.items() if k not in ("variants", "coats", "poses")})
    variants, coats = table.get("variants", []), table["coats"]
    if variants:
        odds = np.array([variant.get("often", 1.0) for variant in variants])
        _merge(data, _own(variants[rng.choice(len(variants), p=odds / odds.sum())]))
    odds = np.array([coat.get("often", 1.0) for coat in coats])
    coat = coats[rng.choice(len(coats), p=odds / odds.sum())]
    return Individual(build, _shape(data, _deviations(rng)), _coat(rng, coat))


def plain(build: str, coat: int = 0, variant: int = 0) -> Individual:
    """The build without deviations, in one of its coats."""
    data = _own(load()[build])
    variants = data.pop("variants", [])
    if variants:
        _merge(data, variants[variant])
    return Individual(build, _shape(data, None), _coat(None, data.pop("coats")[coat]))


def _own(value: Any) -> Any:
    """A copy of plain values that can be changed."""
    if isinstance(value, dict):
        return {key: _own(part) for key, part in value.items()}
    return [_own(part) for part in value] if isinstance(value, list) else value


def _merge(data: dict[str, Any], changes: dict[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(data.get(key), dict):
            _merge(data[key], value)
        else:
            data[key] = value


def _deviations(rng: np.random.Generator) -> dict[str, float]:
    spread = {
        "leg": 0.05, "length": 0.04, "girth": 0.06, "head": 0.05, "neck": 0.06, "tail": 0.08,
        "ear": 0.08, "limb": 0.06,
    }  # fmt: skip
    out = {
        key: float(np.clip(1 + rng.normal(0, s), 1 - 2 * s, 1 + 2 * s)) for key, s in spread.items()
    }
    out["side"] = float(rng.choice((-1.0, 1.0)))
    return out


def _shape(data: dict[str, Any], own: dict[str, float] | None) -> dict[str, Any]:
    """Lists become arrays, and the individual's deviations go in."""
    own = own or dict.fromkeys(
        ("leg", "length", "girth", "head", "neck", "tail", "ear", "limb", "side"), 1.0
    )
    elbow = data["front"]["joints"][1][1]

    def raised(z: np.ndarray) -> np.ndarray:
        return np.where(z < elbow, z * own["leg"], z + (own["leg"] - 1) * elbow)

    trunk = np.array(data["trunk"], dtype=float)
    depth = (trunk[:, 1] - trunk[:, 2]) * (1 + (own["girth"] - 1) * 0.6)
    trunk[:, 0] *= own["length"]
    trunk[:, 1] = raised(trunk[:, 1])
    trunk[:, 2] = trunk[:, 1] - depth
    trunk[:, 3] *= own["girth"]
    data["trunk"] = trunk
    for name in ("front", "hind"):
        limb = data[name]
        joints = np.array(limb["joints"], dtype=float)
        joints[:, 0] += (own["length"] - 1) * joints[0, 0]
        joints[:, 1] = raised(joints[:, 1])
        limb["joints"] = joints
        for part in ("upper", "lower"):
            limb[part] = np.array(limb[part], dtype=float) * own["limb"]
    for place in (data["front"]["scapula"], data["neck"]["base"], data["tail"]["root"]):
        place[0], place[1] = place[0] * own["length"], float(raised(np.array(place[1])))
    data["neck"]["length"] *= own["neck"]
    data["head"]["length"] *= own["head"]
    data["head"]["rows"] = np.array(data["head"]["rows"], dtype=float)
    data["tail"]["length"] *= own["tail"]
    data["ear"]["length"] *= own["ear"]
    if "mane" in data:
        data["mane"]["side"] = own["side"]
    return data


def _coat(rng: np.random.Generator | None, coat: dict[str, Any]) -> dict[str, Any]:
    """A coat whose lists of colours are settled and whose colours deviate a little."""
    out = {"pattern": "solid", "scale": 0.2, "cover": 0.5, **_own(coat)}
    for key, value in out.items():
        if isinstance(value, list) and value and isinstance(value[0], str):
            out[key] = value[0] if rng is None else str(rng.choice(value))
    if rng is not None:
        factor = rng.uniform(0.88, 1.1) * rng.uniform(0.96, 1.04, 3)
        for key in ("base", "second", "mark", "hair"):
            if key in out:
                out[key] = _tinted(out[key], factor)
    return out


def _tinted(text: str, factor: np.ndarray) -> str:
    values = [int(text[i : i + 2], 16) * f for i, f in zip((1, 3, 5), factor, strict=True)]
    return "#" + "".join(f"{min(int(v), 255):02x}" for v in values)
