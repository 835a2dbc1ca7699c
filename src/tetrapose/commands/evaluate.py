"""Score a model, or predictions from a file, on a labelled set.

  tetrapose evaluate --data animal_pose:DIR --split val.txt --json result.json --html result.html
  tetrapose evaluate --model runs/mine/best.safetensors --data coco:labels.json
  tetrapose evaluate --predictions results.json --data coco:labels.json

A model is given the labelled bboxes and both the picture and its mirror image (--no-flip: not).
Predictions are COCO results: a list of image_id (or file_name), category_id, keypoints, score.
Every result tells its protocol: sigmas, pooling, boxes, flip test, and the length, mean and counted
points of each PCK. Points of a model that knows another skeleton are matched by name.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tetrapose.evaluation.predictions import Predictions
    from tetrapose.evaluation.protocols import Protocol
    from tetrapose.structures import PoseSet, Problem

HELP = "score a model, or a results file, on a labelled set"
SHOWN = 20  # problems printed; --json holds all
SPECIES_SHOWN = 60


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--data", required=True, metavar="NAME:DIR", help="the labelled set")
    parser.add_argument("--split", action="append", metavar="FILE", help="only pictures it names")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--model", default="default", help="a shipped model's name or a weights file")
    what.add_argument("--predictions", metavar="FILE", help="score this COCO results file instead")
    parser.add_argument(
        "--labels-only", action="store_true", help="with --predictions: the pictures are not here"
    )
    parser.add_argument("--json", metavar="FILE", help="write the result")
    parser.add_argument("--html", metavar="FILE", help="write a page with plots and pictures")
    parser.add_argument(
        "--protocol", default="coco-macro", metavar="NAME", help="coco-macro or coco-pooled"
    )
    parser.add_argument(
        "--sigmas", default="own", metavar="SET", help="own, or a sigma set of the skeleton: mmpose"
    )
    parser.add_argument("--no-flip", action="store_true", help="without the mirror image")
    parser.add_argument("--decoder", metavar="NAME", help="dark, shift or argmax")
    parser.add_argument("--batch", type=int, default=32, metavar="N", help="crops at once")
    parser.add_argument("--device", help="cpu or cuda; the first GPU where there is one")


def run(args: argparse.Namespace) -> int:
    """Score, print, write."""
    from pathlib import Path

    from tetrapose.data import open_set
    from tetrapose.errors import UserError
    from tetrapose.evaluation.protocols import protocol, sigmas_of
    from tetrapose.evaluation.score import score

    _can_be_written(args.json, args.html)
    if args.json and Path(args.json).resolve() == Path(args.model).with_suffix(".json").resolve():
        raise UserError(f"{args.json}: is the model's own card; write the result elsewhere")
    rules = protocol(args.protocol, sigmas=args.sigmas)
    if args.labels_only and not args.predictions:
        raise UserError("--labels-only goes with --predictions: a model has to see the pictures")
    pose_set = open_set(args.data, split=args.split, pictures=not args.labels_only)
    sigmas_of(pose_set.skeleton, args.sigmas)  # a wrong name is told before the long work
    make = _from_file if args.predictions else _by_model
    made = make(args, pose_set, rules)
    problems = [*pose_set.problems, *made.problems]
    if len(pose_set) and not len(made.predictions.instance):
        first = f"; the first problem: {problems[0]}" if problems else ""
        raise UserError(f"{args.data}: not one of {len(pose_set)} animals was predicted{first}")
    result = score(made.truth, made.predictions, made.rules)
    result |= {
        "data": {
            "set": args.data,
            "split": args.split or [],
            "source": pose_set.source,
            "licence": pose_set.licence,
        },
        "model": made.model,
        "problems": [
            {"where": p.where, "what": p.what, "fix": p.fix, "left_out": p.left_out}
            for p in problems
        ],
    }
    print(summary(result))
    _write(args, result, made, problems)
    return _tell(problems)


@dataclass(frozen=True)
class _Made:
    """Predictions with what has to be known to score them."""

    truth: PoseSet
    predictions: Predictions
    rules: Protocol
    model: dict[str, Any]
    problems: Sequence[Problem]


def _by_model(args: argparse.Namespace, pose_set: PoseSet, rules: Protocol) -> _Made:
    """Every instance predicted in its own bbox."""
    from dataclasses import replace

    import numpy as np

    from tetrapose.errors import UserError
    from tetrapose.evaluation import predictions as predicting
    from tetrapose.inference import predictor as inference

    predictor = inference.load(
        args.model, flip=not args.no_flip, decoder=args.decoder, batch_size=args.batch,
        device=args.device,
    )  # fmt: skip
    naming = predicting.by_name(predictor.skeleton, pose_set.skeleton)
    if (naming.source < 0).all():
        raise UserError(
            f"{args.model} predicts {predictor.skeleton.name}, which has no keypoint name in common"
            f" with {pose_set.skeleton.name}, the skeleton of {args.data}"
        )
    count, points = len(pose_set), len(predictor.skeleton)
    unlabelled = replace(
        pose_set,
        skeleton=predictor.skeleton,
        keypoints=np.full((count, points, 2), np.nan),
        visibility=np.zeros((count, points), dtype=np.uint8),
    )
    outcome = predictor.predict_set(unlabelled, progress=_progress(count))
    notes = []
    if naming.left_out:
        notes.append("not predicted and left out: " + ", ".join(naming.left_out))
    if naming.moved:
        notes.append("of equal name, told of another place: " + "; ".join(naming.moved))
    told = predictor.protocol
    rules = replace(
        rules, flip_test=told["flip_test"], decoder=told["codec"].get("decoder"),
        notes=tuple(notes),
    )  # fmt: skip
    truth = predicting.without(pose_set, naming)
    rows = predicting.in_given_boxes(
        truth,
        predicting.renamed(outcome.keypoints, naming, empty=np.nan),
        predicting.renamed(outcome.scores, naming, empty=0.0),
    )
    model = {"name": str(args.model), "skeleton": predictor.skeleton.name, **told}
    return _Made(truth, rows, rules, model, outcome.problems)


def _from_file(args: argparse.Namespace, pose_set: PoseSet, rules: Protocol) -> _Made:
    """A COCO results file laid beside the set."""
    from dataclasses import replace
    from pathlib import Path

    from tetrapose.data.reading import load_json
    from tetrapose.evaluation import results
    from tetrapose.evaluation.protocols import sigmas_of

    read = results.from_results(
        pose_set,
        load_json(Path(args.predictions)),
        sigmas_of(pose_set.skeleton, args.sigmas),
        categories=_categories(args.data, pose_set),
        where=args.predictions,
    )
    rules = replace(
        rules,
        boxes="not known: predictions were read from a file",
        instance_score="as the file gives it",
        pairing=results.PAIRING,
        notes=read.notes,
    )
    return _Made(pose_set, read.predictions, rules, {"file": args.predictions}, read.problems)


def _categories(spec: str, pose_set: PoseSet) -> dict[int, int]:
    """Category id -> species row: the ids of the set's label file, else numbers from 1."""
    from pathlib import Path

    from tetrapose.data import parse_spec
    from tetrapose.data.reading import load_json

    _, where, _ = parse_spec(spec)
    file = Path(where.partition(".json:")[0] + ".json" if ".json:" in where else where)
    if file.suffix == ".json" and file.is_file():
        content = load_json(file)
        listed = content.get("categories") if isinstance(content, dict) else None
        if isinstance(listed, list) and len(listed) == len(pose_set.species_names):
            return {entry["id"]: row for row, entry in enumerate(listed)}
    return {row + 1: row for row in range(len(pose_set.species_names))}


def _progress(total: int) -> Any:
    """A line on stderr that counts, where somebody looks on."""
    if not sys.stderr.isatty():
        return None

    def show(done: int) -> None:
        end = "\n" if done == total else ""
        print(f"\rpredicted {done:,} of {total:,}", end=end, file=sys.stderr, flush=True)

    return show


def summary(result: dict[str, Any]) -> str:
    """The result as plain text."""
    from tetrapose.evaluation.oks import FIGURES

    rules, counts = result["protocol"], result["counts"]
    flip = {True: "flip test", False: "no flip test", None: "flip test not known"}
    lines = [
        f"{counts['instances_scored']:,} animals, {counts['keypoints']:,} labelled points, "
        f"{counts['pictures']:,} pictures; {counts['predictions']:,} predictions",
        f"protocol {rules['name']}; sigmas {rules['sigmas']['set']} of {rules['skeleton']}; "
        f"boxes {rules['boxes'].partition(':')[0]}; {flip[rules['flip_test']]}; "
        f"decoder {rules['decoder'] or 'not known'}",
        *(f"note: {note}" for note in rules["notes"]),
        "",
        _line("", FIGURES),
        _line("all", [_number(result[key]) for key in FIGURES]),
    ]
    for name, figures in list(result["per_species"].items())[:SPECIES_SHOWN]:
        lines.append(_line(name, [_number(figures[key]) for key in FIGURES]))
    if len(result["per_species"]) > SPECIES_SHOWN:
        lines.append(f"and {len(result['per_species']) - SPECIES_SHOWN} species more")
    thresholds = list(next(iter(result["pck"].values())))
    lines += ["", _line("PCK", [f"@{t}" for t in thresholds]) + "  over the / mean over"]
    for name, values in result["pck"].items():
        told = rules["pck"][name]
        line = _line(name, [_number(values[t]) for t in thresholds])
        lines.append(f"{line}  {told['length']} / {told['mean']}")
    lines += ["", _line("keypoint", ["labelled", "@0.05", "@0.1", "NME", "swapped"])]
    for name, figures in result["per_keypoint"].items():
        shares = figures["pck"]["box_area"]
        cells = [f"{figures['count']}", *(_number(shares[t]) for t in ("0.05", "0.1"))]
        cells += [_number(figures["nme"]), _number(figures["swap_rate"])]
        lines.append(_line(name, cells))
    whole = (result["pck"]["box_area"]["0.05"], result["pck"]["box_area"]["0.1"])
    cells = [f"{counts['keypoints']}", *(_number(v) for v in whole)]
    lines.append(_line("all", [*cells, _number(result["nme"]), _number(result["swap_rate"])]))
    lines.append("(PCK of keypoints by box_area)")
    return "\n".join(lines)


def _line(name: str, cells: Sequence[str]) -> str:
    return f"{name[:24]:24}" + "".join(f"{cell:>9}" for cell in cells)


def _number(value: float | None) -> str:
    return "-" if value is None or value == -1 else f"{value:.3f}"


def _can_be_written(*files: str | None) -> None:
    """Find out before the long work, not after it."""
    import os
    from pathlib import Path

    from tetrapose.errors import UserError

    for file in files:
        if file is None:
            continue
        try:
            Path(file).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{file}: cannot be written ({error.strerror or error})") from None
        if Path(file).is_dir() or not os.access(Path(file).parent, os.W_OK):
            raise UserError(f"{file}: cannot be written (a folder, or in one that is closed)")


def _write(
    args: argparse.Namespace, result: dict[str, Any], made: _Made, problems: Sequence[Problem]
) -> None:
    import json
    from pathlib import Path

    from tetrapose.data.reading import write_text

    if args.json:
        text = json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False)
        write_text(Path(args.json), text + "\n")
    if args.html:
        from tetrapose.reports.evaluation import evaluation_page

        title = f"{args.predictions or args.model} on {args.data}"
        page = evaluation_page(made.truth, made.predictions, result, title=title, problems=problems)
        write_text(Path(args.html), page)
    for file in (args.json, args.html):
        if file:
            print(f"written: {file}")


def _tell(problems: Sequence[Problem]) -> int:
    """Problems on stderr; 1 where something was left out."""
    for problem in problems[:SHOWN]:
        print(f"tetrapose: {problem}", file=sys.stderr)
    if len(problems) > SHOWN:
        print(f"tetrapose: and {len(problems) - SHOWN} problems more", file=sys.stderr)
    left_out = sum(problem.left_out for problem in problems)
    if left_out:
        print(f"tetrapose: done, {left_out} left out", file=sys.stderr)
    return 1 if left_out else 0
