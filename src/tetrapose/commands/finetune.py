"""A model of one's own from a few labelled frames.

PROJECT is a DeepLabCut project's folder, a SLEAP file (.slp, .pkg.slp), a table of labels (.csv,
.parquet), or NAME:WHERE as for tetrapose datasets stats. Into DIR go model.safetensors with its
card, report.html and report.json with errors in pixels on training and test frames, errors.csv with
every point, train.txt and test.txt. The same command goes on where it was stopped.

  tetrapose finetune my_project --out runs/mouse
  tetrapose predict film.mp4 --model runs/mouse/model.safetensors --out seen

A fifth of the frames is kept back to measure on, drawn by --seed; --shuffle takes DeepLabCut's own
test frames, --test a list of names. Exit status 0: done; 1: some frames had to be left out, which
are listed; 2: wrong use, or nothing to learn from.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from tetrapose.data.projects import Project

HELP = "make a model of one's own from a few labelled frames"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    add = parser.add_argument
    add("project", metavar="PROJECT", help="DeepLabCut folder, .slp, .csv, or NAME:WHERE")
    add("--out", required=True, metavar="DIR", help="folder for what is made")
    add("--model", default="default", metavar="NAME|FILE", help="model to start from (default)")
    add("--skeleton", metavar="NAME|FILE", help="skeleton of the labels, where names do not tell")
    add("--sides", choices=("letters", "words"), help="letters: L and R in names are left, right")
    held = parser.add_argument_group("frames to measure on")
    held.add_argument("--test-share", type=float, metavar="S", help="share kept back (0.2)")
    held.add_argument("--seed", type=int, default=0, metavar="N", help="draws them (0)")
    held.add_argument("--whole-videos", action="store_true", help="keep back whole videos")
    held.add_argument("--test", metavar="FILE", help="names of test frames, one a line")
    held.add_argument("--shuffle", type=int, metavar="N", help="those of DeepLabCut's shuffle N")
    learn = parser.add_argument_group("learning, chosen by the number of frames")
    learn.add_argument("--steps", type=int, metavar="N", help="steps of a batch")
    learn.add_argument("--batch", type=int, metavar="N", help="samples in a step")
    learn.add_argument("--lr", type=float, metavar="R", help="highest learning rate")
    learn.add_argument("--rotation", type=float, metavar="D", help="degrees frames are turned by")
    learn.add_argument("--input-size", type=int, metavar="PX", help="side of the network's input")
    add("--pcutoff", type=float, default=0.6, metavar="P", help="cut-off of the report (0.6)")
    add("--overwrite", action="store_true", help="begin anew in a DIR with other settings")


def run(args: argparse.Namespace) -> int:
    """Open, hold out, train, measure, write."""
    from pathlib import Path

    from tetrapose.data.projects import open_project

    _check(args)
    out = Path(args.out)
    project = open_project(
        args.project, frames=out / "frames", skeleton=args.skeleton, sides=args.sides
    )
    test = _held_out(args, project)
    _tell(args, project, test)

    # torch: only once the labels are known to be usable
    from tetrapose.commands.finetune_run import carry_out

    began = time.perf_counter()
    path, lines = carry_out(args, project, test, out)
    seconds = time.perf_counter() - began
    print(*lines, sep="\n")
    print(f"report   {out / 'report.html'}")
    print(f"model    {path}")
    print(f"{seconds / 60:.1f} minutes; tetrapose predict FILM --model {path} --out DIR uses it")
    left_out = [problem for problem in project.pose_set.problems if problem.left_out]
    return 1 if left_out else 0


def _check(args: argparse.Namespace) -> None:
    from tetrapose.errors import UserError

    chosen = [name for name in ("test", "shuffle", "test_share") if getattr(args, name) is not None]
    if len(chosen) > 1:
        shown = " and ".join(f"--{name.replace('_', '-')}" for name in chosen)
        raise UserError(f"{shown}: choose one way to say which frames to measure on")
    if args.whole_videos and (args.test or args.shuffle is not None):
        raise UserError("--whole-videos draws frames; --test and --shuffle name them")
    if not 0 <= args.pcutoff <= 1:
        raise UserError(f"--pcutoff must lie in 0..1, not {args.pcutoff:g}")
    if args.steps is not None and args.steps < 1:
        raise UserError(f"--steps must be 1 or more, not {args.steps}")
    if args.batch is not None and args.batch < 2:
        raise UserError(f"--batch must be 2 or more, not {args.batch}")
    if args.lr is not None and not 0 < args.lr < 1:
        raise UserError(f"--lr must lie between 0 and 1, not {args.lr:g}")
    if args.rotation is not None and not 0 <= args.rotation <= 180:
        raise UserError(f"--rotation must lie in 0..180 degrees, not {args.rotation:g}")
    if args.input_size is not None and (args.input_size < 64 or args.input_size % 32):
        raise UserError(f"--input-size must be a multiple of 32 from 64 on, not {args.input_size}")


def _held_out(args: argparse.Namespace, project: Project) -> np.ndarray:
    from tetrapose.data import hold_out
    from tetrapose.errors import UserError

    pose_set = project.pose_set
    if args.test:
        return hold_out.by_names(pose_set, args.test)
    if args.shuffle is not None:
        if project.kind != "deeplabcut":
            raise UserError(f"--shuffle: {args.project} is no DeepLabCut project")
        return hold_out.of_deeplabcut(pose_set, args.shuffle)
    share = hold_out.SHARE if args.test_share is None else args.test_share
    return hold_out.by_lot(pose_set, share=share, seed=args.seed, videos=args.whole_videos)


def _tell(args: argparse.Namespace, project: Project, test: np.ndarray) -> None:
    from tetrapose.commands.given import tell_problems

    pose_set = project.pose_set
    train = len(test) - int(test.sum())
    animals = "one animal each" if project.alone else f"{len(pose_set)} animals, several in some"
    print(
        f"{len(test)} labelled frames, {animals}: {train} to learn from, {int(test.sum())} to "
        f"measure on; {len(pose_set.skeleton)} points: {', '.join(project.names)}",
        file=sys.stderr,
    )
    if train < 20:
        print(f"{train} frames are few; 20 to 200 make a model of use", file=sys.stderr)
    if not project.alone and not args.whole_videos:
        print("frames with several animals: measured in boxes around the labels", file=sys.stderr)
    tell_problems(pose_set)


def settings_of(args: argparse.Namespace) -> dict[str, Any]:
    """Options that change what is learned, as a run folder keeps them."""
    names = ("model", "steps", "batch", "lr", "rotation", "input_size", "seed")
    return {name: getattr(args, name) for name in names}


def claimed(folder: Path, settings: dict[str, Any], *, overwrite: bool) -> None:
    """Write ``settings.json`` into the folder; UserError where it holds a run with others."""
    import json
    import shutil

    from tetrapose.data.reading import load_json, write_text
    from tetrapose.errors import UserError

    path = folder / "settings.json"
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--out {folder}: a file, where a folder is due")
    if path.exists():
        old = load_json(path)
        changed = [key for key in settings if old.get(key) != settings[key]]
        if changed and not overwrite:
            shown = ", ".join(changed[:4])
            raise UserError(
                f"{folder}: holds a run with other settings ({shown}); choose another --out, or "
                "--overwrite to begin anew"
            )
        if changed:
            # pictures of films stay: they are the same whatever is learned from them
            for one in folder.iterdir():
                if one.name != "frames":
                    shutil.rmtree(one) if one.is_dir() else one.unlink()
    elif folder.exists() and any(p.name not in ("frames",) for p in folder.iterdir()):
        raise UserError(f"{folder}: not empty, and no run of this command; choose another --out")
    write_text(path, json.dumps(settings, indent=2) + "\n")
