"""Animals that cross one another, as boxes and points in the plane, and how a finder sees them.

Side views that walk over a field, meet, stand in one another's way and part again: made to put a
tracker to the test where every identity is known, without pictures. Points are AP-10K's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tetrapose import skeletons
from tetrapose.geometry import points_box

SIZE = (640, 480)
STRIDE = 0.9  # body lengths an animal moves while its legs go through one cycle
HIDDEN = 0.35  # an animal of which less is seen is missed by the finder
SEEN_ONLY = 0.7  # share of boxes drawn around what is seen; the others reach around all of it
# Side view, nose to the right, in body lengths from the middle of the trunk; y down.
BODY = {
    "left_eye": (0.70, -0.36), "right_eye": (0.68, -0.37), "nose": (0.82, -0.28),
    "neck": (0.48, -0.20), "root_of_tail": (-0.50, -0.10),
}  # fmt: skip
HIPS = {"front": (0.38, -0.02), "back": (-0.42, -0.02)}
LEG = 0.24  # length of each half of a leg
# Share of the stride by which each foot is behind the left hind; as in synth.postures.
WALK = {"left_back": 0.0, "left_front": 0.25, "right_back": 0.5, "right_front": 0.75}
NAMES = {
    "front": ("shoulder", "elbow", "front_paw"), "back": ("hip", "knee", "back_paw")
}  # fmt: skip


@dataclass(frozen=True)
class Moment:
    """One frame's truth: keypoints (A, K, 2), bboxes (A, 4), seen (A,) the share not covered.

    Animal a is row a of every frame; one outside the picture has seen 0. ``visible`` (A, 4) are the
    boxes of what is not covered, NaN where nothing is.
    """

    keypoints: np.ndarray
    bboxes: np.ndarray
    seen: np.ndarray
    visible: np.ndarray


@dataclass(frozen=True)
class Sighting:
    """What a finder and a network make of a moment; ``animal`` (N,) the true row, -1 for none."""

    bboxes: np.ndarray
    scores: np.ndarray
    keypoints: np.ndarray
    sure: np.ndarray
    animal: np.ndarray


def crossing(seed: int, animals: int, frames: int) -> list[Moment]:
    """``frames`` moments of so many animals on a field of ``SIZE``.

    Each walks from one side to the other, or stands a while, turns and walks back, at a depth of
    its own that decides who covers whom; paths meet near the middle.
    """
    rng = np.random.default_rng([seed, animals])
    walkers = [_walker(rng, number, animals, frames) for number in range(animals)]
    return [_moment([walker[frame] for walker in walkers]) for frame in range(frames)]


def _walker(rng: np.random.Generator, number: int, animals: int, frames: int) -> list[np.ndarray]:
    """Keypoints (K, 2) of one animal by frame, the depth (its ground line) beside them."""
    length = rng.uniform(90, 130)
    ground = 300 + 24 * (number - (animals - 1) / 2) + rng.uniform(-15, 15)
    side = -1 if number % 2 else 1
    pace = rng.uniform(2.0, 5.0) * side
    meet = frames * rng.uniform(0.35, 0.65)
    pauses = np.zeros(frames, dtype=bool)
    if rng.random() < 0.3:
        begin = int(np.clip(meet + rng.uniform(-10, 10), 0, frames - 1))
        pauses[begin : begin + int(rng.uniform(10, 30))] = True
    turn = rng.random() < 0.2
    speed = np.where(pauses, 0.0, pace)
    if turn:
        at = int(min(meet + rng.uniform(5, 20), frames - 1))
        speed[at:] = -speed[at:]
    speed = np.convolve(np.pad(speed, 4, mode="edge"), np.full(9, 1 / 9), mode="valid")
    x = np.cumsum(speed)
    x += SIZE[0] / 2 + rng.uniform(-60, 60) - x[int(meet)]
    facing = np.sign(np.where(np.abs(speed) < 0.2, np.nan, speed))
    facing = _filled(facing, side)
    phase = rng.random() + np.cumsum(np.abs(speed)) / (STRIDE * length)
    bob = rng.uniform(0.5, 2) * np.sin(2 * np.pi * 2 * phase)
    return [
        _points(x[f], ground + bob[f], length, float(facing[f]), phase[f], ground)
        for f in range(frames)
    ]


def _filled(values: np.ndarray, first: float) -> np.ndarray:
    last, out = first, []
    for value in values:
        last = last if np.isnan(value) else value
        out.append(last)
    return np.array(out)


def _points(
    x: float, y: float, length: float, facing: float, phase: float, depth: float
) -> np.ndarray:
    """(K + 1, 2) points of a pose, then the depth in a row of its own."""
    at = dict(BODY)
    for leg, lag in WALK.items():
        side, end = leg.split("_")
        hip, knee, paw = NAMES[end]
        swing = 0.45 * np.sin(2 * np.pi * (phase - lag))
        lift = max(0.0, np.cos(2 * np.pi * (phase - lag)))
        top = np.array(HIPS[end]) + (0.02 if side == "left" else -0.02)
        middle = top + LEG * np.array([np.sin(0.6 * swing), np.cos(0.6 * swing)])
        foot = middle + LEG * np.array([np.sin(swing), np.cos(swing)]) - [0.0, 0.06 * lift]
        at[f"{side}_{hip}"], at[f"{side}_{knee}"] = tuple(top), tuple(middle)
        at[f"{side}_{paw}"] = tuple(foot)
    plane = np.array([at[name] for name in skeletons.load("ap10k").names])
    points = np.array([x, y - 0.5 * length]) + plane * [facing * length, length]
    return np.concatenate([points, [[depth, depth]]])


def _moment(rows: list[np.ndarray]) -> Moment:
    depth = np.array([row[-1, 0] for row in rows])
    points = np.array([row[:-1] for row in rows])
    boxes = points_box(points) + np.array([-6.0, -6.0, 6.0, 6.0])
    field = np.array([0, 0, *SIZE]) - 0.5
    seen, visible = [], []
    for number, box in enumerate(boxes):
        xs, ys = (np.linspace(box[i], box[i + 2], 24) for i in (0, 1))
        grid = np.stack(np.meshgrid(xs, ys), axis=-1)
        free = _inside(grid, field)
        for other in np.flatnonzero(depth > depth[number]):  # further down is nearer
            free &= ~_inside(grid, boxes[other])
        seen.append(float(free.mean()))
        spots = grid[free] if free.any() else np.full((1, 2), np.nan)
        visible.append([*spots.min(axis=0), *spots.max(axis=0)])
    return Moment(points, boxes, np.array(seen), np.array(visible))


def _inside(grid: np.ndarray, box: np.ndarray) -> np.ndarray:
    return np.asarray(((grid >= box[:2]) & (grid <= box[2:])).all(axis=-1))


def sighted(moments: list[Moment], seed: int) -> list[Sighting]:
    """What is found of each moment: noise, misses, false boxes, poses drawn to whoever is in front.

    Boxes shake by 3 % of their sides and most leave out what is covered; an animal is missed 4
    times in 100, more the less of it is seen, and always below ``HIDDEN``. Points shake by 2 % of
    the box's side; a covered one is, every third time, put where the one in front has the same one.
    """
    rng = np.random.default_rng([seed, 1])
    return [_sighting(rng, moment) for moment in moments]


def _sighting(rng: np.random.Generator, moment: Moment) -> Sighting:
    boxes, scores, points, sure, animals = [], [], [], [], []
    k = moment.keypoints.shape[1]
    for animal, seen in enumerate(moment.seen):
        if seen < HIDDEN or rng.random() < 0.04 + 0.5 * (1 - seen) ** 2:
            continue
        box = moment.bboxes[animal]
        side = float(np.sqrt(np.prod(box[2:] - box[:2])))
        pose = moment.keypoints[animal] + rng.normal(0, 0.02 * side, (k, 2))
        values = np.clip(rng.normal(0.85, 0.08, k), 0.05, 1)
        for other in range(len(moment.seen)):
            if other == animal or moment.seen[other] <= seen:
                continue
            hidden = _inside(moment.keypoints[animal], moment.bboxes[other])
            lured = hidden & (rng.random(k) < 1 / 3)
            pose[lured] = moment.keypoints[other][lured] + rng.normal(
                0, 0.02 * side, (lured.sum(), 2)
            )
            values[hidden] *= 0.6
        if rng.random() < SEEN_ONLY:
            box = moment.visible[animal]
        boxes.append(box + rng.normal(0, 0.03 * side, 4))
        scores.append(float(np.clip(rng.normal(0.45 + 0.4 * seen, 0.12), 0.05, 0.99)))
        points.append(pose)
        sure.append(values)
        animals.append(animal)
    if rng.random() < 0.03:
        corner = rng.uniform(0, [SIZE[0] - 90, SIZE[1] - 70])
        boxes.append(np.concatenate([corner, corner + rng.uniform(40, 90, 2)]))
        scores.append(float(rng.uniform(0.3, 0.5)))
        points.append(corner + rng.uniform(0, 70, (k, 2)))
        sure.append(rng.uniform(0.05, 0.4, k))
        animals.append(-1)
    return Sighting(
        np.array(boxes).reshape(-1, 4), np.array(scores), np.array(points).reshape(-1, k, 2),
        np.array(sure).reshape(-1, k), np.array(animals, dtype=np.int64),
    )  # fmt: skip
