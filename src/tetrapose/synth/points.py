"""Anatomical points of an animal, when each is visible, and what each convention calls them.

A point is visible when the surface nearest the camera at its pixel belongs to the same animal and
to one of the point's own ``parts``, and lies no more than the point's ``reach`` in front of it. The
reach is small for points on the skin (eyes, ear bases) and as deep as the flesh around it for
points within (joints, the middle of the neck), so that a joint counts as seen when its own limb is
seen there, and as hidden behind the trunk, another limb, another animal or any other thing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tetrapose import skeletons
from tetrapose.errors import UserError
from tetrapose.skeletons import Skeleton
from tetrapose.synth.body import head_place, head_surface, neck_line
from tetrapose.synth.pose import LEGS, Joints

MIDLINE = (
    "nose", "chin", "head", "throat", "neck_base", "neck", "withers", "back", "tail_root",
    "tail_tip",
)  # fmt: skip
PAIRED = (
    "eye", "ear_base", "ear_tip", "shoulder", "elbow", "carpus", "front_paw", "hip", "stifle",
    "hock", "back_paw",
)  # fmt: skip
NAMES = MIDLINE + tuple(f"{side}_{name}" for name in PAIRED for side in ("left", "right"))
PARTS = (
    "prop", "trunk", "neck", "head", "left_ear", "right_ear", *LEGS, "tail",
)  # fmt: skip
SPINE = ("trunk", "neck", *LEGS, "tail")


@dataclass(frozen=True)
class Point:
    """A place with the rule for seeing it: parts that may lie in front, and how far."""

    place: np.ndarray
    reach: float
    parts: tuple[str, ...]


def locate(shape: dict[str, Any], joints: Joints, tail_tip: np.ndarray) -> dict[str, Point]:
    """Every point of NAMES in the animal's own frame, in withers heights."""
    return {
        **_head(shape, joints),
        **_spine(shape, joints, tail_tip),
        **_limbs(shape, joints),
    }


def _head(shape: dict[str, Any], joints: Joints) -> dict[str, Point]:
    head, ear = shape["head"], shape["ear"]
    length, rows = head["length"], head["rows"]
    wide = float(rows[:, 3].max()) * length
    last = rows[-1]
    tip = last[0] + 0.45 * min((last[1] + last[2]) / 2, last[3])
    eye_t, eye_degrees, eye_radius = head["eye"]
    level = head_surface(shape, (eye_t, eye_degrees), 1.0)[2]
    local = {
        "nose": ((tip, 0, 0.3 * last[1]), 0.14 * length, ("head",)),
        "chin": (
            (0.84, 0, -0.82 * np.interp(0.84, rows[:, 0], rows[:, 2])),
            0.2 * length,
            ("head",),
        ),
        "head": ((0.55, 0, level * 0.7), 1.4 * wide, ("head",)),
    }
    for name, side in (("left", 1.0), ("right", -1.0)):
        local[f"{name}_eye"] = (
            head_surface(shape, (eye_t, eye_degrees), side) * (1, 0.97, 0.97),
            1.8 * eye_radius * length,
            ("head",),
        )
        base = head_surface(shape, ear["base"], side) * (1, 0.98, 0.98)
        parts = ("head", f"{name}_ear")
        local[f"{name}_ear_base"] = (base, max(1.1 * ear["width"], 0.1) * length, parts)
        way = sum(
            (d := np.array(ear["direction"]) + np.array(ear["bend"]) * i) / np.linalg.norm(d)
            for i in range(4)
        )
        tip_place = base + way * np.array([1, side, 1]) * ear["length"] / 4 * 0.95
        local[f"{name}_ear_tip"] = (tip_place, 0.08 * length, parts)
    return {
        name: Point(head_place(shape, joints, place), float(reach), parts)
        for name, (place, reach, parts) in local.items()
    }


def _spine(shape: dict[str, Any], joints: Joints, tail_tip: np.ndarray) -> dict[str, Point]:
    chart, neck = shape["trunk"], shape["neck"]
    root = shape["tail"]["root"]
    axis = neck_line(shape, joints, np.array([0.0, 0.12, 0.8, 0.9]))
    along = axis[3] - axis[2]
    down = np.cross(joints.frames["neck"][:, 1], along)
    down = down / max(np.linalg.norm(down), 1e-6)
    (depth, wide), (thin, narrow) = neck["base_radii"], neck["head_radii"]
    out = {
        "throat": Point(axis[3] + down * 0.82 * thin, 1.5 * narrow, ("neck", "head")),
        "neck": Point(axis[1], 1.7 * max(wide, depth * 0.7), ("neck", "trunk", *LEGS)),
        "neck_base": Point(
            axis[0] - down * 0.35 * depth, 1.7 * max(wide, depth * 0.7), ("neck", "trunk", *LEGS)
        ),
        "tail_tip": Point(tail_tip, 2.5 * shape["tail"]["radii"][-1], ("tail",)),
    }
    for name, x in (("withers", 0.0), ("back", 0.52 * root[0]), ("tail_root", root[0])):
        top = float(np.interp(x, chart[:, 0], chart[:, 1])) - 0.015
        if name == "tail_root":
            top = root[1] + 0.5 * shape["tail"]["radii"][0]
        half = float(np.interp(x, chart[:, 0], chart[:, 3]))
        place = joints.trunk.place(np.array([x, 0.0, top]))
        out[name] = Point(place, 0.85 * half + 0.02, SPINE)
    return out


def _limbs(shape: dict[str, Any], joints: Joints) -> dict[str, Point]:
    out = {}
    for leg in LEGS:
        side = leg.split("_")[0]
        fore = leg.endswith("front")
        limb = shape["front" if fore else "hind"]
        names = ("shoulder", "elbow", "carpus") if fore else ("hip", "stifle", "hock")
        at = joints.at
        upper, lower = limb["upper"], limb["lower"]
        deep = [1.5 * max(row) for row in (upper[1], upper[2], lower[2])]
        around = ((leg, "trunk", "neck"), (leg, "trunk"), (leg,))
        for name, spot, reach, parts in zip(
            names, ("top", "middle", "ankle"), deep, around, strict=True
        ):
            out[f"{side}_{name}"] = Point(at[f"{leg}_{spot}"], float(reach), parts)
        sole = at[f"{leg}_fetlock"] * 0.45 + at[f"{leg}_toe"] * 0.55
        out[f"{side}_{'front' if fore else 'back'}_paw"] = Point(
            sole, 2.6 * float(max(lower[-1])), (leg,)
        )
    return out


def mapping(skeleton: str | Skeleton) -> dict[str, str]:
    """Keypoint name -> anatomical point, for those points of a convention that an animal here has.

    Keypoints at other places (antlers, the top of the paw) stay unlabelled. UserError when a
    skeleton's keypoints do not tell their places, or none of them is known here.
    """
    if isinstance(skeleton, str):
        skeleton = skeletons.load(skeleton)
    mute = [point.name for point in skeleton.keypoints if not point.place]
    if mute:
        raise UserError(
            f"skeleton {skeleton.name!r} does not tell the place of {', '.join(mute)}; add place: "
            "to its file"
        )
    out = {point.name: point.place for point in skeleton.keypoints if point.place in NAMES}
    if not out:
        raise UserError(f"the menagerie has none of the places of skeleton {skeleton.name!r}")
    return out
