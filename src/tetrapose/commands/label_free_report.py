"""``tetrapose label-free report``: finished runs as one table with spreads, and a page of curves.

  tetrapose label-free report runs/label_free
  tetrapose label-free report runs/label_free --out page.html --csv figures.csv
  tetrapose label-free report runs/a runs/b --out page.html --pictures 0

Runs that differ by their seed alone are one line: means and standard deviations over seeds, and on
how many seeds each method is above the supervised runs of its preset. The page adds every body part
and point, curves of confidence, kept share and PCK, and test pictures with the points that no
dataset labelled, drawn by the best method's model. Pictures are read where the run's config.yaml
says, or below root=DIR given as --root.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tetrapose.reports.label_free import Tile
    from tetrapose.reports.runs import Run

HELP = "collect finished runs into a table and a page"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the action."""
    parser.add_argument("runs", nargs="+", metavar="RUNS", help="run folders, or folders of them")
    parser.add_argument("--out", metavar="page.html", help="write the page here")
    parser.add_argument("--csv", metavar="FILE", help="write a line a run with all its figures")
    parser.add_argument("--title", default="Label-free runs")
    parser.add_argument("--pictures", type=int, default=6, metavar="N", help="of each preset (6)")
    parser.add_argument("--root", metavar="DIR", help="where the sets lie now, if they were moved")


def run(args: argparse.Namespace) -> int:
    """Read, group, print, write."""
    from tetrapose.errors import UserError
    from tetrapose.reports.runs import as_csv, grouped, markdown, read_runs

    if args.pictures < 0:
        raise UserError(f"--pictures {args.pictures}: 0 or more")
    runs, notes = read_runs(args.runs)
    groups = grouped(runs)
    for line in notes:
        print(line, file=sys.stderr)
    print(markdown(groups))
    if args.csv:
        _write(args.csv, as_csv(groups))
    if args.out:
        from tetrapose.reports.label_free import best_of, label_free_page

        tiles: dict[str, Any] = {}
        for preset in dict.fromkeys(group.preset for group in groups) if args.pictures else ():
            shown = best_of([group for group in groups if group.preset == preset])
            try:
                tiles[preset] = pictures_of(shown, args.pictures, root=args.root)
            except UserError as error:
                notes.append(f"pictures of {preset}: {error}")
                print(notes[-1], file=sys.stderr)
        _write(args.out, label_free_page(groups, title=args.title, tiles=tiles, notes=notes))
        print(f"page: {args.out}", file=sys.stderr)
    return 0


def pictures_of(run: Run, count: int, *, root: str | None = None) -> list[Tile]:
    """Animals of a run's test part, with their labels and with all points of its model.

    Raises UserError where the run's sets, pictures or model are not to be found.
    """
    from tetrapose.errors import UserError
    from tetrapose.inference import predictor
    from tetrapose.reports.dense import dense_tile, worth_showing

    partial = _sets(run, root)
    model = run.folder / "model.safetensors"
    network = predictor.load(model)
    rows = worth_showing(partial.test, partial.test_shown, count)
    chosen = partial.test.select_instances(rows)
    found = network.predict_set(chosen)
    tiles = []
    for place, row in enumerate(rows):
        shown = partial.test_shown[row]
        tile = dense_tile(chosen, place, shown, found.keypoints[place], found.scores[place])
        if tile is None:
            continue
        sure = int(((found.scores[place] >= 0.3) & ~shown).sum())
        species = chosen.species_names[int(chosen.species[place])] if chosen.species_names else ""
        tiles.append((tile, species, f"{int(shown.sum())} points labelled, {sure} more put"))
    if not tiles:
        raise UserError(f"{run.folder}: no picture of its test part can be shown")
    return tiles


def _sets(run: Run, root: str | None) -> Any:
    """The run's sets by its config.yaml and the splits it kept."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from tetrapose.commands.train import _make, _plain
    from tetrapose.data.partial import open_partial
    from tetrapose.errors import UserError

    file = run.folder / "config.yaml"
    try:
        config = OmegaConf.load(file)
        old = str(config.root)
        data = config.data
        sets = _plain(data.sets)
    except (OSError, ValueError, OmegaConfBaseException, AttributeError) as error:
        line = str(error).splitlines()[0]
        raise UserError(f"{file}: cannot tell which pictures were used ({line})") from None
    if root is not None:
        sets = _moved(sets, old.rstrip("/"), str(root).rstrip("/"))
    return open_partial(
        sets, run.folder / "splits", labelling=_make(data.labels), skeleton=data.skeleton,
        near=data.near, shares=str(data.shares), seed=config.seed,
    )  # fmt: skip


def _moved(values: Any, old: str, new: str) -> Any:
    """The same with every path below ``old`` below ``new``."""
    if isinstance(values, dict):
        return {key: _moved(value, old, new) for key, value in values.items()}
    if isinstance(values, list):
        return [_moved(value, old, new) for value in values]
    return values.replace(old, new) if isinstance(values, str) else values


def _write(path: str, text: str) -> None:
    """Whole or not at all; a UserError where it cannot be."""
    from tetrapose.errors import UserError

    target = Path(path)
    part = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8")
        part.replace(target)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from None
