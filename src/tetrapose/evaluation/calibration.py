"""How far a keypoint's score can be trusted: reliability, its error, and the map that mends it.

A score is calibrated when, of the points that score 0.7, seven in ten are right; right means nearer
to the label than 0.1 of the square root of the box area (``pck.box_area``). What is measured here
is measured on other pictures than the map was fitted on (``held_out``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tetrapose.evaluation import pck
from tetrapose.evaluation.predictions import Predictions, pairs_of
from tetrapose.structures import PoseSet

WITHIN = 0.1
DEFINITION = "box_area"
BINS = 15
GROUPS = 30  # of equally many points, from which the map's knots are made
PRIOR = 0.5  # standard deviation, in logits, of what a keypoint may differ from all others


@dataclass(frozen=True)
class Judged:
    """Scores (N, K) in 0..1 and whether each point was right (N, K): 1, 0, NaN where not labelled.

    ``groups`` (N,) says which animals no split may part.
    """

    scores: np.ndarray
    right: np.ndarray
    groups: np.ndarray

    def __post_init__(self) -> None:
        if self.scores.shape != self.right.shape or self.groups.shape != self.scores.shape[:1]:
            raise ValueError(
                f"scores {self.scores.shape}, right {self.right.shape} and groups"
                f" {self.groups.shape} do not belong together"
            )

    @property
    def counted(self) -> np.ndarray:
        """(N, K) where there is a label to judge by."""
        return ~np.isnan(self.right)

    def rows(self, keep: np.ndarray) -> Judged:
        """Some of the animals."""
        return Judged(self.scores[keep], self.right[keep], self.groups[keep])


@dataclass(frozen=True)
class Reliability:
    """Points by score: ``edges`` (B + 1,), and of each bin (B,) points, mean score, share right.

    Means and shares of empty bins are NaN.
    """

    edges: np.ndarray
    counts: np.ndarray
    scores: np.ndarray
    shares: np.ndarray

    @property
    def expected_error(self) -> float:
        """Mean distance of score and share over the points' bins; NaN for no point.

        Source: expected calibration error of Naeini et al., AAAI 2015, with 15 bins of equal width
        as in Guo et al., ICML 2017.
        """
        total = self.counts.sum()
        there = self.counts > 0
        gaps = np.abs(self.scores[there] - self.shares[there])
        return float((gaps * self.counts[there]).sum() / total) if total else float("nan")


@dataclass(frozen=True)
class Calibration:
    """A monotone map from a score to the share of points that are right: one for each keypoint.

    ``knots`` (J,) rising scores, ``shares`` (K, J) what they mean; straight lines between, flat
    beyond.
    """

    knots: np.ndarray
    shares: np.ndarray

    def __post_init__(self) -> None:
        faults = []
        if self.knots.ndim != 1 or not len(self.knots):
            faults.append("knots must be a list of scores")
        elif self.shares.ndim != 2 or self.shares.shape[1] != len(self.knots):
            faults.append(f"shares must be (K, {len(self.knots)}), not {self.shares.shape}")
        elif not (np.isfinite(self.knots).all() and (np.diff(self.knots) > 0).all()):
            faults.append("knots must rise")
        elif not ((self.shares >= 0) & (self.shares <= 1)).all():
            faults.append("shares must lie in 0..1")
        elif (np.diff(self.shares, axis=1) < 0).any():
            faults.append("shares must not fall where scores rise")
        if faults:
            raise ValueError(f"calibration: {faults[0]}")

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Scores (..., K) -> shares (..., K)."""
        if scores.shape[-1:] != self.shares.shape[:1]:
            raise ValueError(f"{len(self.shares)} keypoints are calibrated, not {scores.shape[-1]}")
        return np.stack(
            [np.interp(scores[..., k], self.knots, row) for k, row in enumerate(self.shares)], -1
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a card."""
        return {"knots": self.knots.round(6).tolist(), "shares": self.shares.round(4).tolist()}


def from_dict(values: Any, num_keypoints: int) -> Calibration:
    """The map that ``to_dict`` described; a ValueError says what is wrong with it."""
    try:
        knots = np.array(values["knots"], dtype=np.float64)
        shares = np.array(values["shares"], dtype=np.float64)
    except (TypeError, KeyError, ValueError):
        raise ValueError("calibration: knots and shares must be lists of numbers") from None
    made = Calibration(knots, shares)
    if len(made.shares) != num_keypoints:
        raise ValueError(f"calibration: of {len(made.shares)} keypoints, not {num_keypoints}")
    return made


def judge(truth: PoseSet, predictions: Predictions, *, within: float = WITHIN) -> Judged:
    """Each labelled point's score and whether it was right, for predictions made for a set.

    An instance without a prediction does not count: there is no score to trust.
    """
    distances = pck.distances(pairs_of(predictions, truth), DEFINITION)
    scores = np.zeros(distances.shape)
    own = predictions.instance >= 0
    scores[predictions.instance[own]] = np.nan_to_num(predictions.scores[own])
    counted = np.isfinite(distances)
    return Judged(
        scores=np.clip(scores, 0.0, 1.0),
        right=np.where(counted, (distances < within).astype(float), np.nan),
        groups=np.asarray(truth.groups)[truth.image_index],
    )


def reliability(judged: Judged, *, bins: int = BINS) -> Reliability:
    """The points in bins of equal width."""
    edges = np.linspace(0.0, 1.0, bins + 1)
    scores, right = judged.scores[judged.counted], judged.right[judged.counted]
    place = np.clip((scores * bins).astype(int), 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(place, scores, minlength=bins) / counts
        share = np.bincount(place, right, minlength=bins) / counts
    return Reliability(edges, counts, mean, share)


def figures(judged: Judged, names: Sequence[str]) -> dict[str, Any]:
    """Expected calibration error, Brier score, mean score and share right, whole and by keypoint.

    Brier: mean squared distance of score and outcome. None where nothing is labelled.
    """
    whole = _figures(judged)
    whole["per_keypoint"] = {
        name: _figures(Judged(judged.scores[:, [k]], judged.right[:, [k]], judged.groups))
        for k, name in enumerate(names)
    }
    return whole


def _figures(judged: Judged) -> dict[str, Any]:
    counted = judged.counted
    if not counted.any():
        return {"count": 0, "ece": None, "brier": None, "mean_score": None, "share": None}
    scores, right = judged.scores[counted], judged.right[counted]
    return {
        "count": int(counted.sum()),
        "ece": reliability(judged).expected_error,
        "brier": float(((scores - right) ** 2).mean()),
        "mean_score": float(scores.mean()),
        "share": float(right.mean()),
    }


def fit(judged: Judged, flip_indices: np.ndarray) -> Calibration:
    """The map of raw scores: isotonic over all points, then each keypoint shifted by its own logit.

    A keypoint and its partner on the other side share their shift; one that is seldom labelled
    stays near the common map. ValueError without a single labelled point.
    Source: isotonic calibration, Zadrozny and Elkan, KDD 2002; pool adjacent violators.
    """
    counted = judged.counted
    if not counted.any():
        raise ValueError("no labelled point to calibrate by")
    knots, common = _isotonic(judged.scores[counted], judged.right[counted])
    common = np.clip(common, 1e-3, 1 - 1e-3)
    logits = np.log(common / (1 - common))
    shifts = np.zeros(judged.scores.shape[1])
    for k, partner in enumerate(np.asarray(flip_indices)):
        both = np.unique([k, int(partner)])
        there = counted[:, both]
        at = np.interp(judged.scores[:, both][there], knots, logits)
        shifts[k] = _shift(at, judged.right[:, both][there])
    return Calibration(knots, 1 / (1 + np.exp(-(logits + shifts[:, None]))))


def held_out(judged: Judged, flip_indices: np.ndarray, *, folds: int = 2, seed: int = 0) -> Judged:
    """The animals with scores calibrated by maps fitted on the other folds' groups.

    ValueError where there are fewer groups than folds.
    """
    groups = np.unique(judged.groups)
    if len(groups) < folds:
        raise ValueError(f"{len(groups)} pictures cannot be parted into {folds}")
    order = np.random.default_rng(seed).permutation(len(groups))
    fold = (np.argsort(order) % folds)[np.searchsorted(groups, judged.groups)]
    scores = np.zeros_like(judged.scores)
    for number in range(folds):
        scores[fold == number] = fit(judged.rows(fold != number), flip_indices)(
            judged.scores[fold == number]
        )
    return Judged(scores, judged.right, judged.groups)


def joined(parts: Sequence[Judged]) -> Judged:
    """Several sets on one skeleton as one; their groups stay apart."""
    groups, offset = [], 0
    for part in parts:
        _, own = np.unique(part.groups, return_inverse=True)
        groups.append(own.reshape(-1) + offset)
        offset += int(own.max(initial=-1)) + 1
    return Judged(
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.right for part in parts]),
        np.concatenate(groups),
    )


def _isotonic(scores: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rising knots and never falling shares, by pooling neighbours that are out of order."""
    order = np.argsort(scores, kind="stable")
    blocks: list[tuple[float, float, float]] = []  # points, sum of scores, sum of right
    for part in np.array_split(order, min(GROUPS, len(order))):
        block = (float(len(part)), float(scores[part].sum()), float(right[part].sum()))
        while blocks and (
            blocks[-1][2] / blocks[-1][0] >= block[2] / block[0]
            or blocks[-1][1] / blocks[-1][0] >= block[1] / block[0] - 1e-4
        ):
            last = blocks.pop()
            block = (last[0] + block[0], last[1] + block[1], last[2] + block[2])
        blocks.append(block)
    table = np.array(blocks)
    return table[:, 1] / table[:, 0], table[:, 2] / table[:, 0]


def _shift(logits: np.ndarray, right: np.ndarray) -> float:
    """What to add to the logits so that they fit best, drawn towards 0 by ``PRIOR``."""
    shift = 0.0
    for _ in range(30):
        chance = 1 / (1 + np.exp(-(logits + shift)))
        slope = float((right - chance).sum()) - shift / PRIOR**2
        curve = float((chance * (1 - chance)).sum()) + 1 / PRIOR**2
        shift += float(np.clip(slope / curve, -1.0, 1.0))
    return shift
