"""Box AP as COCO has it: IoU in place of OKS, the same matching and the same curves.

The figures are those of pycocotools' COCOeval with iouType "bbox" (tests compare the two).

Source: github.com/cocodataset/cocoapi, PythonAPI/pycocotools/cocoeval.py (rules, not code).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tetrapose.evaluation import oks
from tetrapose.evaluation.oks import THRESHOLDS, codes, pairs_by_key, tabulate

AREA_RANGES = {
    "all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e10),
}  # fmt: skip
MAX_DETECTIONS = (1, 10, 100)
FIGURES = (
    "AP", "AP50", "AP75", "APS", "APM", "APL", "AR1", "AR10", "AR100", "ARS", "ARM", "ARL",
)  # fmt: skip
_PAIRS_AT_ONCE = 65536


@dataclass(frozen=True)
class BoxTruth:
    """Labelled boxes in columns: bboxes (N, 4) x1 y1 x2 y2, areas (N,) px^2 by which COCO calls
    them small or large, image (N,) and category (N,) any integers, crowd (N,) bool.
    """

    bboxes: np.ndarray
    areas: np.ndarray
    image: np.ndarray
    category: np.ndarray
    crowd: np.ndarray


@dataclass(frozen=True)
class BoxDetections:
    """Found boxes in columns: bboxes (M, 4), scores (M,) finite, image and category (M,)."""

    bboxes: np.ndarray
    scores: np.ndarray
    image: np.ndarray
    category: np.ndarray

    def __post_init__(self) -> None:
        if not (np.isfinite(self.scores).all() and np.isfinite(self.bboxes).all()):
            raise ValueError("boxes and scores of detections must be finite")


@dataclass(frozen=True)
class BoxEvaluation:
    """precision (A, T, C, 101); recall (3, A, T, C) with 1, 10 and 100 detections a picture.

    Both are -1 where a category has no box in that area range. A runs over ``AREA_RANGES``, T over
    ``oks.THRESHOLDS``, C over ``categories``; positives (A, C) boxes that count.
    """

    precision: np.ndarray
    recall: np.ndarray
    categories: np.ndarray
    positives: np.ndarray

    def figures(self) -> dict[str, float]:
        """COCO's twelve figures, means over the categories present; -1 where nothing counts."""
        return self._figures(slice(None))

    def figures_of(self, category: int) -> dict[str, float]:
        """The twelve figures of one category alone."""
        return self._figures(self.categories == category)

    def _figures(self, columns: slice | np.ndarray) -> dict[str, float]:
        precision, recall = self.precision[:, :, columns], self.recall[..., columns]
        average = np.where(precision[..., 0] == -1, -1.0, precision.mean(-1))
        half, three_quarters = (int(np.argmin(abs(THRESHOLDS - t))) for t in (0.5, 0.75))
        values = [average[0], average[0, half], average[0, three_quarters], *average[1:]]
        values += [recall[0, 0], recall[1, 0], recall[2, 0], *recall[2, 1:]]
        means = [float(v[v > -1].mean()) if (v > -1).any() else -1.0 for v in values]
        return dict(zip(FIGURES, means, strict=True))


def evaluate_boxes(
    truth: BoxTruth, detections: BoxDetections, *, pooled: bool = False
) -> BoxEvaluation:
    """Match detections to boxes and tabulate precision and recall as COCO does.

    With ``pooled`` all categories are treated as one (class-agnostic). Detections of categories
    without boxes change nothing.
    """
    zero = np.zeros(1, dtype=np.int64)
    categories = zero if pooled else np.unique(truth.category)
    gt_category = codes(truth.category, categories, pooled=pooled)
    dt_category = codes(detections.category, categories, pooled=pooled)
    images = np.unique(np.concatenate([truth.image, detections.image]))
    gt_key = gt_category * len(images) + np.searchsorted(images, truth.image)
    dt_key = dt_category * len(images) + np.searchsorted(images, detections.image)
    order = np.lexsort((-detections.scores, dt_key))  # stable: ties stay in their row order
    order = order[dt_category[order] >= 0]
    rank = np.arange(len(order)) - np.searchsorted(dt_key[order], dt_key[order])
    order, rank = order[rank < MAX_DETECTIONS[-1]], rank[rank < MAX_DETECTIONS[-1]]

    crowd = np.asarray(truth.crowd, dtype=bool)
    pair_dt, pair_gt = pairs_by_key(dt_key[order], gt_key)
    iou = _paired_iou(detections.bboxes[order], truth.bboxes, crowd, (pair_dt, pair_gt))
    near = iou >= min(THRESHOLDS[0], 1 - 1e-10)
    low, high = np.array(list(AREA_RANGES.values())).T[:, :, None]
    ignored = crowd | (truth.areas < low) | (truth.areas > high)
    edges = oks.Edges(pair_dt[near], pair_gt[near], iou[near], rank)
    matched, dt_ignored = oks.match(edges, ignored, crowd)
    sides = detections.bboxes[order, 2:] - detections.bboxes[order, :2]
    areas = sides.prod(axis=1)
    dt_ignored |= ~matched & ((areas < low) | (areas > high))[:, None]

    positives = np.stack(
        [np.bincount(gt_category[~row], minlength=len(categories)) for row in ignored]
    )
    by_score = np.lexsort((-detections.scores[order], dt_category[order]))
    true = (matched & ~dt_ignored)[:, :, by_score]
    false = (~matched & ~dt_ignored)[:, :, by_score]
    bounds = np.searchsorted(dt_category[order][by_score], np.arange(len(categories) + 1))
    precision, recall = tabulate(true, false, bounds, positives)
    fewer = [
        tabulate(true & few, false & few, bounds, positives)[1]
        for few in (rank[by_score] < most for most in MAX_DETECTIONS[:-1])
    ]
    return BoxEvaluation(precision, np.stack([*fewer, recall]), categories, positives)


def box_figures(
    truth: BoxTruth, detections: BoxDetections, groups: Sequence[str] = ()
) -> dict[str, float]:
    """AP, AP50 ... of all animals as one class, then AP and AP50 of each of ``groups`` by name.

    Categories of both are places in ``groups``, -1 for none; a group's figures count the detections
    told as that group alone. What nothing counts for is left out.
    """
    out = evaluate_boxes(truth, detections, pooled=True).figures()
    if groups:
        each = evaluate_boxes(truth, detections)
        for number, name in enumerate(groups):
            if number in each.categories:
                own = each.figures_of(number)
                out[f"AP_{name}"], out[f"AP50_{name}"] = own["AP"], own["AP50"]
    return {name: value for name, value in out.items() if value >= 0}


def _paired_iou(
    found: np.ndarray, labelled: np.ndarray, crowd: np.ndarray, pairs: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """(P,) overlap of the pairs: IoU, and with a crowd the share of the detection in it."""
    found, labelled = np.asarray(found, np.float64), np.asarray(labelled, np.float64)
    out = np.empty(len(pairs[0]))
    for start in range(0, len(out), _PAIRS_AT_ONCE):
        part = slice(start, start + _PAIRS_AT_ONCE)
        d, g = found[pairs[0][part]], labelled[pairs[1][part]]
        low, high = np.maximum(d[:, :2], g[:, :2]), np.minimum(d[:, 2:], g[:, 2:])
        inter = np.clip(high - low, 0, None).prod(axis=1)
        own = (d[:, 2:] - d[:, :2]).prod(axis=1)
        both = own + (g[:, 2:] - g[:, :2]).prod(axis=1) - inter
        whole = np.where(crowd[pairs[1][part]], own, both)
        out[part] = np.where(whole > 0, inter / np.where(whole > 0, whole, 1), 0.0)
    return out
