"""What a label-free network is judged by: PCK on points that its set labels or not, by part."""

from __future__ import annotations

from typing import Any

import numpy as np

from tetrapose.evaluation import pck
from tetrapose.evaluation import predictions as made
from tetrapose.skeletons import Skeleton
from tetrapose.structures import PoseSet
from tetrapose.training.metrics import coco

THRESHOLDS = (0.05, 0.1, 0.2)
CHOICE = "pck_0.1_labelled"  # what the validation part chooses by: all that a user could know
KINDS = ("overall", "labelled", "unlabelled")


def figures(
    truth: PoseSet, shown: np.ndarray, points: np.ndarray, scores: np.ndarray
) -> dict[str, Any]:
    """Figures of points (N, K, 2) and scores (N, K) predicted in a set's own boxes.

    ``shown`` (N, K) says which points the animal's own labelling has; "unlabelled" are the others
    that the truth knows. PCK is the share of points nearer than a threshold times the square root
    of the area (evaluation.pck, box_area), mean over points. A mean over nothing is None.
    """
    predictions = made.in_given_boxes(truth, points, scores)
    table = pck.distances(made.pairs_of(predictions, truth), "box_area")
    masks = masks_of(table, shown)
    skeleton = truth.skeleton
    return {
        "pck": {str(t): {kind: share(table, masks[kind], t) for kind in KINDS} for t in THRESHOLDS},
        "parts": {
            part: {
                str(t): {kind: share(table, masks[kind] & inside, t) for kind in KINDS}
                for t in THRESHOLDS
            }
            for part, inside in part_masks(skeleton).items()
        },
        "points": {
            name: {str(t): share(table[:, [k]], masks["overall"][:, [k]], t) for t in THRESHOLDS}
            for k, name in enumerate(skeleton.names)
        },
        "unlabelled_points": {
            name: share(table[:, [k]], masks["unlabelled"][:, [k]], 0.1)
            for k, name in enumerate(skeleton.names)
        },
        "counts": {kind: int(masks[kind].sum()) for kind in KINDS},
        **{name: value for name, value in coco(truth, points, scores).items() if "pck" not in name},
    }


def masks_of(table: np.ndarray, shown: np.ndarray) -> dict[str, np.ndarray]:
    """Kind -> (N, K) which points count."""
    counted = ~np.isnan(table)
    return {"overall": counted, "labelled": counted & shown, "unlabelled": counted & ~shown}


def part_masks(skeleton: Skeleton) -> dict[str, np.ndarray]:
    """Body part -> (1, K), for the parts that the skeleton has."""
    parts = np.array([point.part for point in skeleton.keypoints])
    return {part: (parts == part)[None] for part in dict.fromkeys(parts.tolist())}


def share(table: np.ndarray, counted: np.ndarray, threshold: float) -> float | None:
    """The share of counted points below a threshold; None where none counts."""
    here = table[counted]
    return float((here < threshold).mean()) if len(here) else None


def flat(result: dict[str, Any]) -> dict[str, float]:
    """The figures of a curve: PCK by kind, and at 0.1 by body part."""
    out = {
        f"pck_{t}_{kind}": value
        for t, kinds in result["pck"].items()
        for kind, value in kinds.items()
    }
    out |= {f"pck/{part}": by["0.1"]["overall"] for part, by in result["parts"].items()}
    out |= {name: result[name] for name in ("AP", "oks") if name in result}
    return {name: value for name, value in out.items() if value is not None}
