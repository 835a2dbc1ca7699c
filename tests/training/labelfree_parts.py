"""What the tests of label-free training share: drawn dots, a tiny network, a whole setup."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import cv2
import lightning as L
import numpy as np
import torch
from torch import nn

from tetrapose import skeletons
from tetrapose.codecs import Heatmap
from tetrapose.data.augment import Jitter, Mirror
from tetrapose.data.partial import Partial
from tetrapose.models.small import small
from tetrapose.structures import PoseSet
from tetrapose.training.labelfree.run import Crops, Pace, Setup
from tetrapose.training.labelfree.step import Start, Views

SIZE = 32
SKELETON = skeletons.load("ap10k")
K = len(SKELETON)


def dots(folder: Path, count: int = 12) -> PoseSet:
    """Pictures of 40 px in which every keypoint is a dot of its own colour."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    points = rng.uniform(6, 34, (count, K, 2)).astype(np.float32)
    for i in range(count):
        picture = np.full((40, 40, 3), 30, np.uint8)
        for j, (x, y) in enumerate(points[i]):
            hue = np.uint8([[[j * 180 // K, 255, 255]]])
            colour = cv2.cvtColor(hue, cv2.COLOR_HSV2RGB)[0, 0].tolist()
            cv2.circle(picture, (round(float(x)), round(float(y))), 2, colour, -1)
        cv2.imwrite(str(folder / f"{i}.png"), picture[..., ::-1])
    return PoseSet(
        skeleton=SKELETON, root=folder, source="dots", licence="CC0",
        files=tuple(f"{i}.png" for i in range(count)), image_ids=np.arange(count),
        sizes=np.full((count, 2), 40), groups=np.arange(count), image_index=np.arange(count),
        keypoints=points, visibility=np.full((count, K), 2, np.uint8),
        bboxes=np.tile(np.float32([0, 0, 40, 40]), (count, 1)), areas=np.full(count, 1600.0),
        species=np.zeros(count, int), species_names=("dot",), crowd=np.zeros(count, bool),
        annotation_ids=np.arange(count),
    )  # fmt: skip


def hiding(pose_set: PoseSet, hidden: np.ndarray) -> PoseSet:
    """The set with the points of a mask (N, K) unlabelled."""
    return replace(
        pose_set,
        visibility=np.where(hidden, 0, pose_set.visibility).astype(np.uint8),
        keypoints=np.where(hidden[..., None], np.nan, pose_set.keypoints),
    )


def partial(folder: Path, *, never: tuple[int, ...] = ()) -> Partial:
    """Eight animals to learn from, each with half of its points, and four held out."""
    whole = dots(folder)
    train, held = (whole.select_images(np.arange(12) < 8), whole.select_images(np.arange(12) >= 8))
    hidden = (np.arange(8)[:, None] + np.arange(K)[None]) % 2 == 0
    hidden[:, list(never)] = True
    shown = np.ones((4, K), dtype=bool)
    known = hiding(train, hidden)
    own = shown & (np.arange(K) % 2 == 0)
    return Partial(known, train, held, held, shown, own, known)


WIDTHS = {"channels": (8, 8, 8, 8), "blocks": (1, 1, 1, 1), "neck": 8}


def tiny(*, norm: bool = True) -> nn.Module:
    """The small network at its smallest, or, without norms, convolutions to stride 4."""
    if norm:
        return small(K, **WIDTHS)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(),
        nn.Conv2d(8, K, 3, 1, 1),
    )  # fmt: skip


def start(*, norm: bool = True, taught: tuple[bool, ...] = (True,) * K) -> Start:
    """A start from random weights that are the same every time."""
    torch.manual_seed(0)
    network, fresh = tiny(norm=norm), tiny(norm=norm)
    return Start(network, fresh, codec(), SKELETON, taught)


def codec() -> Heatmap:
    return Heatmap(K, (SIZE, SIZE), sigma=1.0)


def views(count: int = 3, *, seed: int = 0, labelled: bool = True) -> Views:
    """Random pictures with random points."""
    draw = torch.Generator().manual_seed(seed)
    weak = torch.rand(count, 3, SIZE, SIZE, generator=draw)
    points = torch.rand(count, K, 2, generator=draw) * (SIZE - 1)
    return Views(
        weak,
        torch.rand(weak.shape, generator=draw),
        points if labelled else torch.full_like(points, torch.nan),
        torch.full((count, K), float(labelled)),
        torch.full((count, K), 2 * int(labelled)),
        torch.arange(count),
        torch.ones(count, dtype=torch.bool),
    )


def setup(folder: Path, step, data: Partial, *, steps: int = 6, every: int = 2, **more) -> Setup:
    """A run of a few steps."""
    trainer = functools.partial(
        L.Trainer, accelerator="cpu", enable_progress_bar=False, deterministic=True,
        precision="32-true", **more.pop("trainer", {}),
    )  # fmt: skip
    torch.manual_seed(0)
    return Setup(
        folder=folder,
        step=step,
        codec=codec(),
        partial=data,
        crops=Crops((SIZE, SIZE), padding=1.0, judged=1.0, changes=(Jitter(), Mirror())),
        pace=Pace(steps, every, batch=more.pop("batch", 4), pool_batch=more.pop("pool_batch", 4)),
        optimizer=functools.partial(torch.optim.AdamW, lr=3e-3),
        trainer=trainer,
        architecture={
            "builder": "tetrapose.models.small:small",
            "arguments": {"num_keypoints": K, **WIDTHS},
        },
        **more,
    )
