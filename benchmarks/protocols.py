"""One set of made-up predictions under every protocol: how far apart figures called AP lie.

  python benchmarks/protocols.py DIR/annotations_only/ap10k_train.json

Predictions are the labels moved by Gaussian noise whose size is drawn once an animal, Gamma(1.5,
0.025) times the square root of its area; scores fall with the noise. They say nothing about any
model.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from tetrapose.data import open_set
from tetrapose.evaluation.predictions import in_given_boxes
from tetrapose.evaluation.protocols import PROTOCOLS
from tetrapose.evaluation.score import side_by_side


def main() -> None:
    """Score the same predictions side by side and say how long it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("labels", help="a COCO keypoint file")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    truth = open_set(f"coco:{args.labels}", pictures=False)
    rng = np.random.default_rng(args.seed)
    size = rng.gamma(1.5, 0.025, len(truth)) * np.sqrt(truth.areas)
    moved = truth.keypoints + rng.normal(0, 1, truth.keypoints.shape) * size[:, None, None]
    sure = np.exp(-10 * size / np.sqrt(truth.areas))
    scores = np.repeat(sure[:, None], len(truth.skeleton), axis=1)
    predictions = in_given_boxes(truth, moved, scores)
    before = time.perf_counter(), time.process_time()
    results = side_by_side(truth, predictions, list(PROTOCOLS.values()))
    wall, used = time.perf_counter() - before[0], time.process_time() - before[1]
    print(f"{len(truth):,} animals")
    print(f"{'':14}{'AP':>8}{'AP50':>8}{'AP75':>8}")
    for name, result in results.items():
        cells = "".join(f"{100 * result[key]:8.1f}" for key in ("AP", "AP50", "AP75"))
        print(f"{name:14}{cells}")
    print(f"all protocols: {wall:.2f} s, {used:.2f} s of processor time")


if __name__ == "__main__":
    main()
