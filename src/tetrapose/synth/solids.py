"""Animals and loose things as shaded solids in the world."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tetrapose.synth import body, coat, mesh, props
from tetrapose.synth.builds import Individual
from tetrapose.synth.points import PARTS, Point, locate
from tetrapose.synth.pose import Pose, solve, turn


@dataclass(frozen=True)
class Face:
    """What draws a head: its corners' places in head lengths, and which tube it is."""

    shape: dict[str, Any]
    coat: dict[str, Any]
    local: np.ndarray
    tube: int


@dataclass(frozen=True)
class Solid:
    """A mesh in the world with its coat; part (F,) indexes PARTS, tube (F,) the coat's colours.

    ``gloss`` is how much it shines, ``fur`` how uneven its colour is, ``curl`` (T,) how
    ruffled each tube is.
    """

    points: np.ndarray
    normals: np.ndarray
    faces: np.ndarray
    part: np.ndarray
    tube: np.ndarray
    paint: coat.Paint
    gloss: float
    fur: float
    curl: np.ndarray
    face: Face | None = None

    def move(self, shift: np.ndarray) -> Solid:
        """The same solid elsewhere."""
        rest = {k: v for k, v in self.__dict__.items() if k != "points"}
        return Solid(self.points + shift, **rest)


@dataclass(frozen=True)
class Actor:
    """A posed animal in the world: its solid and its anatomical points, in world units."""

    individual: Individual
    pose: str
    scale: float
    solid: Solid
    points: dict[str, Point]

    def move(self, shift: np.ndarray) -> Actor:
        """The same animal elsewhere on the ground."""
        points = {k: Point(p.place + shift, p.reach, p.parts) for k, p in self.points.items()}
        return Actor(self.individual, self.pose, self.scale, self.solid.move(shift), points)


def actor(
    rng: np.random.Generator, individual: Individual, pose: Pose, yaw: float, scale: float
) -> Actor:
    """An animal in a pose, turned by ``yaw``, its withers ``scale`` high, at the origin."""
    shape = individual.shape
    joints = solve(shape, pose)
    tubes = body.tubes(shape, joints)
    posed = mesh.build(tubes, body.joins(shape))
    at_rest = solve(shape, Pose())
    rest = mesh.build(body.tubes(shape, at_rest), bare=True)
    points = posed.points
    wool = _woolly(individual, tubes)
    if wool.any():
        deep = wool[posed.tube] * 0.012
        points = props.roughen(rest.points, 0 * rest.points + 1, deep, 7) - rest.points
        points = posed.points + posed.normals * points[:, :1]
    rotation = turn(yaw, 0.0, pose.roll)
    world = points @ rotation.T * scale
    tail = [tube.name for tube in tubes].index("tail")
    rings = posed.points[posed.tube == tail].reshape(-1, mesh.AROUND + 1, 3)
    tip = rings[-len(mesh.CAP) :, :-1].mean(axis=(0, 1))
    places = locate(shape, joints, tip)
    drop = np.zeros(3)
    if pose.grounded:
        drop[2] = -world[posed.tube == 0, 2].min()
        world[:, 2] = np.maximum(world[:, 2], -drop[2])  # what would sink in is pressed flat
    parts = np.array([PARTS.index(tube.part) for tube in tubes])
    solid = Solid(
        points=world + drop,
        normals=(posed.normals @ rotation.T).astype(np.float32),
        faces=posed.faces,
        part=parts[posed.face_tube],
        tube=posed.face_tube,
        paint=coat.paint(rng, individual.coat, tubes, rest),
        gloss=individual.coat.get("gloss", 0.1),
        fur=individual.coat.get("fur", 0.1),
        curl=_woolly(individual, tubes) * 0.13,
        face=_face(individual, at_rest, tubes, rest),
    )
    moved = {
        name: Point(_above(rotation @ p.place * scale + drop), p.reach * scale, p.parts)
        for name, p in places.items()
    }
    return Actor(individual, pose.name, scale, solid, moved)


def _woolly(individual: Individual, tubes: list[mesh.Tube]) -> np.ndarray:
    """(T,) how deep a fleece lies on each tube: none on face and shanks."""
    share = [
        1.0 if t.name in ("trunk", "neck", "tail") else 0.7 if t.name.endswith("upper") else 0.0
        for t in tubes
    ]
    return np.array(share) * individual.coat.get("fleece", 0.0)


def _above(place: np.ndarray) -> np.ndarray:
    return np.array([place[0], place[1], max(place[2], 0.0)])


def _face(individual: Individual, joints: Any, tubes: list[mesh.Tube], rest: mesh.Mesh) -> Face:
    head = [tube.name for tube in tubes].index("head")
    local = (rest.points - joints.at["head_origin"]) @ joints.frames["head"]
    local = local / individual.shape["head"]["length"]
    return Face(individual.shape, individual.coat, local.astype(np.float32), head)


def thing(rng: np.random.Generator, kind: str, place: np.ndarray, across: np.ndarray) -> Solid:
    """A loose thing standing on the ground."""
    tubes, colours, rough = props.make(rng, kind, place, across)
    built = mesh.build(tubes)
    points = built.points
    if rough:
        depth = np.full(len(points), rough)
        points = props.roughen(points, built.normals, depth, int(rng.integers(2**31)))
    flat = np.full(len(points), -2.0)
    zero = np.zeros(len(points))
    along, around = built.along, built.around
    if kind in ("bush", "rock"):  # by place in space: over uneven rings the grain would zigzag
        along, around = (points @ np.array([[0.8, 0.1], [0.2, 0.9], [0.6, -0.5]])).T
    fields = np.stack([zero, zero, flat, along, around], axis=1).astype(np.float32)
    trio = np.repeat(np.array(colours)[:, None], 3, axis=1)
    return Solid(
        points=points,
        normals=built.normals.astype(np.float32),
        faces=built.faces,
        part=np.zeros(len(built.faces), dtype=np.int64),
        tube=built.face_tube,
        paint=coat.Paint(fields, trio, 0.0, 0.0),
        gloss=0.05,
        fur=0.12 if rough else 0.06,
        curl=np.full(len(tubes), {"bush": 0.6, "tree": 0.5, "rock": 0.15}.get(kind, 0.0)),
    )
