"""Time of the ten COCO figures beside pycocotools and faster-coco-eval, on a real label file.

    python benchmarks/oks_speed.py DIR/annotations_only/ap10k_train.json [--copies 5]

Predictions are the labels moved by Gaussian noise of a few sizes, with random scores, so they say
nothing about any model. Reading the files and loadRes are not counted on any side; processor time,
as other work on the machine does not count. faster-coco-eval is fetched into a temporary folder
with pip (it needs NumPy alone); where that fails, its line says so.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tetrapose import skeletons
from tetrapose.evaluation import oks

FASTER = "faster-coco-eval==1.8.0"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("labels", help="a COCO keypoint file on the AP-10K skeleton")
    parser.add_argument("--copies", type=int, default=1, help="predictions for each instance")
    parser.add_argument("--repeats", type=int, default=7, help="runs of our side and the fastest")
    args = parser.parse_args()
    with open(args.labels, encoding="utf-8") as file:
        content = json.load(file)
    annotations = content["annotations"]
    truth = columns(annotations)
    detections = noisy(truth, args.copies)
    sigmas = skeletons.load("ap10k").sigmas
    results = as_results(detections)
    print(f"{len(annotations)} instances, {len(results)} predictions; processor time")

    ours, figures = timed(lambda: oks.evaluate(truth, detections, sigmas).figures(), args.repeats)
    own = np.array(list(figures.values()))
    print(f"AP {figures['AP']:.6f}")
    print(line("tetrapose", ours))
    theirs, stats = peer(content, results, sigmas, (COCO, COCOeval), repeats=1)
    print(line("pycocotools", theirs, ours, float(np.abs(own - stats).max())))
    with tempfile.TemporaryDirectory() as folder:
        classes = faster(folder)
        if classes is None:
            print(f"faster-coco-eval: not measured, since pip could not fetch {FASTER}")
            return
        theirs, stats = peer(content, results, sigmas, classes, repeats=args.repeats)
        print(line("faster-coco-eval", theirs, ours, float(np.abs(own - stats[:10]).max())))


def timed(call: Callable[[], Any], repeats: int) -> tuple[list[float], Any]:
    """Processor seconds of each run, and what the last one gave."""
    times, made = [], None
    for _ in range(repeats):
        begin = time.process_time()
        made = call()
        times.append(time.process_time() - begin)
    return times, made


def line(name: str, times: list[float], ours: list[float] | None = None, apart: float = 0.0) -> str:
    middle = statistics.median(times)
    text = f"{name:18} median {middle:7.3f} s, best {min(times):7.3f} s of {len(times)}"
    if ours is None:
        return text
    return (
        f"{text}: {middle / statistics.median(ours):5.1f} times ours; largest difference of the ten"
        f" figures {apart:.1e}"
    )


def faster(folder: str) -> tuple[Any, Any] | None:
    """The peer's two classes from a folder of its own, or None where it cannot be fetched."""
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", folder, FASTER]
    if subprocess.run(pip, check=False, capture_output=True).returncode:
        return None
    sys.path.insert(0, folder)
    try:
        module = importlib.import_module("faster_coco_eval")
    finally:
        sys.path.remove(folder)
    return module.COCO, module.COCOeval_faster


def peer(
    content: dict,
    results: list[dict],
    sigmas: np.ndarray,
    classes: tuple[Any, Any],
    *,
    repeats: int,
) -> tuple[list[float], np.ndarray]:
    """Processor seconds of evaluate, accumulate and summarize, and the figures."""
    coco, evaluator = classes
    with contextlib.redirect_stdout(io.StringIO()):
        gt = coco()
        gt.dataset = json.loads(json.dumps(content))
        gt.createIndex()
        dt = gt.loadRes([dict(entry) for entry in results])

        def once() -> np.ndarray:
            run = evaluator(gt, dt, "keypoints")
            run.params.kpt_oks_sigmas = sigmas
            run.evaluate()
            run.accumulate()
            run.summarize()
            return np.asarray(run.stats, dtype=float)

        return timed(once, repeats)


def as_results(detections: oks.Detections) -> list[dict]:
    triples = np.insert(detections.keypoints, 2, 1.0, axis=-1)
    return [
        {"image_id": int(i), "category_id": int(c), "keypoints": k.tolist(), "score": float(s)}
        for i, c, k, s in zip(
            detections.image, detections.category, triples.reshape(len(triples), -1),
            detections.scores, strict=True,
        )
    ]  # fmt: skip


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
