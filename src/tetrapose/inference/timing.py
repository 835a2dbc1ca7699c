"""How long each part of the way from a file to its points takes, and the whole of it."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tetrapose.inference.backends import processor
from tetrapose.inference.cutting import Item, cut, pixels_for
from tetrapose.inference.predictor import Predictor

PARTS = ("decode", "warp", "network", "decode points")


@dataclass(frozen=True)
class Spread:
    """Figures of several rounds: their median, the least and the greatest."""

    median: float
    least: float
    most: float

    def to_dict(self) -> dict[str, float]:
        """Plain values, four digits each."""
        return {
            key: float(f"{value:.4g}")
            for key, value in (("median", self.median), ("min", self.least), ("max", self.most))
        }


@dataclass(frozen=True)
class Timing:
    """``parts`` in milliseconds a picture, each alone, and ``rate`` in pictures/s of the whole.

    With flip test the network's part is that of both ways. The parts do not add up to the whole:
    reading goes on in other threads while the network computes.
    """

    parts: dict[str, Spread]
    rate: Spread
    pictures: int
    rounds: int


def time_parts(predictor: Predictor, paths: Sequence[Path], *, rounds: int) -> Timing:
    """Time a predictor on pictures, each whole as one animal; ``rounds`` are 1 or more.

    Every part and the whole go in turn within a round, so that what else a machine does falls on
    all alike; a first round is not counted. Raises UserError for a picture that cannot be read.
    """
    cutter = predictor.cutter()
    pictures = [pixels_for(path, None, cutter)[0] for path in paths]
    crops = np.concatenate([cut(Item(one), cutter).crops for one in pictures])
    size = predictor.batch_size
    inputs = [predictor.normalised(crops[i : i + size]) for i in range(0, len(crops), size)]
    with torch.inference_mode():
        outputs = [predictor.output(x) for x in inputs]

    def network() -> None:
        for x in inputs:
            predictor.output(x)
        finish(predictor.device)

    def points() -> None:
        for output in outputs:
            predictor.codec.decode(output)[0].cpu()

    work: dict[str, Callable[[], object]] = {
        "decode": lambda: [pixels_for(path, None, cutter) for path in paths],
        "warp": lambda: [cut(Item(one), cutter) for one in pictures],
        "network": torch.inference_mode()(network),
        "decode points": torch.inference_mode()(points),
        "all": lambda: list(predictor.stream(map(Item, paths))),
    }
    taken: dict[str, list[float]] = {name: [] for name in work}
    for number in range(rounds + 1):
        for name, call in work.items():
            began = time.perf_counter()
            call()
            if number:
                taken[name].append(time.perf_counter() - began)
    count = len(paths)
    return Timing(
        parts={name: spread([1000 * t / count for t in taken[name]]) for name in PARTS},
        rate=spread([count / t for t in taken["all"]]),
        pictures=count,
        rounds=rounds,
    )


def spread(values: Sequence[float]) -> Spread:
    """Median, least and greatest of some figures."""
    return Spread(statistics.median(values), min(values), max(values))


def finish(device: torch.device) -> None:
    """Wait until a GPU has done what it was told to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def machine(device: torch.device) -> dict[str, Any]:
    """The kind of machine, as a figure has to name it."""
    told: dict[str, Any] = {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "threads": torch.get_num_threads(),
    }
    if hasattr(os, "getloadavg"):
        told["load"] = round(os.getloadavg()[0], 1)  # of others, when it began
    if device.type == "cuda":
        told["gpu"] = torch.cuda.get_device_name(device)
    return told
