"""Poses: where every joint stands when an animal stands, walks, sits, lies or grazes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

LEGS = ("left_front", "right_front", "left_back", "right_back")


@dataclass(frozen=True)
class Leg:
    """Where a foot goes: ``foot`` shifts the fetlock from its rest (forward, out, up).

    ``cannon`` radians by which the part below carpus or hock swings back, ``paw`` the same for the
    foot. With ``fold``, ``foot`` is instead the place of carpus or hock against shoulder or hip,
    and the height above the ground.
    """

    foot: tuple[float, float, float] = (0.0, 0.0, 0.0)
    cannon: float = 0.0
    paw: float = 0.0
    fold: bool = False


@dataclass(frozen=True)
class Pose:
    """A posture, angles in radians.

    ``pitch`` raises the forehand about the hips, ``rise`` lifts the trunk (in withers heights),
    ``arch`` and ``swerve`` bend the spine up and to the left (over a withers height), ``roll``
    turns the animal over to its right. ``neck`` and ``head`` are pitch and yaw (and the head's
    roll) added to the build's own; ``grounded`` says that the trunk rests on the ground.
    """

    name: str = "rest"
    pitch: float = 0.0
    rise: float = 0.0
    arch: float = 0.0
    swerve: float = 0.0
    roll: float = 0.0
    neck: tuple[float, float] = (0.0, 0.0)
    head: tuple[float, float, float] = (0.0, 0.0, 0.0)
    tail: tuple[float, float, float] = (0.0, 0.0, 0.0)
    legs: dict[str, Leg] = field(default_factory=lambda: dict.fromkeys(LEGS, Leg()))
    grounded: bool = False


@dataclass(frozen=True)
class Joints:
    """A posed skeleton in the animal's own frame: x forward, y left, z up from the ground.

    ``at`` holds places by name; ``trunk`` bends points of the chart into place; ``neck`` and
    ``head`` are rotations whose columns are forward, left and up.
    """

    at: dict[str, np.ndarray]
    frames: dict[str, np.ndarray]
    trunk: Any


def turn(yaw: float, pitch: float, roll: float = 0.0) -> np.ndarray:
    """Rotation whose columns are forward, left, up: pitch raises the front, yaw turns it left."""
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    cr, sr = np.cos(roll), np.sin(roll)
    yawed = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1.0]])
    pitched = np.array([[cp, 0, -sp], [0, 1.0, 0], [sp, 0, cp]])
    rolled = np.array([[1.0, 0, 0], [0, cr, -sr], [0, sr, cr]])
    return yawed @ pitched @ rolled


@dataclass(frozen=True)
class Trunk:
    """The map from the chart (spine straight, standing) to the bent and pitched trunk."""

    pivot: tuple[float, float]
    hip: tuple[float, float]
    pose: Pose

    def place(self, points: np.ndarray) -> np.ndarray:
        """(..., 3) chart points -> the animal's frame."""
        points = np.asarray(points, dtype=np.float64)
        s = points[..., 0] - self.pivot[0]
        x, z = _bend(s, points[..., 2] - self.pivot[1], -self.pose.arch)
        x, y = _bend(x, points[..., 1], self.pose.swerve)
        out = np.stack([x + self.pivot[0], y, z + self.pivot[1]], axis=-1)
        about = np.array([self.hip[0], 0.0, self.hip[1]])
        lifted = about + np.array([0, 0, self.pose.rise])
        return (out - about) @ turn(0, self.pose.pitch).T + lifted

    def frame(self, x: float) -> np.ndarray:
        """Rotation of the trunk at chart place ``x``."""
        s = x - self.pivot[0]
        bent = turn(self.pose.swerve * s, -self.pose.arch * s)
        return turn(0, self.pose.pitch) @ bent

    def lefts(self, x: np.ndarray) -> np.ndarray:
        """(n, 3) the left direction at chart places (n,)."""
        angle = self.pose.swerve * (x - self.pivot[0])
        flat = np.stack([-np.sin(angle), np.cos(angle), 0 * angle], axis=1)
        return flat @ turn(0, self.pose.pitch).T


def _bend(along: np.ndarray, off: np.ndarray, curve: float) -> tuple[np.ndarray, np.ndarray]:
    if abs(curve) < 1e-6:
        return along, off
    angle = curve * along
    return (
        np.sin(angle) / curve - np.sin(angle) * off,
        (1 - np.cos(angle)) / curve + np.cos(angle) * off,
    )


def solve(shape: dict[str, Any], pose: Pose) -> Joints:
    """Place every joint of an individual in a pose."""
    bent = trunk(shape, pose)
    at: dict[str, np.ndarray] = {}
    frames: dict[str, np.ndarray] = {}
    for leg in LEGS:
        _solve_leg(shape, bent, leg, at)
    _solve_neck(shape, bent, at, frames)
    root = shape["tail"]["root"]
    at["tail_root"] = bent.place(np.array([root[0], 0.0, root[1]]))
    frames["tail"] = bent.frame(root[0])
    return Joints(at, frames, bent)


def trunk(shape: dict[str, Any], pose: Pose) -> Trunk:
    """The bent trunk of an individual in a pose."""
    hip = shape["hind"]["joints"][0]
    return Trunk((-0.4, 0.72), (float(hip[0]), float(hip[1])), pose)


def nose_height(shape: dict[str, Any], pose: Pose) -> float:
    """How high the nose is above the ground, without the rest of the skeleton."""
    at: dict[str, np.ndarray] = {}
    frames: dict[str, np.ndarray] = {}
    _solve_neck(shape, trunk(shape, pose), at, frames)
    return float(at["head_origin"][2] + frames["head"][2, 0] * shape["head"]["length"])


def _solve_leg(shape: dict[str, Any], body: Trunk, name: str, at: dict[str, np.ndarray]) -> None:
    side = 1.0 if name.startswith("left") else -1.0
    limb = shape["front" if name.endswith("front") else "hind"]
    chart = limb["joints"]
    high, low = limb["apart"]
    plan = body.pose.legs[name]
    top = body.place(np.array([chart[0][0], side * high, chart[0][1]]))
    forward = body.frame(chart[0][0])[:, 0] * (1, 1, 0)
    forward = forward / max(np.sqrt(forward @ forward), 1e-6)
    left = np.array([-forward[1], forward[0], 0.0])
    up = np.array([0, 0, 1.0])
    cannon = _swing(chart[3] - chart[2], plan.cannon, forward)
    foot = _swing(chart[4] - chart[3], plan.cannon * 0 + plan.paw, forward)
    dx, dy, dz = plan.foot
    if plan.fold:
        ankle = top * (1, 1, 0) + forward * dx + left * (side * dy) + up * dz
    else:
        ground = np.array([chart[3][0], side * low, 0.0])
        ground = ground + forward * dx + left * (side * dy)
        ankle = ground + up * (chart[3][1] + dz) - cannon
    first = float(np.hypot(*(chart[1] - chart[0])))
    second = float(np.hypot(*(chart[2] - chart[1])))
    bend = -1.0 if name.endswith("front") else 1.0
    middle, ankle = _two_links(top, ankle, (first, second), left, bend)
    at[f"{name}_top"], at[f"{name}_middle"], at[f"{name}_ankle"] = top, middle, ankle
    at[f"{name}_fetlock"] = ankle + cannon
    at[f"{name}_toe"] = ankle + cannon + foot


def _swing(vector: np.ndarray, angle: float, forward: np.ndarray) -> np.ndarray:
    """A chart vector (x, z) turned so that its lower end swings back, set in space."""
    cos, sin = np.cos(angle), np.sin(angle)
    x, z = vector[0] * cos + vector[1] * sin, -vector[0] * sin + vector[1] * cos
    return forward * x + np.array([0, 0, z])


def _two_links(
    top: np.ndarray, low: np.ndarray, lengths: tuple[float, float], left: np.ndarray, bend: float
) -> tuple[np.ndarray, np.ndarray]:
    """The joint between two bones, and the lower end drawn within reach."""
    first, second = lengths
    reach = low - top
    distance = float(np.sqrt(reach @ reach))
    allowed = float(np.clip(distance, abs(first - second) * 1.02 + 1e-3, 0.998 * (first + second)))
    along = reach / max(distance, 1e-6)
    low = top + along * allowed
    x = (first**2 - second**2 + allowed**2) / (2 * allowed)
    height = np.sqrt(max(first**2 - x**2, 0.0))
    normal = left - along * float(left @ along)
    normal = normal / max(np.sqrt(normal @ normal), 1e-6)
    # down x left points forward: there the stifle goes, and the elbow to the other side
    (ax, ay, az), (nx, ny, nz) = along, normal
    across = np.array([ay * nz - az * ny, az * nx - ax * nz, ax * ny - ay * nx])
    return top + along * x + across * (height * bend), low


def _solve_neck(
    shape: dict[str, Any],
    body: Trunk,
    at: dict[str, np.ndarray],
    frames: dict[str, np.ndarray],
) -> None:
    neck, head = shape["neck"], shape["head"]
    pose = body.pose
    base = neck["base"]
    girdle = body.frame(base[0])
    heading = float(np.arctan2(girdle[1, 0], girdle[0, 0]))
    at["neck_base"] = body.place(np.array([base[0], 0.0, base[1]]))
    pitch = np.deg2rad(neck["pitch"]) + pose.neck[0]
    yaw = heading + pose.neck[1]
    frames["neck"] = turn(yaw, pitch)
    at["head_joint"] = at["neck_base"] + frames["neck"][:, 0] * neck["length"]
    frames["girdle"] = girdle
    frames["head"] = turn(
        yaw + pose.head[1], np.deg2rad(head["pitch"]) + pose.head[0], pose.head[2]
    )
    t, z = head["joint"]
    at["head_origin"] = at["head_joint"] - frames["head"] @ np.array([t, 0, z]) * head["length"]
