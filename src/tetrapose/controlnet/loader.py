"""Batches of triplets for the trainer: read from the shards and decoded in worker processes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from tetrapose.controlnet.stock import Stock
from tetrapose.controlnet.stream import Order, Position, dropped, stream
from tetrapose.errors import UserError
from tetrapose.images import read_image

AHEAD = 4  # batches that each worker reads ahead


@dataclass(frozen=True)
class Batch:
    """Some triplets of one size.

    ``pictures`` and ``poses`` (B, 3, H, W) uint8 RGB; ``captions`` with "" where left out;
    ``rows`` (B,) of the stock; ``after`` the position behind the batch; ``unreadable`` tells of
    triplets that could not be decoded and are missing from it.
    """

    pictures: Tensor
    poses: Tensor
    captions: tuple[str, ...]
    rows: tuple[int, ...]
    keys: tuple[str, ...]
    after: Position
    unreadable: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.rows)


class Triplets(Dataset):
    """A batch for each (position, rows); what cannot be decoded is told and left out."""

    def __init__(self, stock: Stock, seed: int, drop: float) -> None:
        self.stock, self.seed, self.drop = stock, seed, drop

    def __getitem__(self, wanted: tuple[Position, np.ndarray]) -> Batch:
        after, rows = wanted
        pictures, poses, captions, kept, unreadable = [], [], [], [], []
        for row in rows.tolist():
            key = self.stock.keys[row]
            try:
                picture, pose = self._pixels(row, 0), self._pixels(row, 1)
                caption = self.stock.caption(row)
            except UserError as error:
                unreadable.append(f"{key}: {error}")
                continue
            pictures.append(picture)
            poses.append(pose)
            out = dropped(key, after.epoch, self.seed, self.drop)
            captions.append("" if out else caption)
            kept.append(row)
        return Batch(
            pictures=_stacked(pictures),
            poses=_stacked(poses),
            captions=tuple(captions),
            rows=tuple(kept),
            keys=tuple(self.stock.keys[row] for row in kept),
            after=after,
            unreadable=tuple(unreadable),
        )

    def _pixels(self, row: int, part: int) -> np.ndarray:
        path = self.stock.files[int(self.stock.shard[row])]
        pixels, size = read_image(f"{path}:{self.stock.keys[row]}", data=self.stock.read(row, part))
        if size != tuple(self.stock.sizes[row]):
            raise UserError(f"{path}: {self.stock.keys[row]} is not as large as its points say")
        return pixels


def batch_of(stock: Stock, rows: np.ndarray) -> Batch:
    """Triplets of one size as a batch, captions whole."""
    return Triplets(stock, 0, 0.0)[(Position(), np.asarray(rows))]


def load(
    stock: Stock, order: Order, *, drop: float, start: Position, workers: int = 0
) -> Iterator[Batch]:
    """Endless batches from a position on, in order, read ahead by ``workers`` processes."""
    more: dict[str, Any] = {}
    if workers:
        more = {"prefetch_factor": AHEAD}
    with warnings.catch_warnings():
        # about more workers than cores: they wait for the disk more than they compute
        warnings.filterwarnings("ignore", message="This DataLoader will create")
        return iter(_loader(stock, order, drop, start, workers, more))


def _loader(
    stock: Stock, order: Order, drop: float, start: Position, workers: int, more: dict[str, Any]
) -> DataLoader:
    return DataLoader(
        Triplets(stock, order.seed, drop),
        batch_size=None,
        sampler=_Endless(stock, order, start),  # pyright: ignore[reportArgumentType]
        num_workers=workers,
        collate_fn=_as_it_is,  # pyright: ignore[reportArgumentType]  # a batch is whole as it comes
        **more,
    )


class _Endless:
    """A sampler without an end: DataLoader asks for no more than that it can be gone through."""

    def __init__(self, stock: Stock, order: Order, start: Position) -> None:
        self._make = (stock, order, start)

    def __iter__(self) -> Iterator[tuple[Position, np.ndarray]]:
        return stream(*self._make)


def _as_it_is(batch: Batch) -> Batch:
    return batch


def _stacked(pixels: list[np.ndarray]) -> Tensor:
    if not pixels:
        return torch.zeros((0, 3, 8, 8), dtype=torch.uint8)
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)
