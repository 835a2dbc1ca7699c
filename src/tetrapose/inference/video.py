"""Frames as a video; memory does not grow with its length (``films`` reads them)."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

TIME_BASE = Fraction(1, 90_000)  # 24, 25, 30 and 30000/1001 frames a second fall on whole ticks


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
