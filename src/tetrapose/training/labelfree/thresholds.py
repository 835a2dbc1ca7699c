"""Which pseudo-labels are learnt from: FreeNet's share of each body part, and a fixed threshold.

Source of all of it: ``train_utils/ssl_utils.py`` of FreeNet (github.com/yzrs/FreeNet), which is all
there is: the paper's own formula could not be had.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from tetrapose.skeletons import Skeleton

LEAST = 0.2  # no pseudo-label below this confidence, whatever the share
# the part of each group's pseudo-labels that is kept at the end: hard parts keep more
FLOORS = {"face": 0.5, "front": 0.6, "back": 0.65, "exclusive": 0.65}
PARTS = {"head": "face", "front": "front", "back": "back", "tail": "back", "trunk": "exclusive"}
# what the released lists say of single places where they differ from the parts above
RELEASED = {"ear_base": "front", "chin": "exclusive", "shoulder": "exclusive"}


def groups_of(skeleton: Skeleton, *, released: bool = False) -> dict[str, np.ndarray]:
    """Group -> (n,) keypoints: face, front limbs, back limbs with the tail, and trunk.

    ``released`` takes the lists of FreeNet's code, in which ears are among the front limbs and chin
    and shoulders with the trunk; for AP-10K both are the same.
    """
    made: dict[str, list[int]] = {name: [] for name in FLOORS}
    for index, point in enumerate(skeleton.keypoints):
        place = point.place.removeprefix("left_").removeprefix("right_")
        group = RELEASED.get(place) if released else None
        made[group or PARTS[point.part]].append(index)
    return {name: np.array(rows, dtype=np.int64) for name, rows in made.items() if rows}


def keep_share(step: int, down: int, floor: float) -> float:
    """clip((1 + cos(pi min(t, D) / D)) / 2, m, 1): all at first, a share ``floor`` in the end.

    It reaches .65, .6 and .5 at 0.40 D, 0.44 D and 0.5 D.
    """
    if down <= 0:
        return floor
    cosine = 0.5 * (1 + math.cos(math.pi * min(step, down) / down))
    return min(max(cosine, floor), 1.0)


def share_threshold(confidences: Tensor, share: float, *, least: float = LEAST) -> float:
    """max(c[min(floor(N r), N - 1)], least), c (N,) in falling order; NaN counts as 0.

    ``least`` where there is no confidence at all: then nothing is kept that is below it.
    """
    values = torch.nan_to_num(confidences.flatten(), nan=0.0, posinf=0.0, neginf=0.0)
    if not len(values):
        return least
    ordered = values.sort(descending=True).values
    place = min(math.floor(len(ordered) * share), len(ordered) - 1)
    return max(float(ordered[place]), least)


def part_aware(
    confidences: Tensor,
    groups: Mapping[str, np.ndarray],
    shares: Mapping[str, float],
    *,
    pool: Tensor | None = None,
    least: float = LEAST,
) -> Tensor:
    """(B, K) True for the pseudo-labels that are learnt from: c >= threshold of their group.

    Thresholds are those of ``pool`` (M, K), the confidences of all processes, or of these.
    """
    everyone = confidences if pool is None else pool
    kept = torch.zeros_like(confidences, dtype=torch.bool)
    for name, rows in groups.items():
        index = torch.as_tensor(rows, device=confidences.device)
        threshold = share_threshold(everyone[:, index], shares[name], least=least)
        kept[:, index] = confidences[:, index] >= threshold
    return kept


def shares_at(step: int, down: int, floors: Mapping[str, float] = FLOORS) -> dict[str, float]:
    """Group -> the share that is kept at a step."""
    return {name: keep_share(step, down, floor) for name, floor in floors.items()}


def fixed(confidences: Tensor, threshold: float) -> Tensor:
    """(B, K) True from ``threshold`` on; NaN never is."""
    return confidences >= threshold


def per_group(values: Tensor, groups: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """Group -> the mean of (B, K) over its points, for the curves."""
    means = {}
    for name, rows in groups.items():
        index = torch.as_tensor(rows, device=values.device)
        means[name] = values[:, index].float().mean()
    return means


def without(groups: Mapping[str, np.ndarray], taught: Sequence[bool]) -> dict[str, np.ndarray]:
    """The groups less the points that no label ever taught: what is said of them is noise."""
    known = np.asarray(taught, dtype=bool)
    return {name: rows[known[rows]] for name, rows in groups.items() if known[rows].any()}
