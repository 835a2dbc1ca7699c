"""Points that look wrong: unsure ones, jumps, and bones longer than the animal's own."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

UNSURE, JUMP, BONE = 1, 2, 4  # bits of a flag
SURE = 0.3  # least score of a point that is not unsure
LEAP = 0.2  # sides of the box that a point may move in a frame beyond its animal
STRETCH = 1.5  # times the 95th percentile of a bone's lengths that it may reach
WORDS = {UNSURE: "unsure", JUMP: "jump", BONE: "bone"}
_BINS = np.linspace(-8.0, 3.0, 221)  # log2 of bone length over the box's side


def unsure(keypoints: np.ndarray, scores: np.ndarray, least: float = SURE) -> np.ndarray:
    """(..., K) True where there is no point or its score is below ``least``."""
    return ~np.isfinite(keypoints).all(axis=-1) | (scores < least)


def jumps(keypoints: np.ndarray, sides: np.ndarray, leap: float = LEAP) -> np.ndarray:
    """(T, K) True where a point of one track leapt; keypoints (T, K, 2), frames one apart.

    A leap is a step of more than ``leap`` sides (T,) of the box beyond the median step of the
    animal's points. Coming back to where the point was before a leap is none. A frame without a
    point begins anew.
    """
    flags = np.zeros(keypoints.shape[:2], dtype=bool)
    if len(keypoints) < 2:
        return flags
    with np.errstate(invalid="ignore"):
        far = _steps(keypoints, 1) > leap * sides[1:, None]
        flags[1:] = far
        if len(keypoints) > 2:
            back = _steps(keypoints, 2) <= 2 * leap * sides[2:, None]
            for t in range(2, len(keypoints)):
                flags[t] &= ~(flags[t - 1] & back[t - 2])
    return flags


def _steps(keypoints: np.ndarray, over: int) -> np.ndarray:
    """(T - over, K) length of each point's step beyond the animal's; NaN where it has none."""
    step = keypoints[over:] - keypoints[:-over]
    told = np.asarray(np.isfinite(step).all(axis=-1))
    body = np.zeros((len(step), 1, 2))
    rows = told.any(axis=1)
    if rows.any():
        body[rows, 0] = np.nanmedian(np.where(told[rows, :, None], step[rows], np.nan), axis=1)
    return np.linalg.norm(step - body, axis=-1)


@dataclass
class Bones:
    """How long the bones of each track are, in its box's sides, gathered in bounded memory.

    ``edges`` (E, 2) are the skeleton's. Turning towards the camera makes bones short, so only those
    too long are outliers.
    """

    edges: np.ndarray
    _counts: dict[int, np.ndarray] = field(default_factory=dict)

    def add(self, track: int, keypoints: np.ndarray, sides: np.ndarray, sure: np.ndarray) -> None:
        """Count bones of one track (T, K, 2) whose two points are ``sure`` (T, K)."""
        if track not in self._counts:
            self._counts[track] = np.zeros((len(self.edges), len(_BINS)), dtype=np.int64)
        logs = self._logs(keypoints, sides)
        ends = sure[:, self.edges].all(axis=-1) & np.isfinite(logs)
        for edge in range(len(self.edges)):
            places = np.searchsorted(_BINS, logs[ends[:, edge], edge]).clip(0, len(_BINS) - 1)
            self._counts[track][edge] += np.bincount(places, minlength=len(_BINS))

    def limits(self, track: int) -> np.ndarray:
        """(E,) log2 lengths above which a bone is too long; infinite below 20 sightings."""
        counts = self._counts.get(track)
        if counts is None:
            return np.full(len(self.edges), np.inf)
        total = counts.sum(axis=1)
        high = _BINS[(counts.cumsum(axis=1) >= 0.95 * total[:, None]).argmax(axis=1)]
        return np.where(total >= 20, high + np.log2(STRETCH), np.inf)

    def flags(self, track: int, keypoints: np.ndarray, sides: np.ndarray) -> np.ndarray:
        """(T, K) True at both ends of a bone that is too long."""
        with np.errstate(invalid="ignore"):
            long = self._logs(keypoints, sides) > self.limits(track)
        out = np.zeros(keypoints.shape[:2], dtype=bool)
        for edge, (a, b) in enumerate(self.edges):
            out[:, a] |= long[:, edge]
            out[:, b] |= long[:, edge]
        return out

    def _logs(self, keypoints: np.ndarray, sides: np.ndarray) -> np.ndarray:
        ends = keypoints[:, self.edges]
        length = np.linalg.norm(ends[:, :, 0] - ends[:, :, 1], axis=-1)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log2(length / np.maximum(sides, 1.0)[:, None])
