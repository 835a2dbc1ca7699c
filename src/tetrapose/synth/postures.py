"""Postures drawn at random: standing, gaits, sitting, lying and grazing as values of Pose."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tetrapose.synth.pose import LEGS, Leg, Pose, nose_height, trunk

# Where in the stride each foot stands against the left hind foot, and the share of the stride on
# the ground. Source: Hildebrand, "The quadrupedal gaits of vertebrates" (1989): lateral-sequence
# walk, trot by diagonals, and a gallop whose fore pair follows the hind pair.
PHASES = {
    "walk": {"left_back": 0.0, "left_front": 0.25, "right_back": 0.5, "right_front": 0.75},
    "trot": {"left_back": 0.0, "right_front": 0.0, "right_back": 0.5, "left_front": 0.5},
    "run": {"left_back": 0.0, "right_back": 0.1, "left_front": 0.5, "right_front": 0.62},
}
# stride in leg lengths, share on the ground, lift of the foot, flexion of fore and hind
STRIDES = {
    "walk": (0.62, 0.62, 0.09, 0.9, 0.45),
    "trot": (0.78, 0.45, 0.15, 1.2, 0.7),
    "run": (1.15, 0.32, 0.22, 1.4, 0.9),
}


def draw(rng: np.random.Generator, shape: dict[str, Any], name: str) -> Pose:
    """One posture of that name for an individual."""
    makers = {"sit": _sit, "lie": _lie, "side": _side, "graze": _graze, "stand": _stand}
    pose = _gait(rng, shape, name) if name in STRIDES else makers[name](rng, shape)
    neck, head = pose.neck, pose.head
    look = rng.normal(0, 0.35) if rng.random() < 0.6 else rng.uniform(-1.2, 1.2)
    if name in ("graze", "run"):
        look *= 0.4
    neck = (neck[0] + rng.normal(0, 0.12), neck[1] + 0.45 * look)
    head = (head[0] + rng.normal(0, 0.12), head[1] + 0.55 * look, head[2] + rng.normal(0, 0.08))
    tail = tuple(pose.tail + rng.normal(0, (0.25, 0.35, 0.4)))
    swerve = pose.swerve + rng.normal(0, 0.12)
    return replace(pose, name=name, neck=neck, head=head, tail=tail, swerve=swerve)


def _stand(rng: np.random.Generator, shape: dict[str, Any]) -> Pose:
    legs = {}
    for leg in LEGS:
        dx = rng.normal(0, 0.05)
        legs[leg] = Leg((dx, rng.normal(0, 0.012), 0.0), cannon=-0.8 * dx)
    return Pose(legs=legs, pitch=rng.normal(0, 0.02), arch=rng.normal(0, 0.05))


def _gait(rng: np.random.Generator, shape: dict[str, Any], name: str) -> Pose:
    stride, duty, lift, fore, hind = STRIDES[name]
    stride *= rng.uniform(0.75, 1.1) * shape["hind"]["joints"][0][1]
    start = rng.random()
    legs = {}
    for leg in LEGS:
        phase = (PHASES[name][leg] + start + rng.normal(0, 0.02)) % 1
        legs[leg] = _step(phase, stride, duty, lift, fore if leg.endswith("front") else hind)
    if name == "run":
        gather = np.cos(2 * np.pi * (start + 0.3))
        return Pose(
            legs=legs,
            rise=rng.uniform(0.0, 0.1),
            arch=0.35 * gather,
            pitch=0.08 * np.sin(2 * np.pi * start),
            neck=(-0.25, 0.0),
            head=(0.15, 0.0, 0.0),
            tail=(0.5, 0.0, 0.0),
        )
    return Pose(legs=legs, rise=rng.uniform(-0.01, 0.015), neck=(-0.08, 0.0))


def _step(phase: float, stride: float, duty: float, lift: float, flexion: float) -> Leg:
    if phase < duty:
        dx = stride * (0.5 - phase / duty)
        late = max(phase / duty - 0.7, 0.0)
        return Leg((dx, 0.0, 0.25 * late * lift), cannon=-0.9 * dx, paw=0.8 * late)
    swing = (phase - duty) / (1 - duty)
    dx = stride * (-0.5 + swing)
    height = np.sin(np.pi * swing)
    flex = flexion * np.sin(np.pi * min(swing * 1.15, 1.0))
    return Leg((dx, 0.0, lift * height), cannon=-0.7 * dx + flex, paw=0.9 * flex + 0.2 * height)


def _lay_cannon(joints: np.ndarray, back: bool = False) -> float:
    """The swing that lays the part below carpus or hock flat on the ground."""
    rest = float(np.arctan2(joints[3][0] - joints[2][0], joints[2][1] - joints[3][1]))
    return np.pi / 2 + rest if back else rest - np.pi / 2


def _folded_hinds(rng: np.random.Generator, shape: dict[str, Any], out: float) -> dict[str, Leg]:
    hind = shape["hind"]
    radius = float(hind["lower"][2][1])
    flat = _lay_cannon(hind["joints"])
    legs = {}
    for leg in ("left_back", "right_back"):
        place = (rng.uniform(0.0, 0.1), out + rng.uniform(0, 0.05), radius)
        legs[leg] = Leg(place, cannon=flat, paw=flat * 0.15, fold=True)
    return legs


def _sit(rng: np.random.Generator, shape: dict[str, Any]) -> Pose:
    hip = shape["hind"]["joints"][0]
    rise = rng.uniform(0.24, 0.30) - hip[1]
    arch = rng.uniform(0.15, 0.4)
    legs = _folded_hinds(rng, shape, 0.06)
    wanted = shape["front"]["joints"][0][1] * rng.uniform(0.96, 1.0)
    pitch = _search_pitch(shape, Pose(rise=rise, arch=arch), wanted)
    pose = Pose(rise=rise, arch=arch, pitch=pitch)
    chart = shape["front"]["joints"]
    top = trunk(shape, pose).place(np.array([chart[0][0], 0.0, chart[0][1]]))
    dx = float(top[0] - chart[0][0]) + rng.uniform(-0.02, 0.06)
    for leg in ("left_front", "right_front"):
        legs[leg] = Leg((dx + rng.normal(0, 0.02), 0.0, 0.0), cannon=0.0)
    return replace(
        pose,
        legs=legs,
        neck=(rng.uniform(0.2, 0.55), 0.0),
        tail=(-0.2 - pitch, rng.uniform(-0.2, 0.5), rng.normal(0, 0.6)),
        grounded=True,
    )


def _search_pitch(shape: dict[str, Any], pose: Pose, wanted: float) -> float:
    """The pitch that brings the shoulders to a height above the ground, by halving."""
    shoulder = shape["front"]["joints"][0]
    place = np.array([shoulder[0], 0.0, shoulder[1]])
    low, high = 0.0, 1.3
    for _ in range(12):
        middle = (low + high) / 2
        top = trunk(shape, replace(pose, pitch=middle)).place(place)[2]
        low, high = (middle, high) if top < wanted else (low, middle)
    return (low + high) / 2


def _lie(rng: np.random.Generator, shape: dict[str, Any]) -> Pose:
    front = shape["front"]["joints"]
    legs = _folded_hinds(rng, shape, 0.07)
    radius = float(shape["front"]["lower"][2][1])
    bottom = float(shape["trunk"][:, 2].min())
    for leg in ("left_front", "right_front"):
        if shape["folds"] == "paws":
            reach = np.linalg.norm(front[2] - front[1]) * rng.uniform(0.75, 1.0)
            place = (float(reach), rng.uniform(-0.02, 0.02), radius)
            legs[leg] = Leg(place, cannon=_lay_cannon(front), paw=-0.1, fold=True)
        else:
            place = (rng.uniform(0.1, 0.2), rng.uniform(0.0, 0.05), radius * 1.1)
            legs[leg] = Leg(place, cannon=_lay_cannon(front, back=True), paw=0.6, fold=True)
    return Pose(
        rise=-bottom,
        pitch=rng.uniform(0.0, 0.12),
        swerve=rng.normal(0, 0.25),
        legs=legs,
        neck=(rng.uniform(0.0, 0.35), 0.0),
        tail=(-0.1, 0.0, rng.normal(0, 0.6)),
        grounded=True,
    )


def _side(rng: np.random.Generator, shape: dict[str, Any]) -> Pose:
    pose = _stand(rng, shape)
    legs = {}
    for leg in LEGS:
        dx = rng.uniform(-0.1, 0.35) * (1 if leg.endswith("front") else -1)
        legs[leg] = Leg((dx, 0.0, rng.uniform(0.0, 0.2)), cannon=rng.uniform(-0.2, 0.9), paw=0.5)
    roll = rng.choice((-1.0, 1.0)) * rng.uniform(1.35, 1.6)
    return replace(
        pose,
        legs=legs,
        roll=roll,
        arch=rng.uniform(0.0, 0.5),
        head=(0.0, 0.0, -roll * rng.uniform(0.0, 0.5)),
        neck=(-0.3, -np.sign(roll) * rng.uniform(0.0, 0.3)),
        grounded=True,
    )


def _graze(rng: np.random.Generator, shape: dict[str, Any]) -> Pose:
    pose = _stand(rng, shape)
    legs = dict(pose.legs)
    ahead = str(rng.choice(("left_front", "right_front")))
    legs[ahead] = Leg((rng.uniform(0.05, 0.18), 0.0, 0.0), cannon=-0.1)
    droop = np.deg2rad(shape["head"]["pitch"])
    head = (rng.uniform(-1.35, -1.0) - droop, 0.0, 0.0)
    neck = -np.deg2rad(shape["neck"]["pitch"])
    pose = replace(pose, legs=legs, head=head, pitch=pose.pitch - rng.uniform(0.0, 0.06))
    lift = rng.uniform(0.02, 0.1) if rng.random() < 0.75 else rng.uniform(0.1, 0.4)
    low, high = neck - 1.35, neck + 0.3
    for _ in range(9):
        middle = (low + high) / 2
        nose = nose_height(shape, replace(pose, neck=(middle, 0.0)))
        low, high = (middle, high) if nose < lift else (low, middle)
    return replace(pose, neck=((low + high) / 2, 0.0))
