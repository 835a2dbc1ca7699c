"""``tetrapose datasets split``: parts of a set that share no group of pictures.

Recipes: folds, ratio, n-shot, fraction, front-back, 25-to-5, conventions; docs/splits.md tells
each with its options. FILE.json names the recipe, the seed and the labels it was made from, and is
used as FILE.json:PART wherever a split is asked for; a folder as --out gets it as split.json, and a
plain list of picture names for each part.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from tetrapose.commands.given import add_set, open_given, tell_problems

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from tetrapose.data.splits.files import Part, SplitFile
    from tetrapose.structures import PoseSet

HELP = "write parts of a set by a recipe, groups of pictures kept together"
NAMES = ("folds", "ratio", "n-shot", "fraction", "front-back", "25-to-5", "conventions")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the action."""
    add_set(parser)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--folds", type=int, metavar="K", help="short for --recipe folds")
    what.add_argument("--recipe", choices=NAMES, metavar="NAME", help=", ".join(NAMES))
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an option of the recipe",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--near-copies", type=int, metavar="BITS",
        help="also keep pictures together whose 64-bit hashes differ in at most BITS (6 is usual)",
    )  # fmt: skip
    parser.add_argument("--out", metavar="FILE.json|DIR", required=True)


def run(args: argparse.Namespace) -> int:
    """Draw the split and write it."""
    from pathlib import Path

    from tetrapose.data.splits import files, recipes
    from tetrapose.errors import UserError

    options = _options(args.option)
    if args.folds is not None:
        options["count"] = args.folds
    out = Path(args.out)
    if out.suffix in (".txt", ".yaml"):
        raise UserError(f"{out}: due is FILE.json, or a folder that gets a list a part")
    name = args.recipe or "folds"
    recipes.options_of(name)
    pose_set = open_given(args, sizes=False)
    split = recipes.make(
        pose_set, name, seed=args.seed, options=options, groups=_groups(args, pose_set),
        spec=args.spec, within=args.split or (),
    )  # fmt: skip
    if out.suffix == ".json":
        files.write(split, out)
    else:
        _write_lists(split, pose_set, out)
    tell(split, pose_set)
    print(f"written: {out}")
    return 1 if tell_problems(pose_set) else 0


def tell(split: SplitFile, pose_set: PoseSet) -> None:
    """Print what a split holds and reached."""
    import numpy as np

    from tetrapose.data.splits.apply import counted

    for name, part in split.parts.items():
        pictures, animals, points = counted(pose_set, part)
        print(f"{name:16}{pictures:8,} pictures{animals:9,} animals{points:10,} labelled points")
    if split.recipe == "ratio":
        for name in list(split.parts)[1:]:
            shares = np.array(list(split.report[name]["share"].values()))
            print(f"{name}: {shares.min():.1%} to {shares.max():.1%} of each species' animals")
    for key, value in split.report.items():
        if key in ("species_with_fewer", "empty") and value:
            print(f"{key.replace('_', ' ')}: {', '.join(value)}")


def _options(pairs: list[str]) -> dict[str, Any]:
    from tetrapose.errors import UserError

    for pair in pairs:
        if "=" not in pair:
            raise UserError(f"--option {pair}: it is written NAME=VALUE")
    return dict(pair.split("=", 1) for pair in pairs)


def _groups(args: argparse.Namespace, pose_set: PoseSet) -> np.ndarray | None:
    """The set's groups, near-copies joined where that was asked for; None for the set's own."""
    if args.near_copies is None:
        return None
    import numpy as np

    from tetrapose.audit import hashes
    from tetrapose.data.checks import joined_groups
    from tetrapose.errors import UserError
    from tetrapose.images import ImageError, read_image

    if args.labels_only:
        raise UserError("--near-copies looks at the pictures: it does not go with --labels-only")
    if not 0 <= args.near_copies <= 16:
        raise UserError(f"--near-copies {args.near_copies}: 0 to 16 of 64 bits")
    rows, made = [], []
    for i in range(len(pose_set.files)):
        try:
            made.append(hashes.picture_hash(read_image(pose_set.path(i), least=64)[0]))
        except ImageError:
            continue  # it stays by itself; the set's checks tell of it
        rows.append(i)
    plain, mirrored = np.array(made, dtype=np.uint64).reshape(-1, 2).T
    pairs = hashes.near_pairs(plain.copy(), mirrored.copy(), args.near_copies)
    near = np.arange(len(pose_set.files))
    near[rows] = np.array(rows, dtype=np.int64)[
        hashes.grouped(len(rows), [(i, j) for i, j, _ in pairs])
    ]
    groups = joined_groups(pose_set.groups, near)
    before, after = len(np.unique(pose_set.groups)), len(np.unique(groups))
    print(f"near-copies: {len(pose_set.files)} pictures in {after} groups ({before} by content)")
    return groups


def _write_lists(split: SplitFile, pose_set: PoseSet, folder: Path) -> None:
    """A list a part, and the split file beside them."""
    from tetrapose.data.reading import write_text
    from tetrapose.data.splits import files
    from tetrapose.errors import UserError

    hiding = [name for name, part in split.parts.items() if not _whole(part)]
    if hiding:
        raise UserError(
            f"{folder}: {split.recipe} hides points or animals ({', '.join(hiding)}), which a list "
            f"of pictures cannot tell; write --out {folder}.json"
        )
    for name, part in split.parts.items():
        names = sorted(pose_set.files) if part.pictures is None else part.pictures
        write_text(folder / f"{name}.txt", "".join(f"{one}\n" for one in names))
    files.write(split, folder / "split.json")


def _whole(part: Part) -> bool:
    return part.annotations is None and part.shown is None
