"""Setting a scene: which animals stand where, what stands about, the camera and the light."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tetrapose.errors import UserError
from tetrapose.synth import backdrop, builds, postures
from tetrapose.synth.camera import Camera, axes, frame
from tetrapose.synth.shade import Light
from tetrapose.synth.solids import Actor, Solid, actor, thing

POSES = ("stand", "walk", "trot", "run", "sit", "lie", "side", "graze")
FRONT = ("post", "bush", "rock", "fence", "box", "ball", "cushion")
DOMESTIC = ("cat", "dog")


@dataclass(frozen=True)
class Stage:
    """What is to be drawn: animals, loose things, where from, under which light, before what."""

    actors: tuple[Actor, ...]
    things: tuple[Solid, ...]
    camera: Camera
    light: Light
    setting: backdrop.Surroundings
    wall: float


def set_up(
    rng: np.random.Generator,
    size: tuple[int, int],
    animals: int | tuple[int, int],
    chosen: tuple[str, ...],
    poses: tuple[str, ...],
) -> Stage:
    """Draw everything about a picture of ``size`` (width, height) but its pixels."""
    least, most = (animals, animals) if isinstance(animals, int) else animals
    count = int(rng.integers(least, most + 1))
    actors = _place(rng, _cast(rng, count, chosen, poses))
    outdoors = 0.7 if actors[0].individual.build in DOMESTIC else 4.0
    setting = backdrop.draw(rng, outdoors)
    camera = _aim(rng, actors, size)
    radius = max(float(np.abs(a.solid.points[:, :2]).max()) for a in actors)
    wall = radius + rng.uniform(0.3, 2.5)
    things = _strew(rng, actors, camera, setting, wall)
    return Stage(actors, things, camera, _light(rng, camera, setting), setting, wall)


def _cast(
    rng: np.random.Generator, count: int, chosen: tuple[str, ...], poses: tuple[str, ...]
) -> list[Actor]:
    """Animals at the origin, in units of the first one's withers height."""
    table = builds.load()
    able = [name for name in chosen if any(pose in table[name]["poses"] for pose in poses)]
    if not able:
        raise UserError(f"none of {', '.join(chosen)} takes the pose {', '.join(poses)}")
    herd = rng.random() < 0.65
    first = str(rng.choice(able))
    out = []
    for i in range(count):
        name = first if herd or i == 0 else str(rng.choice(able))
        individual = builds.draw(rng, name)
        odds = {p: w for p, w in table[name]["poses"].items() if p in poses}
        weights = np.array(list(odds.values()), dtype=float)
        posture = str(rng.choice(list(odds), p=weights / weights.sum()))
        pose = postures.draw(rng, individual.shape, posture)
        ratio = (table[name]["size"] / table[first]["size"]) ** 0.6
        scale = float(np.clip(ratio, 0.45, 2.2)) * (1 if i == 0 else rng.uniform(0.75, 1.2))
        yaw = rng.uniform(-np.pi, np.pi)
        out.append(actor(rng, individual, pose, yaw, scale))
    return out


def _place(rng: np.random.Generator, cast: list[Actor]) -> tuple[Actor, ...]:
    """Animals apart enough not to run into one another, near enough to overlap in the picture."""
    placed = [cast[0]]
    for one in cast[1:]:
        spots = np.stack([p.place[:2] for p in one.points.values()])
        others = np.concatenate([[p.place[:2] for p in other.points.values()] for other in placed])
        radius = 0.5 * one.scale
        while True:
            angle = rng.uniform(0, 2 * np.pi)
            shift = others.mean(axis=0) + radius * np.array([np.cos(angle), np.sin(angle)])
            gaps = np.linalg.norm((spots + shift)[:, None] - others[None], axis=2)
            if gaps.min() > 0.26 * (one.scale + 1):
                break
            radius += 0.06
        placed.append(one.move(np.array([*shift, 0.0])))
    return tuple(placed)


def _aim(rng: np.random.Generator, actors: tuple[Actor, ...], size: tuple[int, int]) -> Camera:
    points = np.concatenate([one.solid.points[::5] for one in actors])
    low, high = points.min(axis=0), points.max(axis=0)
    extent = float(np.linalg.norm(high - low))
    distance = rng.uniform(1.6, 5.0)
    elevation = np.deg2rad(rng.uniform(-2, 20) if rng.random() < 0.75 else rng.uniform(20, 58))
    middle = (low[2] + high[2]) / 2
    lowest = np.arcsin(np.clip((0.2 - middle) / (distance * extent), -1, 1))
    view = axes(rng.uniform(0, 2 * np.pi), max(elevation, lowest), rng.normal(0, 0.04))
    kind = rng.random()
    if kind < 0.8 or len(actors) > 1:
        fill = rng.uniform(0.68, 0.97)
    elif kind < 0.9:
        fill = rng.uniform(0.4, 0.68)
    else:
        fill = rng.uniform(1.05, 1.5)
    shift = rng.uniform(-0.9, 0.9, 2)
    return frame(points, view, distance, fill, (float(shift[0]), float(shift[1])), size)


def _strew(
    rng: np.random.Generator,
    actors: tuple[Actor, ...],
    camera: Camera,
    setting: backdrop.Surroundings,
    wall: float,
) -> tuple[Solid, ...]:
    """Loose things behind, beside and now and then before the animals."""
    kinds = setting.data["props"]
    if not kinds:
        return ()
    spots = np.concatenate([[p.place[:2] for p in one.points.values()] for one in actors])
    ahead = camera.axes[2][:2] / max(np.linalg.norm(camera.axes[2][:2]), 1e-6)
    across = np.array([-ahead[1], ahead[0]])
    room = float(-camera.place[:2] @ ahead)
    out = []
    for _ in range(int(rng.choice((0, 1, 2, 3), p=(0.35, 0.3, 0.2, 0.15)))):
        kind = str(rng.choice(kinds))
        front = rng.random() < 0.3 and kind in FRONT
        deep = rng.uniform(-1.6, -0.4) if front else rng.uniform(0.4, 3.5)
        if setting.data["behind"] != "sky":
            deep = min(deep, wall - 0.5)
        deep = max(deep, -0.6 * room)
        spread = 1.0 + 0.3 * (deep + room)
        place = ahead * deep + across * rng.uniform(-spread, spread)
        apart = 0.9 if kind in ("bush", "rock", "tree", "box", "cushion") else 0.4
        if np.linalg.norm(spots - place, axis=1).min() < apart:
            continue
        if kind == "fence" and np.abs((spots - place) @ ahead).min() < 0.35:
            continue
        out.append(thing(rng, kind, np.array([*place, 0.0]), np.array([*across, 0.0])))
    return tuple(out)


def _light(rng: np.random.Generator, camera: Camera, setting: backdrop.Surroundings) -> Light:
    behind = np.arctan2(-camera.axes[2][1], -camera.axes[2][0])
    azimuth = behind + rng.uniform(-1.9, 1.9)
    height = rng.uniform(0.45, 1.25)
    direction = np.array(
        [np.cos(azimuth) * np.cos(height), np.sin(azimuth) * np.cos(height), np.sin(height)]
    )
    strength = rng.uniform(0.3, 0.7)
    warmth = rng.normal(0, 0.05)
    colour = np.array([1 + warmth, 1.0, 1 - warmth]) * strength
    ambient = 1.02 - 0.75 * strength
    sky = ambient * (0.75 + 0.25 * setting.behind.mean(axis=0) / setting.behind.mean())
    bounce = setting.ground.mean(axis=0)
    ground = ambient * (0.22 + 0.42 * bounce)
    return Light(direction, *(v.astype(np.float32) for v in (colour, sky, ground)))


def without(stage: Stage, *, things: bool = False, actor_at: int | None = None) -> Stage:
    """The stage with its loose things or one of its animals taken away."""
    if things:
        return replace(stage, things=())
    kept = tuple(one for i, one in enumerate(stage.actors) if i != actor_at)
    return replace(stage, actors=kept)
