"""How like two animals of different frames are: by their boxes, by their poses, by their place."""

from __future__ import annotations

import numpy as np

from tetrapose.geometry import box_area

LEAST_SIGMA = 0.05  # points that labellers place best still move from one frame to the next


def pose_similarity(
    one: np.ndarray,
    two: np.ndarray,
    areas: np.ndarray,
    sigmas: np.ndarray,
    *,
    weights: np.ndarray | None = None,
    slack: np.ndarray | float = 1.0,
) -> np.ndarray:
    """(N, M) object keypoint similarity of poses (N, K, 2) and (M, K, 2).

    ``areas`` (N,) px^2 are those of the boxes of ``one``; ``weights`` (M, K) say how much a point
    of ``two`` counts (its score); ``slack`` (N,) widens the variances, for poses that are old.
    Points that either lacks count as unlike where the other is sure of them; 0 where no weight is
    left. Source: OKS: cocodataset.org/#keypoints-eval, with k = 2 sigma.
    """
    variances = (2 * np.maximum(np.asarray(sigmas, dtype=np.float64), LEAST_SIGMA)) ** 2
    scale = np.maximum(areas, 1.0) * np.broadcast_to(
        np.asarray(slack, dtype=np.float64), (len(one),)
    )
    gaps = ((one[:, None] - two[None]) ** 2).sum(axis=-1)
    values = np.exp(-gaps / (2 * scale[:, None, None] * variances))
    values = np.where(np.isfinite(gaps), values, 0.0)
    told = np.isfinite(two).all(axis=-1)
    counts = np.where(told, 1.0 if weights is None else weights, 0.0)[None]
    counts = np.broadcast_to(counts, values.shape)
    total = counts.sum(axis=-1)
    return np.where(total > 0, (values * counts).sum(axis=-1) / np.where(total > 0, total, 1), 0.0)


def near(one: np.ndarray, two: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """(N, M) likeness by place of boxes (N, 4) and (M, 4), 1 at the same place and size.

    It falls with the distance of the centres over ``reach`` (N,), in sides of the box of ``one``,
    and with the ratio of the areas.
    """
    side = np.sqrt(np.maximum(box_area(one), 1.0))
    centers = ((box[:, :2] + box[:, 2:]) / 2 for box in (one, two))
    a, b = centers
    distance = np.linalg.norm(a[:, None] - b[None], axis=-1) / (side * reach)[:, None]
    ratio = np.log(np.maximum(box_area(two), 1.0))[None] - 2 * np.log(side)[:, None]
    return np.exp(-(distance**2) / 2 - ratio**2 / 2)
