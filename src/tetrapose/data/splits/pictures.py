"""Recipes that share out whole pictures, groups of them kept together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tetrapose.data.splits import draw
from tetrapose.data.splits.files import Part
from tetrapose.data.splits.folds import folds
from tetrapose.errors import UserError
from tetrapose.structures import PoseSet


@dataclass(frozen=True)
class Made:
    """The parts that a recipe made, and in plain values what they reached."""

    parts: dict[str, Part]
    report: dict[str, Any] = field(default_factory=dict)


def fold_parts(
    pose_set: PoseSet, *, count: int = 5, seed: int = 0, groups: np.ndarray | None = None
) -> Made:
    """``fold_0_train``, ``fold_0_val``, ...: each picture with an animal is held out once."""
    fold = folds(pose_set, int(count), seed=seed, groups=groups)
    parts = {}
    for k in range(int(count)):
        for name, rows in (("train", (fold >= 0) & (fold != k)), ("val", fold == k)):
            names = sorted(pose_set.files[i] for i in np.flatnonzero(rows))
            parts[f"fold_{k}_{name}"] = Part(tuple(names))
    return Made(parts, {"pictures": np.bincount(fold[fold >= 0], minlength=int(count)).tolist()})


def ratio(
    pose_set: PoseSet, *, shares: Any = "9:1", seed: int = 0, groups: np.ndarray | None = None
) -> Made:
    """Parts whose animals stand in a ratio within each species: ``train`` and ``val``, or three.

    Groups of pictures are dealt in a drawn order, those of the rarest species first, each to the
    part whose shares of its species it leaves least full; then single groups move as long as that
    brings some species nearer to its ratio. After iterative stratification (Sechidis, Tsoumakas,
    Vlahavas: On the Stratification of Multi-Label Data, ECML PKDD 2011).
    """
    weights = _ratio(shares)
    names = ("train", "val", "test")[: len(weights)]
    made = draw.units(pose_set, groups)
    if len(made) < len(weights):
        raise UserError(f"ratio {shares}: the set has only {len(made)} groups of pictures")
    totals = made.species.sum(axis=0)
    target = np.outer(weights / weights.sum(), totals)  # (parts, species)
    rarest = np.where(made.species > 0, totals, np.iinfo(np.int64).max).min(axis=1)
    drawn = made.order(seed, "ratio")
    part = _dealt(made.species, target, drawn[np.argsort(rarest[drawn], kind="stable")])
    part = _settled(made.species, target, part, drawn)
    parts = {
        name: Part(draw.pictures_of(pose_set, made, part == p)) for p, name in enumerate(names)
    }
    reached = np.stack([made.species[part == p].sum(axis=0) for p in range(len(names))])
    report = {
        name: {
            "pictures": int(made.pictures[part == p].sum()),
            "animals": int(reached[p].sum()),
            "share": _per_species(made, reached[p] / totals),
            "animals_per_species": _per_species(made, reached[p]),
        }
        for p, name in enumerate(names)
    }
    return Made(parts, report)


def n_shot(
    pose_set: PoseSet, *, count: int = 5, seed: int = 0, groups: np.ndarray | None = None
) -> Made:
    """``labelled``: ``count`` pictures of each species; ``unlabelled``: all others.

    In rounds, every species that has fewer pictures than the round's number takes the next in its
    own order; a picture of two species counts for both. So fewer shots of a seed are part of more.
    A group of identical pictures comes whole and may exceed the count.
    """
    if int(count) < 1:
        raise UserError(f"n-shot {count}: at least one picture of each species is due")
    made = draw.units(pose_set, groups)
    chosen = shot_units(made, int(count), seed)
    have = made.species_pictures[chosen].sum(axis=0)
    short = [n for n, k in zip(made.species_names, have, strict=True) if k < int(count)]
    report = {
        "pictures": int(made.pictures[chosen].sum()),
        "animals": int(made.animals[chosen].sum()),
        "pictures_per_species": _per_species(made, have),
        "species_with_fewer": short,
    }
    return Made(_labelled_and_not(pose_set, made, chosen), report)


def shot_units(made: draw.Units, count: int, seed: int) -> np.ndarray:
    """(U,) mask of the units that ``n_shot`` labels."""
    chosen = np.zeros(len(made), dtype=bool)
    have = np.zeros(len(made.species_names), dtype=np.int64)
    waiting = []
    for s, name in enumerate(made.species_names):
        mine = np.flatnonzero(made.species[:, s])
        drawn = draw.lots([made.names[u] for u in mine], seed, f"n-shot {name}")
        waiting.append(iter(mine[np.argsort(drawn, kind="stable")].tolist()))
    for round_ in range(1, count + 1):
        for s, mine in enumerate(waiting):
            if have[s] >= round_:
                continue
            unit = next((u for u in mine if not chosen[u]), None)
            if unit is not None:
                chosen[unit] = True
                have += made.species_pictures[unit]
    return chosen


def fraction(
    pose_set: PoseSet, *, share: Any = 0.1, seed: int = 0, groups: np.ndarray | None = None
) -> Made:
    """``labelled``: a random share of the animals, in whole pictures; ``unlabelled``: the rest.

    A smaller share of a seed is part of a larger one.
    """
    made = draw.units(pose_set, groups)
    chosen = share_units(made, share, seed)
    animals = int(made.animals[chosen].sum())
    report = {
        "pictures": int(made.pictures[chosen].sum()),
        "animals": animals,
        "share": round(animals / int(made.animals.sum()), 5),
    }
    return Made(_labelled_and_not(pose_set, made, chosen), report)


def share_units(made: draw.Units, share: Any, seed: int) -> np.ndarray:
    """(U,) the units that ``fraction`` labels for a seed: as near to the share as they come."""
    wanted = draw.share(share, "share")
    order = made.order(seed, "fraction")
    filled = np.cumsum(made.animals[order])
    last = int(np.argmin(np.abs(filled - wanted * filled[-1])))
    chosen = np.zeros(len(made), dtype=bool)
    chosen[order[: last + 1]] = True
    return chosen


def _labelled_and_not(pose_set: PoseSet, made: draw.Units, chosen: np.ndarray) -> dict[str, Part]:
    return {
        "labelled": Part(draw.pictures_of(pose_set, made, chosen)),
        "unlabelled": Part(draw.pictures_of(pose_set, made, ~chosen)),
    }


def _ratio(shares: Any) -> np.ndarray:
    texts = shares.split(":") if isinstance(shares, str) else list(shares)
    try:
        weights = np.array([float(text) for text in texts])
    except (TypeError, ValueError):
        weights = np.array([])
    if len(weights) not in (2, 3) or not (weights > 0).all() or not np.isfinite(weights).all():
        raise UserError(f"ratio {shares}: due are two or three numbers above 0, as 9:1 or 8:1:1")
    return weights


def _dealt(species: np.ndarray, target: np.ndarray, order: np.ndarray) -> np.ndarray:
    """(U,) the part of each unit, dealt in ``order``."""
    part = np.zeros(len(species), dtype=np.int64)
    have = np.zeros(target.shape)
    totals = target.sum(axis=0)
    for unit in order:
        mine = np.flatnonzero(species[unit])
        counts = species[unit, mine]
        full = (have[:, mine] + counts / 2) / target[:, mine]
        part[unit] = np.argmin((full * (counts / totals[mine])).sum(axis=1))
        have[part[unit], mine] += counts
    return part


def _settled(
    species: np.ndarray, target: np.ndarray, part: np.ndarray, order: np.ndarray
) -> np.ndarray:
    """After moves of single units, the best first, while one lessens the distance to ``target``.

    The distance is the sum over parts and species of (have - target)^2 / target.
    """
    part, counts = part.copy(), species[order].astype(np.float64)
    have = np.stack([species[part == p].sum(axis=0) for p in range(len(target))]).astype(float)
    rows = np.arange(len(order))
    for _ in range(len(order)):
        off = have - target
        # change of the distance when a unit's counts leave (-) or join (+) a part
        leave = (counts * (counts - 2 * off[:, None]) / target[:, None]).sum(axis=2)
        join = (counts * (counts + 2 * off[:, None]) / target[:, None]).sum(axis=2)
        change = join + leave[part[order], rows]
        change[part[order], rows] = 0.0
        best = int(np.argmin(change.min(axis=0)))
        to = int(np.argmin(change[:, best]))
        if change[to, best] > -1e-9:
            return part
        unit = order[best]
        have[part[unit]] -= species[unit]
        have[to] += species[unit]
        part[unit] = to
    return part


def _per_species(made: draw.Units, values: np.ndarray) -> dict[str, Any]:
    return {
        name: int(v) if float(v).is_integer() else round(float(v), 4)
        for name, v in zip(made.species_names, values, strict=True)
    }
