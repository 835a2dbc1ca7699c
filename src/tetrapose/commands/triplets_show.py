"""The verbs of ``tetrapose triplets`` that look at a library: inspect and card."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tetrapose.errors import UserError

if TYPE_CHECKING:
    from tetrapose.skeletons import Skeleton
    from tetrapose.triplets.quality import LimbRanges, Report

LEARNED = 600  # menagerie animals from which limb bounds are learned where no labels are given


def add_inspect(verbs: Any) -> None:
    """The options of inspect."""
    verb = verbs.add_parser("inspect", help="one page with triplets, what was dropped and filters")
    add = verb.add_argument
    add("library", metavar="LIBRARY")
    add("--out", metavar="FILE", help="the page (LIBRARY/inspect.html)")
    add("--kept", type=int, default=120, metavar="N", help="triplets on it (120)")
    add("--dropped", type=int, default=120, metavar="N", help="dropped pictures on it (120)")
    add("--seed", type=int, default=0, metavar="S", help="which ones (0)")
    add("--open", action="store_true", help="open it in a browser")


def add_card(verbs: Any) -> None:
    """The options of card."""
    verb = verbs.add_parser("card", help="a dataset card with counts, plots and samples")
    add = verb.add_argument
    add("library", metavar="LIBRARY", help="a library, or a folder exported from one")
    add("--title", default="", metavar="TEXT", help="its name (the folder's)")
    add("--licence", default="other", metavar="NAME", help="of the whole, as the hub names it")
    add("--quality", type=int, default=0, metavar="N", help="judge so many triplets (0: none)")
    add(
        "--labels", metavar="SPEC", help="labelled set of the same pictures, to compare points with"
    )
    add("--push", metavar="OWNER/NAME", help="send it to this Hugging Face dataset repository")
    add("--private", action="store_true", help="make that repository private")


def show(args: argparse.Namespace) -> int:
    """Write the page."""
    if args.kept < 0 or args.dropped < 0:
        raise UserError("--kept and --dropped are 0 or more")
    from tetrapose.triplets.inspect import contact_sheet
    from tetrapose.triplets.library import Library, write_file

    library = Library(Path(args.library))
    text = contact_sheet(library, kept=args.kept, dropped=args.dropped, seed=args.seed)
    out = Path(args.out) if args.out else library.root / "inspect.html"
    write_file(out, lambda part: part.write_text(text, encoding="utf-8") and None)
    print(f"{out}: {len(text) / 1e6:.1f} MB")
    if args.open:
        import webbrowser

        webbrowser.open(out.resolve().as_uri())
    return 0


def card(args: argparse.Namespace) -> int:
    """Write the card, judge a sample first where asked to, and send it up where asked to."""
    if args.private and not args.push:
        raise UserError("--private goes with --push")
    if args.labels and not args.quality:
        raise UserError("--labels goes with --quality: how many triplets to compare")
    folder = Path(args.library)
    report = _judged(args) if args.quality else None
    print(write_card(folder, title=args.title, licence=args.licence, report=report))
    if args.push:
        from tetrapose.triplets import pushing

        print(pushing.push(folder, args.push, private=args.private, tell=_told))
    return 0


def write_card(folder: Path, **more: Any) -> Path:
    """The card of a library or an export, with what ``card.write`` takes beside; its place."""
    from tetrapose.triplets import card as cards
    from tetrapose.triplets import exporting

    triplets = (one for piece in exporting.pieces(folder) for one in exporting.triplets_in(piece))
    return cards.write(folder, triplets, **more)


def _told(done: int, of: int) -> None:
    print(f"{done:,} of {of:,} files are up", file=sys.stderr)


def _judged(args: argparse.Namespace) -> Report:
    from tetrapose import data
    from tetrapose.triplets import quality
    from tetrapose.triplets.library import Library

    library = Library(Path(args.library))
    truth = data.open_set(args.labels) if args.labels else None
    chosen = list(quality.sample(library, args.quality))
    known = quality.skeletons_of(library)
    used = {one.points["skeleton"] for one in chosen}
    stood_on = [known[name] for name in sorted(used & known.keys())]
    ranges = (
        _drawn_ranges(stood_on) if truth is None
        else [quality.learn_from(truth, one) for one in stood_on]
    )  # fmt: skip
    report = quality.report(chosen, ranges=ranges, truth=truth, known=known)
    for name, value in _lines(report):
        print(f"  {name:<58}{value:>9}")
    for name, keys in (("implausible", report.implausible_keys),
                       ("caption of another species", report.disagreeing_keys)):  # fmt: skip
        if keys:
            print(f"{name}: {', '.join(keys[:8])}{' ...' if len(keys) > 8 else ''}")
    return report


def _lines(report: Report) -> list[tuple[str, str]]:
    from tetrapose.triplets import card as cards

    return cards.judged(report)


def _drawn_ranges(skeletons: list[Skeleton]) -> list[LimbRanges]:
    """Limb bounds of the menagerie's animals; none on a skeleton that it lacks the points of."""
    import numpy as np

    from tetrapose.synth import builds, stage
    from tetrapose.synth.points import mapping
    from tetrapose.triplets import quality

    tables = {}
    for one in skeletons:
        try:
            tables[one.name] = mapping(one)
        except UserError:
            continue
    rows = {one.name: np.full((LEARNED, len(one), 2), np.nan) for one in skeletons}
    poses = ("stand", "walk", "trot", "run", "sit", "lie", "side", "graze")
    for i in range(LEARNED if tables else 0):
        made = stage.set_up(np.random.default_rng([5, i]), (512, 512), 1, builds.names(), poses)
        points = made.actors[0].points
        flat, _ = made.camera.project(np.stack([point.place for point in points.values()]))
        where = dict(zip(points, flat, strict=True))
        for one in skeletons:
            for name, point in tables.get(one.name, {}).items():
                rows[one.name][i, one.index(name)] = where[point]
    return [quality.learn(rows[one.name], one) for one in skeletons if one.name in tables]
