"""Time of the ten COCO figures beside pycocotools, on a real label file with made-up predictions.

    python benchmarks/oks_speed.py ../shared/data/annotations_only/ap10k_train.json

Predictions are the labels moved by Gaussian noise of a few sizes, with random scores, so they say
nothing about any model. Reading the files is not counted on either side.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import statistics
import time

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tetrapose import skeletons
from tetrapose.evaluation import oks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("labels", help="a COCO keypoint file on the AP-10K skeleton")
    parser.add_argument("--copies", type=int, default=1, help="predictions for each instance")
    parser.add_argument(
        "--repeats", type=int, default=7, help="runs of our side; the other runs once"
    )
    args = parser.parse_args()
    with open(args.labels, encoding="utf-8") as file:
        content = json.load(file)
    annotations = content["annotations"]
    truth = columns(annotations)
    detections = noisy(truth, args.copies)
    sigmas = skeletons.load("ap10k").sigmas

    times = []
    for _ in range(args.repeats):
        begin = time.perf_counter()
        figures = oks.evaluate(truth, detections, sigmas).figures()
        times.append(time.perf_counter() - begin)
    triples = np.insert(detections.keypoints, 2, 1.0, axis=-1)
    results = [
        {"image_id": int(i), "category_id": int(c), "keypoints": k.tolist(), "score": float(s)}
        for i, c, k, s in zip(
            detections.image, detections.category, triples.reshape(len(triples), -1),
            detections.scores, strict=True,
        )
    ]  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        gt = COCO()
        gt.dataset = content
        gt.createIndex()
        dt = gt.loadRes(results)
        begin = time.perf_counter()
        run = COCOeval(gt, dt, "keypoints")
        run.params.kpt_oks_sigmas = sigmas
        run.evaluate()
        run.accumulate()
        run.summarize()
        theirs = time.perf_counter() - begin
    apart = max(abs(a - b) for a, b in zip(figures.values(), run.stats, strict=True))
    print(f"{len(annotations)} instances, {len(results)} predictions")
    print(f"AP {figures['AP']:.6f}; largest difference of the ten figures {apart:.1e}")
    print(f"tetrapose   median {statistics.median(times):.3f} s, best {min(times):.3f} s")
    print(f"pycocotools {theirs:.2f} s ({theirs / statistics.median(times):.0f} times as long)")


def columns(annotations: list[dict]) -> oks.Truth:
    triples = np.array([a["keypoints"] for a in annotations], dtype=float).reshape(
        len(annotations), -1, 3
    )
    boxes = np.array([a["bbox"] for a in annotations], dtype=float)
    boxes[:, 2:] += boxes[:, :2]
    return oks.Truth(
        keypoints=np.where(triples[..., 2:] > 0, triples[..., :2], np.nan),
        visibility=triples[..., 2].astype(np.uint8),
        bboxes=boxes,
        areas=np.array([a["area"] for a in annotations], dtype=float),
        image=np.array([a["image_id"] for a in annotations]),
        category=np.array([a["category_id"] for a in annotations]),
        crowd=np.array([a["iscrowd"] for a in annotations], dtype=bool),
    )


def noisy(truth: oks.Truth, copies: int) -> oks.Detections:
    rng = np.random.default_rng(0)
    rows = np.repeat(np.arange(len(truth.areas)), copies)
    middle = (truth.bboxes[rows, :2] + truth.bboxes[rows, 2:]) / 2
    points = np.where(np.isnan(truth.keypoints[rows]), middle[:, None], truth.keypoints[rows])
    scale = np.sqrt(truth.areas[rows]) * rng.choice([0.01, 0.03, 0.08], len(rows))
    points = points + rng.normal(0, 1, points.shape) * scale[:, None, None]
    return oks.Detections(
        points, rng.random(len(rows)), truth.image[rows], truth.category[rows],
        oks.keypoint_extent(points),
    )  # fmt: skip


if __name__ == "__main__":
    main()
