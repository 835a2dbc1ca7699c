"""Points over time made smooth, beside the raw ones: One-Euro, as they come, and Savitzky-Golay."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

LONG = 0.5  # seconds without a point after which a filter begins anew


@dataclass
class OneEuro:
    """A low pass that opens with speed, for each track; causal, so it may run while filming.

    ``least`` Hz is the cutoff at rest; it grows by ``beta`` Hz for every body length a second that
    a point moves. Source: Casiez, Roussel, Vogel: 1 Euro Filter, CHI 2012 (with its cutoff of 1 Hz
    for the speed).
    """

    least: float = 2.0
    beta: float = 5.0
    _last: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = field(default_factory=dict)

    def step(self, track: int, time: float, points: np.ndarray, side: float) -> np.ndarray:
        """Smooth points (K, 2) of a track at ``time`` seconds, later than before; NaN stays NaN.

        ``side`` px is the animal's size, the root of its box's area.
        """
        there = np.asarray(np.isfinite(points).all(axis=-1))
        if track not in self._last:
            nowhere = np.full(len(points), -np.inf)
            self._last[track] = (np.zeros_like(points), np.zeros_like(points), nowhere)
        value, speed, when = self._last[track]
        gap = time - when
        new = there & (gap > LONG)
        going = there & ~new
        value, speed, when = value.copy(), speed.copy(), when.copy()
        value[new] = points[new]
        speed[new] = 0.0
        if going.any():
            dt = np.maximum(gap[going], 1e-6)[:, None]
            rough = (points[going] - value[going]) / dt
            speed[going] += _share(1.0, dt) * (rough - speed[going])
            pace = np.linalg.norm(speed[going], axis=-1, keepdims=True) / max(side, 1.0)
            cutoff = self.least + self.beta * pace
            value[going] += _share(cutoff, dt) * (points[going] - value[going])
        when[there] = time
        self._last[track] = (value, speed, when)
        return np.where(there[:, None], value, np.nan)


def _share(cutoff: np.ndarray | float, dt: np.ndarray) -> np.ndarray:
    tau = 1 / (2 * np.pi * np.asarray(cutoff))
    return 1 / (1 + tau / dt)


def savitzky_golay(
    points: np.ndarray, times: np.ndarray, *, window: int = 7, order: int = 2
) -> np.ndarray:
    """Points (T, K, 2) at ``times`` (T,), each replaced by a polynomial's value there.

    The polynomial of ``order`` is fitted to what there is within ``window`` (odd) frames around,
    at their own times: gaps and uneven rates need no filling. Where too few points are at hand the
    raw one stays; NaN stays NaN. Source: Savitzky and Golay, Analytical Chemistry 36, 1964.
    """
    if window % 2 == 0 or window <= order:
        raise ValueError(f"window must be odd and above the order {order}, not {window}")
    count, half = len(times), window // 2
    if not count:
        return points.copy()
    places = np.arange(count)[:, None] + np.arange(-half, half + 1)[None]
    inside = (places >= 0) & (places < count)
    places = np.clip(places, 0, count - 1)
    unit = max(float(np.median(np.diff(times))) if count > 1 else 1.0, 1e-9) * half
    offset = (times[places] - times[:, None]) / unit
    near = points[places]  # (T, W, K, 2)
    there = np.isfinite(near).all(axis=-1) & inside[..., None]
    powers = offset[..., None] ** np.arange(order + 1)  # (T, W, P)
    normal = np.einsum("twk,twp,twq->tkpq", there.astype(float), powers, powers)
    right = np.einsum("twkc,twp->tkpc", np.where(there[..., None], near, 0.0), powers)
    enough = there.sum(axis=1) > order
    normal = np.where(enough[..., None, None], normal, np.eye(order + 1))
    fitted = np.linalg.solve(normal, right)[:, :, 0]
    smooth = np.where(enough[..., None], fitted, points)
    return np.where(np.isfinite(points).all(axis=-1, keepdims=True), smooth, np.nan)
