"""Several sets scored as one mix: each by itself in its own skeleton, and the weighted overall."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tetrapose.evaluation.oks import FIGURES
from tetrapose.evaluation.predictions import Predictions
from tetrapose.evaluation.protocols import Protocol
from tetrapose.structures import PoseSet

OVERALL = "mean over the sets that have the figure, weighted by their scored instances"
SINGLE = ("nme", "oks", "swap_rate")


@dataclass(frozen=True)
class Part:
    """One row of a mix: a set, or one species of it, with its predictions and rules."""

    name: str
    truth: PoseSet
    predictions: Predictions
    rules: Protocol


def parts_of(
    name: str,
    truth: PoseSet,
    predictions: Predictions,
    rules: Protocol,
    *,
    species_apart: bool = False,
) -> tuple[Part, ...]:
    """The set itself, or with ``species_apart`` one part for each of its species."""
    species = np.unique(truth.species)
    if not species_apart or len(species) < 2:
        return (Part(name, truth, predictions, rules),)
    return tuple(
        Part(f"{name}_{truth.species_names[one]}", *only(truth, predictions, int(one)), rules)
        for one in species
    )


def only(truth: PoseSet, predictions: Predictions, species: int) -> tuple[PoseSet, Predictions]:
    """The instances and predictions of one species, with the pictures that hold any."""
    guessed = predictions.species == species
    kept = truth.species == species
    pictures = np.zeros(len(truth.files), dtype=bool)
    pictures[truth.image_index[kept]] = True
    pictures[predictions.image[guessed]] = True
    row_of = np.where(kept, np.cumsum(kept) - 1, -1)
    own = predictions.instance[guessed]
    return truth.select_instances(kept).select_images(pictures), Predictions(
        keypoints=predictions.keypoints[guessed],
        scores=predictions.scores[guessed],
        instance_scores=predictions.instance_scores[guessed],
        areas=predictions.areas[guessed],
        image=(np.cumsum(pictures) - 1)[predictions.image[guessed]],
        species=predictions.species[guessed],
        instance=np.where(own >= 0, row_of[own], -1),
    )


def names_of(sources: Sequence[str]) -> list[str]:
    """The sources as names that differ: the second "coco" is "coco 2"."""
    seen: dict[str, int] = {}
    out = []
    for source in sources:
        seen[source] = seen.get(source, 0) + 1
        out.append(source if seen[source] == 1 else f"{source} {seen[source]}")
    return out


def overall(results: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The weighted means of what ``score`` gave for each part, and the weights.

    Keys as there, as far as a mean has a meaning: the ten figures, ``headline``, ``pck``, ``nme``,
    ``oks``, ``swap_rate`` and the sums ``counts``; ``weights`` by part name and ``rule``.
    """
    weights = {name: result["counts"]["instances_scored"] for name, result in results.items()}
    whole = list(results.values())
    numbers = np.array(list(weights.values()), dtype=np.float64)
    shared = [key for key in whole[0]["pck"] if all(key in result["pck"] for result in whole)]
    return {
        **heads(results, weights),
        "pck": {
            key: {
                threshold: _mean([result["pck"][key][threshold] for result in whole], numbers)
                for threshold in whole[0]["pck"][key]
            }
            for key in shared
        },
        **{key: _mean([result[key] for result in whole], numbers) for key in SINGLE},
        "counts": {key: sum(r["counts"][key] for r in whole) for key in whole[0]["counts"]},
        "weights": weights,
        "rule": OVERALL,
    }


def heads(results: Mapping[str, Mapping[str, Any]], weights: Mapping[str, int]) -> dict[str, Any]:
    """The weighted ten figures and ``headline`` of results under one protocol."""
    numbers = np.array([weights[name] for name in results], dtype=np.float64)
    whole = list(results.values())
    out: dict[str, Any] = {}
    for key in FIGURES:
        values = [None if result[key] == -1 else result[key] for result in whole]
        mean = _mean(values, numbers)
        out[key] = -1.0 if mean is None else mean
    told = [result["headline"] for result in whole]
    value = None if None in told else _mean([one["value"] for one in told], numbers)
    out["headline"] = None if None in told else {"name": told[0]["name"], "value": value}
    return out


def _mean(values: Sequence[float | None], weights: np.ndarray) -> float | None:
    there = np.array([value is not None for value in values])
    if not (weights * there).sum():
        return None
    kept = np.array([value for value in values if value is not None], dtype=np.float64)
    return float(np.average(kept, weights=weights[there]))
