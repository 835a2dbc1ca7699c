"""A film looked through before it is read, so that every frame has its number and none is lost
unremarked; and live sources (cameras, streams), which have neither end nor beginning.

A first pass over the packets, without decoding, tells which frames the file holds and when each is
shown. A frame's number is its place among those that players show. What was announced and does not
come is named: hidden by the film's own cut (edit list), broken, or not in the file at all.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.error import ExitError

from tetrapose.errors import UserError
from tetrapose.structures import Problem

CUT = "hidden by the film's own cut (edit list)"
BROKEN = "broken: could not be decoded"
ABSENT = "announced, but not in the file"
TIMELESS = {"avi"}  # their times of showing are made up by the reader, and out of order
LIVE = ("rtsp://", "rtsps://", "rtmp://", "http://", "https://", "udp://", "tcp://", "srt://")
CAMERA = "camera:"
WAIT = 10.0  # seconds without anything after which a live source is given up
NAMED = 20  # missing frames named one by one; Count has them all
PIECES = {"linux": ("v4l2", "/dev/video{}"), "darwin": ("avfoundation", "{}"),
          "win32": ("dshow", "video={}")}  # fmt: skip


@dataclass(frozen=True)
class Missing:
    """A frame that was to come: its number (None for one that players do not show), time, why."""

    frame: int | None
    time: float | None
    why: str


@dataclass(frozen=True)
class Frame:
    """A frame as it is shown: number, seconds from the film's beginning, pixels (H, W, 3) RGB."""

    index: int
    time: float
    pixels: np.ndarray


@dataclass(frozen=True, eq=False)
class Film:
    """What a first look tells.

    ``announced`` is what the file says it holds (0: nothing); ``shown`` the times of showing, in
    ticks of ``base``, rising, empty where the container has none or the source is ``live``; ``cut``
    those that its edit list hides; ``rate`` frames a second on average; ``size`` bytes when looked;
    ``waits``: what was not read is not lost; ``held`` the open source where it opens only once.
    """

    path: str
    announced: int
    shown: array[int] = field(repr=False)
    cut: tuple[int, ...]
    base: Fraction
    rate: float
    codec: str
    size: int
    live: bool = False
    waits: bool = True
    held: list[Any] = field(default_factory=list, repr=False)

    @property
    def step(self) -> float:
        """Seconds from one frame to the next, on average."""
        return 1 / self.rate

    @property
    def uneven(self) -> bool:
        """Whether frames stand for times that differ by more than half of the usual."""
        gaps = np.diff(np.array(self.shown, dtype=np.float64))
        return bool(len(gaps) and gaps.max() > 1.5 * np.median(gaps))

    def time_of(self, index: int) -> float:
        """Seconds at which frame ``index`` shows, from the first."""
        if index < len(self.shown):
            ticks = self.shown[index] - self.shown[0]
            return ticks * self.base.numerator / self.base.denominator
        over = index - max(len(self.shown) - 1, 0)
        return (self.time_of(len(self.shown) - 1) if self.shown else 0.0) + over * self.step


@dataclass
class Count:
    """What became of the frames, kept while they are read; ``ended`` tells why before the end."""

    decoded: int = 0
    broken_packets: int = 0
    missing: list[Missing] = field(default_factory=list)
    ended: str = ""


def is_live(name: str) -> bool:
    """Whether this names a camera, a stream or a pipe: what is read once, from where it is."""
    return name.startswith((CAMERA, *LIVE)) or Path(name).is_fifo() or Path(name).is_char_device()


def survey(path: str | Path) -> Film:
    """Look through a film's packets; UserError where it is no video that can be decoded here."""
    name = str(path)
    if is_live(name):
        return _survey_live(name)
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path}: no such file")
    if path.is_dir():
        raise UserError(f"{path}: a folder, where a film is due")
    size = path.stat().st_size
    if not size:
        raise UserError(f"{path}: the file is empty")
    with _opened(name) as container:
        stream = _video(container, name)
        shown, cut, timed = [], [], container.format.name not in TIMELESS
        try:
            for packet in container.demux(stream):
                if not packet.size:
                    continue
                timed = timed and packet.pts is not None
                if timed:
                    (cut if packet.is_discard else shown).append(packet.pts)
        except av.FFmpegError:
            pass  # the file breaks off: what came before counts
        shown.sort()
        timed = timed and all(a < b for a, b in zip(shown, shown[1:], strict=False))
        return Film(
            path=name,
            announced=stream.frames,
            shown=array("q", shown if timed else []),
            cut=tuple(sorted(cut)) if timed else (),
            base=Fraction(stream.time_base or Fraction(1, 1000)),
            rate=_rate(stream, shown if timed else []),
            codec=stream.codec_context.name,
            size=size,
        )


def read(
    film: Film, count: Count, *, every: int = 1, start: float = 0.0, end: float | None = None,
    after: int = -1,
) -> Iterator[Frame]:  # fmt: skip
    """Each ``every``-th frame past ``after`` shown from ``start`` to before ``end`` (seconds).

    Frames before those are decoded and counted, not converted. What does not come is named in
    ``count``, which is whole once the iterator has ended.
    """
    got = bytearray(len(film.shown))
    with film.held.pop() if film.held else _opened(film.path) as container:
        stream = _video(container, film.path)
        stream.thread_type = "AUTO"
        first = _seek(film, container, stream, start)
        number, ended, origin = first, False, None
        for frame in _decode(container, stream, count):
            index = number
            if film.shown and frame.pts is not None:
                index = bisect_left(film.shown, frame.pts)
                if index >= len(film.shown) or film.shown[index] != frame.pts:
                    continue  # a decoder's own repetition, or come since: the file grows
                if got[index] or index < first:
                    continue
                got[index] = 1
            elif frame.pts is not None and origin is None:
                origin = frame.pts
            number = index + 1
            time = _time(film, frame, index, origin)
            if end is not None and time >= end:
                ended = True
                break
            count.decoded += 1
            if time >= start and index > after and index % every == 0:
                yield Frame(index, time, _pixels(frame))
    _settle(film, count, got, start, None if not ended else number - 1)


def _time(film: Film, frame: Any, index: int, origin: int | None) -> float:
    if film.live and frame.pts is not None and origin is not None:
        return float((frame.pts - origin) * Fraction(frame.time_base or film.base))
    return film.time_of(index)


def _settle(film: Film, count: Count, got: bytearray, start: float, end: int | None) -> None:
    """Name what did not come; what lies outside the span that was asked for is not missed."""
    if film.live:
        return
    if film.shown:
        last = len(film.shown) if end is None else end
        lost = [i for i in range(last) if not got[i] and film.time_of(i) >= start]
        count.missing += [Missing(i, round(film.time_of(i), 6), BROKEN) for i in lost]
        if start <= 0:
            count.missing += [
                Missing(None, round(float((pts - film.shown[0]) * film.base), 6), CUT)
                for pts in film.cut
            ]
        known = len(film.shown) + len(film.cut)
    else:
        known = count.decoded
    if end is None and film.announced > known:
        numbers = range(known - len(film.cut), film.announced - len(film.cut))
        count.missing += [Missing(i, None, ABSENT) for i in numbers]


def _seek(film: Film, container: Any, stream: Any, start: float) -> int:
    """Go near ``start`` where the film's times are known; the number of the first frame to count.

    Seeking goes 10 seconds further back, so that decoders have warmed up when frames are wanted.
    """
    if not film.shown or start <= 12.0:
        return 0
    index = bisect_left(film.shown, film.shown[0] + int(start / film.base))
    early = film.shown[0] + int((start - 10.0) / film.base)
    container.seek(early, stream=stream, backward=True)
    return min(index, len(film.shown))


def problems(film: Film, count: Count) -> list[Problem]:
    """What is missing of a film that was read, and what makes it other than it seemed."""
    found, by_reason = [], {}
    of = max(film.announced, len(film.shown) + len(film.cut), count.decoded)
    for one in count.missing:
        by_reason.setdefault(one.why, []).append(one)
    for why, some in by_reason.items():
        named = [f"at {m.time:.3f} s" if m.frame is None else str(m.frame) for m in some[:NAMED]]
        what = f"{len(some)} of {of} frames are missing: {', '.join(named)}"
        what += f" and {len(some) - NAMED} more" if len(some) > NAMED else ""
        found.append(Problem(film.path, what, why))
    if count.ended and film.live:
        what = f"{count.ended}; what came before is done"
        found.append(Problem(film.path, what, "see whether it is still on"))
    if not film.live and Path(film.path).stat().st_size != film.size:
        what = "the file has changed while it was read; what it held at first is done"
        found.append(Problem(film.path, what, "run it again when it is whole"))
    if not count.decoded:
        found.append(Problem(film.path, "no frame could be decoded", "convert it anew"))
    return found


def _survey_live(name: str) -> Film:
    """Whatever is read once stays open, so that nothing is lost and nobody is asked twice."""
    container = _opened(name)
    try:
        stream = _video(container, name)
        rate = _rate(stream, [])
        return Film(
            name, 0, array("q"), (), Fraction(stream.time_base or Fraction(1, 1000)),
            rate if rate <= 1000 else 25.0,  # streams that do not know it tell their clock's
            stream.codec_context.name, 0, live=True,
            waits=Path(name).is_fifo() or bool(container.duration), held=[container],
        )  # fmt: skip
    except UserError:
        container.close()
        raise


def _opened(name: str) -> Any:
    import sys

    options: dict[str, str] = {}
    where, kind = name, None
    if name.startswith(CAMERA) or Path(name).is_char_device():
        number = name.removeprefix(CAMERA) or "0"
        kind, form = PIECES.get(sys.platform, PIECES["linux"])
        where = number if number.startswith("/") else form.format(number)
    elif name.startswith("rtsp"):
        options = {"rtsp_transport": "tcp"}
    live = is_live(name)
    try:
        return av.open(where, format=kind, options=options, timeout=WAIT if live else None)
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = _why(error)
        if live:
            raise UserError(f"{name}: cannot be opened ({reason}); is it on, and its name right?"
                            ) from None  # fmt: skip
        raise UserError(f"{name}: not a video that can be read ({reason})") from None


def _why(error: Exception) -> str:
    if isinstance(error, ExitError):
        return f"nothing came for {WAIT:g} s"
    return getattr(error, "strerror", None) or " ".join(str(error).split())


def _video(container: Any, name: str) -> Any:
    if not container.streams.video:
        raise UserError(f"{name}: holds no video stream")
    stream = container.streams.video[0]
    try:
        known = stream.codec_context is not None and bool(stream.codec_context.name)
    except (AttributeError, ValueError, av.FFmpegError):
        known = False
    if not known:
        raise UserError(
            f"{name}: its codec ({_tag(stream)}) has no decoder here; convert it:"
            f" ffmpeg -i {name} -c:v libx264 out.mp4"
        )
    return stream


def _tag(stream: Any) -> str:
    try:
        return str(stream.codec_tag) or "unknown"
    except (AttributeError, ValueError):
        return "unknown"


def _rate(stream: Any, shown: list[int]) -> float:
    if len(shown) > 1 and stream.time_base:
        return float((len(shown) - 1) / ((shown[-1] - shown[0]) * Fraction(stream.time_base)))
    return float(stream.average_rate or stream.base_rate or 25)


def _decode(container: Any, stream: Any, count: Count) -> Iterator[Any]:
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.FFmpegError as error:  # the container itself breaks off
            count.broken_packets += not isinstance(error, ExitError)
            count.ended = _why(error)
            return
        try:
            frames = packet.decode()
        except av.FFmpegError:
            count.broken_packets += 1
            continue
        for frame in frames:
            if getattr(frame, "is_corrupt", False):
                count.broken_packets += 1
            else:
                yield frame


def _pixels(frame: Any) -> np.ndarray:
    pixels = frame.to_ndarray(format="rgb24")
    turns = round(getattr(frame, "rotation", 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels
