"""One film from end to end: looked through, followed, written as it goes, gone on with later.

Into the folder of its table go NAME.parquet (``tracked``) and NAME.json (what was looked at, what
is missing, tracks, timing); while it runs NAME.parts/ (``chunks``).
"""

from __future__ import annotations

import hashlib
import json
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from tetrapose import __version__
from tetrapose.errors import UserError
from tetrapose.inference import chunks, films, tracked
from tetrapose.inference.films import Count, Film, Frame
from tetrapose.inference.following import Follower, Seconds, Way
from tetrapose.inference.hasten import Ahead
from tetrapose.inference.video import VideoWriter
from tetrapose.structures import Problem
from tetrapose.weights.files import replace_file

DEPTH = 8  # frames decoded ahead


@dataclass(frozen=True)
class Span:
    """Which frames: every so many, from ``start`` to before ``end`` seconds."""

    every: int = 1
    start: float = 0.0
    end: float | None = None


@dataclass(frozen=True)
class Settings:
    """All but the film: how animals are come by, which frames, smoothing, more for NAME.json.

    With ``record`` the frames looked at are kept as a film, for what is live is gone afterwards.
    """

    way: Way
    span: Span = field(default_factory=Span)
    smoothing: tracked.Smoothing = field(default_factory=tracked.Smoothing)
    told: dict[str, Any] = field(default_factory=dict)
    frames_in_part: int = chunks.FRAMES
    record: Path | None = None


@dataclass
class Outcome:
    """What became of a film; ``stopped`` by the user, or all done ``before``.

    ``recorded`` are the numbers of the frames that are in the film of ``Settings.record``.
    """

    table: Path
    film: Film
    count: Count
    seconds: Seconds
    summary: tracked.Summary
    frames: range = range(0)
    size: tuple[int, int] = (0, 0)
    problems: list[Problem] = field(default_factory=list)
    stopped: bool = False
    resumed: int = 0
    dropped: int = 0
    before: bool = False
    recorded: array[int] = field(default_factory=lambda: array("q"))


Progress = Callable[[int, float], None]


def track_film(
    path: str, base: Path, settings: Settings, *, fresh: bool = False,
    progress: Progress | None = None,
) -> Outcome:  # fmt: skip
    """Follow the animals of a film; its table is ``base`` with .parquet.

    Goes on after the last part where there is one of the same film and settings, unless ``fresh``.
    A KeyboardInterrupt ends it early with what there is, and the parts stay. Raises UserError for a
    film that cannot be read, where nothing can be written, and where a live source would be written
    over what another time saw of it.
    """
    if films.is_live(path) and not fresh:
        _demand_unseen(base)
    film = films.survey(path)
    if film.shown and settings.span.start > (last := film.time_of(len(film.shown) - 1)):
        raise UserError(f"{path}: its last frame is at {last:.2f} s; --start lies behind it")
    way = replace(settings.way, pace=film.step * settings.span.every, frames=settings.span.every)
    settings = replace(settings, way=way)
    parts = chunks.Parts(
        base.with_name(f"{base.name}.parts"), way.predictor.skeleton.names, identity(film, settings)
    )
    if fresh or film.live:
        parts.clear()
    elif (before := _done_before(base, film, settings)) is not None:
        return before
    outcome = Outcome(base.with_name(f"{base.name}.parquet"), film, Count(), Seconds(),
                      tracked.Summary())  # fmt: skip
    began = time.perf_counter()
    ids = _follow(parts, settings, outcome, progress)
    seconds, at = outcome.seconds, time.perf_counter()
    told = _describe(settings, outcome)
    outcome.summary = tracked.finish(
        parts, outcome.table, way.predictor.skeleton, ids=ids, every=settings.span.every,
        smoothing=settings.smoothing, told=told,
    )  # fmt: skip
    seconds.add("write", at)
    seconds.whole = time.perf_counter() - began
    _judge(outcome)
    _write_json(base, settings, outcome)
    if not outcome.stopped or film.live:
        parts.clear()
    return outcome


def _demand_unseen(base: Path) -> None:
    for end in (".parquet", ".parts"):
        if (there := base.with_name(base.name + end)).exists():
            raise UserError(
                f"{there}: of an earlier time, which a live source does not come back to: choose"
                " another --out, or write over it with --fresh"
            )


def identity(film: Film, settings: Settings) -> dict[str, Any]:
    """What parts must have in common to be one table's."""
    way, span = settings.way, settings.span
    return {
        "film": "live" if film.live else _fingerprint(Path(film.path)),
        "model": way.predictor.card.get("sha256"),
        "protocol": json.loads(json.dumps({**way.predictor.protocol, "backend_note": None})),
        "finder": None if way.finder is None else way.finder.protocol,
        "boxes": settings.told.get("boxes"),
        "find": way.find,
        "rules": asdict(way.rules),
        "batch": way.predictor.batch_size,
        "frames": [span.every, span.start, span.end],
        "part": settings.frames_in_part,
    }


def _finished_as(film: Film, settings: Settings) -> dict[str, Any]:
    return {**identity(film, settings), "smoothing": asdict(settings.smoothing)}


def _done_before(base: Path, film: Film, settings: Settings) -> Outcome | None:
    """The outcome of the same film under the same settings, where its table is whole."""
    table, notes = base.with_name(f"{base.name}.parquet"), base.with_name(f"{base.name}.json")
    if not table.is_file() or not notes.is_file():
        return None
    try:
        there, told = tracked.told(table), json.loads(notes.read_text(encoding="utf-8"))
    except (UserError, OSError, ValueError):
        return None
    if not there["complete"] or there["identity"] != _finished_as(film, settings):
        return None
    frames = told["frames"]
    summary = tracked.Summary(
        {int(number): tracked.Track(**one) for number, one in told["tracks"].items()},
        told["flags"], told["strays"],
    )  # fmt: skip
    count = Count(
        told["decoded"], told["broken_packets"], [films.Missing(**one) for one in told["missing"]]
    )
    last = frames["first"] if frames["last"] is None else frames["last"] + 1
    return Outcome(
        table, film, count, Seconds(), summary, range(frames["first"], last, frames["every"]),
        (told["size"][0], told["size"][1]), [Problem(**one) for one in told["problems"]],
        before=True,
    )  # fmt: skip


def _fingerprint(path: Path) -> str:
    """Of the size and the first megabyte: a film of many gigabytes is not read through for it."""
    with path.open("rb") as file:
        start = file.read(1 << 20)
    return f"{path.stat().st_size}-{hashlib.sha256(start).hexdigest()[:16]}"


def _follow(
    parts: chunks.Parts, settings: Settings, outcome: Outcome, progress: Progress | None
) -> dict[int, int]:
    """Write the parts that are not there yet; the tracks' ids by serial."""
    follower = Follower(settings.way, outcome.seconds)
    state = parts.last_state()
    seen: dict[str, Any] = {"first": None, "last": -1, "size": [0, 0], "frames": 0}
    if state is not None:
        follower.restore(state["follower"])
        seen = state["seen"]
        outcome.resumed = int(seen["frames"])
    done = bool(state and state["done"])
    began = time.perf_counter()
    span = settings.span
    frames: Ahead[Frame] = Ahead(
        films.read(
            outcome.film, outcome.count, every=span.every, start=span.start, end=span.end,
            after=seen["last"],
        ),
        depth=DEPTH, lossy=not outcome.film.waits,
    )  # fmt: skip
    source = iter(frames)
    recorder = nullcontext() if settings.record is None else VideoWriter(settings.record)
    with recorder as film, closing(frames):
        source = _recorded(source, film, outcome) if film else source
        try:
            if done:
                for _ in source:
                    pass  # nothing to look at: only what is missing is to be told again
            while not done:
                some = _watched(islice(source, settings.frames_in_part), seen, progress, began)
                done = _part(parts, follower, some, seen, settings, outcome)
        except KeyboardInterrupt:
            outcome.stopped = True  # the part that was begun is lost, and done again next time
            state = parts.last_state()
            if state is None:
                raise
            follower.restore(state["follower"])
            seen = state["seen"]
    outcome.dropped = frames.dropped
    outcome.seconds.spent["decode"] = frames.busy
    outcome.seconds.waited = frames.waited
    outcome.size = (int(seen["size"][0]), int(seen["size"][1]))
    if seen["first"] is not None:
        outcome.frames = range(seen["first"], seen["last"] + 1, span.every)
    return follower.tracker.ids()


def _part(
    parts: chunks.Parts, follower: Follower, frames: Iterator[Frame], seen: dict[str, Any],
    settings: Settings, outcome: Outcome,
) -> bool:  # fmt: skip
    """Work and write one part; whether it was the last."""
    rows, before = [], seen["frames"]
    try:
        rows.extend(follower.rows(frames))
    except KeyboardInterrupt:
        if not outcome.film.live:
            raise
        outcome.stopped = True  # the usual end of what has none
    done = outcome.stopped or seen["frames"] - before < settings.frames_in_part
    began = time.perf_counter()
    parts.write(
        chunks.joined(rows, len(parts.names)),
        {"follower": follower.state(), "seen": seen, "done": done},
    )
    outcome.seconds.add("write", began)
    return done


def _watched(
    frames: Iterator[Frame], seen: dict[str, Any], progress: Progress | None, began: float
) -> Iterator[Frame]:
    """The frames as they are, noted down in ``seen``."""
    for frame in frames:
        if seen["first"] is None:
            seen["first"] = frame.index
            seen["size"] = [frame.pixels.shape[1], frame.pixels.shape[0]]
        seen["last"] = frame.index
        seen["frames"] += 1
        if progress is not None:
            progress(seen["frames"], time.perf_counter() - began)
        yield frame


def _recorded(
    frames: Iterator[Frame], film: VideoWriter, outcome: Outcome
) -> Iterator[Frame]:  # fmt: skip
    for frame in frames:
        began = time.perf_counter()
        film.add(frame.pixels, frame.time)
        outcome.recorded.append(frame.index)
        outcome.seconds.add("write", began)
        yield frame


def _judge(outcome: Outcome) -> None:
    """Say what is missing, and what makes the film other than it seemed."""
    film, count, where = outcome.film, outcome.count, outcome.film.path
    outcome.problems += films.problems(film, count)
    if outcome.dropped:
        what = f"{outcome.dropped} of {outcome.dropped + outcome.seconds.frames} frames came faster"
        what += " than they could be looked at, and were dropped"
        fix = "give --every 2, or a faster --find"
        outcome.problems.append(Problem(where, what, fix, left_out=False))
    if count.decoded and not outcome.summary.tracks:
        fix = "the table is empty; try --least-score 0.15, --find every, or --boxes FILE"
        outcome.problems.append(Problem(where, "no animal found", fix, left_out=False))


def _describe(settings: Settings, outcome: Outcome) -> dict[str, Any]:
    skeleton, film = settings.way.predictor.skeleton, outcome.film
    return {
        "keypoints": list(skeleton.names),
        "skeleton": skeleton.to_dict(),
        "film": film.path,
        "rate": film.rate,
        "size": list(outcome.size),
        "frames": {
            "first": outcome.frames.start,
            "last": outcome.frames[-1] if len(outcome.frames) else None,
            "every": settings.span.every,
        },
        "smoothing": asdict(settings.smoothing),
        "identity": _finished_as(film, settings),
        "tetrapose": __version__,
        "complete": not outcome.stopped,
    }


def _write_json(base: Path, settings: Settings, outcome: Outcome) -> None:
    film, count, seconds = outcome.film, outcome.count, outcome.seconds
    content = {
        **_describe(settings, outcome),
        **settings.told,
        "protocol": settings.way.predictor.protocol,
        "find": settings.way.find or "loss",
        "announced": film.announced,
        "decoded": count.decoded,
        "broken_packets": count.broken_packets,
        "uneven_times": film.uneven,
        "dropped": outcome.dropped,
        "missing": [asdict(one) for one in count.missing],
        "tracks": {str(number): asdict(one) for number, one in outcome.summary.tracks.items()},
        "strays": outcome.summary.strays,
        "flags": outcome.summary.flags,
        "seconds": {key: round(value, 3) for key, value in seconds.spent.items()},
        "waited_for_frames": round(seconds.waited, 3),
        "seconds_in_all": round(seconds.whole, 3),
        "bound_by": seconds.bound(),
        "problems": [asdict(one) for one in outcome.problems],
    }
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    ranked = ["rank,frame,time,doubt,why"] + [
        f'{rank},{one.frame},{one.time:.4f},{one.doubt},"{one.why}"'
        for rank, one in enumerate(outcome.summary.worth.ranked(), start=1)
    ]
    try:
        replace_file(base.with_name(f"{base.name}.json"), text.encode())
        replace_file(base.with_name(f"{base.name}.label.csv"), ("\n".join(ranked) + "\n").encode())
    except OSError as error:
        raise UserError(f"{base}.json: cannot be written ({error.strerror or error})") from None
