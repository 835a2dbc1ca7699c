"""Animals whose left and right are probably exchanged, told by the set's own regularities.

A picture fixes which side is which: an animal that looks to the left of the picture shows its left
eye and hides the right one, its nearer legs stand lower, one that looks at us has its left to the
picture's right. How these cues weigh is learnt from the set itself: a logistic regression between
the labels as they are and the same with left and right exchanged. Its features change sign under
the exchange (left minus right place, left seen and right not), each times the direction of trunk,
head and gaze, and for a part also times the sides of the other parts. What the first fit finds
suspicious is left out of the second, so that a third of wrong labels does no harm.

An animal's margin is its log odds over their median: 1 is as sure as the usual animal, -1 as surely
exchanged. Honest sets have some such animals too (odd poses, single slips), so a part's suspects
are reported only where they are more than honest sets have. The limits were set on AP-10K's and
Animal-Pose's training labels with planted exchanges; docs/audit.md has the rates.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tetrapose.audit.entries import picked
from tetrapose.audit.findings import Finding, finding, number
from tetrapose.audit.raw import Sheet
from tetrapose.audit.sided import HEAD_MIDLINE, partners, parts, side
from tetrapose.audit.view import View
from tetrapose.geometry import box_area

TELLS = 0.6  # share of unseen animals whose sides a model must get right to be believed
CHANCE = 4  # suspects more than that share, which a small set may have
LEAST = 8  # animals for each feature that is learnt: with fewer, the fit learns them by heart
FITTED = 3000  # animals that a fit looks at, spread over the set
ROUNDS, STEPS, RIDGE = 3, 4, 3.0


@dataclass(frozen=True)
class Limits:
    """Margins of a part: below ``usual`` an animal is a suspect, below ``sure`` told by itself.

    ``share`` is the share of suspects that honest sets stay under, and ``told`` the margin below
    which animals are told once a set has more.
    """

    share: float
    told: float
    sure: float
    usual: float = -1.0


PARTS = {
    "whole animal": Limits(share=0.003, told=-0.9, sure=-2.5),
    "head": Limits(share=0.003, told=-0.9, sure=-2.5),
    "front limbs": Limits(share=0.02, told=-1.5, sure=-6.0),
    "hind limbs": Limits(share=0.03, told=-1.75, sure=-7.0),
}
WORD = {"head": "head", "front limbs": "front", "hind limbs": "back"}


def swaps(sheet: Sheet, seen: View) -> list[Finding]:
    """The animals that are probably exchanged, each with the part that is."""
    part = suspects(sheet, seen)
    ids, rows = picked(sheet, part != "")
    shown = part[part != ""]
    counts = ", ".join(
        f"{int((shown == name).sum())} {name}" for name in PARTS if (shown == name).any()
    )
    return finding(
        "left-right-swap",
        ids,
        f"{number(len(ids), 'animal')} with left and right probably exchanged ({counts})",
        details=list(shown),
        rows=rows,
    )


def suspects(sheet: Sheet, seen: View) -> np.ndarray:
    """(N,) the part of each animal that is probably exchanged; empty text for none."""
    found = np.full(len(sheet), "", dtype=object)
    for names in dict.fromkeys(sheet.keypoint_names):
        species = [i for i, own in enumerate(sheet.keypoint_names) if own == names]
        rows = np.flatnonzero(np.isin(sheet.species, species) & (sheet.counts == len(names)))
        if not names or not len(rows):
            continue
        points, corners = seen.points[rows, : len(names)], seen.corners[rows]
        models = learn(points, corners, names)
        part = _judged(margins_of(models, points, corners, names), len(rows))
        told = np.flatnonzero(part != "")
        part[told] = _best(models, points[told], corners[told], names, part[told])
        found[rows] = part
    return found


def _judged(margins: dict[str, np.ndarray], count: int) -> np.ndarray:
    """The part with the lowest margin among those that are told, for each animal."""
    part = np.full(count, "", dtype=object)
    lowest = np.zeros(count)
    for name, margin in margins.items():
        limits = PARTS[name]
        known = int(np.isfinite(margin).sum())
        value = np.nan_to_num(margin)
        many = (value < limits.usual).sum() > limits.share * known + CHANCE
        depth = value / -(limits.told if many else limits.sure)
        worse = (depth < -1) & (depth < lowest)
        part[worse], lowest[worse] = name, depth[worse]
    return part


def _best(
    models: dict[str, Model],
    points: np.ndarray,
    corners: np.ndarray,
    names: Sequence[str],
    part: np.ndarray,
) -> np.ndarray:
    """For suspects, the part after whose exchange the animal as a whole is most like the others."""
    score = np.full((len(PARTS), len(points)), -np.inf)
    for row, name in enumerate(PARTS):
        if name in models and len(points):
            turned = exchanged(points, part_pairs(names, name))
            margins = margins_of(models, turned, corners, names).values()
            score[row] = np.sum([np.nan_to_num(margin) for margin in margins], axis=0)
    best = np.array(list(PARTS), dtype=object)[score.argmax(axis=0)]
    return np.where(np.isfinite(score.max(axis=0, initial=-np.inf)), best, part)


def exchanged(points: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Points (N, K, ...) with the two of each pair (P, 2) exchanged."""
    turned = points.copy()
    turned[:, pairs[:, 0]], turned[:, pairs[:, 1]] = points[:, pairs[:, 1]], points[:, pairs[:, 0]]
    return turned


def part_pairs(names: Sequence[str], part: str) -> np.ndarray:
    """(P, 2) the left and right points of a part of ``PARTS``."""
    pairs = _pairs(names)
    return pairs if part not in WORD else pairs[parts(names)[pairs[:, 0]] == WORD[part]]


@dataclass(frozen=True)
class Model:
    """What a set's labels tell of one part: weights of the features, and the median odds."""

    weights: np.ndarray
    usual: float


def learn(points: np.ndarray, corners: np.ndarray, names: Sequence[str]) -> dict[str, Model]:
    """A model of each part that has enough animals; points (N, K, 2) NaN where not labelled."""
    if len(_pairs(names)) < 2:
        return {}
    animal = _measured(points, corners, names)
    models = {}
    for name in PARTS:
        features, known = _features(animal, WORD.get(name))
        if known.sum() < LEAST * max(features.shape[1], 25):
            continue
        if not _tells(features[known]):
            continue
        weights = _fitted(features[known])
        models[name] = Model(weights, float(np.median(np.abs(features[known] @ weights))))
    return models


def margins_of(
    models: dict[str, Model], points: np.ndarray, corners: np.ndarray, names: Sequence[str]
) -> dict[str, np.ndarray]:
    """(N,) margins of each part; NaN where the animal has no point of it."""
    if not models:
        return {}
    animal = _measured(points, corners, names)
    margins = {}
    for name, model in models.items():
        features, known = _features(animal, WORD.get(name))
        margins[name] = np.where(known, features @ model.weights / model.usual, np.nan)
    return margins


@dataclass(frozen=True)
class _Animals:
    """apart (N, P, 2) left minus right by size, seen (N, P) +1 only left, -1 only right labelled,
    sided (N, P) any of the two, part (P,), pose (N, C) unchanged by an exchange of sides.
    """

    apart: np.ndarray
    seen: np.ndarray
    sided: np.ndarray
    part: np.ndarray
    pose: np.ndarray


def _pairs(names: Sequence[str]) -> np.ndarray:
    """(P, 2) index of the left and the right point of each pair."""
    index, _ = partners(names)
    lefts = [i for i, other in enumerate(index) if other != i and side(names[i]) == "left"]
    return np.array([(i, index[i]) for i in lefts], dtype=np.int64).reshape(-1, 2)


def _measured(points: np.ndarray, corners: np.ndarray, names: Sequence[str]) -> _Animals:
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # an animal without such points: NaN
        return _cues(points, corners, names)


def _cues(points: np.ndarray, corners: np.ndarray, names: Sequence[str]) -> _Animals:
    pairs, where = _pairs(names), parts(names)
    scale = np.sqrt(np.clip(box_area(np.nan_to_num(corners)), 1.0, None))[:, None]
    left, right = points[:, pairs[:, 0]], points[:, pairs[:, 1]]
    left_there, right_there = (np.isfinite(p).all(axis=-1) for p in (left, right))
    middle = {name: np.nanmean(points[:, where == name], axis=1) for name in np.unique(where)}
    nowhere = np.full((len(points), 2), np.nan)
    head, front, back = (middle.get(name, nowhere) for name in ("head", "front", "back"))
    tip = [i for i, n in enumerate(names) if any(w in n.lower() for w in HEAD_MIDLINE)]
    upper = [i for i, name in enumerate(where) if name == "head" and i not in tip]
    nose = points[:, tip[0]] if tip else nowhere
    crown = np.nanmean(points[:, upper], axis=1) if upper else nowhere
    trunk = _direction(_either(front, head) - back, scale)
    neck = _direction(head - _either(back, front), scale)
    gaze = _direction(2 * (nose - crown), scale)
    return _Animals(
        apart=np.clip(np.nan_to_num((left - right) / scale[..., None]), -0.5, 0.5) * 4,
        seen=np.asarray(left_there.astype(np.float64) - right_there),
        sided=np.asarray(left_there | right_there),
        part=where[pairs[:, 0]],
        pose=np.concatenate([np.ones((len(points), 1)), trunk, neck, gaze], axis=1),
    )


def _either(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(one), one, other)


def _direction(vector: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return np.clip(np.nan_to_num(2 * vector / scale), -1, 1)


def _features(animal: _Animals, word: str | None) -> tuple[np.ndarray, np.ndarray]:
    """(N, F) features that change sign when the part is exchanged; (N,) where it has a point."""
    own = np.ones(len(animal.part), dtype=bool) if word is None else animal.part == word
    context = [animal.pose]
    for other in () if word is None else ("head", "front", "back"):
        held = animal.part == other
        if other != word and held.any():
            context += [
                np.clip(animal.apart[:, held].mean(axis=1) * 1.5, -1.8, 1.8),
                animal.seen[:, held].mean(axis=1, keepdims=True),
            ]
    count = len(animal.pose)
    signed = np.concatenate([animal.apart[:, own].reshape(count, -1), animal.seen[:, own]], axis=1)
    signed, around = signed.astype(np.float32), np.concatenate(context, axis=1, dtype=np.float32)
    features = signed[:, :, None] * around[:, None, :]
    width = signed.shape[1] * around.shape[1]
    return features.reshape(count, width), np.asarray(animal.sided[:, own].any(axis=1))


def _fitted(features: np.ndarray) -> np.ndarray:
    """Weights of the regression, fitted again without what it holds for exchanged."""
    chosen = features[:: max(1, -(-len(features) // FITTED))]
    weights = _regression(chosen)
    for _ in range(ROUNDS - 1):
        odds = chosen @ weights
        weights = _regression(chosen[odds > -0.15 * np.median(np.abs(odds)) - 0.5])
    return weights


def _tells(features: np.ndarray) -> bool:
    """Whether what is learnt from one half of the animals holds for the other."""
    chosen = features[:: max(1, -(-len(features) // FITTED))]
    return bool((chosen[1::2] @ _regression(chosen[::2]) > 0).mean() > TELLS)


def _regression(features: np.ndarray) -> np.ndarray:
    """Logistic weights that give all rows positive odds, by Newton's steps with a ridge."""
    weights = np.zeros(features.shape[1], dtype=np.float32)
    ridge = RIDGE * np.eye(features.shape[1], dtype=np.float32)
    for _ in range(STEPS):
        wrong = 1 / (1 + np.exp(np.clip(features @ weights, -30, 30)))
        slope = features.T @ wrong - RIDGE * weights
        curve = (features * (wrong * (1 - wrong))[:, None]).T @ features + ridge
        weights = weights + np.linalg.solve(curve, slope)
    return weights
