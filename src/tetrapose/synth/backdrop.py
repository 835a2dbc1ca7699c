"""Backgrounds: a ground in perspective, and sky, trees or a wall behind it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import cv2
import numpy as np
import yaml

from tetrapose.synth import noise
from tetrapose.synth.camera import Camera
from tetrapose.synth.coat import rgb


@dataclass(frozen=True)
class Surroundings:
    """A drawn setting: its data, its colours after their own deviations, and the light's."""

    name: str
    ground: np.ndarray
    behind: np.ndarray
    data: dict[str, Any]
    seed: int


@cache
def load() -> dict[str, dict[str, Any]]:
    """All settings by name, as they stand in backdrops.yaml."""
    text = (resources.files("tetrapose.synth") / "backdrops.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)


def draw(rng: np.random.Generator, outdoors: float) -> Surroundings:
    """A setting at random; ``outdoors`` weighs the ones under the sky against the others."""
    table = load()
    names = list(table)
    odds = np.array(
        [v["often"] * (outdoors if v["behind"] == "sky" else 1) for v in table.values()]
    )
    name = names[rng.choice(len(names), p=odds / odds.sum())]
    data = table[name]
    ground = np.stack([rgb(c) for c in data["ground"]])
    if data["behind"] == "sky":
        behind = np.stack([rgb(c) for c in data["sky"]])
    else:
        wall = rgb(str(rng.choice(data["wall"])))
        behind = np.stack([wall, wall * rng.uniform(0.8, 1.1)])
        if data["behind"] == "cyclorama":
            ground = np.stack([wall * 0.92, wall])
        elif data["texture"] != "planks":
            ground = ground * rng.uniform(0.6, 1.15, (1, 3))
    tint = rng.uniform(0.88, 1.1, (1, 3)) * rng.uniform(0.8, 1.1)
    ground, behind = np.clip(ground * tint, 0, 1), np.clip(behind * (0.4 + 0.6 * tint), 0, 1)
    return Surroundings(name, ground, behind, data, int(rng.integers(2**31)))


def paint(setting: Surroundings, camera: Camera, wall_distance: float) -> np.ndarray:
    """The empty picture (3, H, W) float32 in 0..1, a wall ``wall_distance`` past the origin."""
    rng = np.random.default_rng(setting.seed)
    rays = camera.rays()
    kind = setting.data["behind"]
    away = float(camera.place[2]) / np.maximum(-rays[2], 1e-4)
    ahead = camera.axes[2][:2] / max(np.linalg.norm(camera.axes[2][:2]), 1e-6)
    wall_at = float(-camera.place[:2] @ ahead) + wall_distance
    reach = rays[0] * float(ahead[0]) + rays[1] * float(ahead[1])
    on_ground = rays[2] < -1e-4
    if kind != "sky":
        on_ground &= away * reach < wall_at
    share = on_ground.astype(np.float32)
    if kind == "cyclorama":
        edge = np.clip((wall_at - away * reach) / wall_distance, 0, 1)
        share = share * edge * edge * (3 - 2 * edge)
    picture = np.zeros_like(rays)
    rows = _rows(share > 0)
    picture[:, rows] = _floor(rng, setting, camera, rays[:, rows], away[rows])
    rows = _rows(share < 1)
    if rows.stop > rows.start:
        if kind == "sky":
            rear = _sky(rng, setting, rays[:, rows])
        else:
            distance = wall_at / np.maximum(reach[rows], 1e-3)
            rear = _wall(rng, setting, camera, rays[:, rows], distance)
        picture[:, rows] = rear + (picture[:, rows] - rear) * share[rows]
    blur = float(rng.choice((0.0, 0.6, 1.2))) * camera.size[1] / 256
    if blur > 0:
        picture = np.stack([cv2.GaussianBlur(plane, (0, 0), blur) for plane in picture])
    return picture


def _rows(mask: np.ndarray) -> slice:
    """The rows of a mask that hold anything."""
    found = np.flatnonzero(mask.any(axis=1))
    return slice(int(found[0]), int(found[-1]) + 1) if len(found) else slice(0, 0)


def _mix(low: np.ndarray, high: np.ndarray, share: np.ndarray) -> np.ndarray:
    """(3, H, W) from one colour (3,) to another as a plane goes from 0 to 1."""
    low, high = low.astype(np.float32), high.astype(np.float32)
    return np.stack([a + (b - a) * share for a, b in zip(low, high, strict=True)])


def _floor(
    rng: np.random.Generator,
    setting: Surroundings,
    camera: Camera,
    rays: np.ndarray,
    away: np.ndarray,
) -> np.ndarray:
    """Ground colours; fine texture fades out where a pixel spans more than it."""
    texture = setting.data["texture"]
    angle = rng.uniform(0, np.pi)
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    east = float(camera.place[0]) + rays[0] * away
    north = float(camera.place[1]) + rays[1] * away
    x = east * cos + north * sin + 100
    y = north * cos - east * sin + 100
    inverse = camera.focal / away  # pixels to a unit of ground
    value = np.full(x.shape, 0.5, dtype=np.float32)
    fine = {"grass": 0.23, "grain": 0.15, "planks": 0.05, "tiles": 0.05, "plain": 0.0}[texture]
    for size, amount in ((0.012, fine), (0.05, fine * 0.8), (0.6, fine * 0.8 + 0.02)):
        fade = np.clip(size * 1.5 * inverse - 0.3, 0, 1)
        stretch = 2.5 if texture == "planks" else 1.0
        value += amount * fade * noise.sample(x * (1 / size / stretch), y * (1 / size), 1)
    if texture in ("planks", "tiles"):
        value += _joints(rng, texture, x, y, np.clip(0.04 * inverse, 0, 1))
    floor = _mix(setting.ground[0], setting.ground[1], np.clip(value, 0, 1.2))
    if setting.data["behind"] == "sky":
        haze = np.clip(away * (1 / 60), 0, 1) * np.float32(0.6)
        floor += (setting.behind[0].astype(np.float32)[:, None, None] - floor) * haze
    return floor


def _joints(
    rng: np.random.Generator, texture: str, x: np.ndarray, y: np.ndarray, fade: np.ndarray
) -> np.ndarray:
    """Boards or tiles: each of a shade of its own, with dark joints."""
    width = rng.uniform(0.3, 0.7) if texture == "planks" else rng.uniform(0.6, 1.2)
    board = np.floor(y / width)
    along = x / (width * (7 if texture == "planks" else 1))
    part = np.floor(along + board * (0.37 if texture == "planks" else 0))
    shade = 0.13 * noise.sample(board * 37 + part * 11, part * 53, 2)
    seam = np.minimum(y / width - board, along - np.floor(along)) * width
    return shade - 0.25 * fade * (seam < 0.02)


def _sky(rng: np.random.Generator, setting: Surroundings, rays: np.ndarray) -> np.ndarray:
    flat = np.sqrt(rays[0] * rays[0] + rays[1] * rays[1])
    height = np.clip(rays[2] / np.maximum(flat, 1e-6), -0.05, 1)
    bearing = np.arctan2(rays[1], rays[0])
    low, high = setting.behind.astype(np.float32)
    picture = _mix(low, high, np.clip(height * rng.uniform(1.5, 4), 0, 1))
    cloud = noise.sample(bearing * 40 + 60, height * 120 + 40 * rng.random(), 3)
    cover = np.clip(0.25 * cloud + rng.uniform(-0.3, 0.4), 0, 1) * np.clip(height * 8, 0, 1)
    picture += (np.float32(0.96) - picture) * (cover * np.float32(0.7))
    if setting.data["trees"] and rng.random() < 0.8:
        tall = rng.uniform(0.02, 0.3)
        crest = noise.sample(bearing * 60 + 30, 7 + 0 * bearing, 4) * 0.25
        crest += noise.sample(bearing * 400, 90 + 0 * bearing, 4) * 0.08
        inside = np.clip((tall * (1 + crest) - height) / 0.012 + 0.5, 0, 1)
        leaf = noise.sample(bearing * 500, height * 500, 5) * 0.05
        tree = rgb(setting.data["trees"]) * rng.uniform(0.8, 1.3)
        tree = tree * (1 - 0.35 * rng.random()) + low * 0.35 * rng.random()
        tree = tree.astype(np.float32)[:, None, None] + leaf
        picture += (np.clip(tree, 0, 1) - picture) * inside
    return picture


def _wall(
    rng: np.random.Generator,
    setting: Surroundings,
    camera: Camera,
    rays: np.ndarray,
    away: np.ndarray,
) -> np.ndarray:
    """A wall square to the view: plain, papered, or of bricks, with a skirting and a window."""
    right = np.array([-camera.axes[2][1], camera.axes[2][0]])
    right = right / max(np.linalg.norm(right), 1e-6)
    x = float(camera.place[:2] @ right)
    x = x + (rays[0] * float(right[0]) + rays[1] * float(right[1])) * away
    z = float(camera.place[2]) + rays[2] * away
    value = 1 + 0.03 * noise.sample(x * 9, z * 9, 1) + 0.05 * noise.sample(x * 2, z * 2, 2)
    lift = np.zeros_like(value)
    wall = setting.behind[0].astype(np.float32)[:, None, None]
    if setting.data["behind"] == "cyclorama":
        return wall * value
    style = rng.choice(("plain", "stripes", "bricks"), p=(0.6, 0.2, 0.2))
    texture = value
    if style == "stripes":
        texture = value * (1 - 0.14 * (np.floor(x / 0.35) % 2))
    elif style == "bricks":
        course = np.floor(z / 0.16)
        along = x / 0.42 + 0.5 * (course % 2)
        joint = ((z / 0.16 - course) < 0.12) | ((along - np.floor(along)) < 0.05)
        shade = 0.06 * noise.sample(course * 31, np.floor(along) * 17, 2)
        texture = value * (1 + shade - 0.22 * joint)
    if style != "bricks":
        skirting = z < 0.22
        texture, lift = np.where(skirting, texture * 0.75, texture), 0.2 * skirting
    picture = wall * texture + lift.astype(np.float32)
    for _ in range(int(rng.integers(0, 3))):
        middle, low = rng.uniform(-4, 4), rng.uniform(0.4, 2.0)
        wide, tall = rng.uniform(0.4, 1.4), rng.uniform(0.5, 2.0)
        off_x, off_z = np.abs(x - middle), np.abs(z - low - tall)
        inside = (off_x < wide) & (off_z < tall)
        pane = (off_x < wide - 0.08) & (off_z < tall - 0.08)
        fill = rng.uniform(0.25, 0.9) * rng.uniform(0.8, 1.1, 3)
        for plane, tint in zip(picture, fill, strict=True):
            plane[inside] = 0.35 * tint + 0.3
            plane[pane] = tint * value[pane]
    return picture.astype(np.float32)
