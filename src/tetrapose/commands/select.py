"""``tetrapose datasets select``: a few animals to label or learn from, chosen by difficulty."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from tetrapose.commands.given import add_set, open_given, tell_problems

if TYPE_CHECKING:
    import numpy as np

    from tetrapose.evaluation.difficulty import Bands
    from tetrapose.structures import PoseSet

HELP = "choose a few animals, rich in points of medium difficulty, species balanced"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the action."""
    add_set(parser)
    parser.add_argument("--count", type=int, required=True, metavar="N", help="animals to choose")
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--difficulty", metavar="FILE.json", help="a result of tetrapose evaluate")
    how.add_argument("--random", action="store_true", help="by lot instead, for comparison")
    parser.add_argument("--easy", type=float, metavar="NME", help="a point is easy up to this")
    parser.add_argument("--hard", type=float, metavar="NME", help="and hard above this")
    parser.add_argument("--plenty", type=float, metavar="LABELS", help="many labels from this on")
    parser.add_argument(
        "--favour", type=float, default=3.0, metavar="X", help="worth of a label in band 2"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", metavar="FILE.json", required=True)


def run(args: argparse.Namespace) -> int:
    """Choose, print the bands, write a split file."""
    from pathlib import Path

    from tetrapose.data import selection
    from tetrapose.data.splits import files, recipes
    from tetrapose.errors import UserError

    if not args.out.endswith(".json"):
        raise UserError(f"{args.out}: due is FILE.json, since single animals are chosen")
    if not args.favour > 0:
        raise UserError(f"--favour {args.favour:g}: above 0")
    pose_set = open_given(args, sizes=False)
    options = {"count": args.count}
    if args.random:
        rows = selection.at_random(pose_set, args.count, seed=args.seed)
        options["random"] = True
    else:
        bands = _bands(args, pose_set)
        print(table(bands))
        values = bands.values(args.favour)
        rows = selection.few_shot(pose_set, args.count, values, seed=args.seed)
        options |= {
            "difficulty": args.difficulty, "favour": args.favour,
            "easy": bands.easy, "hard": bands.hard, "plenty": bands.plenty,
        }  # fmt: skip
    split = files.SplitFile(
        "select", options, args.seed, recipes.source_of(pose_set, args.spec, args.split or ()),
        selection.parts(pose_set, rows), _report(pose_set, rows),
    )  # fmt: skip
    files.write(split, Path(args.out))
    print(f"\n{_chosen(pose_set, rows)}\nwritten: {args.out}")
    return 1 if tell_problems(pose_set) else 0


def table(bands: Bands) -> str:
    """The points by band, hardest last."""
    import numpy as np

    lines = [
        f"easy up to NME {bands.easy:.4f}, hard above {bands.hard:.4f}; "
        f"many labels from {bands.plenty:g}",
        f"{'keypoint':24}{'NME':>9}{'labels':>9}  {'difficulty':12}{'labels':8}band",
    ]
    for k in np.lexsort((np.nan_to_num(bands.nme, nan=np.inf), bands.band)):
        amount = "many" if bands.counts[k] >= bands.plenty else "few"
        error = "-" if np.isnan(bands.nme[k]) else f"{bands.nme[k]:.4f}"
        lines.append(
            f"{bands.names[k][:24]:24}{error:>9}{bands.counts[k]:9,.0f}  {bands.difficulty[k]:12}"
            f"{amount:8}{bands.band[k] or '-'}"
        )
    return "\n".join(lines)


def _bands(args: argparse.Namespace, pose_set: PoseSet) -> Bands:
    """The bands of the set's own points, by the result's errors and the set's own counts."""
    from pathlib import Path

    from tetrapose.data.reading import load_json
    from tetrapose.errors import UserError
    from tetrapose.evaluation import difficulty

    errors = difficulty.errors_of(load_json(Path(args.difficulty)), args.difficulty)
    names = pose_set.skeleton.names
    if not set(errors) & set(names):
        raise UserError(
            f"{args.difficulty}: has no keypoint of {pose_set.skeleton.name}, the skeleton of "
            f"{args.spec}; its own are {', '.join(list(errors)[:4])} ..."
        )
    return difficulty.bands(
        names, [errors.get(name) for name in names], pose_set.labelled.sum(axis=0),
        easy=args.easy, hard=args.hard, plenty=args.plenty,
        flip_indices=pose_set.skeleton.flip_indices,
    )  # fmt: skip


def _report(pose_set: PoseSet, rows: np.ndarray) -> dict[str, object]:
    chosen = pose_set.select_instances(rows)
    labels = chosen.labelled.sum(axis=0).tolist()
    return {
        "animals_per_species": _per_species(chosen),
        "labels_per_keypoint": dict(zip(pose_set.skeleton.names, labels, strict=True)),
    }


def _per_species(pose_set: PoseSet) -> dict[str, int]:
    import numpy as np

    counts = np.bincount(pose_set.species, minlength=len(pose_set.species_names)).tolist()
    named = zip(pose_set.species_names, counts, strict=True)
    return {name: count for name, count in sorted(named) if count}


def _chosen(pose_set: PoseSet, rows: np.ndarray) -> str:
    chosen = pose_set.select_instances(rows)
    told = ", ".join(f"{name} {count}" for name, count in _per_species(chosen).items())
    return f"{len(rows):,} animals with {int(chosen.labelled.sum()):,} labelled points: {told}"
