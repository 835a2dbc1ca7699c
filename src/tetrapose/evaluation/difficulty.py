"""How hard each point is to learn, told from a result, and three bands made of it.

Source: seed 001's notes (github.com/yzrs/FreeNet, first commit): a point's NME after training on
about 3,000 samples of each point is its difficulty; rare is not hard (necks are plentiful and
hard). Band 1: easy, or medium with many labels. Band 2: medium with few, or hard with many. Band 3:
hard with few. Selection for few shots favours band 2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tetrapose.errors import UserError

EASY, MEDIUM, HARD, UNKNOWN = "easy", "medium", "hard", "unknown"


@dataclass(frozen=True)
class Bands:
    """Points with their band 1, 2, 3 (0: not known), and the thresholds that made it.

    nme (K,) NaN where not known; counts (K,) labels, of a pair its mean; ``difficulty`` (K,) easy,
    medium, hard or unknown.
    """

    names: tuple[str, ...]
    nme: np.ndarray
    counts: np.ndarray
    difficulty: tuple[str, ...]
    band: np.ndarray
    easy: float
    hard: float
    plenty: float

    def values(self, favour: float = 3.0) -> np.ndarray:
        """(K,) what a label of each point is worth in a selection: ``favour`` in band 2, else 1."""
        return np.where(self.band == 2, favour, 1.0)


def bands(
    names: Sequence[str],
    nme: Sequence[float | None] | np.ndarray,
    counts: Sequence[int] | np.ndarray,
    *,
    easy: float | None = None,
    hard: float | None = None,
    plenty: float | None = None,
    flip_indices: np.ndarray | None = None,
) -> Bands:
    """The bands of points; with ``flip_indices`` (K,) left and right take their mean and go alike.

    A point is easy up to an NME of ``easy`` and hard above ``hard``; it has many labels from
    ``plenty`` on. Where they are not given: the points' NME at one third and two thirds of their
    order, and the median of their counts. UserError when no NME is known or ``easy`` > ``hard``.
    """
    errors = np.array([np.nan if one is None else float(one) for one in nme])
    have = np.asarray(counts, dtype=np.float64)
    if flip_indices is not None:
        errors, have = _of_pairs(errors, have, flip_indices)
    known = np.isfinite(errors)
    if not known.any():
        raise UserError("no NME is known of any point: was anything scored?")
    low, high = np.quantile(errors[known], [1 / 3, 2 / 3])
    low, high = (float(low) if easy is None else easy), (float(high) if hard is None else hard)
    if low > high:
        raise UserError(f"easy up to {low:g} and hard above {high:g}: the first exceeds the second")
    many_from = float(np.median(have)) if plenty is None else plenty
    level = np.where(errors <= low, 0, np.where(errors <= high, 1, 2))
    band = np.clip(level + np.where(have >= many_from, 0, 1), 1, 3)
    band = np.where(level == 0, 1, band)
    told = [(EASY, MEDIUM, HARD)[one] for one in level]
    return Bands(
        names=tuple(names),
        nme=errors,
        counts=have,
        difficulty=tuple(t if k else UNKNOWN for t, k in zip(told, known, strict=True)),
        band=np.where(known, band, 0),
        easy=low,
        hard=high,
        plenty=many_from,
    )


def _of_pairs(
    errors: np.ndarray, counts: np.ndarray, flip_indices: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Each point with its partner: mean of the errors that are known, mean of the counts."""
    both = np.stack([errors, errors[flip_indices]])
    known = np.isfinite(both)
    total = np.where(known, both, 0.0).sum(axis=0)
    mean = total / np.maximum(known.sum(axis=0), 1)
    return np.where(known.any(axis=0), mean, np.nan), (counts + counts[flip_indices]) / 2


def errors_of(result: Any, where: str) -> dict[str, float | None]:
    """NME by keypoint name from a result of ``tetrapose evaluate``; ``where`` names it if odd."""
    points = result.get("per_keypoint") if isinstance(result, Mapping) else None
    if not isinstance(points, Mapping) or not points:
        raise UserError(f"{where}: no per_keypoint; due is a result of tetrapose evaluate --json")
    odd = [
        name
        for name, one in points.items()
        if not isinstance(one, Mapping) or not isinstance(one.get("nme"), (int, float, type(None)))
    ]
    if odd:
        raise UserError(f"{where}: no nme for {', '.join(odd)}")
    return {name: one.get("nme") for name, one in points.items()}
