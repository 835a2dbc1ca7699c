"""Films of drawn animals that walk, with the truth of every frame."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from tetrapose.inference.video import VideoWriter
from tetrapose.structures import Instances
from tetrapose.synth import Scene, backdrop, builds, instances, postures, scene
from tetrapose.synth.camera import axes, frame
from tetrapose.synth.pose import LEGS, Pose
from tetrapose.synth.solids import Actor, actor
from tetrapose.synth.stage import Stage, set_up

CYCLE = 18  # frames in which every leg steps once


def walking(build: str, at: int, start: tuple[float, float], seed: int) -> Actor:
    """An animal of a build in frame ``at`` of its walk along x, which began at ``start``."""
    rng = np.random.default_rng(seed)  # the same animal in each frame
    individual = builds.draw(rng, build)
    stride, duty, lift, fore, hind = postures.STRIDES["walk"]
    stride *= individual.shape["hind"]["joints"][0][1]
    legs = {
        leg: postures._step(
            (postures.PHASES["walk"][leg] + at / CYCLE) % 1, stride, duty, lift,
            fore if leg.endswith("front") else hind,
        )
        for leg in LEGS
    }  # fmt: skip
    along = start[0] + stride / duty * at / CYCLE
    return actor(rng, individual, Pose(name="walk", legs=legs), 0.0, 1.0).move(
        np.array([along, start[1], 0.0])
    )


def walk(
    path: Path, kinds: tuple[str, ...], frames: int, *, size: tuple[int, int] = (384, 224),
    seed: int = 3, skeleton: str = "quadruped",
) -> list[Instances]:  # fmt: skip
    """A film at ``path`` of animals that walk one behind the other; the truth of its frames."""
    rng = np.random.default_rng(seed)
    setting = backdrop.draw(rng, 4.0)
    drawn: Stage = set_up(rng, size, 1, ("dog",), ("walk",))
    casts = [
        tuple(
            walking(kind, at, (-2.1 * number, 0.35 * number), seed + number)
            for number, kind in enumerate(kinds)
        )
        for at in range(frames)
    ]
    ends = np.concatenate([one.solid.points[::5] for cast in (casts[0], casts[-1]) for one in cast])
    camera = frame(ends, axes(-np.pi / 2, 0.25, 0.0), 1.5, 0.9, (0.0, 0.2), size)
    truth = []
    with VideoWriter(path) as writer:
        for at, cast in enumerate(casts):
            stage = replace(drawn, actors=cast, things=(), camera=camera, setting=setting, wall=6.0)
            stage, surfaces = scene.resolve(stage)
            pixels = scene._develop(np.random.default_rng(seed), scene._expose(stage, surfaces))
            seen = tuple(scene._truth(stage, surfaces, i) for i in range(len(stage.actors)))
            writer.add(pixels, at / 25)
            truth.append(instances(Scene(pixels, seen, at, seed), skeleton))
    return truth
