"""Learning rates over the steps of a run."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def prepare(
    model: nn.Module,
    optimizer: Callable[..., Optimizer],
    scheduler: Callable[..., Any] | None,
    total_steps: int,
    *,
    decay_vectors: bool = False,
) -> Any:
    """What Lightning's ``configure_optimizers`` gives: decay for weights, none for vectors.

    ``optimizer`` still wants its parameters, ``scheduler`` (by step) optimizer and steps.
    """
    decay = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    plain = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    groups: list[dict[str, Any]] = [{"params": decay}, {"params": plain}]
    if not decay_vectors:
        groups[1]["weight_decay"] = 0.0
    made = optimizer(groups)
    if scheduler is None:
        return made
    schedule = {"scheduler": scheduler(made, total_steps), "interval": "step"}
    return {"optimizer": made, "lr_scheduler": schedule}


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
