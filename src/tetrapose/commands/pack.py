"""``tetrapose datasets pack``: sets with their pictures in a few small files.

  tetrapose datasets pack animal_pose:DIR,split=train.txt --out packed
  tetrapose datasets pack animal_pose:DIR akd_cats:DIR --out packed --side 192 --jpeg 70

For carrying sets to another machine: pictures are shrunk until the smallest animal in each, with
the margin of its crop, measures --side pixels, and saved as JPEG. Each set becomes NAME.json and
NAME-DIGEST.pack in the folder, and is opened as packed:DIR (of several, packed:DIR/NAME.json), with
every byte checked. Exit status 1: done, but entries of the sets had to be left out.
"""

from __future__ import annotations

import argparse

from tetrapose.commands.given import tell_problems

HELP = "write sets with shrunk pictures into a few small files, to carry them elsewhere"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the action."""
    parser.add_argument("specs", nargs="+", metavar="NAME:DIR")
    parser.add_argument("--out", metavar="DIR", required=True, help="the folder")
    parser.add_argument(
        "--side", type=int, default=256, metavar="PIXELS",
        help="what an animal's crop measures at the least, where its picture has it (256)",
    )  # fmt: skip
    parser.add_argument(
        "--jpeg", type=int, default=75, metavar="QUALITY", help="quality, 1 to 100 (75)"
    )


def run(args: argparse.Namespace) -> int:
    """Open all sets, pack each, tell sizes and what was left out."""
    from dataclasses import replace
    from pathlib import Path

    from tetrapose.data import open_set, packed
    from tetrapose.data.ways_out import distinct
    from tetrapose.errors import UserError

    if not 16 <= args.side <= 4096:
        raise UserError(f"--side {args.side}: a crop measures 16 to 4096 pixels")
    if not 1 <= args.jpeg <= 100:
        raise UserError(f"--jpeg {args.jpeg}: the quality is 1 to 100")
    out = Path(args.out)
    sets = [open_set(spec) for spec in args.specs]  # all, before anything is written
    names = distinct([pose_set.source for pose_set in sets])
    total, left_out = 0, 0
    for name, pose_set in zip(names, sets, strict=True):
        size, problems = packed.write(pose_set, out, name, side=args.side, quality=args.jpeg)
        total += size
        told = f"packed:{out / name}.json" if len(sets) > 1 else f"packed:{out}"
        print(f"{name}: {len(pose_set):,} animals, {size / 2**20:.1f} MiB; open it as {told}")
        left_out += tell_problems(replace(pose_set, problems=(*pose_set.problems, *problems)))
    if len(sets) > 1:
        print(f"together {total / 2**20:.1f} MiB")
    return 1 if left_out else 0
