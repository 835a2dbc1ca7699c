"""``tetrapose datasets split``: parts of a set that share no group of pictures."""

from __future__ import annotations

import argparse

from tetrapose.commands.given import add_set, open_given, tell_problems

HELP = "write folds that keep groups together"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the action."""
    add_set(parser)
    parser.add_argument("--folds", type=int, required=True, metavar="K")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", metavar="DIR", required=True)


def run(args: argparse.Namespace) -> int:
    """Cut the set and write a file a part."""
    from pathlib import Path

    from tetrapose.data.folds import folds
    from tetrapose.data.reading import write_text

    pose_set = open_given(args, sizes=False)
    fold = folds(pose_set, args.folds, seed=args.seed)
    for k in range(args.folds):
        for part, rows in (("train", (fold >= 0) & (fold != k)), ("val", fold == k)):
            names = [pose_set.files[i] for i in rows.nonzero()[0]]
            path = Path(args.out) / f"fold_{k}_{part}.txt"
            write_text(path, "".join(f"{name}\n" for name in names))
            print(f"{path}: {len(names)} pictures")
    return 1 if tell_problems(pose_set) else 0
