"""Looks of pose pictures as checked values, and what they make of a skeleton."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import yaml

from tetrapose.errors import UserError
from tetrapose.render.styles import SIDES, Colour, side_of
from tetrapose.skeletons import PARTS, Skeleton

SHAPES = ("band", "ellipse")
RULES = ("mean", "outer")


@dataclass(frozen=True)
class PoseStyle:
    """One look of a pose picture.

    ``places`` colours a point by its sided place, ``parts`` (by part and side) whatever has none
    there. ``edges`` are limbs by two places with their colour. ``limb_width`` (whole) and
    ``point_radius`` are shares of the picture's short side, ``limb_least`` and ``point_least``
    their least pixels; ``limb_extra`` pixels come on top of a limb's
    width; ``limb_strength`` 0..255 is what is left of its colour.
    """

    name: str
    version: int
    about: str
    source: str
    limb_shape: str
    limb_width: float
    limb_least: float
    limb_extra: float
    limb_strength: int
    point_radius: float
    point_least: float
    whole_pixels: bool
    limb_rule: str
    places: Mapping[str, Colour]
    parts: Mapping[str, Mapping[str, Colour]]
    edges: tuple[tuple[str, str, Colour], ...]

    def __post_init__(self) -> None:
        wanted = {(part, side) for part in PARTS for side in SIDES}
        given = {(part, side) for part, sides in self.parts.items() for side in sides}
        faults = [f"parts lack or add {' '.join(pair)}" for pair in sorted(wanted ^ given)]
        if self.limb_shape not in SHAPES:
            faults.append(f"limb shape {self.limb_shape!r} is none of {', '.join(SHAPES)}")
        if self.limb_rule not in RULES:
            faults.append(f"limb_rule {self.limb_rule!r} is none of {', '.join(RULES)}")
        if faults:
            raise ValueError(f"pose style {self.name!r}: {'; '.join(faults)}")

    @property
    def label(self) -> str:
        """Name and version, as the record of how a picture was made carries it."""
        return f"{self.name}-v{self.version}"

    def widths(self, size: tuple[int, int]) -> tuple[float, float]:
        """Half-width of limbs and radius of points, in pixels, on a picture (width, height)."""
        short = min(size)
        width, radius = self.limb_width * short, self.point_radius * short
        if self.whole_pixels:
            width, radius = float(int(width)), float(int(radius))
        return (max(width, self.limb_least) + self.limb_extra) / 2, max(radius, self.point_least)


@dataclass(frozen=True)
class Figure:
    """A style on one skeleton: limbs (E, 2) as point indices in drawing order, colours uint8."""

    points: np.ndarray
    edges: np.ndarray
    limbs: np.ndarray


@cache
def pose_styles() -> dict[str, PoseStyle]:
    """The pose styles that ship, by name."""
    text = (resources.files("tetrapose.render") / "pose_styles.yaml").read_text(encoding="utf-8")
    # PyYAML's C part takes a few milliseconds in every worker, the other a fifth of a second
    content = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    return {name: _style(name, values) for name, values in content.items()}


def load_pose_style(name: str) -> PoseStyle:
    """A pose style by name, or by name and version (``openpose-v1``) as records carry it.

    Raises UserError for an unknown one, and for a version that this release no longer draws.
    """
    known = pose_styles()
    base, _, version = name.rpartition("-v")
    look = known.get(name) or known.get(base)
    if look is None:
        raise UserError(f"no pose style {name!r}; there are: {', '.join(known)}")
    if name not in (look.name, look.label):
        raise UserError(
            f"pose style {base!r} is at version {look.version}, not {version}; pictures of another"
            " version do not look alike: draw them anew, or use the release that drew them"
        )
    return look


def figure(look: PoseStyle, skeleton: Skeleton) -> Figure:
    """Which limbs are drawn in which order, and every colour.

    Points by keypoint order: ``points`` (K, 3), ``edges`` (E, 2), ``limbs`` (E, 3).
    """
    points = [
        look.places.get(p.place) or look.parts[p.part][side_of(p.name)] for p in skeleton.keypoints
    ]
    index = {p.place: k for k, p in enumerate(skeleton.keypoints) if p.place}
    own = {frozenset((index.get(a, -1), index.get(b, -2))): c for a, b, c in look.edges}
    places = {place for a, b, _ in look.edges for place in (a, b)}
    edges = [(int(a), int(b)) for a, b in skeleton.edge_indices]
    if places and places <= index.keys():
        drawn = [(index[a], index[b]) for a, b, _ in look.edges]
        known = {index[place] for place in places}
        # limbs of the skeleton's further points, which the style does not know
        edges = drawn + [(a, b) for a, b in edges if not (a in known and b in known)]
    limbs = [
        own.get(frozenset(edge)) or _limb_colour(look, skeleton, points, edge) for edge in edges
    ]
    return Figure(
        np.array(points, dtype=np.int32).reshape(-1, 3),
        np.array(edges, dtype=np.int64).reshape(-1, 2),
        np.array(limbs, dtype=np.int32).reshape(-1, 3) * look.limb_strength // 255,
    )


def _limb_colour(
    look: PoseStyle, skeleton: Skeleton, points: list[Colour], edge: tuple[int, int]
) -> Colour:
    one, other = points[edge[0]], points[edge[1]]
    if look.limb_rule == "mean":
        return tuple((a + b) // 2 for a, b in zip(one, other, strict=True))  # pyright: ignore
    sides = [side_of(skeleton.names[k]) for k in edge]
    return one if sides[0] != "middle" and sides[1] == "middle" else other


def _style(name: str, values: dict[str, Any]) -> PoseStyle:
    limb, point = values["limb"], values["point"]
    return PoseStyle(
        name=name, version=values["version"], about=values["about"], source=values["source"],
        limb_shape=limb["shape"], limb_width=limb["width"], limb_least=limb["least"],
        limb_extra=limb["extra"], limb_strength=limb["strength"],
        point_radius=point["radius"], point_least=point["least"],
        whole_pixels=values["whole_pixels"], limb_rule=values["limb_rule"],
        places={place: tuple(colour) for place, colour in values["places"].items()},
        parts={
            part: {side: tuple(colour) for side, colour in sides.items()}
            for part, sides in values["parts"].items()
        },
        edges=tuple((a, b, tuple(colour)) for a, b, colour in values["edges"]),
    )  # fmt: skip
