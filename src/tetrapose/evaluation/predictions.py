"""Predictions in columns, and the way from a labelled set and its predictions to what is scored."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tetrapose.evaluation import oks
from tetrapose.evaluation.pck import Pairs
from tetrapose.evaluation.protocols import SCORE_FLOOR, areas_of
from tetrapose.skeletons.mapping import ABSENT, NEAR, Mapping
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


def truth_of(pose_set: PoseSet, area: str = "set") -> oks.Truth:
    """The labels as OKS takes them, with areas by a rule of ``protocols.AREAS``.

    Pictures are told apart, and ordered, by their ids.
    """
    return oks.Truth(
        keypoints=pose_set.keypoints,
        visibility=pose_set.visibility,
        bboxes=pose_set.bboxes,
        areas=areas_of(pose_set, area),
        image=pose_set.image_ids[pose_set.image_index],
        category=pose_set.species,
        crowd=np.asarray(pose_set.crowd, dtype=bool),
    )


def detections_of(
    predictions: Predictions, pose_set: PoseSet, ranking: str = "instance"
) -> oks.Detections:
    """The predictions as OKS takes them, ranked by a rule of ``protocols.RANKING``."""
    return oks.Detections(
        keypoints=predictions.keypoints,
        scores=ranks(predictions) if ranking == "keypoints" else predictions.instance_scores,
        image=pose_set.image_ids[predictions.image],
        category=predictions.species,
        areas=predictions.areas,
    )


def ranks(predictions: Predictions) -> np.ndarray:
    """(M,) mean score of the points found, or the instance score where no point tells one.

    Files often give every point the same score: then only the instance score ranks.
    """
    found = np.isfinite(predictions.keypoints).all(axis=-1) & np.isfinite(predictions.scores)
    if not tells_keypoints_apart(predictions):
        return predictions.instance_scores
    total = np.where(found, predictions.scores, 0.0).sum(axis=1)
    return total / np.maximum(found.sum(axis=1), 1)


def tells_keypoints_apart(predictions: Predictions) -> bool:
    """Whether any two keypoint scores differ."""
    return bool(predictions.scores.size and np.ptp(np.nan_to_num(predictions.scores)) > 0)


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


def without(pose_set: PoseSet, mapping: Mapping) -> PoseSet:
    """The set with the points that the mapping's source lacks taken for not labelled."""
    lacking = mapping.index < 0
    return replace(
        pose_set,
        visibility=np.where(lacking, 0, pose_set.visibility).astype(pose_set.visibility.dtype),
        keypoints=np.where(lacking[:, None], np.nan, pose_set.keypoints),
    )


def mapping_notes(mapping: Mapping) -> tuple[str, ...]:
    """What a reader of the figures has to know of a mapping: points left out, points near."""
    notes = []
    absent = [name for _, name in mapping.named(ABSENT)]
    near = [f"{name} ({source})" for source, name in mapping.named(NEAR)]
    if absent:
        notes.append(f"not predicted and left out: {', '.join(absent)}")
    if near:
        notes.append(f"scored by a point that is near but not the same: {', '.join(near)}")
    return tuple(notes)
