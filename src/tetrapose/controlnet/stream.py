"""The order in which triplets are learned: endless, shuffled, in batches of one size, resumable.

The order is a function of the seed and the epoch alone. So a place in the stream is two numbers,
and to go on from it exactly nothing has to be read again. Shards are shuffled, and triplets within
a window of shards: each shard is read in one stretch of the epoch, never the whole library at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tetrapose.controlnet.stock import Stock
from tetrapose.errors import UserError


@dataclass(frozen=True, order=True)
class Position:
    """A place in the stream: the epoch, and how many batches of it this process has passed."""

    epoch: int = 0
    batch: int = 0


@dataclass(frozen=True)
class Order:
    """How a stock is dealt out.

    ``size`` triplets make a batch, all of one picture size; the last ones of an epoch and size make
    a smaller one. ``window`` shards are shuffled together. ``rank`` of ``world`` processes gets
    every world-th batch.
    """

    seed: int
    size: int
    window: int = 16
    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        if self.size < 1 or self.window < 1 or not 0 <= self.rank < self.world:
            raise ValueError(f"no order: {self}")


def shuffled(stock: Stock, order: Order, epoch: int) -> np.ndarray:
    """(N,) the rows of the stock in the order of that epoch, each once."""
    draw = np.random.default_rng([order.seed, epoch])
    starts = np.searchsorted(stock.shard, np.arange(len(stock.files) + 1))
    shards = draw.permutation(len(stock.files))
    rows = []
    for first in range(0, len(shards), order.window):
        some = [
            np.arange(int(starts[shard]), int(starts[shard + 1]))
            for shard in shards[first : first + order.window]
        ]
        rows.append(draw.permutation(np.concatenate(some)))
    return np.concatenate(rows)


def batches(stock: Stock, order: Order, epoch: int) -> list[np.ndarray]:
    """The batches of an epoch for all processes together: rows of the stock of one size each."""
    waiting: dict[tuple[int, int], list[int]] = {}
    done = []
    sizes = [tuple(size) for size in stock.sizes.tolist()]
    for row in shuffled(stock, order, epoch).tolist():
        bucket = waiting.setdefault(sizes[row], [])
        bucket.append(row)
        if len(bucket) == order.size:
            done.append(np.array(bucket))
            bucket.clear()
    # what is left of each size comes last, in an order that does not depend on the sizes
    done += [np.array(rows) for rows in waiting.values() if rows]
    return done


def stream(
    stock: Stock, order: Order, start: Position | None = None
) -> Iterator[tuple[Position, np.ndarray]]:
    """Endless (position after the batch, rows) for one process, from a position on.

    Every process gets equally many batches of an epoch. UserError where there are fewer batches
    than processes.
    """
    start = start or Position()
    epoch, first = start.epoch, start.batch
    while True:
        dealt = batches(stock, order, epoch)
        each = len(dealt) // order.world
        if each == 0:
            raise UserError(
                f"{len(stock)} triplets make {len(dealt)} batches, too few for {order.world}"
                " processes; give a smaller batch, or more triplets"
            )
        for number in range(first, each):
            yield Position(epoch, number + 1), dealt[number * order.world + order.rank]
        epoch, first = epoch + 1, 0


def dropped(key: str, epoch: int, seed: int, share: float) -> bool:
    """Whether a triplet's caption is left out in that epoch: decided by its key, the same always.

    A generator learns guidance from pictures without a caption. Source of the way: Ho and Salimans,
    Classifier-Free Diffusion Guidance, 2022.
    """
    if share <= 0:
        return False
    digest = hashlib.sha256(f"{seed}:{epoch}:{key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def held_out(stock: Stock, count: int) -> np.ndarray:
    """Rows of ``count`` triplets to be looked at and never learned: those whose keys hash lowest.

    At most a tenth of the stock: a library of a few triplets still teaches.
    """
    marks = [hashlib.sha256(key.encode()).digest() for key in stock.keys]
    most = min(count, len(stock) // 10)
    return np.array(sorted(sorted(range(len(stock)), key=marks.__getitem__)[:most]), dtype=np.int64)


def noise_seed(seed: int, position: Position, rank: int, world: int) -> int:
    """The seed of all that is drawn for one batch, so that a resumed run draws the same.

    It goes by the batch's place among those of all processes: two processes draw what one draws
    that takes their batches one after another.
    """
    number = (position.batch - 1) * world + rank
    text = f"noise:{seed}:{position.epoch}:{number}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
