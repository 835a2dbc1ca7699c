"""Where several answers for one point meet, and how well they agree."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

STEPS = 12  # of the search for a mode; it gains a digit every one or two
BLOCK = 4096  # points whose modes are sought at once


def agree(
    points: np.ndarray,
    scores: np.ndarray,
    sizes: np.ndarray,
    *,
    width: float,
    shown: Callable[[np.ndarray], np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where V answers of each point meet: places (N, K, 2), confidence and spread (N, K).

    points (N, V, K, 2), scores (N, V, K), sizes (N,) of the boxes in pixels. With b = width size,
    the place is the highest mode of f(p) = sum_v s_v exp(-|p - p_v|^2 / 2 b^2), found by mean shift
    (p <- the mean of p_v under those terms) from the best of the answers; confidence is f there
    over the number of views that show the place. ``shown`` takes places to (N, V, K) True where a
    view does; None means all do. An answer that is not finite, or whose score is not above 0, does
    not count: it denies the place.
    Source: mean shift: Comaniciu and Meer, PAMI 2002.
    """
    n, v, k = scores.shape
    flat = np.moveaxis(points, 1, 2).reshape(n * k, v, 2)
    weight = np.moveaxis(scores, 1, 2).reshape(n * k, v)
    with np.errstate(invalid="ignore"):
        usable = np.isfinite(flat).all(-1) & np.isfinite(weight) & (weight > 0)
    usable = np.asarray(usable)
    flat = np.where(usable[..., None], flat, 0.0)
    weight = np.where(usable, weight, 0.0)
    reach = np.repeat(width * sizes, k)
    place = np.zeros((n * k, 2))
    height = np.zeros(n * k)
    for first in range(0, n * k, BLOCK):  # bounds the memory: each takes V x V
        part = slice(first, first + BLOCK)
        place[part], height[part] = _modes(flat[part], weight[part], reach[part])
    there = np.asarray(usable.any(-1))
    place = np.where(there[:, None], place, np.nan).reshape(n, k, 2)
    seen = np.ones((n, v, k), dtype=bool) if shown is None else shown(place)
    confidence = height.reshape(n, k) / np.maximum(seen.sum(1), 1)
    # only views that show the place can put a point there, or beside it
    counted = np.moveaxis(usable.reshape(n, k, v), 2, 1) & seen
    apart = np.square(points - place[:, None]).sum(-1)
    total = np.where(counted, np.nan_to_num(apart), 0.0).sum(1)
    votes = counted.sum(1)
    spread = np.sqrt(total / np.maximum(votes, 1)) / sizes[:, None]
    spread = np.where(votes > 1, spread, np.nan)
    return place, np.clip(np.where(np.isnan(place[..., 0]), 0.0, confidence), 0, 1), spread


def _modes(points: np.ndarray, weight: np.ndarray, reach: np.ndarray) -> tuple[np.ndarray, ...]:
    """The highest mode (M, 2) of each mixture of (M, V, 2), and how high it is (M,)."""
    narrow = -0.5 / np.square(reach)
    apart = np.square(points[:, :, None] - points[:, None]).sum(-1)  # M, V, V
    best = (np.exp(apart * narrow[:, None, None]) * weight[:, None]).sum(-1)
    best = np.where(weight > 0, best, -1.0)
    at = np.take_along_axis(points, best.argmax(1)[:, None, None], 1)[:, 0]
    pull = np.zeros_like(weight)
    for _ in range(STEPS):
        pull = np.exp(np.square(points - at[:, None]).sum(-1) * narrow[:, None]) * weight
        total = pull.sum(1, keepdims=True)
        at = np.where(total > 0, (points * pull[..., None]).sum(1) / np.maximum(total, 1e-300), at)
    pull = np.exp(np.square(points - at[:, None]).sum(-1) * narrow[:, None]) * weight
    return at, pull.sum(1)
