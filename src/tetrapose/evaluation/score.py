"""One labelled set, one set of predictions, one protocol: every figure with its rules beside it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tetrapose.evaluation import oks, pck
from tetrapose.evaluation.pck import Pairs
from tetrapose.evaluation.predictions import Predictions, detections_of, pairs_of, truth_of
from tetrapose.evaluation.protocols import Protocol, sigmas_of
from tetrapose.structures import PoseSet


def score(truth: PoseSet, predictions: Predictions, protocol: Protocol) -> dict[str, Any]:
    """The result as plain values, ready for JSON.

    Keys: COCO's ten figures; ``pck`` by definition and threshold, each by its own mean, and
    ``pck_by_mean`` by all three (the definition that needs pictures' sizes only where one is
    known); ``nme``, ``oks`` (mean over instances) and ``swap_rate`` (share of sided points nearer
    to their partner's truth); ``per_keypoint``, ``per_species``, ``protocol`` and ``counts``.
    COCO's -1 stands where no instance counts; None where a mean has nothing to run over.
    """
    sigmas = sigmas_of(truth.skeleton, protocol.sigmas)
    labels, found = truth_of(truth), detections_of(predictions, truth)
    by_species = oks.evaluate(labels, found, sigmas)
    pooled = protocol.pooling == "pooled"
    run = oks.evaluate(labels, found, sigmas, pooled=True) if pooled else by_species
    pairs = pairs_of(predictions, truth)
    tables = pck.tables(pairs)
    swapped = pck.swaps(pairs, truth.skeleton.flip_indices)
    likeness = instance_oks(truth, pairs, sigmas)
    return {
        **run.figures(),
        **_measures(tables, swapped, likeness),
        "pck_by_mean": {name: _means(table) for name, table in tables.items()},
        "per_keypoint": _per_keypoint(truth, pairs, tables, swapped, sigmas),
        "per_species": _per_species(truth, by_species, tables, swapped, likeness),
        "protocol": protocol.describe(truth.skeleton),
        "counts": _counts(truth, predictions, pairs),
    }


def instance_oks(truth: PoseSet, pairs: Pairs, sigmas: np.ndarray) -> np.ndarray:
    """(N,) OKS of each instance with its own prediction, 0 for none; NaN where none counts."""
    rows = np.arange(len(truth))
    values = oks.similarity(truth_of(truth), rows, pairs.predicted, rows, sigmas)
    return np.where(pairs.labelled.any(axis=1), values, np.nan)


def _measures(
    tables: dict[str, np.ndarray], swapped: np.ndarray, likeness: np.ndarray
) -> dict[str, Any]:
    """The figures of any part of a set: ``pck``, ``nme``, ``oks`` and ``swap_rate``."""
    own = {
        name: {key: means[pck.DEFINITIONS[name].mean] for key, means in _shares(table).items()}
        for name, table in tables.items()
    }
    return {
        "pck": own,
        "nme": _plain(pck.mean_error(tables["box_area"])),
        "oks": _plain(_nanmean(likeness)),
        "swap_rate": _plain(_nanmean(swapped)),
    }


def _shares(table: np.ndarray) -> dict[str, dict[str, float | None]]:
    """{threshold: {mean: share}}."""
    return {
        str(threshold): {key: _plain(v) for key, v in pck.shares(table, threshold).items()}
        for threshold in pck.THRESHOLDS
    }


def _means(table: np.ndarray) -> dict[str, dict[str, float | None]]:
    """{mean: {threshold: share}}."""
    shares = _shares(table)
    return {
        mean: {threshold: values[mean] for threshold, values in shares.items()}
        for mean in ("points", "instances", "types")
    }


def _per_keypoint(
    truth: PoseSet,
    pairs: Pairs,
    tables: dict[str, np.ndarray],
    swapped: np.ndarray,
    sigmas: np.ndarray,
) -> dict[str, Any]:
    """Figures of each keypoint that is labelled anywhere; its oks is the mean of its own term."""
    out = {}
    labels = truth_of(truth)
    rows = np.arange(len(truth))
    for k, name in enumerate(truth.skeleton.names):
        count = int(pairs.labelled[:, k].sum())
        if not count:
            continue
        alone = replace(
            labels, keypoints=labels.keypoints[:, [k]], visibility=labels.visibility[:, [k]]
        )
        term = oks.similarity(alone, rows, pairs.predicted[:, [k]], rows, sigmas[[k]])
        term = np.where(pairs.labelled[:, k], term, np.nan)
        columns = {key: table[:, [k]] for key, table in tables.items()}
        out[name] = {"count": count, **_measures(columns, swapped[:, [k]], term)}
    return out


def _per_species(
    truth: PoseSet,
    run: oks.Evaluation,
    tables: dict[str, np.ndarray],
    swapped: np.ndarray,
    likeness: np.ndarray,
) -> dict[str, Any]:
    out = {}
    for species in np.unique(truth.species):
        rows = truth.species == species
        part = {key: table[rows] for key, table in tables.items()}
        out[truth.species_names[species]] = {
            "instances": int(np.isfinite(likeness[rows]).sum()),
            **run.figures_of(int(species)),
            **_measures(part, swapped[rows], likeness[rows]),
        }
    return out


def _counts(truth: PoseSet, predictions: Predictions, pairs: Pairs) -> dict[str, int]:
    scored = pairs.labelled.any(axis=1)
    found = np.isfinite(pairs.predicted).all(axis=-1)
    return {
        "pictures": len(truth.files),
        "pictures_without_instances": int(len(truth.files) - len(np.unique(truth.image_index))),
        "instances": len(truth),
        "instances_scored": int(scored.sum()),
        "crowds": int(np.count_nonzero(truth.crowd)),
        "instances_without_area": int((scored & ~(pairs.areas > 0)).sum()),
        "instances_not_found": int((scored & ~np.any(found, axis=1)).sum()),
        "predictions": len(predictions.instance_scores),
        "keypoints": int(pairs.labelled.sum()),
        "keypoints_not_found": int((pairs.labelled & ~found).sum()),
    }


def _nanmean(values: np.ndarray) -> float:
    kept = values[~np.isnan(values)]
    return float(kept.mean()) if len(kept) else float("nan")


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
