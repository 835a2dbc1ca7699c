"""Fit what a model's scores mean, and put it on its card.

  tetrapose calibrate --model runs/pose/model.safetensors --data animal_pose:DIR,split=val.txt
  tetrapose calibrate --model M --data SET --data SET --store --html calibration.html

Labelled pictures that the model was not trained on are predicted, with the mirror image and
without. A score then becomes the share of points that are right: nearer to the label than 0.1 of
the square root of the box area. The errors shown are of animals whose pictures the map was not
fitted on (two halves, each by the other's map); what is stored is fitted on all of them. Points
that the model and a set share exactly count, near ones do not. Without --store nothing is changed.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tetrapose.evaluation.calibration import Judged
    from tetrapose.inference.predictor import Predictor
    from tetrapose.structures import PoseSet, Problem

HELP = "fit how far a model's scores can be trusted"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    add = parser.add_argument
    add(
        "--data", required=True, action="append", metavar="NAME:DIR",
        help="a labelled set that the model has not seen, its split as NAME:DIR,split=FILE",
    )  # fmt: skip
    add("--model", default="default", help="a shipped model's name or a weights file")
    add("--store", action="store_true", help="write the maps onto the model's card")
    add("--html", metavar="FILE", help="write a page with the reliability plot")
    add("--batch", type=int, default=32, metavar="N", help="crops at once")
    add("--device", help="cpu or cuda; the first GPU where there is one")


@dataclass
class _Fitted:
    """What was found of one way of looking: the map, figures before and after, what was unread."""

    map: dict[str, Any]
    before: Judged
    after: Judged
    problems: list[tuple[Problem, ...]]


def run(args: argparse.Namespace) -> int:
    """Predict, fit, tell, write."""
    from dataclasses import replace
    from pathlib import Path

    from tetrapose.commands.given import tell_problems
    from tetrapose.data import open_set
    from tetrapose.data.reading import write_text
    from tetrapose.inference.predictor import load
    from tetrapose.reports.calibration import calibration_page
    from tetrapose.weights import calibration as stored

    sets = [open_set(spec) for spec in args.data]
    predictor = load(args.model, batch_size=args.batch, device=args.device, calibrated=False)
    names = predictor.skeleton.names
    ways: dict[str, _Fitted] = {}
    for kind, flip in (("flip", True), ("single", False)):
        ways[kind] = _fit(replace(predictor, flip=flip), sets, ", ".join(args.data))
        print(_text(ways[kind], names, flip=flip))
    judged = ways["flip"].before
    told = [(one.source, _split(spec)) for spec, one in zip(args.data, sets, strict=True)]
    made = {
        "means": stored.MEANS,
        "maps": {kind: way.map for kind, way in ways.items()},
        "fitted_on": {
            "sets": [{"source": source, "split": split} for source, split in told],
            "animals": int(judged.counted.any(axis=1).sum()),
            "points": int(judged.counted.sum()),
        },
        "held_out": {kind: _errors(way, names) for kind, way in ways.items()},
    }
    if args.html:
        words = ", ".join(" ".join([source, *split]) for source, split in told)
        page = calibration_page(
            judged, ways["flip"].after, names, title=f"Scores of {args.model} on {words}",
            lead="With the mirror image. Calibrated scores are of animals whose pictures the map"
            " was not fitted on.",
        )  # fmt: skip
        write_text(Path(args.html), page)
        print(f"written: {args.html}")
    if args.store:
        print(f"written: {stored.store(args.model, made)}")
    else:
        print("nothing is changed; --store puts this on the model's card")
    left_out = sum(
        tell_problems(replace(one, problems=one.problems + found))
        for one, found in zip(sets, ways["flip"].problems, strict=True)
    )
    return 1 if left_out else 0


def _fit(predictor: Predictor, sets: Sequence[PoseSet], where: str) -> _Fitted:
    from tetrapose.errors import UserError
    from tetrapose.evaluation import calibration

    parts = [_judged(predictor, one) for one in sets]
    judged = calibration.joined([part for part, _ in parts])
    partners = predictor.skeleton.flip_indices
    try:
        after = calibration.held_out(judged, partners)
        made = calibration.fit(judged, partners)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None
    return _Fitted(made.to_dict(), judged, after, [found for _, found in parts])


def _errors(way: _Fitted, names: Sequence[str]) -> dict[str, float]:
    from tetrapose.evaluation import calibration

    return {
        f"{key}_{when}": round(calibration.figures(judged, names)[key], 4)
        for key in ("ece", "brier")
        for when, judged in (("before", way.before), ("after", way.after))
    }


def _judged(predictor: Predictor, pose_set: PoseSet) -> tuple[Judged, tuple[Problem, ...]]:
    """How the model's points fared beside a set's labels, carried to them, and what was unread."""
    from dataclasses import replace

    import numpy as np

    from tetrapose.errors import UserError
    from tetrapose.evaluation import calibration
    from tetrapose.evaluation.predictions import in_given_boxes
    from tetrapose.skeletons.mapping import between, carried

    mapping = between(pose_set.skeleton, predictor.skeleton).without_near()
    if (mapping.index < 0).all():
        raise UserError(
            f"the model predicts {predictor.skeleton.name}, which has no point in common with"
            f" {pose_set.skeleton.name}"
        )
    own = replace(
        pose_set,
        skeleton=predictor.skeleton,
        keypoints=carried(pose_set.keypoints, mapping, empty=np.nan),
        visibility=carried(pose_set.visibility, mapping, empty=0),
        weights=None,
    )
    outcome = predictor.predict_set(own)
    made = in_given_boxes(own, outcome.keypoints, outcome.scores)
    return calibration.judge(own, made), outcome.problems


def _split(spec: str) -> list[str]:
    """The names of a spec's split files, without their folders."""
    from pathlib import Path

    from tetrapose.data import parse_spec

    return [Path(file).name for file in parse_spec(spec)[2].get("split", ())]


def _text(way: _Fitted, names: Sequence[str], *, flip: bool) -> str:
    from tetrapose.evaluation import calibration

    before, after = (calibration.figures(judged, names) for judged in (way.before, way.after))
    lines = [
        f"{'with' if flip else 'without'} the mirror image: {before['count']:,} points,"
        f" {before['share']:.3f} right, mean score {before['mean_score']:.3f}",
        f"  expected calibration error {before['ece']:.4f} -> {after['ece']:.4f} (held out)",
        f"  Brier score                {before['brier']:.4f} -> {after['brier']:.4f} (held out)",
    ]
    if flip:
        header = ("points", "right", "score", "error", "after")
        lines.append(f"  {'keypoint':24}" + "".join(f"{word:>8}" for word in header))
        lines += [
            f"  {name:24}{old['count']:8,}{old['share']:8.3f}{old['mean_score']:8.3f}"
            f"{old['ece']:8.3f}{after['per_keypoint'][name]['ece']:8.3f}"
            for name, old in before["per_keypoint"].items()
            if old["count"]
        ]
    return "\n".join(lines)
