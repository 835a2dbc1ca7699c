"""Labelled sets: which there are, what one holds, other forms, splits.

  tetrapose datasets list
  tetrapose datasets show animal_pose
  tetrapose datasets stats animal_pose:DIR --split val.txt
  tetrapose datasets convert akd_cats:DIR --to coco --out cats.json
  tetrapose datasets pack animal_pose:DIR --out packed
  tetrapose datasets split akd_cats:DIR --folds 5 --seed 0 --out folds
  tetrapose datasets split animal_pose:DIR --recipe ratio --option shares=9:1 --out split.json
  tetrapose datasets stats animal_pose:DIR --split split.json:val
  tetrapose datasets select animal_pose:DIR --count 100 --difficulty result.json --out few.json
  tetrapose datasets audit --splits train=a.json val=b.json --html audit.html

A set is written NAME:DIR (coco:FILE.json[:IMAGES] for COCO files; `show` tells each form). Exit
status 1: done, but the set has entries that cannot be used; they are listed and were left out.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from tetrapose.commands.given import add_set, open_given, tell_problems

if TYPE_CHECKING:
    from tetrapose.structures import PoseSet

HELP = "list, describe, count, convert, pack and split labelled sets, select from them"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    from tetrapose.commands import audit, convert, pack, select, split

    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="the formats that can be read")
    listing.add_argument(
        "--markdown", action="store_true", help="all that is known of each, as docs/datasets.md"
    )
    show = actions.add_parser("show", help="origin, licence, layout and traps of one")
    show.add_argument("name", metavar="NAME")
    stats = actions.add_parser("stats", help="count pictures, animals, points; list problems")
    add_set(stats)
    stats.add_argument("--json", metavar="FILE", help="write the figures and all problems")
    modules = {
        "convert": convert, "pack": pack, "split": split, "select": select, "audit": audit
    }  # fmt: skip
    for name, module in modules.items():
        module.add_arguments(actions.add_parser(name, help=module.HELP))
    for action in actions.choices.values():
        action.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS
        )


def run(args: argparse.Namespace) -> int:
    """Do the action."""
    from tetrapose.commands import audit, convert, pack, select, split

    if args.action == "list":
        print(page() if args.markdown else _list())
        return 0
    if args.action == "show":
        return _show(args.name)
    if args.action == "stats":
        return _stats(args)
    modules = {
        "convert": convert, "pack": pack, "split": split, "select": select, "audit": audit
    }  # fmt: skip
    return modules[args.action].run(args)


def _list() -> str:
    from tetrapose import data

    names = data.available()
    wide = max(map(len, names)) + 2
    lines = []
    for name in names:
        about = data.about(name)
        lines += [f"{name:{wide}}{about.title}", f"{'':{wide}}licence: {about.licence}"]
    lines += ["", "tetrapose datasets show NAME tells layout, options, traps and where to fetch it"]
    return "\n".join(lines)


def page() -> str:
    """Every format with layout, licence and traps, as Markdown."""
    from tetrapose import data

    lines = [
        "# Labelled sets that can be read",
        "",
        "Written by `tetrapose datasets list --markdown`; each entry stands in the reader's own",
        "file in `src/tetrapose/data/`. A set is opened as `NAME:WHERE`, with options after",
        "commas (`tigdog:DIR,animal=tiger`). How points of different sets are brought together is",
        "in [skeletons.md](skeletons.md), how to bring a set of one's own in",
        "[own_data.md](own_data.md), what is wrong in files around in [audit.md](audit.md).",
    ]
    for name in data.available():
        about = data.about(name)
        told = {
            "keypoints": about.skeleton,
            "origin": about.origin,
            "fetch": about.fetch,
            "layout": about.layout,
            "options": ", ".join(f"`{option}`" for option in data.options(name)),
            "licence": about.licence,
            "cite": about.citation,
            "traps": about.traps,
        }
        lines += ["", f"## {name}", "", f"{about.title}.", ""]
        lines += [f"- **{key}**: {_plain_text(value)}" for key, value in told.items() if value]
    return "\n".join(lines)


def _plain_text(text: str) -> str:
    """Without what Markdown would take for markup."""
    if "`" in text:
        return text
    return text.replace("*", "\\*").replace("<", "&lt;").replace("_", "\\_")


def _show(name: str) -> int:
    import dataclasses
    import textwrap

    from tetrapose import data

    told = dataclasses.asdict(data.about(name)) | {"options": ", ".join(data.options(name))}
    for key, value in told.items():
        if value:
            print(textwrap.fill(value, 100, initial_indent=f"{key:10}", subsequent_indent=" " * 10))
    return 0


def _stats(args: argparse.Namespace) -> int:
    pose_set = open_given(args)
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
    return 1 if tell_problems(pose_set) else 0


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
