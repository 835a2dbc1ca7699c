"""Pseudo-labels a second, what they are good for, and what the file costs to read again.

  python benchmarks/scarcenet_pseudo_labels.py --root DIR/animal_pose [--count 200] [--threads 1]

Animals of the first pictures of Animal-Pose's val.txt, labels hidden, by a model (the shipped
default unless named): first one look, then ScarceNet's five looks mirrored as well, in float32 and
bfloat16. Told for each: seconds by the clock and of processor time, animals a second of processor
time (beside other work the clock tells nothing), and against the labels PCK@0.05 and PCK@0.1 by the
square root of the area, of all labelled points and of the surer 60 % that ScarceNet keeps. How well
confidence and spread tell right from wrong is the area under the ROC curve of "nearer than 0.1".
Last: reading the finished file, and what a run pays that finds it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

from tetrapose.cli import keep_freed_memory
from tetrapose.data import open_set
from tetrapose.data.mix import onto
from tetrapose.inference.fusing import fuse
from tetrapose.training.labelfree.pseudo_files import pseudo_labels
from tetrapose.training.labelfree.pseudo_labels import Looks
from tetrapose.training.labelfree.selection import confident
from tetrapose.weights import card


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", required=True, type=Path)
    parser.add_argument("--model", default="default")
    parser.add_argument("--count", type=int, default=200, help="pictures")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precisions", nargs="+", default=["float32", "bfloat16"])
    args = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(1)
    loaded = card.load(args.model)
    loaded = replace(loaded, model=fuse(loaded.model))
    truth = open_set(f"animal_pose:{args.root}", split="val.txt")
    truth = onto(truth.select_images(np.arange(len(truth.files)) < args.count), loaded.skeleton)
    print(f"{args.count} pictures, {len(truth)} animals, {args.threads} threads, {args.model}")
    for precision in args.precisions:
        for looks in (Looks(count=1, mirror=False), Looks(count=1), Looks()):
            measured(loaded, truth, looks, precision)


def measured(loaded: card.Loaded, truth, looks: Looks, precision: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels.safetensors"
        clock, cpu = time.perf_counter(), time.process_time()
        labels = pseudo_labels(path, loaded, truth, looks, precision=precision)
        clock, cpu = time.perf_counter() - clock, time.process_time() - cpu
        again = time.process_time()
        assert pseudo_labels(path, loaded, truth, looks, precision=precision) is not None
        again = time.process_time() - again
        size = path.stat().st_size
    assert labels is not None
    apart = np.linalg.norm(labels.keypoints - truth.keypoints, axis=-1)
    apart = apart / np.sqrt(truth.areas)[:, None]
    known = truth.labelled & np.isfinite(apart)
    kept = known & confident(labels.confidence)
    right = apart < 0.1
    spread = np.nan_to_num(labels.spread, nan=1.0)
    print(
        f"{precision:9} {looks.answers:2} looks: clock {clock:6.1f} s, processor {cpu:6.1f} s, "
        f"{len(truth) / cpu:5.2f} animals/s, {1000 * cpu / len(truth) / looks.answers:4.1f} ms a "
        "look; "
        f"PCK@0.05 {share(apart, known, 0.05)}, @0.1 {share(apart, known, 0.1)}; "
        f"kept {kept.sum() / known.sum():.2f}: {share(apart, kept, 0.05)}, "
        f"{share(apart, kept, 0.1)}; ROC confidence {roc(labels.confidence[known], right[known])}, "
        f"spread {roc(-spread[known], right[known])}; "
        f"read again {again:.2f} s, {size / 1e6:.2f} MB"
    )


def share(apart: np.ndarray, where: np.ndarray, threshold: float) -> str:
    return f"{(apart[where] < threshold).mean():.3f}"


def roc(score: np.ndarray, right: np.ndarray) -> str:
    """Area under the curve by ranks, ties shared."""
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    yes = int(right.sum())
    area = (rank[right].sum() - yes * (yes + 1) / 2) / max(yes * (len(right) - yes), 1)
    return f"{area:.3f}"


if __name__ == "__main__":
    main()
