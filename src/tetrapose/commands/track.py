"""Animals of films followed: who is where, frame by frame.

VIDEO is a film, a folder, a glob, or one live source: camera:0, rtsp://..., a pipe. Into DIR go, of
each film, NAME.parquet (the table: a row an animal of a frame), NAME.json (what is missing, tracks,
timing), NAME.label.csv (frames worth labelling, the most doubtful first) and what --also names.

  tetrapose track walk.mp4 --out seen
  tetrapose track 'trip/*.mp4' --out seen --also overlay dlc-h5 --smooth savgol
  tetrapose track long.mp4 --out seen --start 1:30 --end 12:00 --every 2
  tetrapose track camera:0 --out live --end 60 --also overlay

The same command goes on where it was stopped or killed, and the table is the same as if it had not
been. A live source goes on until it ends, --end, or Ctrl-C, and all is whole up to there; frames
that come too fast are dropped and counted, and --also film keeps those looked at. Exit status 0:
all done; 1: frames are missing or films could not be read, which are named; 2: wrong use, or
nothing could be done.
"""

from __future__ import annotations

import argparse
import hashlib
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tetrapose.commands import finding

if TYPE_CHECKING:
    import numpy as np

    from tetrapose.inference.boxes import BoxFile
    from tetrapose.inference.filmed import Outcome, Settings
    from tetrapose.inference.following import Given
    from tetrapose.inference.predictor import Predictor
    from tetrapose.inference.sources import Source
    from tetrapose.structures import Problem

HELP = "follow animals through films: tables, identities, overlays"
ALSO = ("overlay", "coco", "dlc-csv", "dlc-h5", "sleap", "nwb", "film")
EACH, LOSS = "every", "loss"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    add = parser.add_argument
    add("paths", nargs="+", metavar="VIDEO", help="films, folders, globs, camera:N, rtsp://...")
    add("--out", required=True, metavar="DIR", help="folder for what is made")
    add("--also", nargs="+", default=[], metavar="FORM", choices=ALSO,
        help=f"write as well: {', '.join(ALSO)}")  # fmt: skip
    finding.add_arguments(parser)
    add("--find", default="5", metavar="N", help="look for animals on every N-th frame and follow"
        " them between (5); every: on each; loss: when one is lost")  # fmt: skip
    add("--every", type=int, default=1, metavar="N", help="only every N-th frame")
    add("--start", default="0", metavar="T", help="begin at T: seconds, or h:m:s")
    add("--end", metavar="T", help="end before T")
    add("--smooth", default="none", metavar="S", help="add smooth columns: one-euro or savgol")
    add("--window", type=int, default=7, metavar="N", help="frames that savgol looks at (7)")
    add("--patience", type=float, default=45, metavar="N", help="frames one unseen is waited for")
    add("--model", default="default", metavar="NAME|FILE", help="shipped model or .safetensors")
    add("--flip", action="store_true", help="average with the mirror image (better, half as fast)")
    add("--batch", type=int, default=16, metavar="N", help="crops at a time (16)")
    add("--precision", default="float32", metavar="P", help="float32 or bfloat16")
    add("--backend", default="auto", metavar="B", help="auto, torch, onnxruntime or openvino")
    add("--device", metavar="D", help="cpu, cuda, cuda:1 ... (the first GPU if there is one)")
    add("--threshold", type=float, default=0.3, metavar="T", help="least score drawn (0.3)")
    add("--style", default="vivid", metavar="S", help="look of overlays: vivid or quiet")
    add("--fresh", action="store_true", help="begin anew where an earlier run was stopped")


def run(args: argparse.Namespace) -> int:
    """Follow each film, write, say what is missing."""
    from tetrapose.errors import UserError
    from tetrapose.inference.boxes import read_boxes

    _check(args)
    films, problems, live = _films(args)
    _tell(problems)
    if not films:
        raise UserError("nothing to follow: no film was found (pictures: tetrapose predict)")
    boxes = None if args.boxes in ("whole", "auto", finding.MODEL) else read_boxes(Path(args.boxes))

    from tetrapose.inference.predictor import load

    predictor = load(
        args.model, flip=args.flip, batch_size=args.batch, device=args.device,
        precision=args.precision, backend=args.backend,
    )  # fmt: skip
    finder = finding.make(args)
    status = 1 if problems else 0
    done = 0
    for source, name in films:
        base, path = Path(args.out) / name, args.paths[0] if live else str(source.path)
        try:
            settings = _settings(args, predictor, finder, boxes, source)
            if live and {"film", "overlay"} & set(args.also):
                settings = replace(settings, record=base.with_name(f"{base.name}.film.mp4"))
            with _ended_by_hand() if live else nullcontext(threading.Event()) as asked:
                outcome = _one(args, path, base, settings, asked)
        except UserError as error:
            if args.debug:
                raise
            print(f"tetrapose: {error}", file=sys.stderr)
            status = 1
            continue
        done += 1
        status = max(status, int(any(one.left_out for one in outcome.problems)))
        if outcome.stopped and not live:
            print("tetrapose: stopped; the same command goes on from here", file=sys.stderr)
            return 130
    return status if done else 2


def _films(args: argparse.Namespace) -> tuple[list[tuple[Source, str]], list[Problem], bool]:
    """Films with names for their files below --out, what is none, and whether it is live."""
    from tetrapose.errors import UserError
    from tetrapose.inference.films import is_live
    from tetrapose.inference.sources import Source, find_sources

    live = any(is_live(name) for name in args.paths)
    if live and len(args.paths) > 1:
        raise UserError("a live source is followed by itself: give each a command of its own")
    if "film" in args.also and not live:
        raise UserError("--also film keeps what is live; this film is there already")
    if live:
        name = _live_name(args.paths[0])
        return [(Source(Path(args.paths[0]), name, True), name)], [], True
    sources, problems = find_sources(args.paths, out=Path(args.out))
    found = [source for source in sources if _may_be_film(source)]
    return list(zip(found, _bases(found), strict=True)), problems, False


def _check(args: argparse.Namespace) -> None:
    from tetrapose.errors import UserError
    from tetrapose.inference.tracked import Smoothing
    from tetrapose.render import load_style

    finding.settle(args)
    if args.find not in (EACH, LOSS) and not (args.find.isdigit() and int(args.find) > 0):
        raise UserError(f"--find {args.find}: it is a number of frames, every, or loss")
    for name in ("every", "batch"):
        if getattr(args, name) < 1:
            raise UserError(f"--{name} must be 1 or more, not {getattr(args, name)}")
    if not 0 <= args.threshold <= 1:
        raise UserError(f"--threshold must lie in 0..1, not {args.threshold:g}")
    if args.patience < 1:
        raise UserError(f"--patience must be 1 frame or more, not {args.patience:g}")
    Smoothing(args.smooth, args.window)
    load_style(args.style)
    args.from_second = seconds(args.start, "--start")
    args.to_second = None if args.end is None else seconds(args.end, "--end")
    if args.to_second is not None and args.to_second <= args.from_second:
        raise UserError(f"--end {args.end} is not after --start {args.start}")
    if Path(args.out).exists() and not Path(args.out).is_dir():
        raise UserError(f"--out {args.out}: a file, where a folder is due")


def seconds(text: str, name: str) -> float:
    """Seconds of "90", "1:30" or "0:01:30.5"; UserError for anything else."""
    from tetrapose.errors import UserError

    try:
        parts = [float(part) for part in text.split(":")]
        if not 1 <= len(parts) <= 3 or not all(0 <= part < 1e9 for part in parts):
            raise ValueError
    except ValueError:
        raise UserError(f"{name} {text}: a time is seconds, m:s or h:m:s") from None
    return sum(part * 60**place for place, part in enumerate(reversed(parts)))


@contextmanager
def _ended_by_hand() -> Iterator[threading.Event]:
    """What has no end of its own is ended by Ctrl-C, and as by it where it is told to stop.

    The event stays set: an interrupt that strikes where exceptions go nowhere (a finalizer, a
    library's callback) is seen at the next frame.
    """
    asked = threading.Event()

    def ended(*_: Any) -> None:
        asked.set()
        raise KeyboardInterrupt

    before = {number: signal.signal(number, ended) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _may_be_film(source: Source) -> bool:
    from tetrapose import images

    return source.path.suffix.lower() not in images.SUFFIXES


def _live_name(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name.rpartition("@")[2]).strip("_")


def _bases(sources: list[Source]) -> list[str]:
    """A name for each film's files below --out; those alike but for their suffix keep it."""
    plain = [str(Path(source.name).with_suffix("")) for source in sources]
    folded = [name.casefold() for name in plain]
    return [
        source.name if folded.count(name.casefold()) > 1 else name
        for source, name in zip(sources, plain, strict=True)
    ]


def _settings(
    args: argparse.Namespace, predictor: Predictor, finder: Any, boxes: BoxFile | None,
    source: Source,
) -> Settings:  # fmt: skip
    from tetrapose.errors import UserError
    from tetrapose.inference.filmed import Settings, Span
    from tetrapose.inference.following import ON_LOSS, Way
    from tetrapose.inference.tracked import Smoothing
    from tetrapose.tracking.tracker import Rules

    given: Given | None = None
    if boxes is not None:
        if boxes.find(source.path) is None:
            raise UserError(
                f"{source.path}: {args.boxes} does not name it; that file names films such as"
                f" {boxes.example}"
            )

        def given_in(frame: int) -> np.ndarray:
            found = boxes.find(source.path, frame=frame)
            assert found is not None
            return found.bboxes

        given = given_in

    find = {EACH: 1, LOSS: ON_LOSS}.get(args.find)
    way = Way(
        predictor, finder, int(args.find) if find is None else find, given,
        Rules(patience=args.patience),
    )  # fmt: skip
    span = Span(args.every, args.from_second, args.to_second)
    told = {"model": args.model, "boxes": args.boxes}
    if boxes is not None:  # with other boxes in it, it is another table
        content = Path(args.boxes).read_bytes()
        told["boxes"] += f" {hashlib.sha256(content).hexdigest()[:16]}"
    return Settings(way, span, Smoothing(args.smooth, args.window), told)


def _one(
    args: argparse.Namespace, path: str, base: Path, settings: Settings, asked: threading.Event
) -> Outcome:  # fmt: skip
    from tetrapose.inference.filmed import track_film

    shown = [0.0]

    def progress(frames: int, spent: float) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        if sys.stderr.isatty() and time.perf_counter() - shown[0] > 0.2:
            shown[0] = time.perf_counter()
            print(f"\r\033[K{path}: {frames} frames, {frames / max(spent, 1e-9):.1f}/s",
                  end="", file=sys.stderr, flush=True)  # fmt: skip

    outcome = track_film(path, base, settings, fresh=args.fresh, progress=progress)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    _tell(outcome.problems)
    if outcome.before:
        print(f"{path}: done before, and the same (--fresh looks again)")
    else:
        _report(path, outcome)
    print(f"table        {outcome.table}")
    _write_others(args, base, settings, outcome)
    return outcome


def _report(path: str, outcome: Outcome) -> None:
    spent, tracks = outcome.seconds, outcome.summary.tracks
    rate = spent.frames / max(spent.whole, 1e-9)
    gone_on = f" (gone on after {outcome.resumed})" if outcome.resumed else ""
    gone_on += " until stopped by hand" if outcome.stopped else ""
    animals = "1 animal" if len(tracks) == 1 else f"{len(tracks)} animals"
    print(
        f"{path}: {spent.frames + outcome.resumed} frames{gone_on}, {animals} followed in"
        f" {spent.whole:.1f} s ({rate:.1f} frames/s)"
    )
    for number, one in sorted(tracks.items())[:12]:
        print(
            f"  track {number}: {one.frames} frames from {one.first} to {one.last},"
            f" mean score {one.score:.2f}"
        )
    if len(tracks) > 12:
        print(f"  ... and {len(tracks) - 12} more in {outcome.table.with_suffix('.json').name}")
    frames = max(spent.frames, 1)
    parts = ", ".join(f"{key} {1000 * value / frames:.1f}" for key, value in spent.spent.items())
    print(f"time         ms a frame: {parts} (decode in a thread of its own)")
    bound = spent.bound()
    print(f"bound by     {'the source' if outcome.film.live and bound == 'decode' else bound}")


def _write_others(
    args: argparse.Namespace, base: Path, settings: Settings, outcome: Outcome
) -> None:
    from tetrapose.inference.outlets import FORMS, Told, write

    told = Told(
        outcome.table, settings.record or Path(outcome.film.path), settings.way.predictor.skeleton,
        tuple(sorted(outcome.summary.tracks)), outcome.frames, outcome.film.rate, outcome.size,
    )  # fmt: skip
    for form in args.also:
        if form == "overlay":
            from tetrapose.inference.tracked_film import write_overlay

            path = base.with_name(f"{base.name}.overlay.mp4")
            write_overlay(
                told, path, threshold=args.threshold, style=args.style, start=args.from_second,
                numbers=outcome.recorded,
            )  # fmt: skip
        elif form == "film":
            path = settings.record
        else:
            path = write(told, form, base.with_name(base.name + FORMS[form][0]))
        print(f"{form:12} {path}")


def _tell(problems: list[Problem]) -> None:
    for problem in problems:
        print(f"tetrapose: {'' if problem.left_out else 'note: '}{problem}", file=sys.stderr)
