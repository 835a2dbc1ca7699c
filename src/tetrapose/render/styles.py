"""Palettes as data: the styles of palettes.yaml as checked values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import yaml

from tetrapose.errors import UserError
from tetrapose.skeletons import PARTS, Skeleton

Colour = tuple[int, int, int]
SIDES = ("left", "middle", "right")


@dataclass(frozen=True)
class Style:
    """One look. Widths are fractions of the animal's size, shares fractions of the width they rim.

    ``colours`` by part and side; ``limb_colour`` one colour for all limbs, or None to let each run
    from its one end's colour to the other's; ``taper`` the outer end's width against the inner's;
    ``faintest`` the opacity of a point that only just passes the threshold.
    """

    name: str
    version: int
    about: str
    colours: Mapping[str, Mapping[str, Colour]]
    limb: float
    taper: float
    point: float
    rim: Colour
    rim_share: float
    outline: Colour
    outline_share: float
    faintest: float
    limb_colour: Colour | None = None

    def __post_init__(self) -> None:
        wanted = {(part, side) for part in PARTS for side in SIDES}
        given = {(part, side) for part, sides in self.colours.items() for side in sides}
        if wanted != given:
            odd = ", ".join(" ".join(pair) for pair in sorted(wanted ^ given))
            raise ValueError(f"style {self.name!r}: every part has three colours; check {odd}")

    @property
    def label(self) -> str:
        """Name and version, as a record of how a picture was made should carry it."""
        return f"{self.name}-v{self.version}"


@cache
def styles() -> dict[str, Style]:
    """The styles that ship, by name."""
    text = (resources.files("tetrapose.render") / "palettes.yaml").read_text(encoding="utf-8")
    return {name: _style(name, values) for name, values in yaml.safe_load(text).items()}


def load_style(name: str) -> Style:
    """A shipped style; a UserError names those that there are."""
    if name not in styles():
        raise UserError(f"no style {name!r}; there are: {', '.join(styles())}")
    return styles()[name]


def side_of(name: str) -> str:
    """'left', 'right' or 'middle' by the words of a keypoint's name."""
    words = name.split("_")
    return "left" if "left" in words else "right" if "right" in words else "middle"


def point_colours(look: Style, skeleton: Skeleton) -> np.ndarray:
    """(K, 3) uint8 colour of each keypoint."""
    rows = [look.colours[p.part][side_of(p.name)] for p in skeleton.keypoints]
    return np.array(rows, dtype=np.uint8).reshape(-1, 3)


def _style(name: str, values: dict[str, Any]) -> Style:
    values = dict(values)
    for key in ("rim", "outline", "limb_colour"):
        if key in values:
            values[key] = tuple(values[key])
    values["colours"] = {
        part: {side: tuple(colour) for side, colour in sides.items()}
        for part, sides in values["colours"].items()
    }
    return Style(name=name, **values)
