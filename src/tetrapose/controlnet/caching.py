"""Latents and text embeddings kept on disk, so that they are computed once a triplet.

Kept in half precision and rounded before their first use too, so that a run that goes on computes
with the same numbers as one that was never stopped.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tetrapose.controlnet.loader import Batch
from tetrapose.controlnet.networks import Networks
from tetrapose.controlnet.stock import Stock
from tetrapose.triplets.library import write_file

BLOCK = 1 << 20


class Cache:
    """Rows of a stock on disk, by picture size; with no folder all is computed each time."""

    def __init__(self, folder: Path | None, stock: Stock) -> None:
        self._folder, self._count = folder, len(stock)
        self._shelves: dict[str, _Shelf] = {}

    def moments(self, net: Networks, batch: Batch, *, keep: bool = True) -> Tensor:
        """(B, 2C, h, w) mean and log variance of the latents of a batch's pictures, float32."""
        if self._folder is None or not keep:
            return net.moments(batch.pictures).float()
        height, width = batch.pictures.shape[2:]
        rows = list(batch.rows)
        shelf = self._shelves.get(f"latents-{width}x{height}")
        if shelf is None or not shelf.has(rows):
            made = net.moments(batch.pictures).float().cpu()
            shelf = self._shelf(f"latents-{width}x{height}", made.shape[1:])
            shelf.put(rows, made)
        return shelf.get(rows).to(net.device)

    def embedded(self, net: Networks, batch: Batch, *, keep: bool = True) -> Tensor:
        """(B, L, D) text embeddings of a batch's captions."""
        if self._folder is None or not keep:
            return net.embedded(batch.captions)
        # all triplets without a caption share the place behind the last
        rows = [
            row if text else self._count
            for row, text in zip(batch.rows, batch.captions, strict=True)
        ]
        shelf = self._shelves.get("texts")
        if shelf is None or not shelf.has(rows):
            made = net.embedded(batch.captions).float().cpu()
            shelf = self._shelf("texts", made.shape[1:])
            shelf.put(rows, made)
        return shelf.get(rows).to(device=net.device, dtype=net.dtype)

    def _shelf(self, name: str, shape: tuple[int, ...]) -> _Shelf:
        if name not in self._shelves:
            assert self._folder is not None
            self._shelves[name] = _Shelf(self._folder / f"{name}.f16", self._count + 1, shape)
        return self._shelves[name]


class _Shelf:
    """(N, *shape) float16 in a file, with a byte a row in another that says whether it is there."""

    def __init__(self, path: Path, count: int, shape: tuple[int, ...]) -> None:
        _make(path, count * int(np.prod(shape)) * 2)
        _make(path.with_suffix(".done"), count)
        self._values = np.memmap(path, dtype=np.float16, mode="r+", shape=(count, *shape))
        self._done = np.memmap(path.with_suffix(".done"), dtype=np.uint8, mode="r+", shape=(count,))

    def has(self, rows: list[int]) -> bool:
        return bool(self._done[rows].all())

    def put(self, rows: list[int], values: Tensor) -> None:
        self._values[rows] = values.numpy().astype(np.float16)
        self._done[rows] = 1

    def get(self, rows: list[int]) -> Tensor:
        return torch.from_numpy(np.asarray(self._values[rows], dtype=np.float32))


def _make(path: Path, length: int) -> None:
    """A file of zeros with its place on the disk taken: a full disk is told now, in words."""
    if path.exists() and path.stat().st_size == length:
        return

    def fill(part: Path) -> None:
        with open(part, "wb") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, length)
                return
            for _ in range(0, length, BLOCK):  # zeros, written: elsewhere a hole would be left
                file.write(b"\0" * BLOCK)
            file.truncate(length)

    write_file(path, fill)
