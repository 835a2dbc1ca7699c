"""Trackers on films of crossing animals whose every identity is known.

python benchmarks/tracking.py --films 20 --frames 300 --json tracking.json

Boxes and points come of tetrapose.synth.crossing, as a finder with misses, false boxes and lured
points would give them; each tracker sees the same. The plain one matches boxes by IoU with the last
box of a track, without motion, poses or a search for the lost, with equal births and patience.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from tetrapose import skeletons
from tetrapose.evaluation.tracks import Step, track_figures
from tetrapose.geometry import box_iou
from tetrapose.synth.crossing import HIDDEN, Moment, Sighting, crossing, sighted
from tetrapose.tracking.tracker import PLAIN, Detections, Rules, Tracker

TRACKERS = {
    "plain IoU": PLAIN,
    "IoU + motion": replace(Rules(), pose=0.0, again=np.inf),
    "IoU + motion + return": replace(Rules(), pose=0.0),
    "boxes and poses": Rules(),
}


def follow(moments: list[Moment], seen: list[Sighting], rules: Rules) -> list[Step]:
    """Frames as they are scored: who is there, and which track was put where."""
    tracker = Tracker(skeletons.load("ap10k").sigmas, rules)
    rows = [
        tracker.step(clock, Detections(one.bboxes, one.scores, one.keypoints, one.sure))
        for clock, one in enumerate(seen)
    ]
    ids = tracker.ids()
    steps = []
    for moment, one, serials in zip(moments, seen, rows, strict=True):
        named = np.array([ids.get(int(s), 0) for s in serials], dtype=np.int64)
        kept = named > 0
        there = np.flatnonzero(moment.seen >= HIDDEN)
        iou = box_iou(moment.bboxes[there], one.bboxes[kept])
        steps.append(Step(there, named[kept], iou))
    return steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--films", type=int, default=20, help="films of each number of animals")
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--animals", type=int, nargs="+", default=[2, 3, 4, 5, 6])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    told = {}
    for animals in args.animals:
        films = []
        for film in range(args.films):
            moments = crossing(args.seed + film, animals, args.frames)
            films.append((moments, sighted(moments, args.seed + film)))
        for name, rules in TRACKERS.items():
            began = time.process_time()
            figures = [
                asdict(track_figures(follow(moments, seen, rules))) for moments, seen in films
            ]
            spent = time.process_time() - began
            totals = {key: sum(f[key] for f in figures) for key in ("switches", "misses", "false")}
            means = {key: float(np.mean([f[key] for f in figures])) for key in ("idf1", "hota")}
            told[f"{animals} animals, {name}"] = {**totals, **means, "seconds": spent}
            print(
                f"{animals} animals  {name:22} switches {totals['switches']:4d}  misses"
                f" {totals['misses']:5d}  IDF1 {means['idf1']:.3f}  HOTA {means['hota']:.3f}",
                flush=True,
            )
    if args.json:
        args.json.write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()
