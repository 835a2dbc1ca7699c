"""Compare the protocol "dlc" with DeepLabCut's own compute_metrics, on made-up predictions.

    git clone --depth 1 https://github.com/DeepLabCut/DeepLabCut original
    python -m venv peer
    peer/bin/pip install numpy scipy pandas networkx tqdm pyyaml
    PYTHONPATH=src peer/bin/python benchmarks/parity/deeplabcut_metrics.py original

Only the package's files of metrics are imported, without its torch and its GUI. The sets hold
crowded pictures, doubles, strays, points not found and instances of one point. AP, AR and pixel
error must agree to 1e-9. Exit status 1 when any does not.
"""

from __future__ import annotations

import argparse
import sys
import types
from pathlib import Path

import numpy as np

from tetrapose.evaluation import nearest, oks

POINTS = 12
SETS = 200


def their_metrics(clone: Path):
    """deeplabcut.core.metrics.api, under packages whose own __init__ is not run."""
    for name in ("deeplabcut", "deeplabcut.core"):
        package = types.ModuleType(name)
        package.__path__ = [str(clone.joinpath(*name.split(".")))]
        sys.modules[name] = package
    unused = types.ModuleType("deeplabcut.core.crossvalutils")  # wants the whole package
    unused.find_closest_neighbors = None  # type: ignore[attr-defined]
    sys.modules[unused.__name__] = unused
    from deeplabcut.core.metrics import api  # type: ignore[import-not-found]

    return api


def made_up(seed: int):
    rng = np.random.default_rng(seed)
    pictures, instances = int(rng.integers(1, 7)), int(rng.integers(2, 25))
    corner, side = rng.uniform(0, 200, (instances, 2)), rng.uniform(30, 150, (instances, 2))
    points = corner[:, None] + rng.random((instances, POINTS, 2)) * side[:, None]
    flags = np.where(rng.random((instances, POINTS)) < 0.25, 0, 2)
    flags[0, 1:] = 0
    image = rng.integers(0, pictures, instances)
    of = rng.integers(0, instances, int(rng.integers(1, 40)))
    noise = rng.choice([0.0, 3.0, 10.0, 40.0], len(of))[:, None, None]
    guesses = points[of] + rng.normal(0, 1, (len(of), POINTS, 2)) * noise
    guesses[rng.random(guesses.shape[:2]) < 0.05] = np.nan
    return points, flags, image, guesses, rng.random((len(of), POINTS)), image[of], pictures


def theirs(api, points, flags, image, guesses, scores, of_image, pictures):
    told = {}
    found = {}
    scores = np.where(np.isnan(guesses[..., 0]), np.nan, scores)
    for i in range(pictures):
        told[str(i)] = np.concatenate([points, flags[..., None]], axis=-1)[image == i]
        found[str(i)] = np.concatenate([guesses, scores[..., None]], axis=-1)[of_image == i]
    result = api.compute_metrics(told, found, compute_detection_rmse=False)
    return result["mAP"] / 100, result["mAR"] / 100, result["rmse"]


def ours(points, flags, image, guesses, scores, of_image):
    labelled = np.where(flags[..., None] > 0, points, np.nan)
    box = np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)
    count = len(points)
    truth = oks.Truth(
        labelled, flags, box, oks.keypoint_extent(labelled), image, np.zeros(count, int),
        np.zeros(count, bool),
    )  # fmt: skip
    rank = np.nanmean(np.where(np.isnan(guesses[..., 0]), np.nan, scores), axis=1)
    found = oks.Detections(
        guesses, rank, of_image, np.zeros(len(guesses), int), oks.keypoint_extent(guesses)
    )
    sigmas = np.full(POINTS, 0.1)
    pairs = nearest.pair(truth, found, sigmas, nearest.RULES["dlc"], pooled=True)
    figures = nearest.evaluate(found, pairs).figures()
    return figures["AP"], figures["AR"], nearest.pixel_error(truth, found, pairs)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clone", type=Path, help="a clone of DeepLabCut")
    api = their_metrics(parser.parse_args().clone.resolve())
    worst = np.zeros(3)
    for seed in range(SETS):
        case = made_up(seed)
        gap = np.abs(np.array(theirs(api, *case)) - np.array(ours(*case[:-1])))
        worst = np.maximum(worst, np.nan_to_num(gap))
    print(f"{SETS} sets; largest difference: AP {worst[0]:.1e}, AR {worst[1]:.1e},", end=" ")
    print(f"pixel error {worst[2]:.1e}")
    return int((worst > 1e-9).any())


if __name__ == "__main__":
    sys.exit(main())
