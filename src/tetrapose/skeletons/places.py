"""Where on an animal a keypoint can sit: the one vocabulary that all conventions share."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

import yaml


@cache
def _vocabulary() -> dict[str, Any]:
    file = resources.files("tetrapose.skeletons") / "anatomy" / "places.yaml"
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def known() -> dict[str, str]:
    """Place without side -> where it is, in words."""
    return _vocabulary()["places"]


@cache
def near_pairs() -> dict[frozenset[str], str]:
    """Two places without side, one of which may stand for the other -> why they are taken apart."""
    return {frozenset((a, b)): why for a, b, why in _vocabulary()["near"]}


def sided(place: str, name: str) -> str:
    """The place with the side that the keypoint's name tells.

    >>> sided("elbow", "front_left_shoulder"), sided("nose", "nose")
    ('left_elbow', 'nose')
    """
    side = next((word for word in name.split("_") if word in ("left", "right")), "")
    return f"{side}_{place}" if side and place else place


def unsided(place: str) -> str:
    """The place without its side."""
    return place.removeprefix("left_").removeprefix("right_")


def nearness(one: str, other: str) -> str | None:
    """Why two sided places are near, or None when they are not."""
    pair = frozenset((unsided(one), unsided(other)))
    same_side = one.removesuffix(unsided(one)) == other.removesuffix(unsided(other))
    return near_pairs().get(pair) if same_side else None
