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
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tetrapose.evaluation.calibration import Judged
    from tetrapose.inference.predictor import Predictor
    from tetrapose.structures import PoseSet

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


def run(args: argparse.Namespace) -> int:
    """Predict, fit, tell, write."""
    from dataclasses import replace
    from pathlib import Path

    from tetrapose.data import open_set, parse_spec
    from tetrapose.data.reading import write_text
    from tetrapose.errors import UserError
    from tetrapose.evaluation import calibration
    from tetrapose.inference.predictor import load
    from tetrapose.weights import calibration as stored

    sets = [open_set(spec) for spec in args.data]
    predictor = load(args.model, batch_size=args.batch, device=args.device, calibrated=False)
    names, partners = predictor.skeleton.names, predictor.skeleton.flip_indices
    maps: dict[str, Any] = {}
    errors: dict[str, Any] = {}
    pages: dict[str, tuple[Judged, Judged]] = {}
    for kind, flip in (("flip", True), ("single", False)):
        looking = replace(predictor, flip=flip)
        judged = calibration.joined([_judged(looking, one) for one in sets])
        try:
            after = calibration.held_out(judged, partners)
            maps[kind] = calibration.fit(judged, partners).to_dict()
        except ValueError as error:
            raise UserError(f"{', '.join(args.data)}: {error}") from None
        pages[kind] = judged, after
        before_figures = calibration.figures(judged, names)
        after_figures = calibration.figures(after, names)
        errors[kind] = {
            "ece_before": _round(before_figures["ece"]),
            "ece_after": _round(after_figures["ece"]),
            "brier_before": _round(before_figures["brier"]),
            "brier_after": _round(after_figures["brier"]),
        }
        print(_text(kind, before_figures, after_figures))
    judged = pages["flip"][0]
    made = {
        "means": stored.MEANS,
        "maps": maps,
        "fitted_on": {
            "sets": [
                {
                    "source": one.source,
                    "split": [Path(f).name for f in parse_spec(spec)[2].get("split", ())],
                }
                for spec, one in zip(args.data, sets, strict=True)
            ],
            "animals": int(judged.counted.any(axis=1).sum()),
            "points": int(judged.counted.sum()),
        },
        "held_out": errors,
    }
    if args.html:
        page = _page(args, pages["flip"], names)
        write_text(Path(args.html), page)
        print(f"written: {args.html}")
    if args.store:
        print(f"written: {stored.store(args.model, made)}")
    else:
        print("nothing is changed; --store puts this on the model's card")
    return 0


def _judged(predictor: Predictor, pose_set: PoseSet) -> Judged:
    """The set's labels carried to the model's points, and how its own predictions fared there."""
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
    return calibration.judge(own, in_given_boxes(own, outcome.keypoints, outcome.scores))


def _page(args: argparse.Namespace, pair: tuple[Judged, Judged], names: tuple[str, ...]) -> str:
    from tetrapose.reports.calibration import calibration_page

    return calibration_page(
        *pair, names, title=f"Scores of {args.model} on {', '.join(args.data)}",
        lead="Calibrated scores are of animals whose pictures the map was not fitted on; with flip"
        " test.",
    )  # fmt: skip


def _text(kind: str, before: dict[str, Any], after: dict[str, Any]) -> str:
    looked = "with the mirror image" if kind == "flip" else "without the mirror image"
    lines = [
        f"{looked}: {before['count']:,} points, {before['share']:.3f} right,"
        f" mean score {before['mean_score']:.3f}",
        f"  expected calibration error {before['ece']:.4f} -> {after['ece']:.4f} (held out)",
        f"  Brier score                {before['brier']:.4f} -> {after['brier']:.4f} (held out)",
    ]
    if kind == "flip":
        lines.append(
            f"  {'keypoint':24}{'points':>8}{'right':>8}{'score':>8}{'error':>8}{'after':>8}"
        )
        for name, old in before["per_keypoint"].items():
            new = after["per_keypoint"][name]
            if old["count"]:
                lines.append(
                    f"  {name:24}{old['count']:8,}{old['share']:8.3f}{old['mean_score']:8.3f}"
                    f"{old['ece']:8.3f}{new['ece']:8.3f}"
                )
    return "\n".join(lines)


def _round(value: float) -> float:
    return round(value, 4)
