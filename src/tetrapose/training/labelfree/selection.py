"""Which pseudo-labels teach: ScarceNet's rules, each a function of arrays alone.

Source of all: Li and Lee, ScarceNet: Animal Pose Estimation with Scarce Annotations, CVPR 2023,
sections 3.2 to 3.4; constants as in its released code (tools/train_mt_part.py, lib/core/loss.py,
lib/core/function1.py). Where a rule departs from that code its docstring says how.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

DROPPED = 0.4  # share of all pseudo-labels, the least confident, that never teach
RAMP = 30.0  # epochs until which the share of small losses falls
LEAST = 0.8  # where it stops
NEAR = 0.6  # cells between two views' answers that agree
CONSISTENCY, RISE = 2.0, 10.0  # weight of the teacher's answers, and epochs until it is whole


def confident(confidence: np.ndarray, *, dropped: float = DROPPED) -> np.ndarray:
    """(N, K) True for pseudo-labels above the ``dropped`` quantile of all confidences (N, K).

    c > sorted(c)[floor(dropped |c|)]. What is not finite or not above 0 is never kept and counts as
    0 in the order, so that a model that knows nothing keeps nothing.
    Source: the dataset's ``percentage``, 0.4. There the order begins with one 0 of its own and a
    point that ties with the bound goes; here ties go as well, unless all are equal, when all stay.
    """
    if not 0 <= dropped < 1:
        raise ValueError(f"dropped must be in 0..1 and below 1, not {dropped}")
    known = np.isfinite(confidence) & (confidence > 0)
    if not known.any():
        return known
    order = np.sort(np.where(known, confidence, 0.0), axis=None)
    bound = order[int(dropped * len(order))] if dropped > 0 else 0.0
    above = confidence > bound
    return known & (above if (known & above).any() else confidence >= bound)


def small_loss_share(epoch: float, *, ramp: float = RAMP, least: float = LEAST) -> float:
    """The share of pseudo-labels that are trusted: r = max(least, (1 + cos(pi min(e, T) / T)) / 2).

    ``ramp`` T is in epochs e; 0 is ``least`` from the start. With the defaults 0.8 is reached after
    8.9 epochs.
    Source: ``get_current_topkrate`` with topkrampdown 30, minrate 0.8.
    """
    if ramp <= 0:
        return least
    return max(least, (1 + math.cos(math.pi * min(max(epoch, 0.0), ramp) / ramp)) / 2)


def small_losses(losses: Tensor, there: Tensor, share: float) -> Tensor:
    """(B, K) True for the floor(share n) smallest ``losses`` (B, K) of the n points ``there``.

    Equal losses go by their place, so that a step can be repeated. A loss that is not finite is
    never small. Source: ``select_small_loss_samples_v2``, over the points of one batch. There the
    labelled samples' points are in the order as well, though nothing is decided about them, and a
    point without a label can be chosen when all losses are equal; here neither is so.
    """
    there = there & torch.isfinite(losses)
    count = int(share * int(there.sum()) + 1e-9)  # 0.8 of 10 is 8, whatever binary makes of it
    order = torch.where(there, losses, torch.inf).flatten().argsort(stable=True)
    chosen = torch.zeros(there.numel(), dtype=torch.bool, device=losses.device)
    chosen[order[:count]] = True
    return chosen.view(there.shape)


def agreeing(one: Tensor, other: Tensor, *, cells: float, near: float = NEAR) -> Tensor:
    """(B, K) True where two answers (B, K, 2), in pixels of one crop, lie closer than ``near``.

    ``near`` is in cells of the map, ``cells`` is how many pixels one is wide. NaN never agrees.
    Source: the agreement check, 0.6 cells. There one answer is a whole cell and the other, exact
    to a quarter, is moved by half a cell for a rounding that is not done; here both are decoded.
    """
    return (one - other).norm(dim=-1) < near * cells


def targets(
    pseudo: Tensor, trusted: Tensor, answer: Tensor, reusable: Tensor
) -> tuple[Tensor, Tensor]:
    """What unlabelled points are taught: points (B, K, 2) in crop pixels and weights (B, K) 0 or 1.

    The pseudo-label ``pseudo`` where ``trusted`` (a small loss); where not, but ``reusable`` (two
    views agree), the network's own ``answer``; NaN and 0 elsewhere.
    Source: sections 3.3 and 3.4; reuse excludes what has a small loss.
    """
    reused = reusable & ~trusted & torch.isfinite(answer).all(-1)
    trusted = trusted & torch.isfinite(pseudo).all(-1)
    points = torch.where(reused[..., None], answer, torch.full_like(pseudo, torch.nan))
    points = torch.where(trusted[..., None], pseudo, points)
    return points, (trusted | reused).float()


def consistency_weight(epoch: float, *, most: float = CONSISTENCY, rise: float = RISE) -> float:
    """The weight of the teacher's answers: w = most exp(-5 (1 - min(e, T) / T)^2), T = ``rise``.

    Source: the ramp of Laine and Aila, Temporal Ensembling, ICLR 2017 (arXiv 1610.02242), with
    const_weight 2 and consistency_rampup 10 epochs.
    """
    if rise <= 0:
        return most
    return most * math.exp(-5.0 * (1 - min(max(epoch, 0.0), rise) / rise) ** 2)
