"""The film with its tracks drawn in: decoded once more, beside its finished table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from tetrapose import geometry
from tetrapose.inference import films
from tetrapose.inference.chunks import Rows
from tetrapose.inference.outlets import Told
from tetrapose.inference.video import VideoWriter
from tetrapose.render import draw, load_style
from tetrapose.structures import Instances

SIDE = 1920  # longest of the drawn film


def write_overlay(
    told: Told, path: Path, *, threshold: float, style: str, start: float,
    numbers: Sequence[int] = (),
) -> int:  # fmt: skip
    """Draw the frames looked at with their animals at ``path`` (.mp4); how many were drawn.

    ``numbers`` tells which frames these are where the film holds no others: a recording.
    """
    look = load_style(style)
    film = films.survey(told.film)
    rows = _by_frame(told)
    ahead = next(rows, None)
    count = 0
    with VideoWriter(path) as writer:
        wanted = told.frames
        if not len(wanted):
            return 0
        every, start = (1, 0.0) if numbers else (wanted.step, start)
        for frame in films.read(film, films.Count(), every=every, start=start):
            number = numbers[frame.index] if numbers else frame.index
            if number > wanted[-1]:
                break
            here = None
            while ahead is not None and ahead.frame[0] <= number:
                here = ahead if ahead.frame[0] == number else None
                ahead = next(rows, None)
            picture, matrix = _fitted(frame.pixels)
            if here is not None:
                animals = _instances(here, matrix)
                picture = draw(
                    picture, animals, told.skeleton, threshold=threshold, style=look, boxes=True
                )
                _number(picture, animals.bboxes, here.serial)
            writer.add(picture, frame.time)
            count += 1
    return count


def _by_frame(told: Told) -> Iterator[Rows]:
    """Rows of one frame after the other."""
    for rows in told.rows():
        starts = np.flatnonzero(np.diff(rows.frame, prepend=-1))
        for some in np.split(np.arange(len(rows)), starts[1:]) if len(rows) else []:
            yield rows.take(some)


def _fitted(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The picture no longer than ``SIDE``, and the matrix of its points."""
    height, width = pixels.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    matrix = geometry.resize_matrix((width, height), size)
    if size != (width, height):
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return pixels, matrix


def _instances(rows: Rows, matrix: np.ndarray) -> Instances:
    corners = geometry.transform_points(matrix, rows.bboxes.reshape(-1, 2, 2))
    return Instances(
        keypoints=geometry.transform_points(matrix, rows.keypoints),
        visibility=np.full(rows.scores.shape, 2, np.uint8),
        bboxes=corners.reshape(-1, 4),
        scores=rows.scores,
    )


def _number(picture: np.ndarray, boxes: np.ndarray, tracks: np.ndarray) -> None:
    """Write each track's number at its box's corner, in place."""
    scale = max(max(picture.shape[:2]) / 900, 0.7)  # small films too are to be read
    for box, track in zip(boxes, tracks, strict=True):
        at = (int(max(box[0], 0)) + 3, int(max(box[1], 18 * scale)) + 2)
        for colour, width in (((0, 0, 0), 4), ((255, 255, 255), 1)):
            cv2.putText(
                picture, str(int(track)), at, cv2.FONT_HERSHEY_SIMPLEX, 0.7 * scale, colour,
                max(round(width * scale), 1), cv2.LINE_AA,
            )  # fmt: skip
