"""Object keypoint similarity, and COCO's ten AP/AR figures from it, for whole sets at once.

The figures are those of pycocotools' COCOeval with iouType "keypoints" (tests compare the two).
What COCO does case by case is done here for all pictures together: every pair of a detection and
an instance of the same picture and category is scored in one array; pairs that nobody contests are
matched directly; only contested ones go through the greedy loop, by detection rank over all
pictures.

Source: github.com/cocodataset/cocoapi, PythonAPI/pycocotools/cocoeval.py (rules, not code).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
AREA_RANGES = {"all": (0.0, 1e10), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
MAX_DETECTIONS = 20
FIGURES = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")
_PAIRS_AT_ONCE = 4096  # keeps the work arrays in the cache, whatever the size of the set


@dataclass(frozen=True)
class Truth:
    """Labelled instances in columns.

    keypoints (N, K, 2), NaN where not labelled; visibility (N, K), 0 never counts; bboxes (N, 4)
    x1 y1 x2 y2; areas (N,) px^2; image (N,) and category (N,) any integers; crowd (N,) bool. Among
    equals the order of rows and the rising order of ``image`` decide, as in COCO.
    """

    keypoints: np.ndarray
    visibility: np.ndarray
    bboxes: np.ndarray
    areas: np.ndarray
    image: np.ndarray
    category: np.ndarray
    crowd: np.ndarray

    @cached_property
    def labelled(self) -> np.ndarray:
        """(N, K) True where a point counts."""
        return (self.visibility > 0) & np.isfinite(self.keypoints).all(axis=-1)


@dataclass(frozen=True)
class Detections:
    """Predicted instances in columns.

    keypoints (M, K, 2), a NaN point is a miss; scores (M,) finite; image and category (M,) as in
    ``Truth``; areas (M,) px^2, by which unmatched detections fall out of an area range.
    """

    keypoints: np.ndarray
    scores: np.ndarray
    image: np.ndarray
    category: np.ndarray
    areas: np.ndarray

    def __post_init__(self) -> None:
        if not np.isfinite(self.scores).all():
            row = int(np.flatnonzero(~np.isfinite(self.scores))[0])
            raise ValueError(f"detection {row} has the score {self.scores[row]}; it must be finite")


@dataclass(frozen=True)
class Evaluation:
    """What a matching of detections and truth comes to.

    precision (A, T, C, 101) at COCO's recalls and recall (A, T, C), both -1 where a category has
    no instance in that area range; categories (C,); positives (A, C) instances that count. A runs
    over ``AREA_RANGES``, or over the whole range alone; T over ``THRESHOLDS``. ``weights`` (101,)
    sum to 1 and make an average precision of the precisions at the recalls.
    """

    precision: np.ndarray
    recall: np.ndarray
    categories: np.ndarray
    positives: np.ndarray
    weights: np.ndarray = field(default_factory=lambda: np.full(len(RECALLS), 1 / len(RECALLS)))

    def figures(self) -> dict[str, float]:
        """COCO's ten figures, means over the categories present.

        -1 where nothing counts, and for figures that this kind of evaluation does not have.
        """
        return self._figures(slice(None))

    def figures_of(self, category: int) -> dict[str, float]:
        """The ten figures of one category alone; -1 where it has nothing that counts."""
        return self._figures(self.categories == category)

    def _figures(self, columns: slice | np.ndarray) -> dict[str, float]:
        precision, recall = self.precision[:, :, columns], self.recall[:, :, columns]
        average = np.where(precision[..., 0] == -1, -1.0, precision @ self.weights)
        none = np.zeros(0)
        values = []
        for table in (average, recall):
            half, three_quarters = (int(np.argmin(abs(THRESHOLDS - t))) for t in (0.5, 0.75))
            values += [table[0], table[0, half], table[0, three_quarters]]
            values += [table[1], table[2]] if len(table) == len(AREA_RANGES) else [none, none]
        means = [float(v[v > -1].mean()) if (v > -1).any() else -1.0 for v in values]
        return dict(zip(FIGURES, means, strict=True))


def keypoint_extent(keypoints: np.ndarray) -> np.ndarray:
    """(M, K, 2) -> (M,) area of the box around all points, as COCO gives detections.

    Points that are NaN are skipped; a detection of NaN alone has area 0.
    """
    low = np.fmin.reduce(keypoints, axis=1)
    high = np.fmax.reduce(keypoints, axis=1)
    return np.nan_to_num(np.prod(high - low, axis=-1), nan=0.0)


def similarity(
    truth: Truth,
    rows: np.ndarray,
    keypoints: np.ndarray,
    predicted: np.ndarray,
    sigmas: np.ndarray,
) -> np.ndarray:
    """(P,) OKS of the pairs (truth row rows[p], keypoints[predicted[p]]).

    Mean over labelled points of exp(-d^2 / (2 area (2 sigma)^2)). An instance without any labelled
    point is compared by the distance of the predicted points to twice its bbox, as COCO does for
    regions to be ignored.
    """
    values = np.empty(len(rows))
    variances = (np.asarray(sigmas, dtype=np.float64) * 2) ** 2
    labelled = truth.labelled
    number = labelled.sum(axis=1)
    gx, gy = np.where(labelled, np.moveaxis(truth.keypoints, -1, 0).astype(np.float64), 0.0)
    px, py = np.moveaxis(np.asarray(keypoints, dtype=np.float64), -1, 0)
    areas = np.asarray(truth.areas, dtype=np.float64) + np.spacing(1)
    for start in range(0, len(rows), _PAIRS_AT_ONCE):
        part = slice(start, start + _PAIRS_AT_ONCE)
        g, d = rows[part], predicted[part]
        dx, dy = px[d] - gx[g], py[d] - gy[g]
        bare = np.flatnonzero(number[g] == 0)
        if len(bare):
            dx[bare], dy[bare] = _outside_doubled_box(
                truth.bboxes[g[bare]], px[d[bare]], py[d[bare]]
            )
        error = (dx * dx + dy * dy) / variances / areas[g][:, None] / 2
        kept = np.exp(-error)
        counts = labelled[g]
        counts[bare] = True
        np.copyto(kept, 0.0, where=~counts | np.isnan(kept))
        values[part] = kept.sum(axis=1) / counts.sum(axis=1)
    return values


def _outside_doubled_box(
    bboxes: np.ndarray, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How far points (B, K) lie outside boxes grown by their own size on every side."""
    out = []
    for axis, value in enumerate((x, y)):
        low, high = bboxes[:, axis, None], bboxes[:, axis + 2, None]
        side = high - low
        out.append(np.maximum(low - side - value, 0) + np.maximum(value - (low + 2 * side), 0))
    return out[0], out[1]


def evaluate(
    truth: Truth,
    detections: Detections,
    sigmas: np.ndarray,
    *,
    pooled: bool = False,
    max_detections: int = MAX_DETECTIONS,
) -> Evaluation:
    """Match detections to truth and tabulate precision and recall as COCO does.

    With ``pooled`` all categories are treated as one. At most ``max_detections`` of a picture and
    category count, best scores first. Detections of categories without instances change nothing.
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
    starts = np.searchsorted(dt_key[order], dt_key[order])
    rank = np.arange(len(order)) - starts
    order, rank = order[rank < max_detections], rank[rank < max_detections]

    pair_dt, pair_gt = pairs_by_key(dt_key[order], gt_key)
    oks = similarity(truth, pair_gt, detections.keypoints, order[pair_dt], sigmas)
    near = oks >= THRESHOLDS[0]
    ignored = _ignored(truth)
    edges = Edges(pair_dt[near], pair_gt[near], oks[near], rank)
    matched, dt_ignored = match(edges, ignored, np.asarray(truth.crowd, dtype=bool))
    low, high = np.array(list(AREA_RANGES.values())).T[:, :, None]
    outside = (detections.areas[order] < low) | (detections.areas[order] > high)
    dt_ignored |= ~matched & outside[:, None]

    positives = np.stack(
        [np.bincount(gt_category[~row], minlength=len(categories)) for row in ignored]
    )
    by_score = np.lexsort((-detections.scores[order], dt_category[order]))
    true = (matched & ~dt_ignored)[:, :, by_score]
    false = (~matched & ~dt_ignored)[:, :, by_score]
    bounds = np.searchsorted(dt_category[order][by_score], np.arange(len(categories) + 1))
    precision, recall = tabulate(true, false, bounds, positives)
    return Evaluation(precision, recall, categories, positives)


def codes(values: np.ndarray, categories: np.ndarray, *, pooled: bool) -> np.ndarray:
    """Position of each value in the sorted categories, -1 where it is none of them."""
    if pooled:
        return np.zeros(len(values), dtype=np.int64)
    if len(categories) == 0:
        return np.full(len(values), -1, dtype=np.int64)
    place = np.minimum(np.searchsorted(categories, values), len(categories) - 1)
    return np.where(categories[place] == values, place, -1)


def _ignored(truth: Truth) -> np.ndarray:
    """(A, N) instances that are neither to be found nor held against a detection."""
    always = np.asarray(truth.crowd, dtype=bool) | ~truth.labelled.any(axis=1)
    low, high = np.array(list(AREA_RANGES.values())).T[:, :, None]
    return always | (truth.areas < low) | (truth.areas > high)


def pairs_by_key(dt_key: np.ndarray, gt_key: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(P,), (P,) every detection and truth row of the same key, by detection and then by row."""
    by_key = np.argsort(gt_key, kind="stable")
    first = np.searchsorted(gt_key[by_key], dt_key, side="left")
    number = np.searchsorted(gt_key[by_key], dt_key, side="right") - first
    pair_dt = np.repeat(np.arange(len(dt_key)), number)
    within = np.arange(len(pair_dt)) - np.repeat(np.cumsum(number) - number, number)
    return pair_dt, by_key[first[pair_dt] + within]


@dataclass(frozen=True)
class Edges:
    """Pairs near enough to match at the lowest threshold; rank (D,) is by detection."""

    dt: np.ndarray
    gt: np.ndarray
    oks: np.ndarray
    rank: np.ndarray


def match(edges: Edges, ignored: np.ndarray, crowd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(A, T, D) whether each detection is matched, and whether its match is an ignored instance."""
    shape = (len(ignored), len(THRESHOLDS), len(edges.rank))
    matched, to_ignored = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    if len(edges.dt) == 0:
        return matched, to_ignored
    alone = (np.bincount(edges.dt)[edges.dt] == 1) & (np.bincount(edges.gt)[edges.gt] == 1)
    dt, gt = edges.dt[alone], edges.gt[alone]
    reached = edges.oks[alone] >= THRESHOLDS[:, None]
    matched[:, :, dt] = reached
    to_ignored[:, :, dt] = reached & ignored[:, None, gt]
    if alone.all():
        return matched, to_ignored
    rest = Edges(edges.dt[~alone], edges.gt[~alone], edges.oks[~alone], edges.rank)
    for area, ignore in enumerate(ignored):
        _match_contested(rest, ignore, crowd, matched[area], to_ignored[area])
    return matched, to_ignored


def _match_contested(
    edges: Edges,
    ignored: np.ndarray,
    crowd: np.ndarray,
    matched: np.ndarray,
    to_ignored: np.ndarray,
) -> None:
    """COCO's greedy choice for one area range, written into matched and to_ignored (T, D).

    A detection takes the nearest free instance, one that counts before any to be ignored, and the
    later row among equals; a crowd is never used up. Detections of equal rank stand in different
    pictures or categories, so one step serves them all.
    """
    rank = edges.rank[edges.dt]
    order = np.lexsort((-edges.gt, -edges.oks, ignored[edges.gt], edges.dt, rank))
    dt, gt, oks = edges.dt[order], edges.gt[order], edges.oks[order]
    steps = np.flatnonzero(np.diff(rank[order], prepend=-1, append=np.iinfo(np.int64).max))
    taken = np.zeros((len(THRESHOLDS), len(ignored)), dtype=bool)
    for begin, end in zip(steps[:-1], steps[1:], strict=True):
        part = slice(begin, end)
        free = (oks[part] >= THRESHOLDS[:, None]) & (~taken[:, gt[part]] | crowd[gt[part]])
        heads = np.flatnonzero(np.diff(dt[part], prepend=-1))
        size = end - begin
        choice = np.minimum.reduceat(np.where(free, np.arange(size), size), heads, axis=1)
        found = choice < size
        chosen = gt[part][np.minimum(choice, size - 1)]
        matched[:, dt[part][heads]] = found
        to_ignored[:, dt[part][heads]] = found & ignored[chosen]
        level, _ = np.nonzero(found)
        taken[level, chosen[found]] = True


def tabulate(
    true: np.ndarray, false: np.ndarray, bounds: np.ndarray, positives: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Precision at the recall steps and final recall of hits and misses (A, T, D).

    Detections are sorted by category and falling score, category c holding bounds[c]:bounds[c + 1].
    Only hits can raise precision, so the curve is kept at the hits alone: the n-th hit of a curve
    is where recall n / positives is reached.
    """
    areas, levels, width = true.shape
    kinds = len(bounds) - 1
    curves = areas * levels
    hits = _running(true.reshape(curves, width))
    misses = _running(false.reshape(curves, width))
    totals = np.diff(hits[:, bounds], axis=1)  # (curves, kinds)
    curve, place = np.nonzero(true.reshape(curves, width))
    kind = np.searchsorted(bounds, place, side="right") - 1
    start = bounds[kind]
    number = hits[curve, place + 1] - hits[curve, start]
    wrong = misses[curve, place + 1] - misses[curve, start]
    envelope = number / (wrong + number + np.spacing(1))
    ends = np.cumsum(totals.ravel())
    begins = ends - totals.ravel()
    for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
        backwards = envelope[begin:end][::-1]
        np.maximum.accumulate(backwards, out=backwards)

    needed = _hits_needed(positives)[:, None]  # (areas, 1, kinds, recalls)
    totals = totals.reshape(areas, levels, kinds)
    reached = needed <= totals[..., None]
    where = begins.reshape(areas, levels, kinds, 1) + needed - 1
    precision = np.zeros(reached.shape)
    precision[reached] = envelope[where[reached]]
    absent = np.broadcast_to((positives == 0)[:, None], totals.shape)
    recall = totals / np.maximum(positives, 1)[:, None]
    return np.where(absent[..., None], -1.0, precision), np.where(absent, -1.0, recall)


def _running(flags: np.ndarray) -> np.ndarray:
    """(R, D) -> (R, D + 1) how many are set before each place."""
    counts = np.zeros((flags.shape[0], flags.shape[1] + 1), dtype=np.int64)
    np.cumsum(flags, axis=1, out=counts[:, 1:])
    return counts


def _hits_needed(positives: np.ndarray) -> np.ndarray:
    """(A, C) -> (A, C, 101) smallest number of hits n >= 1 with n / positives >= recall step."""
    total = np.maximum(positives, 1)[..., None]
    needed = np.ceil(RECALLS * total)
    # COCO compares the quotient, so the rounding of the product is mended
    needed -= (needed >= 1) & ((needed - 1) / total >= RECALLS)
    needed += needed / total < RECALLS
    return np.maximum(needed, 1).astype(np.int64)
