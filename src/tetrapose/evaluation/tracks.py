"""How well tracks follow what is true: CLEAR-MOT, IDF1 and HOTA, from boxes or any similarity.

Sources: CLEAR: Bernardin and Stiefelhagen, EURASIP J. Image and Video Processing 2008; IDF1:
Ristani et al., Performance Measures and a Data Set for Multi-Target, Multi-Camera Tracking, ECCV
2016 workshops; HOTA: Luiten et al., HOTA: A Higher Order Metric for Evaluating Multi-Object
Tracking, IJCV 2021. Where a paper leaves it open, the rule is that of
github.com/JonathonLuiten/TrackEval (trackeval/metrics), read and not copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tetrapose.matching import assign

ALPHAS = np.arange(0.05, 0.99, 0.05)
HALF = 0.5  # IoU at which CLEAR and IDF1 take a box for the animal's
_EPS = np.finfo(np.float64).eps


@dataclass(frozen=True)
class Step:
    """One frame: ``truth`` (N,) and ``tracks`` (M,) numbers, each once, ``similarity`` (N, M)."""

    truth: np.ndarray
    tracks: np.ndarray
    similarity: np.ndarray


@dataclass(frozen=True)
class TrackFigures:
    """Counts (``switches``, ``misses``, ``false``, ``animals``) and shares in 0..1.

    ``mota`` may be below 0. ``hota``, ``deta`` and ``assa`` are means over ``ALPHAS``.
    """

    switches: int
    misses: int
    false: int
    animals: int
    mota: float
    idf1: float
    hota: float
    deta: float
    assa: float


def track_figures(steps: Sequence[Step]) -> TrackFigures:
    """All figures of a film's frames, in order; nan shares where nothing is true or told."""
    switches, misses, false = clear_counts(steps)
    animals = sum(len(step.truth) for step in steps)
    hota, deta, assa = (float(values.mean()) for values in hota_curves(steps))
    return TrackFigures(
        switches=switches,
        misses=misses,
        false=false,
        animals=animals,
        mota=1 - (switches + misses + false) / animals if animals else float("nan"),
        idf1=idf1(steps),
        hota=hota,
        deta=deta,
        assa=assa,
    )


def clear_counts(steps: Sequence[Step], least: float = HALF) -> tuple[int, int, int]:
    """Identity switches, misses and false positives.

    A pair of the frame before goes on where it still holds; a switch is an animal matched to
    another track than at its last match, however long ago.
    """
    last: dict[int, int] = {}  # animal -> track it was matched to last
    before: dict[int, int] = {}  # of the frame before
    switches = misses = false = 0
    for step in steps:
        value = np.where(step.similarity >= least - _EPS, step.similarity, 0.0)
        going = np.array(
            [[before.get(int(a)) == int(b) for b in step.tracks] for a in step.truth], dtype=bool
        ).reshape(value.shape)
        rows, columns = assign(-(1000.0 * (going & (value > 0)) + value))
        keep = value[rows, columns] > 0
        before = {
            int(step.truth[r]): int(step.tracks[c])
            for r, c in zip(rows[keep], columns[keep], strict=True)
        }
        switches += sum(last.get(animal, track) != track for animal, track in before.items())
        last.update(before)
        misses += len(step.truth) - len(before)
        false += len(step.tracks) - len(before)
    return switches, misses, false


def idf1(steps: Sequence[Step], least: float = HALF) -> float:
    """Share of boxes whose identity is right under the best one-to-one naming of the tracks."""
    animals, tracks = _numbers(steps)
    together = np.zeros((len(animals), len(tracks)))
    for step in steps:
        rows, columns = np.nonzero(step.similarity >= least - _EPS)
        a = [animals[int(step.truth[row])] for row in rows]
        b = [tracks[int(step.tracks[column])] for column in columns]
        together[a, b] += 1
    rows, columns = assign(-together)
    right = together[rows, columns].sum()
    told = sum(len(step.truth) + len(step.tracks) for step in steps)
    return float(2 * right / told) if told else float("nan")


def hota_curves(steps: Sequence[Step]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """HOTA, DetA and AssA at each of ``ALPHAS``; nan where nothing is true or told."""
    animals, tracks = _numbers(steps)
    shape = (len(animals), len(tracks))
    of_animal, of_track, likely = np.zeros(shape[0]), np.zeros(shape[1]), np.zeros(shape)
    placed = []
    for step in steps:
        a = np.array([animals[int(v)] for v in step.truth], dtype=np.int64)
        b = np.array([tracks[int(v)] for v in step.tracks], dtype=np.int64)
        placed.append((a, b, step.similarity))
        of_animal[a] += 1
        of_track[b] += 1
        both = step.similarity.sum(0, keepdims=True) + step.similarity.sum(1, keepdims=True)
        rest = both - step.similarity
        share = np.divide(step.similarity, rest, out=np.zeros_like(rest), where=rest > _EPS)
        likely[np.ix_(a, b)] += share
    union = of_animal[:, None] + of_track[None] - likely
    likely = np.divide(likely, union, out=np.zeros(shape), where=union > 0)
    hits = np.zeros(len(ALPHAS))
    paired = np.zeros((len(ALPHAS), *shape))
    for a, b, similarity in placed:
        rows, columns = assign(-(likely[np.ix_(a, b)] * similarity))
        value = similarity[rows, columns]
        for number, alpha in enumerate(ALPHAS):
            good = value >= alpha - _EPS
            hits[number] += good.sum()
            paired[number, a[rows[good]], b[columns[good]]] += 1
    every = of_animal.sum() + of_track.sum() - hits  # TP + FN + FP
    with np.errstate(invalid="ignore", divide="ignore"):
        deta = np.where(every > 0, hits / every, np.nan)
        jaccard = paired / np.maximum(of_animal[:, None] + of_track[None] - paired, 1)
        assa = (paired * jaccard).sum(axis=(1, 2)) / np.maximum(hits, 1)
    return np.sqrt(deta * assa), deta, assa


def _numbers(steps: Sequence[Step]) -> tuple[dict[int, int], dict[int, int]]:
    animals = sorted({int(v) for step in steps for v in step.truth})
    tracks = sorted({int(v) for step in steps for v in step.tracks})
    return {v: i for i, v in enumerate(animals)}, {v: i for i, v in enumerate(tracks)}
