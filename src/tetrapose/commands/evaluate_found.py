"""The part of ``tetrapose evaluate`` that looks for the animals itself (``--boxes auto``)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tetrapose.commands.evaluate_sets import Made, Opened, mapping_of, progress, without_labels

if TYPE_CHECKING:
    from tetrapose.evaluation.predictions import Predictions
    from tetrapose.evaluation.protocols import Protocol
    from tetrapose.inference.found import FoundSet
    from tetrapose.skeletons.mapping import Mapping

# Of a box's score: precision wants some doubtful ones too, ranked; each costs a look at the pose.
LEAST = 0.2


def by_finder(args: argparse.Namespace, sets: Sequence[Opened], rules: Protocol) -> list[Made]:
    """Poses in the boxes that the finder sees, matched to the labels by OKS."""
    from dataclasses import replace

    from tetrapose.evaluation import predictions as predicting
    from tetrapose.inference import predictor as inference
    from tetrapose.inference.finder import load_finder
    from tetrapose.inference.found import find_in_set, predict_found, score_boxes

    finder = load_finder(
        args.finder or "finder",
        least=LEAST if args.least_score is None else args.least_score,
        tiles=args.tiles,
        device=args.device,
    )
    predictor = inference.load(
        args.model, flip=not args.no_flip, decoder=args.decoder, batch_size=args.batch,
        device=args.device,
    )  # fmt: skip
    mappings = [mapping_of(args, predictor, one) for one in sets]
    described = predictor.protocol
    made = []
    for one, mapping in zip(sets, mappings, strict=True):
        found = find_in_set(finder, one.pose_set, progress=progress(len(one.pose_set.files)))
        boxes = score_boxes(found, one.pose_set)
        print(f"{one.name}: boxes found: {_told(boxes)}", file=sys.stderr)
        predictions = predict_found(predictor, found, without_labels(one.pose_set, predictor))
        truth = predicting.without(one.pose_set, mapping)
        notes = (
            "an animal counts as the species whose group the finder gave it",
            *predicting.mapping_notes(mapping),
        )
        about: dict[str, Any] = {"name": str(args.model), **described, "finder": finder.protocol}
        made.append(
            Made(
                truth=truth,
                predictions=_carried(predictions, mapping, found),
                rules=replace(
                    rules,
                    boxes=f"found by {finder.protocol['finder']}'s finder",
                    instance_score=f"{rules.instance_score}, times the box's score",
                    pairing="labelled bbox of IoU above 0.5, each once, best boxes first",
                    flip_test=described["flip_test"],
                    decoder=described["codec"].get("decoder"),
                    notes=notes,
                ),
                model={**about, "skeleton": predictor.skeleton.name, "boxes": boxes},
                problems=found.problems,
            )
        )
    return made


def _carried(predictions: Predictions, mapping: Mapping, found: FoundSet) -> Predictions:
    """The predictions on the set's skeleton, scored by its points alone."""
    from dataclasses import replace

    import numpy as np

    from tetrapose.evaluation.oks import keypoint_extent
    from tetrapose.evaluation.predictions import instance_scores
    from tetrapose.skeletons.mapping import carried

    keypoints = carried(predictions.keypoints, mapping, empty=np.nan)
    scores = carried(predictions.scores, mapping, empty=0.0)
    boxes = [one.scores for one in found.seen if one is not None and len(one)]
    return replace(
        predictions,
        keypoints=keypoints,
        scores=scores,
        instance_scores=instance_scores(scores, np.concatenate([np.zeros(0), *boxes])),
        areas=keypoint_extent(keypoints),
    )


def _told(boxes: dict[str, float]) -> str:
    shown = ("AP", "AP50", "AP75", "AR10")
    return ", ".join(f"{name} {boxes[name]:.3f}" for name in shown if name in boxes)
