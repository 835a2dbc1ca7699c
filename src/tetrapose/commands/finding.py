"""Options of ``tetrapose predict`` that say where animals are, and the finder they ask for."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tetrapose.inference.finder import Finder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--boxes and what goes with --boxes auto."""
    add = parser.add_argument
    add(
        "--boxes",
        metavar="FILE|whole|auto",
        help="where the animals are: auto asks the finder (default where one ships), whole takes"
        " the picture for one animal's; or a file: COCO annotations, results with file_name and"
        " bbox, or CSV with file_name,x1,y1,x2,y2[,frame]",
    )
    add(
        "--finder",
        metavar="NAME|FILE|DIR",
        help="finder of --boxes auto: a .safetensors file, or rtdetr, dfine or the folder of such"
        " a detector (pip install 'tetrapose[detectors]')",
    )
    add("--tiles", type=int, metavar="N", help="look for small animals in N squares a side, 1: no")
    add("--least-score", type=float, metavar="S", help="least score of a box to count (0.3)")


def settle(args: argparse.Namespace) -> None:
    """Fill in what --boxes is where it was not given; UserError for what does not go together."""
    from tetrapose.errors import UserError

    told = [f"--{name}" for name in ("finder", "tiles") if getattr(args, name) is not None]
    told += ["--least-score"] if args.least_score is not None else []
    if args.boxes is None:
        args.boxes = "auto" if told or _ships() else "whole"
    elif args.boxes != "auto" and told:
        raise UserError(f"{told[0]} goes with --boxes auto, not with --boxes {args.boxes}")
    if args.least_score is not None and not 0 < args.least_score < 1:
        raise UserError(f"--least-score must lie in 0..1, not {args.least_score:g}")
    if args.tiles is not None and not 1 <= args.tiles <= 16:
        raise UserError(f"--tiles must be from 1 to 16, not {args.tiles}")


def _ships() -> bool:
    from importlib import resources

    # as weights.finder.shipped, without torch: that waits until the rest is known to be right
    folder = resources.files("tetrapose").joinpath("weights")
    return all(folder.joinpath(f"finder.{end}").is_file() for end in ("safetensors", "json"))


def make(args: argparse.Namespace) -> Finder | None:
    """The finder of --boxes auto, None for other boxes."""
    from tetrapose.inference.finder import load_finder

    if args.boxes != "auto":
        return None
    name = args.finder or "finder"
    return load_finder(name, least=args.least_score, tiles=args.tiles, device=args.device)
