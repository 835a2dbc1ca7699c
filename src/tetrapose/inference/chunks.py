"""The native table of a film, written as it grows: Parquet, a part for every so many frames.

A part is a whole Parquet file that took its name when it was done, and holds beside its rows the
state from which the next part goes on. So whatever ends the program, the parts are valid, a folder
of them is one table to pandas or R, and the same command goes on after the last.

A row is an animal of a frame: frame, time (seconds), serial (of the track; 0 for nobody's), found
(the box is the finder's, not carried on), box_score, x1, y1, x2, y2, and of each keypoint NAME_x,
NAME_y, NAME_score. Pixels, the centre of the top-left one at 0, 0.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tetrapose.errors import UserError

KEY = b"tetrapose"
NUMBER = "{:06d}.parquet"
FRAMES = 256  # in a part
BOX = ("x1", "y1", "x2", "y2")


@dataclass(frozen=True)
class Rows:
    """N animals of one or many frames, in columns; keypoints (N, K, 2) and scores (N, K)."""

    frame: np.ndarray
    time: np.ndarray
    serial: np.ndarray
    found: np.ndarray
    box_score: np.ndarray
    bboxes: np.ndarray
    keypoints: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.frame)

    def take(self, rows: np.ndarray) -> Rows:
        """Only these rows."""
        return Rows(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


def joined(parts: Sequence[Rows], num_keypoints: int) -> Rows:
    """Rows one after the other; none for no part."""
    k = num_keypoints
    empty = Rows(
        np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.int64), np.zeros(0, bool), np.zeros(0),
        np.zeros((0, 4)), np.zeros((0, k, 2)), np.zeros((0, k)),
    )  # fmt: skip
    names = Rows.__dataclass_fields__
    return Rows(
        *(np.concatenate([getattr(one, name) for one in [empty, *parts]]) for name in names)
    )


class Parts:
    """The parts of one film's table in ``folder``; ``names`` are the keypoints'.

    ``identity`` says what was looked at and how: parts of another are not gone on with.
    """

    def __init__(self, folder: Path, names: Sequence[str], identity: dict[str, Any]) -> None:
        self.folder, self.names, self.identity = folder, tuple(names), identity
        needed()

    def __len__(self) -> int:
        return len(self.files())

    def files(self) -> list[Path]:
        """The parts there are, in order, up to the first gap."""
        found = []
        while (path := self.folder / NUMBER.format(len(found))).is_file():
            found.append(path)
        return found

    def last_state(self) -> dict[str, Any] | None:
        """What to go on from; None before the first part. UserError for another film's parts."""
        files = self.files()
        if not files:
            return None
        from pyarrow import ArrowException, parquet

        try:
            told = json.loads(parquet.read_metadata(files[-1]).metadata[KEY])
        except (OSError, ValueError, KeyError, ArrowException):
            raise UserError(f"{files[-1]}: not a part of this program's; move it away") from None
        if told["identity"] != self.identity:
            theirs, ours = told["identity"], self.identity
            odd = [key for key in ours if ours[key] != theirs.get(key)]
            raise UserError(
                f"{self.folder}: begun with another {', '.join(odd)}; give --fresh to begin anew"
            )
        return told["state"]

    def write(self, rows: Rows, state: dict[str, Any]) -> Path:
        """The next part, whole or not at all."""
        from pyarrow import parquet

        table = to_table(rows, self.names, {"identity": self.identity, "state": state})
        path = self.folder / NUMBER.format(len(self))
        draft = path.with_suffix(".draft")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            parquet.write_table(table, draft, compression="zstd")
            draft.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
            raise UserError(
                f"{path}: cannot be written ({error.strerror or error}); what was done before is"
                f" valid in {self.folder}: make room and give the same command again"
            ) from None
        return path

    def read(self, number: int) -> Rows:
        """Part ``number`` as it was written."""
        from pyarrow import parquet

        return from_table(parquet.read_table(self.folder / NUMBER.format(number)), self.names)

    def clear(self) -> None:
        """Remove the parts."""
        shutil.rmtree(self.folder, ignore_errors=True)


def needed() -> None:
    """UserError where pyarrow is not installed."""
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise UserError(
            "films want the package pyarrow: pip install 'tetrapose[parquet]'"
        ) from None


def point_columns(names: Sequence[str]) -> list[str]:
    """Columns of the keypoints, in order."""
    return [f"{name}_{end}" for name in names for end in ("x", "y", "score")]


def to_table(
    rows: Rows, names: Sequence[str], told: dict[str, Any], *, serial: str = "serial"
) -> Any:
    """The pyarrow table of rows, with ``told`` in its metadata; ``serial`` names a column."""
    import pyarrow

    columns: dict[str, Any] = {
        "frame": pyarrow.array(rows.frame.astype(np.int64)),
        "time": pyarrow.array(rows.time.astype(np.float64)),
        serial: pyarrow.array(rows.serial.astype(np.int32)),
        "found": pyarrow.array(rows.found.astype(bool)),
        "box_score": pyarrow.array(rows.box_score.astype(np.float32)),
    }
    for axis, name in enumerate(BOX):
        columns[name] = pyarrow.array(rows.bboxes[:, axis].astype(np.float32))
    triples = np.concatenate([rows.keypoints, rows.scores[..., None]], axis=-1)
    triples = triples.reshape(len(rows), 3 * len(names)).astype(np.float32)
    for place, name in enumerate(point_columns(names)):
        columns[name] = pyarrow.array(np.ascontiguousarray(triples[:, place]))
    table = pyarrow.table(columns)
    return table.replace_schema_metadata({KEY: json.dumps(told).encode()})


def from_table(table: Any, names: Sequence[str], *, serial: str = "serial") -> Rows:
    """Rows of a table that holds at least their columns."""

    def column(name: str, kind: Any = np.float64) -> np.ndarray:
        return np.asarray(table.column(name).to_numpy(), dtype=kind)

    triples = np.stack([column(name) for name in point_columns(names)], axis=-1)
    triples = triples.reshape(table.num_rows, len(names), 3)
    return Rows(
        frame=column("frame", np.int64),
        time=column("time"),
        serial=column(serial, np.int64),
        found=column("found", bool),
        box_score=column("box_score"),
        bboxes=np.stack([column(name) for name in BOX], axis=-1),
        keypoints=triples[..., :2],
        scores=triples[..., 2],
    )
