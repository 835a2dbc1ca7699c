"""From a posed skeleton to the tubes that make its volume."""

from __future__ import annotations

from typing import Any

import numpy as np

from tetrapose.synth.mesh import Tube
from tetrapose.synth.pose import LEGS, Joints

UP = np.array([0.0, 0.0, 1.0])


def tubes(shape: dict[str, Any], joints: Joints) -> list[Tube]:
    """Every tube of an animal in its own frame, in an order that its build alone decides."""
    solids = [trunk(shape, joints), neck(shape, joints), head(shape, joints)]
    solids += ears(shape, joints)
    for leg in LEGS:
        solids += limb(shape, joints, leg)
    solids.append(tail(shape, joints))
    if "mane" in shape:
        solids += mane(shape, joints)
    if "horns" in shape:
        solids += horns(shape, joints)
    if "udder" in shape:
        solids.append(udder(shape, joints))
    return solids


def joins(shape: dict[str, Any]) -> tuple[tuple[str, str, float], ...]:
    """Which tubes run into one another, and over what width."""
    out = [("trunk", "neck", 0.13), ("neck", "head", 0.06), ("trunk", "tail", 0.05)]
    for leg in LEGS:
        out += [("trunk", f"{leg}_upper", 0.10), (f"{leg}_upper", f"{leg}_lower", 0.07)]
        if leg.endswith("front"):
            out.append(("neck", f"{leg}_upper", 0.07))
        if shape["foot"] == "paw":
            out.append((f"{leg}_lower", f"{leg}_foot", 0.03))
    return tuple(out)


def _rows(centres: Any, radii: Any, lateral: Any) -> np.ndarray:
    centres, radii = np.asarray(centres, float), np.asarray(radii, float)
    lateral = np.broadcast_to(lateral, centres.shape)
    return np.concatenate([centres, radii, lateral], axis=1)


def trunk(shape: dict[str, Any], joints: Joints) -> Tube:
    """From the buttocks to the breast."""
    chart = shape["trunk"]
    half = (chart[:, 1] - chart[:, 2]) / 2
    centres = np.stack([chart[:, 0], 0 * half, (chart[:, 1] + chart[:, 2]) / 2], axis=1)
    lateral = joints.trunk.lefts(chart[:, 0])
    radii = np.stack([half, half, chart[:, 3]], axis=1)
    return Tube(
        "trunk", "trunk", _rows(joints.trunk.place(centres), radii, lateral), 28, (0.5, 0.5)
    )


def neck_line(shape: dict[str, Any], joints: Joints, t: np.ndarray) -> np.ndarray:
    """Places on the neck's axis: 0 where it leaves the trunk, 1 at the head; straight beyond."""
    start, end = joints.at["neck_base"], joints.at["head_joint"]
    length = shape["neck"]["length"]
    out = joints.frames["girdle"][:, 0] * 0.6 + UP * 0.15
    control = start + (out + joints.frames["neck"][:, 0]) * length * 0.27
    t = np.asarray(t)[:, None]
    return (1 - t) ** 2 * start + 2 * t * (1 - t) * control + t**2 * end


def neck(shape: dict[str, Any], joints: Joints) -> Tube:
    """From inside the trunk to inside the head."""
    t = np.array([-0.25, 0.1, 0.4, 0.7, 1.0])
    base, top = shape["neck"]["base_radii"], shape["neck"]["head_radii"]
    blend = np.array([-0.05, 0.12, 0.5, 0.82, 1.0])
    depth = base[0] + (top[0] - base[0]) * blend
    width = base[1] + (top[1] - base[1]) * blend
    left0, left1 = joints.frames["girdle"][:, 1], joints.frames["neck"][:, 1]
    lateral = left0 + (left1 - left0) * np.clip(t, 0, 1)[:, None]
    rows = _rows(neck_line(shape, joints, t), np.stack([depth, depth, width], axis=1), lateral)
    return Tube("neck", "neck", rows, 10, (0.3, 0.5))


def head_place(shape: dict[str, Any], joints: Joints, local: Any) -> np.ndarray:
    """Head lengths forward, left, up from the nape -> the animal's frame."""
    local = np.asarray(local, float) * shape["head"]["length"]
    return joints.at["head_origin"] + local @ joints.frames["head"].T


def head_surface(shape: dict[str, Any], spot: tuple[float, float], side: float) -> np.ndarray:
    """Place on the head's skin in head lengths; ``spot`` is t and degrees above the side."""
    t, degrees = spot
    rows = shape["head"]["rows"]
    up, down, wide = (np.interp(t, rows[:, 0], rows[:, i]) for i in (1, 2, 3))
    angle = np.deg2rad(degrees)
    rise = np.sin(angle) * (up if angle > 0 else down)
    return np.array([t, side * wide * np.cos(angle), rise])


def head(shape: dict[str, Any], joints: Joints) -> Tube:
    """From the nape to the nose."""
    chart = shape["head"]["rows"]
    length = shape["head"]["length"]
    centres = np.stack([chart[:, 0], 0 * chart[:, 0], 0 * chart[:, 0]], axis=1)
    rows = _rows(
        head_place(shape, joints, centres), chart[:, 1:4] * length, joints.frames["head"][:, 1]
    )
    return Tube("head", "head", rows, 22, (0.5, 0.6))


def ears(shape: dict[str, Any], joints: Joints) -> list[Tube]:
    """Flat leaves whose hollow side looks along the head's forward axis."""
    out = []
    ear, length = shape["ear"], shape["head"]["length"]
    for side, name in ((1.0, "left_ear"), (-1.0, "right_ear")):
        base = head_surface(shape, ear["base"], side)
        path = [base * 0.9 - np.array([0, 0, 0.03])]
        place = base.copy()
        for i in range(4):
            way = np.array(ear["direction"]) + np.array(ear["bend"]) * i
            way = way / np.linalg.norm(way)
            place = place + way * np.array([1, side, 1]) * ear["length"] / 4
            path.append(place)
        pointed, round_ = np.array([[1.0, 0.92, 0.72, 0.42, 0.04], [0.85, 1.0, 1.0, 0.9, 0.62]])
        width = ear["width"] * (pointed + (round_ - pointed) * ear["tip"])
        thick = ear["thick"] * np.array([1.4, 1.0, 0.8, 0.6, 0.35])
        radii = np.stack([thick, thick, width], axis=1) * length
        across = np.array(ear.get("across", [-0.35, 1.0, -0.2])) * np.array([1, side, 1])
        lateral = joints.frames["head"] @ (across * side)
        out.append(
            Tube(name, name, _rows(head_place(shape, joints, path), radii, lateral), 7, (0.2, 0.6))
        )
    return out


def limb(shape: dict[str, Any], joints: Joints, leg: str) -> list[Tube]:
    """Muscle mass, lower limb and foot of one leg."""
    side = 1.0 if leg.startswith("left") else -1.0
    fore = leg.endswith("front")
    chart = shape["front" if fore else "hind"]
    top, middle, ankle, fetlock, toe = (
        joints.at[f"{leg}_{part}"] for part in ("top", "middle", "ankle", "fetlock", "toe")
    )
    forward = joints.trunk.frame(chart["joints"][0][0])[:, 0] * (1, 1, 0)
    left = np.array([-forward[1], forward[0], 0.0]) / max(np.linalg.norm(forward), 1e-6)
    high = chart["apart"][0]
    if fore:
        blade = chart["scapula"]
        anchor = joints.trunk.place(np.array([blade[0], side * high * 0.75, blade[1]]))
        upper = [anchor, (anchor + top + middle) / 3, middle, middle + (ankle - middle) * 0.3]
    else:
        root = chart["joints"][0] + np.array([0.02, 0.07])
        anchor = joints.trunk.place(np.array([root[0], side * high * 0.8, root[1]]))
        upper = [anchor, top * 0.45 + middle * 0.55, middle, middle + (ankle - middle) * 0.35]
    lower = [
        middle, middle + (ankle - middle) * 0.55, ankle, (ankle + fetlock) / 2, fetlock
    ]  # fmt: skip
    mass = Tube(f"{leg}_upper", leg, _rows(upper, chart["upper"], left), 10, (0.6, 0.5))
    shank = Tube(f"{leg}_lower", leg, _rows(lower, chart["lower"], left), 15, (0.5, 0.6))
    return [mass, shank, foot(shape, leg, (fetlock, toe, left), chart["lower"][-1][2])]


def foot(shape: dict[str, Any], leg: str, places: tuple[Any, ...], radius: float) -> Tube:
    """A paw that lies along the ground or a hoof that widens towards it."""
    fetlock, toe, left = places
    way = toe - fetlock
    if shape["foot"] == "hoof":
        ends = [fetlock - way * 0.15, fetlock + way * 0.45, fetlock + way * 0.5, toe]
        radii = np.array([[0.85] * 3, [0.95, 0.9, 0.95], [1.15, 1.1, 1.2], [1.5, 1.25, 1.4]])
        return Tube(f"{leg}_foot", leg, _rows(ends, radii * radius, left), 7, (0.5, 0.08))
    heel = fetlock - way * 0.35
    ends = [heel, fetlock + way * 0.25, fetlock + way * 0.8, toe]
    radii = np.array([[0.75] * 3, [0.95, 0.95, 1.05], [0.9, 0.9, 1.12], [0.62, 0.68, 0.9]])
    return Tube(f"{leg}_foot", leg, _rows(ends, radii * radius, left), 6, (0.6, 0.7))


def tail(shape: dict[str, Any], joints: Joints) -> Tube:
    """From the end of the spine outwards: a curve of even curl."""
    data, pose = shape["tail"], joints.trunk.pose
    radii = np.asarray(data["radii"], float)
    count = len(radii)
    lift = (
        np.deg2rad(data["lift"])
        + pose.tail[0]
        + np.linspace(0, 1, count) * (np.deg2rad(data["curl"]) + pose.tail[1])
    )
    swing = np.linspace(0, 1, count) * pose.tail[2]
    way = np.stack([-np.cos(lift) * np.cos(swing), np.cos(lift) * np.sin(swing), np.sin(lift)], 1)
    way = way @ joints.frames["tail"].T
    step = data["length"] / (count - 1)
    root = joints.at["tail_root"] - way[0] * 0.04
    path = root + np.concatenate([np.zeros((1, 3)), np.cumsum(way[:-1] * step, axis=0)])
    if pose.grounded and not pose.roll:
        path[:, 2] = np.maximum(path[:, 2], radii)  # a tail lies on the ground, not in it
    rows = _rows(path, np.stack([radii] * 3, axis=1), -joints.frames["tail"][:, 1])
    return Tube("tail", "tail", rows, 16, (0.5, 1.0))


def mane(shape: dict[str, Any], joints: Joints) -> list[Tube]:
    """A crest along the neck, hair that falls to one side, and a forelock."""
    data = shape["mane"]
    t = np.array([0.02, 0.3, 0.6, 0.9, 1.08])
    line = neck_line(shape, joints, t)
    base, top = shape["neck"]["base_radii"], shape["neck"]["head_radii"]
    depth = base[0] + (top[0] - base[0]) * np.clip(t, 0, 1)
    width = base[1] + (top[1] - base[1]) * np.clip(t, 0, 1)
    tangent = np.gradient(line, axis=0)
    left = joints.frames["neck"][:, 1]
    ridge = np.cross(tangent, left)
    ridge /= np.linalg.norm(ridge, axis=1)[:, None]
    grow = np.array([0.5, 0.9, 1.0, 1.0, 0.7])
    crest = _rows(
        line + ridge * (depth * 0.92)[:, None],
        np.stack([grow * data["height"], 0.06 * grow, 0.028 * grow], axis=1),
        left,
    )
    fall = line + ridge * (depth * 0.45)[:, None] + left * (width * 0.88 * data["side"])[:, None]
    hang = _rows(
        fall,
        np.stack([depth * 0.5, grow * data["hang"], 0.022 + 0 * grow], axis=1),
        left * 0.85 + ridge * (-0.5 * data["side"]),
    )
    lock = head_place(
        shape, joints, [[0.0, 0, 0.2], [0.14, 0, 0.26], [0.3, 0, 0.26], [0.42, 0, 0.2]]
    )
    front = _rows(lock, np.array([[0.02, 0.02, 0.03]] * 4), joints.frames["head"][:, 1])
    return [
        Tube("crest", "neck", crest, 12, (0.5, 0.5)),
        Tube("mane", "neck", hang, 12, (0.3, 0.3)),
        Tube("forelock", "head", front, 6, (0.5, 0.5)),
    ]


def horns(shape: dict[str, Any], joints: Joints) -> list[Tube]:
    """A pair of curved horns."""
    out, data = [], shape["horns"]
    for side in (1.0, -1.0):
        place = head_surface(shape, data["base"], side)
        path = [place * 0.9]
        for i in range(4):
            way = np.array(data["direction"]) + np.array(data["bend"]) * i
            place = place + way / np.linalg.norm(way) * np.array([1, side, 1]) * data["length"] / 4
            path.append(place)
        radii = np.array([1.0, 0.9, 0.75, 0.5, 0.15]) * data["radius"] * shape["head"]["length"]
        rows = _rows(
            head_place(shape, joints, path),
            np.stack([radii] * 3, axis=1),
            joints.frames["head"][:, 0],
        )
        out.append(Tube("horn", "head", rows, 9, (0.3, 0.5)))
    return out


def udder(shape: dict[str, Any], joints: Joints) -> Tube:
    """A round udder between the hind limbs."""
    (x, z), radius = shape["udder"]["place"], shape["udder"]["radius"]
    ends = np.array([[x - radius * 0.5, 0, z], [x, 0, z - radius * 0.2], [x + radius, 0, z + 0.04]])
    radii = np.array([[radius] * 3, [radius] * 3, [radius * 0.7] * 3])
    lateral = joints.trunk.frame(x)[:, 1]
    return Tube("udder", "trunk", _rows(joints.trunk.place(ends), radii, lateral), 6)
