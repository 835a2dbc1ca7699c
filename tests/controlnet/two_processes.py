"""One of two processes that train together; run by test_controlnet_two.py, twice at once."""

from __future__ import annotations

import math
import sys
import warnings
from dataclasses import replace
from pathlib import Path

from tetrapose.controlnet import training
from tetrapose.controlnet.settings import Settings


def main(base: str, library: str, out: Path) -> None:
    """Two steps, stopped, and two more; the second process spoils what would be the second."""
    warnings.simplefilter("ignore")
    rules = settings(base)
    spoil(2, rank=1)
    training.train([library], out, replace(rules, steps=2))
    training.train([library], out, rules)


def settings(base: str) -> Settings:
    """A short run with a look at its end, which only the first process takes."""
    return Settings(
        base=base, steps=4, batch=2, lr=1e-3, warmup=2, ema=0.9, every=2, look=4, shown=1,
        look_steps=1, workers=0, drop=0.3, cache=True,
    )  # fmt: skip


def spoil(call: int, *, rank: int) -> None:
    """Make the loss of that batch, counted from 1, of that process not finite."""
    right, calls = training._loss, []

    def spoilt(session, batch):
        calls.append(batch)
        bad = len(calls) == call and session.accelerator.process_index == rank
        return right(session, batch) * (math.nan if bad else 1.0)

    training._loss = spoilt


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
