"""How far two ways of computing one model lie apart, in points on the same crops."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tetrapose.inference.cutting import Cutter, Item, cut
from tetrapose.structures import Problem

if TYPE_CHECKING:
    from tetrapose.inference.predictor import Predictor

BOUND = 0.1  # px of the network's input that points may move at the 99th percentile
SERIES = 20_251_121  # of drawn pictures; none that a model is trained on
SIDE = 256  # of drawn pictures


@dataclass(frozen=True)
class Drift:
    """Distances between the same points, in pixels of the network's input.

    ``points`` were compared; ``median``, ``p99`` (99th percentile) and ``maximum`` are of their
    distances; ``score`` is the largest difference of a score.
    """

    points: int
    median: float
    p99: float
    maximum: float
    score: float

    def holds(self, bound: float = BOUND) -> bool:
        """Whether the 99th percentile lies within the bound."""
        return self.p99 <= bound

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a card."""
        return {
            key: float(f"{value:.4g}") if isinstance(value, float) else value
            for key, value in asdict(self).items()
        }

    def __str__(self) -> str:
        return (
            f"{self.p99:.2g} px at the 99th percentile, {self.maximum:.2g} at most"
            f" ({self.points} points)"
        )


def measure(reference: Predictor, other: Predictor, crops: np.ndarray) -> Drift:
    """How far ``other`` puts points from ``reference`` on crops (N, h, w, 3) uint8, N at least 1.

    Every point counts, unsure ones too. A point that only one of them can place is infinitely far.
    """
    apart, scores = [], []
    for first in range(0, len(crops), reference.batch_size):
        batch = crops[first : first + reference.batch_size]
        (one, sure), (two, also) = reference.look(batch), other.look(batch)
        apart.append(np.linalg.norm(one - two, axis=-1).ravel())
        scores.append(np.abs(sure - also).ravel())
    far = np.nan_to_num(np.concatenate(apart), nan=np.inf)
    return Drift(
        points=len(far),
        median=float(np.median(far)),
        p99=float(np.quantile(far, 0.99, method="higher")),
        maximum=float(far.max()),
        score=float(np.concatenate(scores).max()),
    )


def crops_of(paths: Iterable[Path], cutter: Cutter) -> tuple[np.ndarray, list[Problem]]:
    """Crops (N, h, w, 3) of pictures, each whole as one animal, and what could not be read."""
    taken = [cut(Item(path), cutter) for path in paths]
    problems = [problem for one in taken for problem in one.problems]
    return _stacked([one.crops for one in taken], cutter), problems


def drawn_crops(cutter: Cutter, count: int, *, first: int = 0) -> np.ndarray:
    """Crops (count, h, w, 3) of animals of the menagerie, the same ones every time."""
    from tetrapose import synth

    crops = []
    for index in range(first, first + count):
        scene = synth.render(index, seed=SERIES, size=SIDE)
        bboxes = np.stack([animal.bbox for animal in scene.animals])[:1]
        crops.append(cut(Item(scene.image, bboxes), cutter).crops)
    return _stacked(crops, cutter)


def _stacked(crops: list[np.ndarray], cutter: Cutter) -> np.ndarray:
    width, height = cutter.size
    return np.concatenate([np.zeros((0, height, width, 3), np.uint8), *crops])
