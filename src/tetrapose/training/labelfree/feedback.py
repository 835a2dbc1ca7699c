"""Feedback of FreeNet's adaptation network to its base network: did the pseudo-labels help?

Source: ``train_utils/ssl_utils.py`` of FreeNet (github.com/yzrs/FreeNet), after Pham et al., Meta
Pseudo Labels, CVPR 2021, whose dot product of gradients is the difference of two losses here too.
"""

from __future__ import annotations

import torch
from torch import Tensor

ENDS = 0.2  # share of the most and of the least certain points that feedback leaves alone
WEIGHT = 2.0


def cut_points(base: Tensor, adaptation: Tensor, *, ends: float = ENDS) -> tuple[float, float]:
    """(bad, good): confidences between which a point takes part in feedback.

    Both networks' confidences (any shape) are ordered falling, each by itself; good is the larger
    of the two at a fifth of their length, bad the smaller of the two at four fifths. NaN counts as
    0; (0, 0) where there is none.
    """
    goods, bads = [], []
    for values in (base, adaptation):
        flat = torch.nan_to_num(values.flatten().float(), nan=0.0, posinf=0.0, neginf=0.0)
        if not len(flat):
            return 0.0, 0.0
        ordered = flat.sort(descending=True).values
        last = len(ordered) - 1
        goods.append(float(ordered[min(int(len(ordered) * ends), last)]))
        bads.append(float(ordered[min(int(len(ordered) * (1 - ends)), last)]))
    return min(bads), max(goods)


def middling(confidences: Tensor, bad: float, good: float) -> Tensor:
    """True where bad <= c <= good; NaN never is, and nothing is where all confidence is 0."""
    if good <= 0:
        return torch.zeros_like(confidences, dtype=torch.bool)
    return (confidences >= bad) & (confidences <= good)


def ramp(step: int, start: int, complete: int, *, weight: float = WEIGHT) -> float:
    """0 before ``start``, then min(1, (t + 1 - start) / (complete - start)) times ``weight``."""
    if step < start:
        return 0.0
    return min(1.0, (step + 1 - start) / max(complete - start, 1)) * weight


def signal(old: Tensor, new: Tensor) -> Tensor:
    """d = old - new, the labelled loss before and after the step: above 0 where it helped."""
    return old.detach() - new.detach()
