"""``tetrapose datasets convert``: a set in another form, on another skeleton.

  tetrapose datasets convert badja:DIR --to coco --out badja.json
  tetrapose datasets convert animal_pose:DIR --split val.txt --to yolo --out val_yolo
  tetrapose datasets convert deeplabcut:DIR --to sleap --out mouse.slp
  tetrapose datasets convert akd_cats:DIR --skeleton ap10k --near drop --to csv --out cats.csv

Forms: coco, csv, parquet, sleap and nwb are one file, with pictures left where they are; yolo and
deeplabcut are a new folder that holds the pictures too. What the form cannot hold of this set is
told in one line on stderr. A skeleton that does not ship (one made of a file's names, or one's own)
is written beside the set, since no form holds its sigmas. Exit status 1: done, but entries of the
set had to be left out.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from tetrapose.commands.given import add_set, open_given, tell_problems

if TYPE_CHECKING:
    from pathlib import Path

    from tetrapose.structures import PoseSet

HELP = "write a set in another form, or on another skeleton"
FORMS = {
    "coco": "one JSON file",
    "csv": "one long table",
    "parquet": "the same table",
    "yolo": "a folder of text files and pictures",
    "deeplabcut": "a project folder",
    "sleap": "one .slp file",
    "nwb": "one .nwb file",
}
SUFFIXES = {
    "coco": ".json", "csv": ".csv", "parquet": ".parquet", "sleap": ".slp", "nwb": ".nwb"
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the action."""
    add_set(parser)
    told = "; ".join(f"{name}: {what}" for name, what in FORMS.items())
    parser.add_argument("--to", choices=list(FORMS), required=True, help=told)
    parser.add_argument("--out", metavar="WHERE", required=True, help="the file, or a new folder")
    parser.add_argument(
        "--skeleton", metavar="NAME", help="first onto this skeleton (a shipped one or FILE.yaml)"
    )
    parser.add_argument(
        "--near", choices=["keep", "drop"], default="keep",
        help="with --skeleton: points that sit close to the ones wanted, not at them",
    )  # fmt: skip
    parser.add_argument(
        "--pictures", choices=["copy", "link", "none"],
        help="yolo, deeplabcut: how pictures get into the folder; copy unless --labels-only",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Read, map, write, tell what was lost."""
    _fitting(args)
    pose_set = open_given(args)
    if args.skeleton:
        pose_set = _mapped(pose_set, args.skeleton, drop=args.near == "drop")
    reopened, lost, notes = _written(pose_set, args)
    print(f"{len(pose_set)} animals written; open them as {reopened}")
    for note in notes:
        print(f"tetrapose: {note}", file=sys.stderr)
    if lost:
        print(f"tetrapose: {args.to} does not hold {'; '.join(lost)}", file=sys.stderr)
    return 1 if tell_problems(pose_set) else 0


def _fitting(args: argparse.Namespace) -> None:
    """Refuse what cannot work before the set is opened."""
    from pathlib import Path

    from tetrapose.data import parse_spec
    from tetrapose.errors import UserError

    out = Path(args.out)
    suffix = SUFFIXES.get(args.to)
    if suffix and out.suffix.lower() != suffix:
        raise UserError(f"--out {out}: --to {args.to} writes one file; its name ends in {suffix}")
    if suffix and args.pictures:
        raise UserError(f"--pictures goes with yolo and deeplabcut; {args.to} leaves them in place")
    if not suffix and args.labels_only and args.pictures in ("copy", "link"):
        raise UserError(f"--labels-only leaves no pictures to {args.pictures}")
    if args.near == "drop" and not args.skeleton:
        raise UserError("--near goes with --skeleton: it says which points another skeleton takes")
    if suffix and out.is_dir():
        raise UserError(f"--out {out}: a folder; name a file in it")
    _, where, _ = parse_spec(args.spec)
    if suffix and out.exists() and Path(where).exists() and out.samefile(where):
        raise UserError(f"--out {out}: is the set itself; write elsewhere")


def _mapped(pose_set: PoseSet, name: str, *, drop: bool) -> PoseSet:
    """The set on another skeleton; the grades of its points are printed."""
    from tetrapose import skeletons
    from tetrapose.data import mix
    from tetrapose.skeletons import mapping

    target = skeletons.load(name)
    found = mapping.between(pose_set.skeleton, target)
    moved = mix.onto(pose_set, target, near=0.0 if drop else 1.0, mapping=found)
    print(f"{pose_set.skeleton.name} onto {target.name}:")
    for grade in (mapping.EXACT, mapping.NEAR, mapping.ABSENT):
        pairs = found.named(grade)
        shown = ", ".join(f"{a} as {b}" if a and a != b else b for a, b in pairs)
        note = "; left out" if grade == mapping.NEAR and drop and pairs else ""
        print(f"  {mapping.GRADES[grade]:8}{len(pairs):3}  {shown}{note}")
    if found.lost:
        print(f"  {'lost':8}{len(found.lost):3}  {', '.join(found.lost)}")
    return moved


def _written(
    pose_set: PoseSet, args: argparse.Namespace
) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """Write; how to open it again, what the form lost, and notes."""
    from tetrapose.data import coco, deeplabcut_out, nwb_out, sleap, table, ways_out, yolo

    out, notes = args.out, ()
    pictures = args.pictures or ("none" if args.labels_only else "copy")
    if args.to in ("yolo", "deeplabcut"):
        module = yolo if args.to == "yolo" else deeplabcut_out
        notes = module.write(pose_set, out, pictures=pictures)
        holds, reopened = module.HOLDS, f"{args.to}:{out}"
    elif args.to in ("csv", "parquet"):
        table.write(pose_set, out)
        holds, reopened = table.HOLDS, f"table:{out}:{pose_set.root}"
    elif args.to == "sleap":
        sleap.write(pose_set, out)
        holds, reopened = sleap.HOLDS, f"sleap:{out}"
    elif args.to == "nwb":
        nwb_out.write(pose_set, out)
        return f"{out} with pynwb and ndx-pose", ways_out.lost(pose_set, nwb_out.HOLDS), notes
    else:
        coco.write(pose_set, out)
        holds, reopened = coco.HOLDS, f"coco:{out}:{pose_set.root}"
    if ways_out.FACETS["sigmas"](pose_set):
        file = _skeleton_beside(pose_set, args)
        holds, reopened = holds | {"sigmas"}, f"{reopened},skeleton={file}"
    return reopened, ways_out.lost(pose_set, holds), notes


def _skeleton_beside(pose_set: PoseSet, args: argparse.Namespace) -> Path:
    """The skeleton as a file beside or in what was written."""
    from pathlib import Path

    import yaml

    from tetrapose.data.reading import write_text

    out = Path(args.out)
    file = out.with_suffix(".skeleton.yaml") if args.to in SUFFIXES else out / "skeleton.yaml"
    write_text(file, yaml.safe_dump(pose_set.skeleton.to_dict(), sort_keys=False))
    return file
