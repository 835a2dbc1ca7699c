"""Batches of labelled and of unlabelled animals side by side, and the order they come in."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler

from tetrapose.data.crops import CropDataset, to_batch
from tetrapose.errors import UserError
from tetrapose.structures import PoseSet
from tetrapose.training.labelfree.step import processes


def unlabelled(pose_set: PoseSet) -> PoseSet:
    """The set with every label hidden, boxes kept: what a method may know of its pool.

    So no change of the crop can go by labels either: FreeNet's half-body crops of its unlabelled
    pictures did.
    """
    return replace(
        pose_set,
        keypoints=np.full_like(pose_set.keypoints, np.nan),
        visibility=np.zeros_like(pose_set.visibility),
        weights=None,
    )


class StepSampler(Sampler[tuple[int, int]]):
    """Keys (pass, row) for ``steps`` batches of ``batch`` rows an interval, over an endless order.

    The order is that of one drawn permutation of the rows after another, by (seed, pass) alone;
    interval i (``set_epoch``, which Lightning calls) takes the rows after those of i - 1. Each of
    several processes takes its own part of every batch: together they see what one would.
    """

    def __init__(self, rows: int, *, batch: int, steps: int, seed: int = 0) -> None:
        self.rows, self.batch, self.steps, self.seed = rows, batch, steps, seed
        self.interval = 0

    def __len__(self) -> int:
        return self.steps * self.batch // processes()[1]

    def set_epoch(self, epoch: int) -> None:
        """Choose the interval that the next pass draws."""
        self.interval = epoch

    def __iter__(self) -> Iterator[tuple[int, int]]:
        mine, count = processes()
        share = self.batch // count
        first = self.interval * self.steps * self.batch
        order = functools.lru_cache(maxsize=2)(self._order)
        for step in range(self.steps):
            start = first + step * self.batch + mine * share
            for place in range(start, start + share):
                turn, row = divmod(place, self.rows)
                yield turn, int(order(turn)[row])

    def _order(self, turn: int) -> np.ndarray:
        return np.random.default_rng((self.seed, turn)).permutation(self.rows)


def loader(data: CropDataset, *, batch: int, steps: int, seed: int, workers: int) -> DataLoader:
    """Batches of ``batch`` rows over all processes, ``steps`` of them an interval.

    Raises UserError for an empty set, or a batch that the processes cannot share evenly.
    """
    count = processes()[1]
    if batch % count:
        raise UserError(f"a batch of {batch} cannot be shared by {count} processes; change batch")
    if not len(data):
        raise UserError("no animal to draw batches from")
    return DataLoader(
        data,
        batch_size=batch // count,
        sampler=StepSampler(len(data), batch=batch, steps=steps, seed=seed),
        drop_last=True,
        collate_fn=to_batch,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_one_thread,
        generator=torch.Generator().manual_seed(seed),
    )


def in_order(data: CropDataset, *, batch: int, workers: int) -> DataLoader:
    """All rows once, of several processes every one its part: the rows from its number on."""
    mine, count = processes()
    rows = [(0, row) for row in range(mine, len(data), count)]
    return DataLoader(
        data,
        batch_size=batch,
        sampler=rows,  # pyright: ignore[reportArgumentType] - any iterable of keys does
        collate_fn=to_batch,
        num_workers=workers,
        worker_init_fn=_one_thread,
    )


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)
    import cv2

    cv2.setNumThreads(0)
