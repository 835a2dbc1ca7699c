"""A labelled set given on the command line: options, opening it, telling what is wrong in it."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tetrapose.structures import PoseSet

SHOWN = 20  # problems printed of each kind; --json holds all


def add_set(parser: argparse.ArgumentParser) -> None:
    """Options by which a command is given one set."""
    parser.add_argument("spec", metavar="NAME:DIR")
    parser.add_argument(
        "--split", action="append", metavar="FILE", help="only the pictures it names"
    )
    parser.add_argument(
        "--labels-only", action="store_true", help="read labels whose pictures are not at hand"
    )


def open_given(args: argparse.Namespace, *, sizes: bool = True) -> PoseSet:
    """The set that the options name; picture headers are read for ``sizes``."""
    from tetrapose.data import open_set

    return open_set(
        args.spec,
        split=args.split,
        sizes=sizes and not args.labels_only,
        pictures=not args.labels_only,
    )


def tell_problems(pose_set: PoseSet) -> int:
    """Print what was left out and what is in doubt; the number left out."""
    left_out = [problem for problem in pose_set.problems if problem.left_out]
    doubts = [problem for problem in pose_set.problems if not problem.left_out]
    for title, problems in (("left out", left_out), ("in doubt, kept", doubts)):
        if problems:
            print(f"\n{len(problems)} {title}:", file=sys.stderr)
            print(*(f"  {problem}" for problem in problems[:SHOWN]), sep="\n", file=sys.stderr)
        if len(problems) > SHOWN:
            print(f"  ... and {len(problems) - SHOWN} more", file=sys.stderr)
    return len(left_out)
