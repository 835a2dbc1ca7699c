"""The finished table of a film: tracks named, outliers flagged, smooth points beside the raw ones.

It is made of the parts (``chunks``) three at a time, so that memory does not grow with the film.
A row is an animal of a frame: frame, time, track (from 1; 0 for what was nobody's), found,
box_score, x1, y1, x2, y2, and of each keypoint NAME_x, NAME_y, NAME_score, NAME_flag (1 unsure,
2 jump, 4 bone too long, added up), with smoothing NAME_x_smooth and NAME_y_smooth.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tetrapose.errors import UserError
from tetrapose.geometry import box_area
from tetrapose.inference.chunks import FRAMES, KEY, Parts, Rows, from_table, joined, to_table
from tetrapose.skeletons import Skeleton
from tetrapose.tracking import outliers
from tetrapose.tracking.labelling import Worth
from tetrapose.tracking.smoothing import OneEuro, savitzky_golay

GROUP = 4096  # rows in a row group; what a file tells of its groups is kept while it is written
ALL = 1 << 20
SMOOTHERS = ("none", "one-euro", "savgol")


@dataclass(frozen=True)
class Smoothing:
    """Which filter, and the frames that Savitzky-Golay looks at (odd)."""

    kind: str = "none"
    window: int = 7

    def __post_init__(self) -> None:
        if self.kind not in SMOOTHERS:
            raise UserError(f"--smooth {self.kind}: there are {', '.join(SMOOTHERS)}")
        if self.window % 2 == 0 or not 3 <= self.window < FRAMES:
            raise UserError(f"a smoothing window is odd, from 3 to {FRAMES - 1}, not {self.window}")


@dataclass
class Track:
    """What the table holds of a track."""

    frames: int = 0
    first: int = 0
    last: int = 0
    score: float = 0.0  # mean of all its points


@dataclass
class Summary:
    """Tracks by number, flags by word, rows that were nobody's, and frames worth labelling."""

    tracks: dict[int, Track] = field(default_factory=dict)
    flags: dict[str, int] = field(default_factory=dict)
    strays: int = 0
    worth: Worth = field(default_factory=Worth)


def finish(
    parts: Parts, path: Path, skeleton: Skeleton, *, ids: dict[int, int], every: int,
    smoothing: Smoothing, told: dict[str, Any],
) -> Summary:  # fmt: skip
    """Write the table at ``path``, whole or not at all, with ``told`` in its metadata.

    ``ids`` name the serials; ``every`` is how many frames of the film a step is.
    """
    import pyarrow
    from pyarrow import parquet

    count, bones = len(parts), outliers.Bones(skeleton.edge_indices)
    for number in range(count):
        rows = _named(parts.read(number), ids)
        for track in np.unique(rows.serial[rows.serial > 0]):
            some = rows.take(rows.serial == track)
            sure = ~outliers.unsure(some.keypoints, some.scores)
            bones.add(int(track), some.keypoints, _sides(some), sure)
    summary, euro = Summary(), OneEuro()
    summary.flags = {word: 0 for word in outliers.WORDS.values()}
    draft = path.with_name(f".{path.name}.part")
    writer, waiting = None, []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for rows, flags, smooth in _worked(parts, skeleton, ids, every, smoothing, bones, euro):
            waiting.append(_table(rows, flags, smooth, parts.names, told))
            writer = writer or parquet.ParquetWriter(draft, waiting[0].schema, compression="zstd")
            if sum(len(one) for one in waiting) >= GROUP:
                writer.write_table(pyarrow.concat_tables(waiting), row_group_size=ALL)
                waiting.clear()
            _sum(summary, rows, flags)
        if writer is not None:
            if waiting:
                writer.write_table(pyarrow.concat_tables(waiting), row_group_size=ALL)
            writer.close()
            draft.replace(path)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror or error}); what was done is valid in"
            f" {parts.folder}: make room and give the same command again"
        ) from None
    return summary


def each(path: Path) -> Iterator[Rows]:
    """Rows of a finished table, a row group at a time; ``serial`` is the track's number."""
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        names = told(path)["keypoints"]
        for number in range(file.num_row_groups):
            yield from_table(file.read_row_group(number), names, serial="track")


def told(path: Path) -> dict[str, Any]:
    """What a finished table says of itself; UserError where it is none."""
    from pyarrow import ArrowException, parquet

    try:
        return json.loads(parquet.read_metadata(path).metadata[KEY])
    except (OSError, ValueError, KeyError, TypeError, ArrowException):
        raise UserError(f"{path}: not a table made by tetrapose track") from None


def _worked(
    parts: Parts, skeleton: Skeleton, ids: dict[int, int], every: int, smoothing: Smoothing,
    bones: outliers.Bones, euro: OneEuro,
) -> Iterator[tuple[Rows, np.ndarray, np.ndarray | None]]:  # fmt: skip
    """Each part's rows with flags (N, K) and smooth points (N, K, 2)."""
    count = len(parts)
    empty = joined([], len(skeleton))
    before, here = empty, _named(parts.read(0), ids) if count else empty
    for number in range(count):
        after = _named(parts.read(number + 1), ids) if number + 1 < count else empty
        around = joined([before, here, after], len(skeleton))
        flags = outliers.unsure(around.keypoints, around.scores) * np.uint8(outliers.UNSURE)
        smooth = np.full(around.keypoints.shape, np.nan)
        for track in np.unique(around.serial[around.serial > 0]):
            rows = np.flatnonzero(around.serial == track)
            some = around.take(rows)
            sides = _sides(some)
            flags[rows] |= bones.flags(int(track), some.keypoints, sides) * np.uint8(outliers.BONE)
            place = (some.frame - some.frame[0]) // every
            grid = _spread(some.keypoints, place)
            leap = outliers.jumps(grid, np.interp(np.arange(len(grid)), place, sides))
            flags[rows] |= leap[place] * np.uint8(outliers.JUMP)
            if smoothing.kind == "savgol":
                times = np.interp(np.arange(len(grid)), place, some.time)
                smooth[rows] = savitzky_golay(grid, times, window=smoothing.window)[place]
        start = len(before)
        mine = np.arange(start, start + len(here))
        if smoothing.kind == "one-euro":
            for row in mine[around.serial[mine] > 0]:
                smooth[row] = euro.step(
                    int(around.serial[row]), float(around.time[row]), around.keypoints[row],
                    float(_sides(around.take(np.array([row])))[0]),
                )  # fmt: skip
        yield here, flags[mine], smooth[mine] if smoothing.kind != "none" else None
        before, here = here, after


def _named(rows: Rows, ids: dict[int, int]) -> Rows:
    names = np.array([ids.get(int(serial), 0) for serial in rows.serial], dtype=np.int64)
    return replace(rows, serial=names)


def _sides(rows: Rows) -> np.ndarray:
    return np.sqrt(np.maximum(box_area(rows.bboxes), 1.0))


def _spread(points: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Points at their places of a grid without gaps, NaN between."""
    grid = np.full((int(place[-1]) + 1, *points.shape[1:]), np.nan)
    grid[place] = points
    return grid


def _table(
    rows: Rows, flags: np.ndarray, smooth: np.ndarray | None, names: tuple[str, ...], told: Any
) -> Any:
    import pyarrow

    table = to_table(rows, names, told, serial="track")
    for place, name in enumerate(names):
        table = table.append_column(f"{name}_flag", pyarrow.array(flags[:, place], pyarrow.uint8()))
    if smooth is not None:
        for place, name in enumerate(names):
            for axis, end in enumerate("xy"):
                column = pyarrow.array(smooth[:, place, axis].astype(np.float32))
                table = table.append_column(f"{name}_{end}_smooth", column)
    return table


def _sum(summary: Summary, rows: Rows, flags: np.ndarray) -> None:
    named = rows.serial > 0
    summary.strays += int((~named).sum())
    for bit, word in outliers.WORDS.items():
        summary.flags[word] += int((flags[named] & bit > 0).sum())
    for track in np.unique(rows.serial[named]):
        mine = rows.serial == track
        one = summary.tracks.setdefault(int(track), Track(first=int(rows.frame[mine][0])))
        whole = one.score * one.frames + float(rows.scores[mine].mean(axis=1).sum())
        one.frames += int(mine.sum())
        one.score = whole / one.frames
        one.last = int(rows.frame[mine][-1])
    starts = np.flatnonzero(np.diff(rows.frame, prepend=-1))
    for some in np.split(np.arange(len(rows)), starts[1:]) if len(rows) else []:
        some = some[named[some]]
        if len(some):
            summary.worth.add(
                int(rows.frame[some[0]]), float(rows.time[some[0]]), flags[some], rows.scores[some]
            )
