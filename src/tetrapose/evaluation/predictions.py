"""Predictions in columns, and the way from a labelled set and its predictions to what is scored."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tetrapose.evaluation import oks
from tetrapose.evaluation.pck import Pairs
from tetrapose.evaluation.protocols import SCORE_FLOOR
from tetrapose.skeletons import Skeleton
from tetrapose.structures import PoseSet


@dataclass(frozen=True)
class Predictions:
    """M predicted instances for a PoseSet, on its skeleton.

    keypoints (M, K, 2) in picture pixels, NaN where there is none; scores (M, K); instance_scores
    (M,); areas (M,) px^2; image (M,) row of the picture; species (M,); instance (M,) the row of the
    labelled instance it belongs to, -1 for none.
    """

    keypoints: np.ndarray
    scores: np.ndarray
    instance_scores: np.ndarray
    areas: np.ndarray
    image: np.ndarray
    species: np.ndarray
    instance: np.ndarray


def truth_of(pose_set: PoseSet) -> oks.Truth:
    """The labels as OKS takes them; pictures are told apart, and ordered, by their ids."""
    return oks.Truth(
        keypoints=pose_set.keypoints,
        visibility=pose_set.visibility,
        bboxes=pose_set.bboxes,
        areas=pose_set.areas,
        image=pose_set.image_ids[pose_set.image_index],
        category=pose_set.species,
        crowd=np.asarray(pose_set.crowd, dtype=bool),
    )


def detections_of(predictions: Predictions, pose_set: PoseSet) -> oks.Detections:
    """The predictions as OKS takes them."""
    return oks.Detections(
        keypoints=predictions.keypoints,
        scores=predictions.instance_scores,
        image=pose_set.image_ids[predictions.image],
        category=predictions.species,
        areas=predictions.areas,
    )


def pairs_of(predictions: Predictions, pose_set: PoseSet) -> Pairs:
    """Each labelled instance beside its prediction; crowds have no labels here."""
    truth = truth_of(pose_set)
    predicted = np.full(truth.keypoints.shape, np.nan)
    has = predictions.instance >= 0
    predicted[predictions.instance[has]] = predictions.keypoints[has]
    return Pairs(
        truth=np.asarray(truth.keypoints, dtype=np.float64),
        labelled=truth.labelled & ~truth.crowd[:, None],
        predicted=predicted,
        bboxes=np.asarray(pose_set.bboxes, dtype=np.float64),
        areas=np.asarray(pose_set.areas, dtype=np.float64),
        sizes=np.asarray(pose_set.sizes, dtype=np.float64)[pose_set.image_index],
    )


def instance_scores(scores: np.ndarray, bbox_scores: np.ndarray | None = None) -> np.ndarray:
    """(M, K) keypoint scores -> (M,): mean of those above 0.2, 0 for none, times the bbox score.

    Source: evaluate() of HRNet's lib/dataset/coco.py (IN_VIS_THRE 0.2).
    """
    scores = np.nan_to_num(np.asarray(scores, dtype=np.float64))
    sure = scores > SCORE_FLOOR
    mean = np.where(sure, scores, 0.0).sum(axis=1) / np.maximum(sure.sum(axis=1), 1)
    return mean if bbox_scores is None else mean * bbox_scores


def in_given_boxes(
    pose_set: PoseSet,
    keypoints: np.ndarray,
    scores: np.ndarray,
    *,
    bbox_scores: np.ndarray | None = None,
) -> Predictions:
    """Rows (N, K, 2) and (N, K) made in the bboxes of a set's instances, in their order.

    Crowds and instances without labelled points are left out, as HRNet and MMPose never predict
    them. Rows that are NaN throughout (a picture that could not be read) count as not found.
    """
    shape = pose_set.keypoints.shape
    if keypoints.shape != shape or scores.shape != shape[:2]:
        raise ValueError(
            f"predictions have shapes {keypoints.shape} and {scores.shape}; the set has {shape}"
        )
    truth = truth_of(pose_set)
    made = np.any(np.isfinite(keypoints).all(axis=-1), axis=1)
    rows = np.flatnonzero(truth.labelled.any(axis=1) & ~truth.crowd & made)
    chosen = np.asarray(keypoints[rows], dtype=np.float64)
    boxes = bbox_scores[rows] if bbox_scores is not None else None
    return Predictions(
        keypoints=chosen,
        scores=np.asarray(scores[rows], dtype=np.float64),
        instance_scores=instance_scores(scores[rows], boxes),
        areas=oks.keypoint_extent(chosen),
        image=pose_set.image_index[rows],
        species=pose_set.species[rows],
        instance=rows,
    )


@dataclass(frozen=True)
class Naming:
    """How the points of one skeleton lie on another: by equal names.

    ``source`` (T,) is the place in the source of each target point, -1 for none; ``left_out`` names
    the target's points that the source lacks; ``moved`` those whose site on the body is told in
    other words, so that they may not mean the same place.
    """

    source: np.ndarray
    left_out: tuple[str, ...]
    moved: tuple[str, ...]


def by_name(source: Skeleton, target: Skeleton) -> Naming:
    """Match two skeletons by keypoint name."""
    place = {name: index for index, name in enumerate(source.names)}
    found = np.array([place.get(name, -1) for name in target.names], dtype=np.int64)
    sites = {point.name: point.site for point in source.keypoints}
    return Naming(
        source=found,
        left_out=tuple(name for name in target.names if name not in place),
        moved=tuple(
            f"{point.name} ({sites[point.name]} for the model, {point.site} in the set)"
            for point in target.keypoints
            if sites.get(point.name, point.site) != point.site
        ),
    )


def renamed(values: np.ndarray, naming: Naming, *, empty: float) -> np.ndarray:
    """(N, S, ...) in the source's order -> (N, T, ...) in the target's, ``empty`` where lacking."""
    out = values[:, np.maximum(naming.source, 0)].astype(np.float64)
    out[:, naming.source < 0] = empty
    return out


def without(pose_set: PoseSet, naming: Naming) -> PoseSet:
    """The set with the points that the source lacks taken for not labelled."""
    lacking = naming.source < 0
    return replace(
        pose_set,
        visibility=np.where(lacking, 0, pose_set.visibility).astype(pose_set.visibility.dtype),
        keypoints=np.where(lacking[:, None], np.nan, pose_set.keypoints),
    )
