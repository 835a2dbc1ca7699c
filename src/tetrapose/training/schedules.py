"""Learning rates over the steps of a run."""

from __future__ import annotations

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def warmup_cosine(
    optimizer: Optimizer, total_steps: int, *, warmup: float = 0.03, floor: float = 0.01
) -> LambdaLR:
    """Linear rise over a share ``warmup`` of the run, then half a cosine to ``floor`` times it."""
    rise = max(int(total_steps * warmup), 1)

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        progress = min((step - rise) / max(total_steps - rise, 1), 1.0)
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))

    return LambdaLR(optimizer, factor)


def multistep(
    optimizer: Optimizer, total_steps: int, *, drops: tuple[float, ...] = (0.81, 0.952),
    factor: float = 0.1, warmup: float = 0.0,
) -> LambdaLR:  # fmt: skip
    """The rate times ``factor`` at each share of the run in ``drops``.

    Source: HRNet and SimpleBaseline drop at epochs 170 and 200 of 210, the default here.
    """

    def at(step: int) -> float:
        rise = min((step + 1) / max(total_steps * warmup, 1), 1.0)
        return rise * factor ** sum(step >= drop * total_steps for drop in drops)

    return LambdaLR(optimizer, at)
