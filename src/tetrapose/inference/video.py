"""Videos as frames in order, and frames as a video; memory does not grow with their length."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from tetrapose.errors import UserError

TIME_BASE = Fraction(1, 90_000)  # 24, 25, 30 and 30000/1001 frames a second fall on whole ticks


@dataclass
class Tally:
    """What became of a video's frames, kept while it is read.

    ``announced`` is what the file says it holds, 0 where it does not; ``damaged`` counts packets
    and frames that could not be decoded.
    """

    announced: int = 0
    decoded: int = 0
    damaged: int = 0


@dataclass(frozen=True)
class Frame:
    """A decoded frame: its number, its time in seconds, pixels (H, W, 3) RGB upright."""

    index: int
    time: float
    pixels: np.ndarray


def read_frames(path: Path, tally: Tally) -> Iterator[Frame]:
    """The frames of a video in order of showing; damaged ones are left out and counted.

    Raises UserError where the file is no video that can be opened.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty")
    try:
        container = av.open(str(path))
    except (av.FFmpegError, OSError, ValueError) as error:
        raise UserError(f"{path}: not a video that can be read ({_why(error)})") from None
    with container:
        if not container.streams.video:
            raise UserError(f"{path}: holds no video stream")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        tally.announced = stream.frames
        step = 1 / float(stream.average_rate or stream.base_rate or 25)
        timed = container.format.name != "avi"  # AVI has no times of showing, only an even pace
        time = -step
        for frame in _decode(container, stream, tally):
            told = frame.time if timed else None
            time = told if told is not None and told > time else time + step
            pixels = frame.to_ndarray(format="rgb24")
            turns = round(getattr(frame, "rotation", 0) / 90) % 4
            if turns:
                pixels = np.ascontiguousarray(np.rot90(pixels, turns))
            yield Frame(tally.decoded, time, pixels)
            tally.decoded += 1


def _decode(container: Any, stream: Any, tally: Tally) -> Iterator[Any]:
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.FFmpegError:  # the container itself breaks off
            tally.damaged += 1
            return
        try:
            frames = packet.decode()
        except av.FFmpegError:
            tally.damaged += 1
            continue
        for frame in frames:
            if getattr(frame, "is_corrupt", False):
                tally.damaged += 1
            else:
                yield frame


class VideoWriter:
    """An H.264 MP4 of RGB frames at given times; takes its name when it is closed.

    The first frame sets the size (odd sides are padded by one pixel); use as a context.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.part = path.with_name(f".{path.stem}.{os.getpid()}.part.mp4")
        self._container: Any = None
        self._stream: Any = None
        self._last = -1

    def add(self, pixels: np.ndarray, time: float) -> None:
        """Append a frame that shows at ``time`` seconds; times rise, if only by a tick."""
        height, width = pixels.shape[:2]
        if self._container is None:
            self._container = self._open(width + width % 2, height + height % 2)
        wanted = (self._stream.width, self._stream.height)
        if (width + width % 2, height + height % 2) != wanted:  # streams may change size midway
            pixels = cv2.resize(pixels, wanted, interpolation=cv2.INTER_AREA)
        elif (width, height) != wanted:
            pixels = np.pad(pixels, [(0, height % 2), (0, width % 2), (0, 0)], mode="edge")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        self._last = max(round(time / TIME_BASE), self._last + 1)
        frame.pts, frame.time_base = self._last, TIME_BASE
        self._container.mux(self._stream.encode(frame))

    def _open(self, width: int, height: int) -> Any:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        container = av.open(str(self.part), "w")
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = TIME_BASE
        stream.options = {"preset": "veryfast", "crf": "20"}
        self._stream = stream
        return container

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, *_: Any) -> None:
        """Whatever was added is kept: an interrupted video plays up to where it came."""
        if self._container is None:
            return
        try:
            self._container.mux(self._stream.encode())
        finally:
            self._container.close()
        self.part.replace(self.path)


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or " ".join(str(error).split())
