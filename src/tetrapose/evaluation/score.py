"""One labelled set, one set of predictions, one protocol: every figure with its rules beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tetrapose.evaluation import nearest, oks, pck
from tetrapose.evaluation.pck import Pairs
from tetrapose.evaluation.predictions import (
    Predictions,
    detections_of,
    pairs_of,
    tells_keypoints_apart,
    truth_of,
)
from tetrapose.evaluation.protocols import Headline, Protocol, sigmas_of
from tetrapose.structures import PoseSet

NO_KEYPOINT_SCORES = "all keypoint scores are equal: predictions are ranked by the instance score"


def score(truth: PoseSet, predictions: Predictions, protocol: Protocol) -> dict[str, Any]:
    """The result as plain values, ready for JSON.

    Keys: COCO's ten figures; ``headline`` the figure that stands beside AP in the protocol's source
    (None where there is none); ``pck`` by definition and threshold, each by its own mean, and
    ``pck_by_mean`` by all three (the definition that needs pictures' sizes only where one is
    known); ``nme``, ``oks`` (mean over instances) and ``swap_rate`` (share of sided points nearer
    to their partner's truth); ``per_keypoint``, ``per_species``, ``protocol`` and ``counts``.
    COCO's -1 stands where no instance counts and for figures that a protocol does not have; None
    where a mean has nothing to run over.
    """
    pairs = pairs_of(predictions, truth)
    tables = pck.tables(pairs)
    swapped = pck.swaps(pairs, truth.skeleton.flip_indices)
    likeness = instance_oks(truth, pairs, protocol)
    head = _head(truth, predictions, protocol, tables)
    by_species, _ = _evaluate(truth, predictions, replace(protocol, pooling="macro"))
    return {
        **head,
        **_measures(tables, swapped, likeness),
        "pck_by_mean": {name: _means(table) for name, table in tables.items()},
        "per_keypoint": _per_keypoint(truth, pairs, tables, swapped, protocol),
        "per_species": _per_species(truth, by_species, tables, swapped, likeness),
        "counts": _counts(truth, predictions, pairs),
    }


def side_by_side(
    truth: PoseSet, predictions: Predictions, protocols: Sequence[Protocol]
) -> dict[str, dict[str, Any]]:
    """By protocol name the ten figures, ``headline``, mean ``oks`` and ``protocol``, told in full.

    Distances are tabled once for all of them.
    """
    pairs = pairs_of(predictions, truth)
    wanted = {p.headline.definition for p in protocols if p.headline} - {""}
    tables = {name: pck.distances(pairs, name) for name in sorted(wanted)}
    out = {}
    for protocol in protocols:
        head = _head(truth, predictions, protocol, tables)
        likeness = instance_oks(truth, pairs, protocol)
        out[protocol.name] = head | {"oks": _plain(_nanmean(likeness))}
    return out


def instance_oks(truth: PoseSet, pairs: Pairs, protocol: Protocol) -> np.ndarray:
    """(N,) OKS of each instance with its own prediction, 0 for none; NaN where none counts."""
    rows = np.arange(len(truth))
    labels = truth_of(truth, protocol.area)
    sigmas = sigmas_of(truth.skeleton, protocol.sigmas)
    values = oks.similarity(labels, rows, pairs.predicted, rows, sigmas)
    return np.where(pairs.labelled.any(axis=1), values, np.nan)


def _head(
    truth: PoseSet,
    predictions: Predictions,
    protocol: Protocol,
    tables: dict[str, np.ndarray],
) -> dict[str, Any]:
    """The ten figures, the headline and the rules."""
    if protocol.ranking == "keypoints" and not tells_keypoints_apart(predictions):
        protocol = replace(protocol, notes=(*protocol.notes, NO_KEYPOINT_SCORES))
    run, pixels = _evaluate(truth, predictions, protocol)
    return {
        **run.figures(),
        "headline": _headline(protocol.headline, tables, pixels),
        "protocol": protocol.describe(truth.skeleton),
    }


def _evaluate(
    truth: PoseSet, predictions: Predictions, protocol: Protocol
) -> tuple[oks.Evaluation, float]:
    """The matching that the protocol asks for, and its pixel error where that is its headline."""
    sigmas = sigmas_of(truth.skeleton, protocol.sigmas)
    labels = truth_of(truth, protocol.area)
    found = detections_of(predictions, truth, protocol.ranking)
    pooled = protocol.pooling == "pooled"
    if protocol.matching == "coco":
        return oks.evaluate(labels, found, sigmas, pooled=pooled), float("nan")
    pairs = nearest.pair(labels, found, sigmas, nearest.RULES[protocol.matching], pooled=pooled)
    told = protocol.headline is not None and protocol.headline.kind == "pixels"
    pixels = nearest.pixel_error(labels, found, pairs) if told else float("nan")
    return nearest.evaluate(found, pairs), pixels


def _headline(
    wanted: Headline | None, tables: dict[str, np.ndarray], pixels: float
) -> dict[str, Any] | None:
    if wanted is None:
        return None
    if wanted.kind == "pixels":
        return {"name": wanted.name, "value": _plain(pixels)}
    value = pck.shares(tables[wanted.definition], wanted.threshold)[wanted.mean]
    return {"name": wanted.name, "value": _plain(value)}


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
    protocol: Protocol,
) -> dict[str, Any]:
    """Figures of each keypoint that is labelled anywhere; its oks is the mean of its own term."""
    out = {}
    labels = truth_of(truth, protocol.area)
    sigmas = sigmas_of(truth.skeleton, protocol.sigmas)
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
