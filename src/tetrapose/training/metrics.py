"""What validation during training reports: a few figures, by evaluation's own functions."""

from __future__ import annotations

import numpy as np

from tetrapose.evaluation import predictions as made
from tetrapose.evaluation.protocols import protocol
from tetrapose.evaluation.score import score
from tetrapose.structures import PoseSet


def coco(
    truth: PoseSet, keypoints: np.ndarray, scores: np.ndarray, *, pooling: str = "coco-macro"
) -> dict[str, float]:
    """AP, AP50, AP75, mean OKS and PCK by box area of rows (N, K, 2) predicted in their own boxes.

    Figures that no instance of the set allows are left out.
    """
    predictions = made.in_given_boxes(truth, keypoints, scores)
    result = score(truth, predictions, protocol(pooling))
    figures = {name: result[name] for name in ("AP", "AP50", "AP75", "oks")}
    for threshold, value in result["pck"]["box_area"].items():
        figures[f"pck_{threshold}"] = value
    return {k: float(v) for k, v in figures.items() if v is not None and v >= 0}
