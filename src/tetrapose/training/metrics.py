"""What validation during training reports: a few figures, by evaluation's own functions."""

from __future__ import annotations

import numpy as np

from tetrapose.structures import PoseSet


def quick(truth: PoseSet, keypoints: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """Mean OKS and PCK@0.05 / PCK@0.1 by box area, over labelled points; truth rows = prediction rows."""
    known = truth.labelled
    squared = ((truth.keypoints - keypoints) ** 2).sum(-1)
    area = np.maximum(truth.areas, 1.0)[:, None]
    variances = (2 * truth.skeleton.sigmas) ** 2
    squared = np.where(np.isnan(squared), np.inf, squared)  # a point not given is infinitely far
    similar = np.where(known, np.exp(-squared / (2 * variances * area)), 0.0)
    any_known = known.any(1)
    oks = similar[any_known].sum(1) / known[any_known].sum(1)
    distance = np.sqrt(squared / area)[known]
    return {
        "oks": float(oks.mean()),
        "oks_over_half": float((oks > 0.5).mean()),
        "pck_05": float((distance < 0.05).mean()),
        "pck_10": float((distance < 0.1).mean()),
    }
