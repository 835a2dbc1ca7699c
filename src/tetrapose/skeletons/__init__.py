"""Keypoint conventions as data: one YAML file each, read, checked, never indexed by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache, cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tetrapose.errors import UserError
from tetrapose.skeletons import places

PARTS = ("head", "trunk", "front", "back", "tail")


class SkeletonError(UserError):
    """A skeleton definition that cannot be used; lists every fault found in it."""


@dataclass(frozen=True)
class Keypoint:
    """One named point of a convention.

    ``sigma`` is the per-point constant of OKS; ``part`` is one of ``PARTS``; ``site`` says in
    words where on the body the convention puts the point, since equal names do not mean equal
    places. ``mirror`` is the partner's name, or the point's own name on the midline. ``place`` is
    the site as one of the places that all conventions share (anatomy/places.yaml) with its side,
    "left_elbow"; "" where nobody told.
    """

    name: str
    mirror: str
    sigma: float
    part: str
    site: str
    place: str = ""


@dataclass(frozen=True)
class Skeleton:
    """An ordered set of named keypoints with its edges and the sources of its figures.

    ``sigma_sets`` holds further published sigmas by set name, one value a keypoint in this
    skeleton's order, for scoring against figures that were made with them; ``weight_sets`` in the
    same way published weights of the keypoints in a loss.
    """

    name: str
    title: str
    keypoints: tuple[Keypoint, ...]
    edges: tuple[tuple[str, str], ...]
    source: dict[str, str]
    sigma_sets: dict[str, tuple[float, ...]]
    weight_sets: dict[str, tuple[float, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.keypoints)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Keypoint names in order."""
        return tuple(point.name for point in self.keypoints)

    @cached_property
    def flip_indices(self) -> np.ndarray:
        """(K,) index of each keypoint's left/right partner; an involution."""
        return np.array([self.index(point.mirror) for point in self.keypoints], dtype=np.int64)

    @cached_property
    def sigmas(self) -> np.ndarray:
        """(K,) OKS constants as float64."""
        return np.array([point.sigma for point in self.keypoints], dtype=np.float64)

    @cached_property
    def edge_indices(self) -> np.ndarray:
        """(E, 2) index pairs of the edges."""
        pairs = [(self.index(a), self.index(b)) for a, b in self.edges]
        return np.array(pairs, dtype=np.int64).reshape(-1, 2)

    def index(self, name: str) -> int:
        """Position of a keypoint; a KeyError names the nearest spellings."""
        try:
            return self.names.index(name)
        except ValueError:
            near = get_close_matches(name, self.names, n=3) or list(self.names)
            raise KeyError(
                f"skeleton {self.name!r} has no keypoint {name!r}; nearest: {', '.join(near)}"
            ) from None

    def part_indices(self, part: str) -> np.ndarray:
        """Positions of the keypoints of one body part."""
        return np.array([i for i, p in enumerate(self.keypoints) if p.part == part], dtype=np.int64)

    def upper_indices(self) -> np.ndarray:
        """Positions of the front half (head, trunk and front limbs), for half-body crops."""
        return np.array(
            [i for i, p in enumerate(self.keypoints) if p.part in ("head", "trunk", "front")],
            dtype=np.int64,
        )

    def to_dict(self) -> dict[str, Any]:
        """The definition as plain values, as it stands in a weight card."""
        return {
            "name": self.name,
            "title": self.title,
            "source": dict(self.source),
            "keypoints": [
                {"name": p.name, "sigma": p.sigma, "part": p.part, "site": p.site}
                | ({"place": places.unsided(p.place)} if p.place else {})
                for p in self.keypoints
            ],
            "edges": [list(edge) for edge in self.edges],
            **{
                kind: {key: dict(zip(self.names, row, strict=True)) for key, row in sets.items()}
                for kind, sets in (
                    ("sigma_sets", self.sigma_sets),
                    ("weight_sets", self.weight_sets),
                )
            },
        }


def mirror_name(name: str) -> str:
    """The partner's name: left and right exchanged wherever they stand as a word.

    >>> mirror_name("left_front_paw"), mirror_name("nose")
    ('right_front_paw', 'nose')
    """
    swap = {"left": "right", "right": "left"}
    return "_".join(swap.get(word, word) for word in name.split("_"))


def from_dict(definition: dict[str, Any]) -> Skeleton:
    """Build and check a skeleton; all faults are gathered into one SkeletonError."""
    label = definition.get("name", "unnamed")
    missing = [key for key in ("name", "keypoints", "edges", "source") if key not in definition]
    if missing:
        raise SkeletonError(f"skeleton {label!r}: missing {', '.join(missing)}")
    points = definition["keypoints"]
    names = [point["name"] for point in points]
    sets = {kind: definition.get(kind) or {} for kind in ("sigma_sets", "weight_sets")}
    faults = _name_faults(names) + _point_faults(points) + _place_faults(points)
    faults += [
        f"edge [{a}, {b}] names an unknown or repeated keypoint"
        for a, b in definition["edges"]
        if a not in names or b not in names or a == b
    ]
    for kind, rows in sets.items():
        for key, values in rows.items():
            odd = sorted(set(values) ^ set(names))
            if odd:
                told = f"{kind[:-1].replace('_', ' ')} {key!r} does not name every keypoint once"
                faults.append(f"{told}: {', '.join(odd)}")
    if faults:
        raise SkeletonError(f"skeleton {label!r}: " + "; ".join(faults))
    keypoints = tuple(
        Keypoint(
            name=p["name"],
            mirror=mirror_name(p["name"]),
            sigma=float(p["sigma"]),
            part=p["part"],
            site=p["site"],
            place=places.sided(p.get("place", ""), p["name"]),
        )
        for p in points
    )
    return Skeleton(
        name=definition["name"],
        title=definition.get("title", definition["name"]),
        keypoints=keypoints,
        edges=tuple((a, b) for a, b in definition["edges"]),
        source=dict(definition["source"]),
        **{
            kind: {k: tuple(float(v[n]) for n in names) for k, v in rows.items()}
            for kind, rows in sets.items()
        },
    )


def _name_faults(names: list[str]) -> list[str]:
    faults = [
        f"keypoint {name!r} stands twice" for name in sorted(set(names)) if names.count(name) > 1
    ]
    faults += [
        f"{name!r} has no left/right partner {mirror_name(name)!r}"
        for name in names
        if mirror_name(name) not in names
    ]
    return faults


def _point_faults(points: list[dict[str, Any]]) -> list[str]:
    sigmas = {p["name"]: float(p["sigma"]) for p in points}
    faults = []
    for point in points:
        name = point["name"]
        if not 0 < sigmas[name] < 1:
            faults.append(f"{name!r}: sigma {sigmas[name]} is outside 0..1")
        if sigmas.get(mirror_name(name), sigmas[name]) != sigmas[name]:
            faults.append(f"{name!r}: sigma differs from its partner's")
        if point["part"] not in PARTS:
            faults.append(f"{name!r}: part {point['part']!r} is none of {', '.join(PARTS)}")
        if not point.get("site"):
            faults.append(f"{name!r}: site is missing (where on the body does it sit?)")
    return faults


def _place_faults(points: list[dict[str, Any]]) -> list[str]:
    faults = []
    taken: dict[str, str] = {}
    for point in points:
        name, place = point["name"], point.get("place", "")
        if not place:
            continue
        if place not in places.known():
            near = get_close_matches(place, places.known(), n=3) or sorted(places.known())
            faults.append(f"{name!r}: place {place!r} is unknown; nearest: {', '.join(near)}")
        full = places.sided(place, name)
        if full in taken:
            faults.append(f"{taken[full]!r} and {name!r} both claim the place {full}")
        taken[full] = name
    of = {point["name"]: point.get("place", "") for point in points}
    faults += [
        f"{name!r} sits at {place!r}, its partner {mirror_name(name)!r} elsewhere"
        for name, place in of.items()
        if of.get(mirror_name(name), place) != place
    ]
    return faults


def available() -> tuple[str, ...]:
    """Names of the skeletons that ship, sorted."""
    folder = resources.files(__name__)
    return tuple(sorted(f.name[:-5] for f in folder.iterdir() if f.name.endswith(".yaml")))


@cache
def load(name: str | Path) -> Skeleton:
    """A shipped skeleton by name, or one's own from a path that ends in .yaml.

    Raises SkeletonError, for an unknown name with the nearest shipped ones.
    """
    if str(name).endswith((".yaml", ".yml")):
        try:
            text = Path(name).read_text(encoding="utf-8")
        except OSError as error:
            raise SkeletonError(f"{name}: cannot be read ({error.strerror or error})") from None
    else:
        if name not in available():
            near = get_close_matches(str(name), available(), n=3) or available()
            raise SkeletonError(f"no skeleton {str(name)!r}; there are: {', '.join(near)}")
        text = (resources.files(__name__) / f"{name}.yaml").read_text(encoding="utf-8")
    return from_dict(yaml.safe_load(text))
