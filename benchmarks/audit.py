"""The audit on a clean file: its speed, and how many planted left/right exchanges it tells.

  python benchmarks/audit.py DIR/annotations_only/ap10k_train.json

Speed is that of all checks after the JSON is parsed, pictures not looked at. Then left and right
are exchanged in a share of the animals, drawn by lot, as a whole or in one part; `found` is the
share of those that are told, `right` the share of what is told that was planted.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from tetrapose.audit import checking, raw, swaps, view

PARTS = ("whole animal", "head", "front limbs", "hind limbs")
SHARES = (0.005, 0.01, 0.02, 0.05, 0.2)


def main() -> None:
    """Time the checks, plant and look."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    content = raw.load(args.labels)
    times = []
    for _ in range(5):
        before = time.process_time()
        sheet = raw.sheet_of(content, args.labels.name)
        found, seen = checking.check(sheet, None, checking.Settings())
        times.append(time.process_time() - before)
    middle = float(np.median(times))
    rate = f"{middle:.2f} s of processor time, {len(sheet) / middle:,.0f} animals/s"
    print(f"{len(sheet):,} animals, {len(found)} findings, {rate}")
    for part in PARTS:
        cells = []
        for share in SHARES:
            runs = [planted(sheet, seen, part, share, seed) for seed in range(args.seeds)]
            hits, right = np.array(runs).T
            right = right[np.isfinite(right)]
            cells.append(f"{hits.mean():.2f}/" + (f"{right.mean():.2f}" if len(right) else "-"))
        print(f"{part:14}" + "".join(f"{cell:>12}" for cell in cells))
    print(f"{'planted':14}" + "".join(f"{share:>12.1%}" for share in SHARES) + "  found/right")


def planted(
    sheet: raw.Sheet, seen: view.View, part: str, share: float, seed: int
) -> tuple[float, float]:
    """Share found of the planted, share planted of the told (NaN where nothing is told)."""
    pairs = swaps.part_pairs(sheet.keypoint_names[0], part)
    there = np.isfinite(seen.points[:, pairs.ravel(), 0]).any(axis=1)
    chosen = (np.random.default_rng(seed).random(len(sheet)) < share) & there
    points = seen.points.copy()
    points[chosen] = swaps.exchanged(points[chosen], pairs)
    told = swaps.suspects(sheet, replace(seen, points=points)) != ""
    return float(told[chosen].mean()), float(chosen[told].mean()) if told.any() else np.nan


if __name__ == "__main__":
    main()
