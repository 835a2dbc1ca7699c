"""Errors in pixels, as people who label their own frames read them: train and test, with a cut-off.

Source: DeepLabCut 3 (deeplabcut/core/metrics/distance_metrics.py, compute_rmse): the distance of
every labelled point to its prediction, and the mean of all distances. It reports that mean under
the name rmse; here it is called mean, and rms is the root of the mean square. With a cut-off only
points count whose score reaches it. Human labellers of that paper's mice differ by 2.7 px (Mathis
et al., Nature Neuroscience 2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

CUTOFF = 0.6  # DeepLabCut's pcutoff in a new project's config.yaml
STEPS = tuple(round(0.1 * i, 1) for i in range(10))  # cut-offs of the table


@dataclass(frozen=True)
class PixelErrors:
    """Distances (N, K) in px of N animals' points, NaN where not labelled or not predicted.

    ``scores`` (N, K) are the predictions', ``labelled`` (N, K) says which points count.
    """

    distances: np.ndarray
    scores: np.ndarray
    labelled: np.ndarray

    @property
    def missing(self) -> int:
        """Labelled points without a prediction."""
        return int((self.labelled & ~np.isfinite(self.distances)).sum())

    def of_animals(self) -> np.ndarray:
        """(N,) mean distance of each animal's points, NaN where it has none."""
        return _mean(self.distances, axis=1)

    def rows(self, keep: np.ndarray) -> PixelErrors:
        """Those of some animals."""
        return PixelErrors(self.distances[keep], self.scores[keep], self.labelled[keep])


def pixel_errors(truth: np.ndarray, predicted: np.ndarray, scores: np.ndarray) -> PixelErrors:
    """Errors of predicted points (N, K, 2) with scores (N, K) against labels (N, K, 2).

    Labels are NaN where there is none; ValueError for shapes that do not go together.
    """
    truth, predicted = (np.asarray(one, dtype=np.float64) for one in (truth, predicted))
    if truth.shape != predicted.shape or scores.shape != truth.shape[:2]:
        raise ValueError(f"{truth.shape} labels, {predicted.shape} points, {scores.shape} scores")
    return PixelErrors(
        distances=np.linalg.norm(truth - predicted, axis=-1),
        scores=np.asarray(scores, dtype=np.float64),
        labelled=np.asarray(np.isfinite(truth).all(axis=-1)),
    )


def pixel_figures(errors: PixelErrors, names: Sequence[str], cutoff: float = CUTOFF) -> dict:
    """Whole, with the cut-off, keypoint by keypoint, and at each cut-off of ``STEPS``.

    All in px but for counts, and ``kept``, the share of points that reach a cut-off. What there is
    no point for is None.
    """
    return {
        **summary(errors.distances),
        "missing": errors.missing,
        "cutoff": cutoff,
        "with_cutoff": kept(errors, cutoff),
        "per_keypoint": {
            name: {
                **summary(errors.distances[:, k]),
                "with_cutoff": kept(_column(errors, k), cutoff),
            }
            for k, name in enumerate(names)
        },
        "by_cutoff": {str(step): kept(errors, step) for step in STEPS},
    }


def kept(errors: PixelErrors, cutoff: float) -> dict[str, Any]:
    """The summary of points whose score reaches ``cutoff``, with their share of all."""
    there = np.isfinite(errors.distances)
    sure = there & (errors.scores >= cutoff)
    share = float(sure.sum() / there.sum()) if there.any() else None
    return {**summary(errors.distances[sure]), "kept": share}


def summary(distances: np.ndarray) -> dict[str, Any]:
    """Count, mean, median, root mean square, 95th percentile and largest of finite distances."""
    values = distances[np.isfinite(distances)]
    if not len(values):
        return {"count": 0, "mean": None, "median": None, "rms": None, "p95": None, "max": None}
    return {
        "count": len(values),
        "mean": float(values.mean()),
        "median": float(np.median(values)),
        "rms": float(np.sqrt((values**2).mean())),
        "p95": float(np.percentile(values, 95)),
        "max": float(values.max()),
    }


def _column(errors: PixelErrors, k: int) -> PixelErrors:
    one = slice(k, k + 1)
    return PixelErrors(errors.distances[:, one], errors.scores[:, one], errors.labelled[:, one])


def _mean(values: np.ndarray, axis: int) -> np.ndarray:
    there = np.isfinite(values)
    total = np.where(there, values, 0).sum(axis=axis)
    count = there.sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
