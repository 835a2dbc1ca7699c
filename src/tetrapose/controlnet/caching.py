"""Latents and text embeddings kept on disk, so that they are computed once a triplet.

Kept in half precision and rounded before their first use too, so that a run that goes on computes
with the same numbers as one that was never stopped.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tetrapose.controlnet.conditions import Told, summary_width
from tetrapose.controlnet.loader import Batch
from tetrapose.controlnet.networks import Networks
from tetrapose.controlnet.stock import Stock
from tetrapose.triplets.library import write_file

BLOCK = 1 << 20


class Cache:
    """Rows of a stock on disk, by picture size; with no folder all is computed each time.

    The files are made, and their place on the disk taken, here: of several processes the first
    makes them before the others come.
    """

    def __init__(self, folder: Path | None, stock: Stock, net: Networks) -> None:
        self._shelves: dict[str, _Shelf] = {}
        if folder is None:
            return
        # all triplets without a caption share the place behind the last
        self._silent = len(stock)
        sizes = [tuple(size) for size in stock.sizes.tolist()]
        seen = Counter[tuple[int, int]]()
        self._place = np.zeros(len(sizes), dtype=np.int64)  # of a row among those of its size
        for row, size in enumerate(sizes):
            self._place[row] = seen[size]
            seen[size] += 1
        vae, unet = net.vae.config, net.unet.config
        factor = 2 ** (len(vae.block_out_channels) - 1)
        shapes: dict[str, tuple[int, ...]] = {
            _latents(size): (count, 2 * vae.latent_channels, size[1] // factor, size[0] // factor)
            for size, count in seen.items()
        }
        shapes["texts"] = (len(stock) + 1, net.readers.length, unet.cross_attention_dim)
        if summary_width(unet):
            shapes["summaries"] = (len(stock) + 1, summary_width(unet))
        self._shelves = {name: _Shelf(folder / f"{name}.f16", s) for name, s in shapes.items()}

    def moments(self, net: Networks, batch: Batch, *, keep: bool = True) -> Tensor:
        """(B, 2C, h, w) mean and log variance of the latents of a batch's pictures, float32."""
        if not self._shelves or not keep:
            return net.moments(batch.pictures).float()
        height, width = batch.pictures.shape[2:]
        shelf, places = self._shelves[_latents((width, height))], self._place[list(batch.rows)]
        if not shelf.has(places):
            shelf.put(places, net.moments(batch.pictures))
        return shelf.get(places).to(net.device)

    def read(self, net: Networks, batch: Batch, *, keep: bool = True) -> Told:
        """What the networks are told of a batch's captions."""
        if not self._shelves or not keep:
            return net.readers.read(batch.captions)
        rows = zip(batch.rows, batch.captions, strict=True)
        places = np.array([row if text else self._silent for row, text in rows])
        shelves = [self._shelves[name] for name in ("texts", "summaries") if name in self._shelves]
        if not all(shelf.has(places) for shelf in shelves):
            told = net.readers.read(batch.captions)
            for shelf, values in zip(shelves, (told.words, told.summary), strict=False):
                assert values is not None
                shelf.put(places, values)
        return Told(*(one.get(places).to(device=net.device, dtype=net.dtype) for one in shelves))


def _latents(size: tuple[int, int]) -> str:
    return f"latents-{size[0]}x{size[1]}"


class _Shelf:
    """(N, *shape) float16 in a file, with a byte a row in another that says whether it is there."""

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        done = path.with_suffix(".done")
        _make(path, int(np.prod(shape)) * 2)
        _make(done, shape[0])
        self._values = np.memmap(path, dtype=np.float16, mode="r+", shape=shape)
        self._done = np.memmap(done, dtype=np.uint8, mode="r+", shape=shape[:1])

    def has(self, places: np.ndarray) -> bool:
        return bool(self._done[places].all())

    def put(self, places: np.ndarray, values: Tensor) -> None:
        self._values[places] = values.float().cpu().numpy().astype(np.float16)
        self._done[places] = 1

    def get(self, places: np.ndarray) -> Tensor:
        return torch.from_numpy(np.asarray(self._values[places], dtype=np.float32))


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
