"""Average precision where a prediction may match its nearest instance and no other.

COCO lets a prediction whose nearest instance is taken fall back to the next one. DeepLabCut and
Ultralytics do not: it is a false one then. They differ from COCO in what counts besides, each in
its own way (``Rules``), and Ultralytics draws its curve of precision over recall differently.

Sources, read for their rules: github.com/DeepLabCut/DeepLabCut, deeplabcut/core/metrics/
{api,distance_metrics,matching}.py and calc_object_keypoint_similarity in core/inferenceutils.py (at
2df0f46, July 2026); github.com/ultralytics/ultralytics, kpt_iou, compute_ap and ap_per_class in
utils/metrics.py, match_predictions in engine/validator.py and models/yolo/pose/val.py (September
2026; AGPL: formulas, no code).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tetrapose.evaluation import oks
from tetrapose.evaluation.oks import RECALLS, THRESHOLDS, Detections, Evaluation, Truth

NO_AREA = 1e-8  # DeepLabCut takes an extent of this or less for none (numpy.isclose)


@dataclass(frozen=True)
class Rules:
    """What differs between those who match to the nearest instance alone.

    ``least_points`` labelled points make an instance count, and as many found ones a prediction;
    ``epsilon`` is added to areas and to numbers of points; ``bare_absorb``: an instance with fewer
    points takes one prediction in its doubled bbox out of the count, as in COCO, else such a
    prediction is a false one; ``drawn``: precision is read off straight lines between the points
    of the curve and integrated by trapezia, else looked up and averaged as COCO does.
    """

    least_points: int
    epsilon: float
    bare_absorb: bool
    drawn: bool


RULES = {
    "dlc": Rules(least_points=2, epsilon=0.0, bare_absorb=False, drawn=False),
    "ultralytics": Rules(least_points=1, epsilon=1e-7, bare_absorb=True, drawn=True),
}


def evaluate(detections: Detections, pairs: Nearest) -> Evaluation:
    """Match and tabulate over all areas together; crowds count for nothing.

    Where ``rules.drawn`` there is no recall (-1): the source has none that is comparable.
    """
    matched = pairs.instance_at(THRESHOLDS) >= 0
    ignored = pairs.absorbed_at(THRESHOLDS, matched)
    category = pairs.category
    by_score = np.lexsort((-detections.scores[pairs.rows], category))
    true = matched[:, by_score]
    false = ~(matched | ignored)[:, by_score]
    bounds = np.searchsorted(category[by_score], np.arange(len(pairs.categories) + 1))
    if not pairs.rules.drawn:
        precision, recall = oks.tabulate(true[None], false[None], bounds, pairs.positives[None])
        return Evaluation(precision, recall, pairs.categories, pairs.positives[None])
    precision = _drawn(true, false, bounds, pairs.positives)
    recall = np.full(precision.shape[:-1], -1.0)
    trapezia = np.full(len(RECALLS), 1.0)
    trapezia[[0, -1]] = 0.5
    return Evaluation(
        precision[None], recall[None], pairs.categories, pairs.positives[None],
        trapezia / trapezia.sum(),
    )  # fmt: skip


def pixel_error(
    truth: Truth, detections: Detections, pairs: Nearest, *, least: float = 1e-6
) -> float:
    """Mean distance in pixels of matched predictions' points to labelled ones; NaN for none.

    Predictions match at any likeness from ``least`` on. This is what DeepLabCut calls RMSE, with
    ``pairs`` of all categories together. Source: match_predictions_for_rmse and compute_rmse of its
    core/metrics/distance_metrics.py.
    """
    (instance,) = pairs.instance_at(np.array([least]))
    found = instance >= 0
    rows = pairs.rows[found]
    far = np.linalg.norm(detections.keypoints[rows] - truth.keypoints[instance[found]], axis=-1)
    far = far[truth.labelled[instance[found]] & np.isfinite(far)]
    return float(far.mean()) if len(far) else float("nan")


@dataclass(frozen=True)
class Nearest:
    """Detections by picture and rank, the nearest instance of each, and the likeness of the two.

    rows (D,) into the detections; category (D,); instance (D,) row of the truth, -1 for none;
    likeness (D,); bare: pairs with instances without points; categories (C,), positives (C,).
    """

    rules: Rules
    rows: np.ndarray
    category: np.ndarray
    instance: np.ndarray
    likeness: np.ndarray
    bare_detection: np.ndarray
    bare_instance: np.ndarray
    bare_likeness: np.ndarray
    categories: np.ndarray
    positives: np.ndarray

    def instance_at(self, levels: np.ndarray) -> np.ndarray:
        """(T, D) the instance matched at each level of likeness, -1 for none: the first to come."""
        out = np.full((len(levels), len(self.rows)), -1)
        for level, row in zip(levels, out, strict=True):
            near = np.flatnonzero((self.instance >= 0) & (self.likeness >= level))
            wanted, first = np.unique(self.instance[near], return_index=True)
            row[near[first]] = wanted
        return out

    def absorbed_at(self, levels: np.ndarray, matched: np.ndarray) -> np.ndarray:
        """(T, D) unmatched detections that an instance of too few points takes out of the count."""
        out = np.zeros_like(matched)
        near = np.flatnonzero(self.bare_likeness >= levels[0])
        order = near[np.lexsort((-self.bare_likeness[near], self.bare_detection[near]))]
        for level, done, row in zip(levels, matched, out, strict=True):
            taken: set[int] = set()
            for pair in order:
                detection, bare = self.bare_detection[pair], int(self.bare_instance[pair])
                free = not (done[detection] or row[detection] or bare in taken)
                if free and self.bare_likeness[pair] >= level:
                    row[detection] = True
                    taken.add(bare)
        return out


def pair(
    truth: Truth, detections: Detections, sigmas: np.ndarray, rules: Rules, *, pooled: bool
) -> Nearest:
    """The nearest instance of each detection in its picture and category."""
    number = truth.labelled.sum(axis=1)
    crowd = np.asarray(truth.crowd, dtype=bool)
    counts = (number >= rules.least_points) & ~crowd
    found = np.isfinite(detections.keypoints).all(axis=-1).sum(axis=1)
    categories = np.zeros(1, dtype=np.int64) if pooled else np.unique(truth.category[counts])
    gt_category = oks.codes(truth.category, categories, pooled=pooled)
    dt_category = oks.codes(detections.category, categories, pooled=pooled)
    images = np.unique(np.concatenate([truth.image, detections.image]))
    gt_key = gt_category * len(images) + np.searchsorted(images, truth.image)
    dt_key = dt_category * len(images) + np.searchsorted(images, detections.image)
    order = np.lexsort((-detections.scores, dt_key))  # stable: ties stay in their row order
    order = order[(dt_category[order] >= 0) & (found[order] >= rules.least_points)]

    truth = replace(truth, areas=np.asarray(truth.areas, dtype=np.float64) + rules.epsilon)
    rows = np.flatnonzero(counts)
    dt, gt = oks.pairs_by_key(dt_key[order], gt_key[rows])
    gt = rows[gt]
    likeness = oks.similarity(truth, gt, detections.keypoints, order[dt], sigmas)
    likeness *= number[gt] / (number[gt] + rules.epsilon)
    likeness[truth.areas[gt] <= NO_AREA] = -1.0
    best = np.lexsort((gt, -likeness, dt))
    best = best[np.flatnonzero(np.diff(dt[best], prepend=-1))]
    instance, nearest = np.full(len(order), -1), np.full(len(order), -1.0)
    instance[dt[best]], nearest[dt[best]] = gt[best], likeness[best]

    rows = np.flatnonzero((number == 0) & ~crowd & (gt_category >= 0) & rules.bare_absorb)
    bare_dt, bare_gt = oks.pairs_by_key(dt_key[order], gt_key[rows])
    bare_gt = rows[bare_gt]
    bare = oks.similarity(truth, bare_gt, detections.keypoints, order[bare_dt], sigmas)
    positives = np.bincount(gt_category[counts], minlength=len(categories))
    return Nearest(
        rules,
        order,
        dt_category[order],
        instance,
        nearest,
        bare_dt,
        bare_gt,
        bare,
        categories,
        positives,
    )


def _drawn(
    true: np.ndarray, false: np.ndarray, bounds: np.ndarray, positives: np.ndarray
) -> np.ndarray:
    """(T, C, 101) precision read off the lines between the points of each curve.

    The curve begins at recall 0 with precision 1, never rises, and falls to 0 at its last recall.
    """
    out = np.zeros((len(true), len(positives), len(RECALLS)))
    for c, (begin, end) in enumerate(zip(bounds[:-1], bounds[1:], strict=True)):
        if positives[c] == 0:
            out[:, c] = -1.0
            continue
        for level in range(len(true)):
            hits, misses = true[level, begin:end], false[level, begin:end]
            counted = hits | misses
            if not counted.any():
                continue
            hits = np.cumsum(hits[counted])
            recall, precision = hits / positives[c], hits / np.arange(1, len(hits) + 1)
            recall = np.concatenate([[0.0], recall, [recall[-1], 1.0]])
            precision = np.concatenate([[1.0], precision, [0.0, 0.0]])
            envelope = np.maximum.accumulate(precision[::-1])[::-1]
            out[level, c] = np.interp(RECALLS, recall, envelope)
    return out
