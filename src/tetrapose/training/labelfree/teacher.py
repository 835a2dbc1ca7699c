"""Networks that follow another: exponential averages of its weights and statistics."""

from __future__ import annotations

import copy

import torch
from torch import nn


def follower(network: nn.Module) -> nn.Module:
    """A copy in evaluation mode that no gradient reaches."""
    made = copy.deepcopy(network)
    return made.requires_grad_(False).eval()


def decay_at(step: int, most: float = 0.999) -> float:
    """min(1 - 1 / (step + 1), most): an even mean at first, then ``most``.

    Source: Tarvainen and Valpola, NeurIPS 2017 (update_ema_variables), as ScarceNet takes it.
    """
    return min(1 - 1 / (step + 1), most)


@torch.no_grad()
def follow(teacher: nn.Module, network: nn.Module, decay: float) -> None:
    """teacher = decay teacher + (1 - decay) network, weights and running statistics alike.

    Counts are copied. ScarceNet averages the parameters alone, so that the teacher's statistics
    are those of another network.
    """
    theirs = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    for name, mine in (*teacher.named_parameters(), *teacher.named_buffers()):
        if mine.is_floating_point():
            mine.lerp_(theirs[name].detach().to(mine.dtype), 1 - decay)
        else:
            mine.copy_(theirs[name])
