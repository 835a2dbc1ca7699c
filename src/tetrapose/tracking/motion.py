"""Where a box will be: a Kalman filter of centre and size with constant velocity.

The four numbers (centre x, y, width, height) do not know of one another, so each has a filter of
place and velocity; noise is in shares of the box's side. Source: Wojke et al., Deep SORT, ICIP 2017
(1/20 of the size for places, 1/160 a frame for velocities), as in ByteTrack, ECCV 2022.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PLACE = 1 / 20
PACE = 1 / 160


@dataclass(frozen=True)
class Motion:
    """``mean`` (4, 2) place and velocity a frame of x, y, width, height; ``cov`` (4, 2, 2)."""

    mean: np.ndarray
    cov: np.ndarray

    @property
    def box(self) -> np.ndarray:
        """(4,) x1, y1, x2, y2."""
        x, y, width, height = self.mean[:, 0]
        width, height = max(width, 1.0), max(height, 1.0)
        return np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2])


def start(box: np.ndarray) -> Motion:
    """A box (4,) at rest, its velocity unknown."""
    measured, side = _measured(box), _side(box)
    mean = np.column_stack([measured, np.zeros(4)])
    cov = np.zeros((4, 2, 2))
    cov[:, 0, 0] = (2 * PLACE * side) ** 2
    cov[:, 1, 1] = (10 * PACE * side) ** 2
    return Motion(mean, cov)


def predict(motion: Motion, frames: float) -> Motion:
    """The motion ``frames`` later (0 or more); size keeps its place, velocities go on."""
    if frames <= 0:
        return motion
    step = np.array([[1.0, frames], [0.0, 1.0]])
    mean = motion.mean @ step.T
    mean[2:, 0] = motion.mean[2:, 0]  # a lost animal does not grow or shrink for ever
    side = float(np.sqrt(max(mean[2, 0], 1.0) * max(mean[3, 0], 1.0)))
    cov = step @ motion.cov @ step.T
    cov[:, 0, 0] += (PLACE * side) ** 2 * frames
    cov[:, 1, 1] += (PACE * side) ** 2 * frames
    return Motion(mean, cov)


def update(motion: Motion, box: np.ndarray) -> Motion:
    """The motion once a box (4,) was seen."""
    noise = (PLACE * _side(box)) ** 2
    gain = motion.cov[:, :, 0] / (motion.cov[:, 0, 0] + noise)[:, None]
    off = _measured(box) - motion.mean[:, 0]
    mean = motion.mean + gain * off[:, None]
    cov = motion.cov - gain[:, :, None] * motion.cov[:, 0][:, None, :]
    return Motion(mean, cov)


def _measured(box: np.ndarray) -> np.ndarray:
    x1, y1, x2, y2 = (float(value) for value in box)
    return np.array([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1])


def _side(box: np.ndarray) -> float:
    x1, y1, x2, y2 = (float(value) for value in box)
    return float(np.sqrt(max(x2 - x1, 1.0) * max(y2 - y1, 1.0)))
