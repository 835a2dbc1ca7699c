"""Labelled sets: which there are, what one holds, other forms, splits.

  tetrapose datasets list
  tetrapose datasets show animal_pose
  tetrapose datasets stats animal_pose:DIR --split val.txt
  tetrapose datasets convert akd_cats:DIR --to coco --out cats.json
  tetrapose datasets split akd_cats:DIR --folds 5 --seed 0 --out folds

A set is written NAME:DIR (coco:FILE.json[:IMAGES] for COCO files; `show` tells each form). Exit
status 1: done, but the set has entries that cannot be used; they are listed and were left out.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tetrapose.structures import PoseSet

HELP = "list, describe, count, convert and split labelled sets"
SHOWN = 20  # problems printed of each kind; --json holds all


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="the formats that can be read")
    show = actions.add_parser("show", help="origin, licence, layout and traps of one")
    show.add_argument("name", metavar="NAME")
    stats = actions.add_parser("stats", help="count pictures, animals, points; list problems")
    _add_set(stats)
    stats.add_argument("--json", metavar="FILE", help="write the figures and all problems")
    convert = actions.add_parser("convert", help="write a set in another form")
    _add_set(convert)
    convert.add_argument("--to", choices=["coco"], required=True)
    convert.add_argument("--out", metavar="FILE", required=True)
    split = actions.add_parser("split", help="write folds that keep groups together")
    _add_set(split)
    split.add_argument("--folds", type=int, required=True, metavar="K")
    split.add_argument("--seed", type=int, default=0)
    split.add_argument("--out", metavar="DIR", required=True)
    for action in actions.choices.values():
        action.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS
        )


def _add_set(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("spec", metavar="NAME:DIR")
    parser.add_argument(
        "--split", action="append", metavar="FILE", help="only the pictures it names"
    )
    parser.add_argument(
        "--labels-only", action="store_true", help="read labels whose pictures are not at hand"
    )


def run(args: argparse.Namespace) -> int:
    """Do the action."""
    if args.action == "list":
        return _list()
    if args.action == "show":
        return _show(args.name)
    from tetrapose.data import open_set

    pose_set = open_set(
        args.spec,
        split=args.split,
        sizes=args.action != "split" and not args.labels_only,
        pictures=not args.labels_only,
    )
    action = {"stats": _stats, "convert": _convert, "split": _split}[args.action]
    action(pose_set, args)
    return 1 if _tell_problems(pose_set) else 0


def _list() -> int:
    from tetrapose import data

    for name in data.available():
        about = data.about(name)
        print(f"{name:12} {about.title}\n{'':12} {about.layout}\n{'':12} licence: {about.licence}")
    return 0


def _show(name: str) -> int:
    import dataclasses
    import textwrap

    from tetrapose import data

    for key, value in dataclasses.asdict(data.about(name)).items():
        print(textwrap.fill(value, 100, initial_indent=f"{key:10}", subsequent_indent=" " * 10))
    return 0


def _stats(pose_set: PoseSet, args: argparse.Namespace) -> None:
    facts = gather(pose_set)
    if args.json:
        import json
        from pathlib import Path

        from tetrapose.data.reading import write_text

        write_text(Path(args.json), json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
    for key in ("skeleton", "pictures", "empty_pictures", "copies", "animals", "crowds", "licence"):
        print(f"{key.replace('_', ' '):15} {facts[key]}")
    print(f"{'species':15} " + ", ".join(f"{k} {v}" for k, v in facts["per_species"].items()))
    print(f"\n{'keypoint':20}{'visible':>9}{'hidden':>9}{'unlabelled':>12}")
    for name, counts in facts["per_keypoint"].items():
        print(f"{name:20}{counts['visible']:9}{counts['hidden']:9}{counts['unlabelled']:12}")


def gather(pose_set: PoseSet) -> dict[str, Any]:
    """The figures of a set as plain values."""
    import dataclasses

    import numpy as np

    flags = [(pose_set.visibility == flag).sum(axis=0).tolist() for flag in (2, 1, 0)]
    species = np.bincount(pose_set.species, minlength=len(pose_set.species_names)).tolist()
    held = len(np.unique(pose_set.image_index))
    return {
        "skeleton": pose_set.skeleton.name,
        "licence": pose_set.licence,
        "pictures": len(pose_set.files),
        "empty_pictures": len(pose_set.files) - held,
        "copies": len(pose_set.files) - len(np.unique(pose_set.groups)),
        "animals": len(pose_set),
        "crowds": int(pose_set.crowd.sum()),
        "per_species": {
            name: count
            for name, count in zip(pose_set.species_names, species, strict=True)
            if count
        },
        "per_keypoint": {
            name: {"visible": visible, "hidden": hidden, "unlabelled": none}
            for name, visible, hidden, none in zip(pose_set.skeleton.names, *flags, strict=True)
        },
        "problems": [dataclasses.asdict(problem) for problem in pose_set.problems],
    }


def _convert(pose_set: PoseSet, args: argparse.Namespace) -> None:
    from tetrapose.data import coco

    coco.write(pose_set, args.out)
    print(f"{len(pose_set)} animals written; open them as coco:{args.out}:{pose_set.root}")


def _split(pose_set: PoseSet, args: argparse.Namespace) -> None:
    from pathlib import Path

    from tetrapose.data.folds import folds
    from tetrapose.data.reading import write_text

    fold = folds(pose_set, args.folds, seed=args.seed)
    for k in range(args.folds):
        for part, rows in (("train", (fold >= 0) & (fold != k)), ("val", fold == k)):
            names = [pose_set.files[i] for i in rows.nonzero()[0]]
            path = Path(args.out) / f"fold_{k}_{part}.txt"
            write_text(path, "".join(f"{name}\n" for name in names))
            print(f"{path}: {len(names)} pictures")


def _tell_problems(pose_set: PoseSet) -> int:
    """Print what was left out and what is in doubt; the number left out."""
    import sys

    left_out = [problem for problem in pose_set.problems if problem.left_out]
    doubts = [problem for problem in pose_set.problems if not problem.left_out]
    for title, problems in (("left out", left_out), ("in doubt, kept", doubts)):
        if problems:
            print(f"\n{len(problems)} {title}:", file=sys.stderr)
            print(*(f"  {problem}" for problem in problems[:SHOWN]), sep="\n", file=sys.stderr)
        if len(problems) > SHOWN:
            print(f"  ... and {len(problems) - SHOWN} more", file=sys.stderr)
    return len(left_out)
