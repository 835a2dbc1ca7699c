"""Which frames of a film are worth labelling: doubtful ones, and not all from one moment."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

import numpy as np

from tetrapose.tracking.outliers import BONE, JUMP, UNSURE, WORDS

WEIGHTS = {UNSURE: 0.5, JUMP: 1.0, BONE: 1.0}


@dataclass(frozen=True, order=True)
class Doubt:
    """A frame and how doubtful it is: ``doubt`` 0 for none, with the reasons in words."""

    doubt: float
    frame: int
    time: float
    why: str


@dataclass
class Worth:
    """The most doubtful frame of every ``apart`` seconds, the ``most`` first of them kept."""

    apart: float = 1.0
    most: int = 500
    _kept: list[Doubt] = field(default_factory=list)
    _best: Doubt | None = None

    def add(self, frame: int, time: float, flags: np.ndarray, scores: np.ndarray) -> None:
        """One frame, in order: flags (N, K) of outliers and scores (N, K) of its animals.

        Doubt is the mean over points of the weight of their flags and of half of what their scores
        lack; a frame's is that of its worst animal.
        """
        if not len(flags):
            return
        weight = sum((flags & bit > 0) * value for bit, value in WEIGHTS.items())
        doubts = (weight + 0.5 * (1 - np.clip(scores, 0, 1))).mean(axis=1)
        worst = int(doubts.argmax())
        told = [
            f"{count} {WORDS[bit]}"
            for bit in WEIGHTS
            if (count := int((flags[worst] & bit > 0).sum()))
        ]
        if not told:
            return
        one = Doubt(round(float(doubts[worst]), 4), frame, time, ", ".join(told))
        if self._best is not None and int(time // self.apart) != int(self._best.time // self.apart):
            self._keep()
        if self._best is None or one.doubt > self._best.doubt:
            self._best = one

    def ranked(self) -> list[Doubt]:
        """What was kept, the most doubtful first."""
        self._keep()
        return sorted(self._kept, key=lambda one: (-one.doubt, one.frame))

    def _keep(self) -> None:
        if self._best is not None:
            heapq.heappush(self._kept, self._best)
            if len(self._kept) > self.most:
                heapq.heappop(self._kept)
        self._best = None
