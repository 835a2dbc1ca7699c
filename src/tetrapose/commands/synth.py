"""Draw animals whose every point is known: pictures, labels and the whole truth.

  tetrapose synth OUT --count 200
  tetrapose synth OUT --count 1000 --size 384 --animals 1..3 --builds cat,dog --workers 2
  tetrapose synth OUT --count 50 --skeleton animal_pose --skeleton ap10k --sheet
  tetrapose synth OUT --count 50 --hide animal_pose:withers,throat

OUT gets images/, one COCO label file for each skeleton (OUT/animal_pose.json ...), and truth.json
with all points of every animal, hidden ones too. Open it as menagerie:OUT (with several skeletons
as menagerie:OUT/NAME.json). Left and right are the animal's own; flag 2 is a point that is seen, 1
one that is covered, 0 one outside the picture or hidden by --hide.

The same arguments give the same files, whatever --workers; a run that was stopped goes on where it
was. A folder that other arguments made is left alone.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Callable
from typing import NoReturn

HELP = "draw animals with exact labels"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("out", metavar="OUT", help="the folder to write, new or from before")
    parser.add_argument("--count", type=int, default=100, metavar="N", help="pictures (100)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="which series (0)")
    parser.add_argument(
        "--size", default="256", metavar="PX", help="side of a picture, or WIDTHxHEIGHT (256)"
    )
    parser.add_argument(
        "--animals",
        default="1..3",
        metavar="A..B",
        help="animals in a picture, or one number (1..3)",
    )
    parser.add_argument("--builds", default="", metavar="LIST", help="as cat,dog (all there are)")
    parser.add_argument("--poses", default="", metavar="LIST", help="as stand,walk (all there are)")
    parser.add_argument(
        "--skeleton", action="append", metavar="NAME", help="label under it; repeat (animal_pose)"
    )
    parser.add_argument(
        "--hide",
        action="append",
        default=[],
        metavar="NAME:POINTS",
        help="leave points of a skeleton unlabelled; truth.json keeps them",
    )
    parser.add_argument("--png", action="store_true", help="pictures without loss, instead of JPEG")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes (1)")
    parser.add_argument("--sheet", action="store_true", help="also OUT/sheet.png, labels drawn in")


def run(args: argparse.Namespace) -> int:
    """Draw, and say how fast."""
    import cv2

    from tetrapose import synth

    cv2.setNumThreads(1)  # the pictures are small: threads cost more than they bring
    recipe = synth.Recipe(
        count=args.count,
        seed=args.seed,
        size=_size(args.size),
        animals=_range(args.animals),
        builds=_list(args.builds),
        poses=_list(args.poses) or synth.POSES,
        skeletons=tuple(dict.fromkeys(args.skeleton or ["animal_pose"])),
        hide=_hidden(args.hide),
        suffix=".png" if args.png else ".jpg",
    )
    began, before = time.perf_counter(), sum(os.times()[:4])
    done = synth.carry_out(args.out, recipe, workers=args.workers, tell=_progress(args.count))
    seconds, worked = time.perf_counter() - began, sum(os.times()[:4]) - before
    if args.sheet:
        picture = synth.sheet(args.out, recipe.skeletons[0])
        cv2.imwrite(f"{args.out}/sheet.png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    found = f"{done.pictures} pictures, {done.animals} animals in {args.out}"
    if done.rendered:
        rate = f"{done.rendered / seconds:.1f} pictures/s"
        alone = f"{done.rendered / max(worked, 1e-3):.1f} a second of processor time"
        print(f"{found}; drew {done.rendered} in {seconds:.1f} s: {rate}, {alone}")
    else:
        print(f"{found}; all were there")
    return 0


def _progress(count: int) -> Callable[[int], None] | None:
    if not sys.stderr.isatty():
        return None
    return lambda done: print(
        f"\r{done}/{count}", end="\n" if done == count else "", file=sys.stderr, flush=True
    )


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)(?:x(\d+))?", text)
    if not found:
        _refuse(f"--size {text}: a number of pixels, or WIDTHxHEIGHT as 320x240")
    width, height = found.groups()
    return int(width), int(height or width)


def _range(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)(?:\.\.(\d+))?", text)
    if not found:
        _refuse(f"--animals {text}: a number, or two as 1..3")
    least, most = found.groups()
    return int(least), int(most or least)


def _hidden(entries: list[str]) -> dict[str, tuple[str, ...]]:
    out: dict[str, tuple[str, ...]] = {}
    for entry in entries:
        name, colon, points = entry.partition(":")
        if not colon or not _list(points):
            _refuse(f"--hide {entry}: a skeleton and its points, as animal_pose:withers,throat")
        out[name] = tuple(dict.fromkeys(out.get(name, ()) + _list(points)))
    return out


def _refuse(text: str) -> NoReturn:
    from tetrapose.errors import UserError

    raise UserError(text)
