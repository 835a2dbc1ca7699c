"""PCK in each definition in use, NME and left/right swaps, from paired points.

PCK is the share of points nearer to the truth than a threshold times a length; papers differ in the
length, in which points count and in how the mean is taken, and the figures differ by as much as
methods do. So each definition has a name and says all three (``DEFINITIONS``), distances are tabled
once a definition (N, K) and every mean can be taken from the table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tetrapose import geometry

THRESHOLDS = (0.05, 0.1, 0.2)
MAP_CELLS = 64
MAP_PADDING = 1.25


@dataclass(frozen=True)
class Pairs:
    """Each labelled instance beside its prediction, row by row.

    truth (N, K, 2) and labelled (N, K); predicted (N, K, 2), NaN where there is no prediction,
    which is a miss; bboxes (N, 4) x1 y1 x2 y2; areas (N,) px^2; sizes (N, 2) width and height of
    the picture, 0 where unknown.
    """

    truth: np.ndarray
    labelled: np.ndarray
    predicted: np.ndarray
    bboxes: np.ndarray
    areas: np.ndarray
    sizes: np.ndarray


@dataclass(frozen=True)
class Definition:
    """One way of counting correct points.

    ``mean`` is the one its source takes: "points" over all points, "instances" over each instance's
    share, "types" over each keypoint's share. ``differs`` says where we depart from the source.
    """

    length: str
    counts: str
    mean: str
    source: str
    table: Callable[[Pairs], np.ndarray]
    differs: str = ""


def box_area(pairs: Pairs) -> np.ndarray:
    """(N, K) distance over the square root of the instance's area."""
    return _over(pairs, _positive(np.sqrt(np.maximum(pairs.areas, 0))))


def box_side(pairs: Pairs) -> np.ndarray:
    """(N, K) distance over the longer side of the bbox."""
    return _over(pairs, _positive((pairs.bboxes[:, 2:] - pairs.bboxes[:, :2]).max(axis=1)))


def keypoint_diagonal(pairs: Pairs) -> np.ndarray:
    """(N, K) distance over the diagonal of the box that the labelled points span."""
    box = geometry.points_box(np.where(pairs.labelled[..., None], pairs.truth, np.nan))
    return _over(pairs, _positive(np.hypot(*(box[:, 2:] - box[:, :2]).T)))


def keypoint_diagonal_square(pairs: Pairs) -> np.ndarray:
    """(N, K) as ``keypoint_diagonal``, with each picture stretched to a square first."""
    sides = _positive(pairs.sizes)[:, None]
    known = np.all(np.isfinite(sides), axis=-1)
    stretched = Pairs(
        pairs.truth / sides, pairs.labelled & known,
        pairs.predicted / sides, pairs.bboxes, pairs.areas, pairs.sizes,
    )  # fmt: skip
    return keypoint_diagonal(stretched)


def heatmap(pairs: Pairs) -> np.ndarray:
    """(N, K) distance between cells of a 64 x 64 map over the padded bbox, over the map's side."""
    there = np.all(np.isfinite(pairs.bboxes), axis=1)
    boxes = np.where(there[:, None], pairs.bboxes, 0.0)
    centers, sizes = geometry.box_to_region(boxes, aspect=1.0, padding=MAP_PADDING)
    scale, middle = (MAP_CELLS / sizes)[:, None], (MAP_CELLS - 1) / 2  # geometry.crop_matrix
    truth = np.floor((pairs.truth - centers[:, None]) * scale + middle + 0.5)
    guess = np.floor((pairs.predicted - centers[:, None]) * scale + middle + 0.5)
    with np.errstate(invalid="ignore"):
        seen = np.all((truth > 1) & (truth < MAP_CELLS), axis=-1) & there[:, None]
    cells = Pairs(
        truth, pairs.labelled & seen, np.clip(guess, 0, MAP_CELLS - 1),
        pairs.bboxes, pairs.areas, pairs.sizes,
    )  # fmt: skip
    return _over(cells, np.full(len(truth), float(MAP_CELLS)))


DEFINITIONS: dict[str, Definition] = {
    "box_area": Definition(
        length="square root of the instance's area",
        counts="labelled points, hidden ones too",
        mean="instances",
        source="FreeNet's first commit, train_utils/validation.py (github.com/yzrs/FreeNet)",
        table=box_area,
    ),
    "box_side": Definition(
        length="longer side of the bbox",
        counts="labelled points, hidden ones too",
        mean="types",
        source="MMPose PCKAccuracy with norm_item='bbox'",
        table=box_side,
    ),
    "heatmap": Definition(
        length="side of a 64 x 64 heatmap over the bbox padded by 1.25",
        counts="labelled points whose cell lies in the map with both coordinates above 1",
        mean="types",
        source="accuracy() of HRNet, ScarceNet and FreeNet (threshold 0.5 of a tenth of the map)",
        table=heatmap,
        differs="the whole set is one batch (the source averages the keypoint types present in each"
        " batch and then the batches, so that its figure depends on the batches); the map has 64"
        " cells whatever the network's; a prediction stands in the cell nearest to its decoded"
        " point, which may be the neighbour of the output's highest cell",
    ),
    "keypoint_diagonal": Definition(
        length="diagonal of the box that the labelled points span",
        counts="labelled points, hidden ones too",
        mean="points",
        source="utils/metrics.py of github.com/TechNumber/pytorch_animal_pose_estimation",
        table=keypoint_diagonal,
        differs="measured in pixels of the picture (see keypoint_diagonal_square)",
    ),
    "keypoint_diagonal_square": Definition(
        length="diagonal of the box that the points span in the picture stretched to a square",
        counts="labelled points of pictures of known size, hidden ones too",
        mean="points",
        source="the frame in which that repository calls its metric",
        table=keypoint_diagonal_square,
        differs="points are not rounded to cells of its 45 x 45 map",
    ),
}


def distances(pairs: Pairs, definition: str) -> np.ndarray:
    """(N, K) normalised distances: NaN where a point does not count, inf where it was not found."""
    return DEFINITIONS[definition].table(pairs)


def tables(pairs: Pairs) -> dict[str, np.ndarray]:
    """The distances of every definition; those that need sizes only where a size is known."""
    known = bool((pairs.sizes > 0).any())
    return {
        name: distances(pairs, name)
        for name in DEFINITIONS
        if known or name != "keypoint_diagonal_square"
    }


def shares(table: np.ndarray, threshold: float) -> dict[str, float]:
    """Share of counted points with a distance below the threshold, by each mean; NaN for none."""
    counted = ~np.isnan(table)
    correct = counted & (table < threshold)
    return {
        "points": _mean(correct.sum() / np.maximum(counted.sum(), 1), bool(counted.any())),
        "instances": _mean_of_shares(correct, counted, axis=1),
        "types": _mean_of_shares(correct, counted, axis=0),
    }


def mean_error(table: np.ndarray) -> float:
    """NME: mean of the distances of points that count and were found; NaN for none."""
    found = table[np.isfinite(table)]
    return float(found.mean()) if len(found) else float("nan")


def swaps(pairs: Pairs, flip_indices: np.ndarray) -> np.ndarray:
    """(N, K) 1 where a prediction is nearer to its left/right partner's truth, 0 where not.

    NaN where that cannot be said: points on the midline, or one of the two not labelled or found.
    """
    own = np.linalg.norm(pairs.predicted - pairs.truth, axis=-1)
    other = np.linalg.norm(pairs.predicted - pairs.truth[:, flip_indices], axis=-1)
    sided = flip_indices != np.arange(len(flip_indices))
    judged = pairs.labelled & pairs.labelled[:, flip_indices] & sided & np.isfinite(own)
    return np.where(judged, (other < own).astype(float), np.nan)


def _over(pairs: Pairs, length: np.ndarray) -> np.ndarray:
    far = np.linalg.norm(pairs.predicted - pairs.truth, axis=-1)
    far = np.where(np.isnan(far), np.inf, far) / length[:, None]
    return np.where(pairs.labelled & ~np.isnan(length)[:, None], far, np.nan)


def _positive(values: np.ndarray) -> np.ndarray:
    """The values, NaN where they can be no length."""
    values = np.asarray(values, dtype=np.float64)
    return np.where(values > 0, values, np.nan)


def _mean_of_shares(correct: np.ndarray, counted: np.ndarray, *, axis: int) -> float:
    number = counted.sum(axis=axis)
    share = correct.sum(axis=axis)[number > 0] / number[number > 0]
    return _mean(share.mean() if len(share) else np.nan, len(share) > 0)


def _mean(value: float, there: bool) -> float:
    return float(value) if there else float("nan")
