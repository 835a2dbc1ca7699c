"""Score a model, or predictions from a file, on labelled sets.

  tetrapose evaluate --data animal_pose:DIR --split val.txt --json result.json --html result.html
  tetrapose evaluate --data animal_pose:DIR,split=val.txt --data coco:ap10k.json --json mix.json
  tetrapose evaluate --predictions results.json --data coco:labels.json --protocol all

A model is given the labelled bboxes and both the picture and its mirror image (--no-flip: not). Its
points are carried to each set's own skeleton by their place on the body; sets are scored with their
own sigmas and areas, and the overall is weighted by their animals. Predictions are COCO results: a
list of image_id (or file_name), category_id, keypoints, score; one file for each set.

Protocols: coco-macro (mean over species), coco-pooled, dlc (DeepLabCut 3), ultralytics, freenet,
seed001, or all of them side by side. Every result tells its own: sigmas, areas, pooling, matching,
boxes, flip test, and the length, mean and counted points of each PCK.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from tetrapose.commands import evaluate_found, evaluate_sets, evaluate_table, finding

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tetrapose.commands.evaluate_sets import Made, Opened
    from tetrapose.evaluation.mix import Part
    from tetrapose.evaluation.protocols import Protocol
    from tetrapose.structures import Problem

HELP = "score a model, or results files, on labelled sets"
SHOWN = 20  # problems printed; --json holds all
ALL = "all"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "--data", required=True, action="append", metavar="NAME:DIR",
        help="a labelled set, with its split as NAME:DIR,split=FILE; may stand several times",
    )  # fmt: skip
    parser.add_argument(
        "--split", action="append", metavar="FILE", help="only pictures it names, of a single set"
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--model", default="default", help="a shipped model's name or a weights file")
    what.add_argument(
        "--predictions", action="append", metavar="FILE",
        help="score this COCO results file instead; one for each --data",
    )  # fmt: skip
    parser.add_argument(
        "--labels-only", action="store_true", help="with --predictions: the pictures are not here"
    )
    parser.add_argument("--json", metavar="FILE", help="write the result")
    parser.add_argument("--html", metavar="FILE", help="write a page with plots and pictures")
    parser.add_argument(
        "--protocol", default="coco-macro", metavar="NAME",
        help="coco-macro, coco-pooled, dlc, ultralytics, freenet, seed001 or all",
    )  # fmt: skip
    parser.add_argument(
        "--sigmas", metavar="SET",
        help="instead of the protocol's: own, a sigma set of the skeleton (mmpose), 1/K, or 0.1",
    )  # fmt: skip
    parser.add_argument(
        "--near", choices=("keep", "drop"), default="keep",
        help="score points that a model predicts near the set's place, not at it (keep: and say)",
    )  # fmt: skip
    parser.add_argument(
        "--species-apart", action="store_true", help="count every species as a set of its own"
    )
    parser.add_argument(
        "--boxes", choices=("given", "auto"), default="given",
        help="predict in the labelled bboxes, or in those that the finder sees (auto)",
    )  # fmt: skip
    finding.add_finder(parser)
    parser.add_argument("--no-flip", action="store_true", help="without the mirror image")
    parser.add_argument("--decoder", metavar="NAME", help="argmax, shift, dark or dark_udp")
    parser.add_argument("--batch", type=int, default=32, metavar="N", help="crops at once")
    parser.add_argument("--device", help="cpu or cuda; the first GPU where there is one")


def run(args: argparse.Namespace) -> int:
    """Score, print, write."""
    from tetrapose.errors import UserError
    from tetrapose.evaluation import mix
    from tetrapose.evaluation.protocols import PROTOCOLS, sigma_set
    from tetrapose.evaluation.score import score, side_by_side

    rules = _rules(args)
    _demand_usable(args)
    sets = evaluate_sets.open_all(args)
    for one in sets:
        sigma_set(one.pose_set.skeleton, rules.sigmas)  # told before the long work
    made = _maker(args)(args, sets, rules)
    problems = [p for one, m in zip(sets, made, strict=True) for p in _problems(one, m)]
    parts: list[Part] = []
    results: dict[str, dict[str, Any]] = {}
    for one, each in zip(sets, made, strict=True):
        if len(one.pose_set) and not len(each.predictions.instance):
            first = f"; the first problem: {problems[0]}" if problems else ""
            raise UserError(
                f"{one.spec}: not one of {len(one.pose_set)} animals was predicted{first}"
            )
        for part in mix.parts_of(
            one.name, each.truth, each.predictions, each.rules, species_apart=args.species_apart
        ):
            result = score(part.truth, part.predictions, part.rules)
            if args.protocol == ALL:
                every = [_dressed(p, part.rules) for p in PROTOCOLS.values()]
                result["protocols"] = side_by_side(part.truth, part.predictions, every)
            results[part.name] = result | {"data": _told(one), "model": each.model}
            parts.append(part)
    whole = _whole(results, problems)
    print(_text(args, whole))
    _write(args, whole, parts, problems)
    return _tell(problems)


def _maker(args: argparse.Namespace) -> Callable[..., list[Made]]:
    """Who makes the predictions: a file, or a model in labelled or in found bboxes."""
    if args.predictions:
        return evaluate_sets.from_files
    return evaluate_found.by_finder if args.boxes == "auto" else evaluate_sets.by_model


def _rules(args: argparse.Namespace) -> Protocol:
    from tetrapose.errors import UserError
    from tetrapose.evaluation.protocols import PROTOCOLS, protocol

    changes = {"sigmas": args.sigmas} if args.sigmas else {}
    if args.protocol != ALL:
        if args.protocol not in PROTOCOLS:
            raise UserError(
                f"no protocol {args.protocol!r}; there are: {', '.join(PROTOCOLS)} and {ALL}"
            )
        return protocol(args.protocol, **changes)
    if changes:
        raise UserError("--sigmas goes with one protocol: each of them all brings its own")
    return protocol()


def _demand_usable(args: argparse.Namespace) -> None:
    """Find out before the long work, not after it."""
    import os
    from pathlib import Path

    from tetrapose.errors import UserError

    for file in (args.json, args.html):
        if file is None:
            continue
        try:
            Path(file).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{file}: cannot be written ({error.strerror or error})") from None
        if Path(file).is_dir() or not os.access(Path(file).parent, os.W_OK):
            raise UserError(f"{file}: cannot be written (a folder, or in one that is closed)")
    if args.json and Path(args.json).resolve() == Path(args.model).with_suffix(".json").resolve():
        raise UserError(f"{args.json}: is the model's own card; write the result elsewhere")
    finding.demand_usable(args)
    if args.predictions and args.boxes == "auto":
        raise UserError("--boxes auto goes with --model: a results file has made its choice")
    if args.labels_only and not args.predictions:
        raise UserError("--labels-only goes with --predictions: a model has to see the pictures")
    if args.near == "drop" and args.predictions:
        raise UserError("--near goes with --model: a results file is on its set's own skeleton")
    if args.predictions and len(args.predictions) != len(args.data):
        raise UserError(
            f"{len(args.predictions)} --predictions for {len(args.data)} --data; give one for each"
            " set, in the same order"
        )


def _dressed(rules: Protocol, like: Protocol) -> Protocol:
    """Another protocol for predictions made as those of ``like`` were."""
    from dataclasses import replace

    return replace(
        rules, boxes=like.boxes, instance_score=like.instance_score, pairing=like.pairing,
        flip_test=like.flip_test, decoder=like.decoder, notes=like.notes,
    )  # fmt: skip


def _problems(one: Opened, made: Made) -> list[Problem]:
    return [*one.pose_set.problems, *made.problems]


def _told(one: Opened) -> dict[str, Any]:
    return {
        "set": one.spec,
        "split": list(one.split),
        "source": one.pose_set.source,
        "licence": one.pose_set.licence,
    }


def _whole(results: Mapping[str, dict[str, Any]], problems: Sequence[Problem]) -> dict[str, Any]:
    """What the JSON holds: the one result, or ``sets`` and ``overall``."""
    from tetrapose.evaluation import mix

    told = [
        {"where": p.where, "what": p.what, "fix": p.fix, "left_out": p.left_out} for p in problems
    ]
    if len(results) == 1:
        return {**next(iter(results.values())), "problems": told}
    overall = mix.overall(results)
    first = next(iter(results.values()))
    if "protocols" in first:
        overall["protocols"] = {
            key: mix.heads(
                {name: result["protocols"][key] for name, result in results.items()},
                overall["weights"],
            )
            for key in first["protocols"]
        }
    return {"sets": dict(results), "overall": overall, "problems": told}


def _text(args: argparse.Namespace, whole: Mapping[str, Any]) -> str:
    if "sets" not in whole:
        shown = evaluate_table.protocols if args.protocol == ALL else evaluate_table.whole_set
        return shown(whole)
    text = evaluate_table.mix(whole["sets"], whole["overall"])
    if args.protocol == ALL:
        text += "\n" + evaluate_table.protocols_of_mix(whole["sets"], whole["overall"])
    return text


def _write(
    args: argparse.Namespace,
    whole: Mapping[str, Any],
    parts: Sequence[Part],
    problems: Sequence[Problem],
) -> None:
    import json
    from pathlib import Path

    from tetrapose.data.reading import write_text

    if args.json:
        text = json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False)
        write_text(Path(args.json), text + "\n")
    if args.html:
        from tetrapose.reports.evaluation import evaluation_page
        from tetrapose.reports.evaluation_mix import mix_page

        who = ", ".join(args.predictions) if args.predictions else args.model
        title = f"{who} on {', '.join(args.data)}"
        if len(parts) == 1:
            (one,) = parts
            page = evaluation_page(
                one.truth, one.predictions, whole, title=title, problems=problems
            )
        else:
            page = mix_page(parts, whole, title=title, problems=problems)
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
