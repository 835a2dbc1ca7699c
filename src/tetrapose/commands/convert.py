"""``tetrapose datasets convert``: a set in another form."""

from __future__ import annotations

import argparse

from tetrapose.commands.given import add_set, open_given, tell_problems

HELP = "write a set in another form"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the action."""
    add_set(parser)
    parser.add_argument("--to", choices=["coco"], required=True)
    parser.add_argument("--out", metavar="FILE", required=True)


def run(args: argparse.Namespace) -> int:
    """Read, write, tell what was left out."""
    from tetrapose.data import coco

    pose_set = open_given(args)
    coco.write(pose_set, args.out)
    print(f"{len(pose_set)} animals written; open them as coco:{args.out}:{pose_set.root}")
    return 1 if tell_problems(pose_set) else 0
