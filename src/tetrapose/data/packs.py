"""A pack: the pictures of a set in one file, and an index that says what lies where.

``NAME.json`` is the index: columns over pictures, the data file's name and length, a checksum of
each picture, and a digest of the index itself. ``NAME-DIGEST.pack`` is the data, whole picture
files or bare pixels one after another. The data is written under another name, flushed and renamed,
the index comes last, and data of before goes after that: whenever the writer is killed, the index
that lies there belongs to data that lies there, or there is none.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tetrapose.data.reading import write_text
from tetrapose.errors import UserError
from tetrapose.structures import PoseSet

FORMAT = "tetrapose pack 1"
RAW = "rgb"  # bare pixels, uint8, interleaved
SUFFIX = ".pack"
STAMP = 4  # bytes, mtime, ctime, inode


class Unfit(Exception):
    """A pack that must not be used; the message says why."""


@dataclass(frozen=True)
class Picture:
    """One picture on its way into a pack.

    ``size`` is the stored width and height, ``full`` those of the picture it stands for, ``scale``
    the share of the resolution that was asked for, ``stamp`` and ``content`` what its file was when
    it was read, ``fault`` why there are no data.
    """

    file: str
    data: bytes
    size: tuple[int, int]
    full: tuple[int, int]
    scale: float
    stamp: tuple[int, ...]
    content: str
    fault: str = ""


@dataclass(frozen=True)
class Index:
    """What lies in a pack: columns over its M pictures; see ``Picture``."""

    encoding: str
    data: str
    length: int
    files: tuple[str, ...]
    starts: np.ndarray
    lengths: np.ndarray
    sums: np.ndarray
    sizes: np.ndarray
    fulls: np.ndarray
    scales: np.ndarray
    stamps: np.ndarray
    contents: tuple[str, ...]
    faults: dict[str, str]
    more: dict[str, Any]

    def to_text(self) -> str:
        """As JSON, with a digest over all of it."""
        values = {
            key: value.tolist() if isinstance(value, np.ndarray) else value
            for key, value in asdict(self).items()
        }
        body = json.dumps({"format": FORMAT, **values}, allow_nan=False)
        return json.dumps({"digest": _digest(body.encode()), "index": body})


def write(
    folder: Path,
    name: str,
    pictures: Iterable[Picture],
    *,
    encoding: str,
    more: Callable[[], dict[str, Any]] = dict,
) -> Index:
    """Write a pack and give its index, with what ``more`` gives once all pictures went by.

    Raises UserError when it does not fit on the disk.
    """
    part = folder / f".{name}.{os.getpid()}.part"
    rows: list[Picture] = []
    sums: list[int] = []
    lengths: list[int] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            for picture in pictures:
                file.write(picture.data)
                lengths.append(len(picture.data))
                sums.append(zlib.crc32(picture.data))
                rows.append(_without_data(picture))
            file.flush()
            os.fsync(file.fileno())
        marks = np.array([lengths, sums], dtype=np.int64)
        data = f"{name}-{_digest(marks.tobytes())[:16]}{SUFFIX}"
        index = _index(rows, marks, encoding=encoding, data=data, more=more())
        part.replace(folder / data)
        write_text(folder / f"{name}.json", index.to_text())
    except OSError as error:
        raise UserError(
            f"{folder}: {sum(lengths) / 2**20:,.0f} MiB of pictures written, then "
            f"{error.strerror or error}; make room or name another folder"
        ) from None
    finally:
        part.unlink(missing_ok=True)
    _clear(folder, name, data)
    return index


def read(folder: Path, name: str) -> Index:
    """The index of a pack, its data known to be as long as they were. Raises Unfit."""
    try:
        outer = json.loads((folder / f"{name}.json").read_bytes())
        body = outer["index"]
        if _digest(body.encode()) != outer["digest"]:
            raise Unfit("its index was changed or cut short")
        values = json.loads(body)
        told = values.pop("format")
        if told != FORMAT:
            raise Unfit(f"it is of another version ({told}, not {FORMAT})")
        index = _from(values)
        there = (folder / index.data).stat().st_size
    except FileNotFoundError as error:
        what = "none is there" if str(error.filename).endswith(".json") else "its data are missing"
        raise Unfit(what) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unfit(f"its index cannot be read ({' '.join(str(error).split())})") from None
    if there != index.length:
        raise Unfit(f"its data are {there:,} bytes, {index.length:,} are due")
    return index


def original_names(pose_set: PoseSet) -> tuple[str, ...]:
    """The names that a packed set's pictures had before; those of any other set as they are.

    A split names pictures by these: it then fits the pack and the set it was made of. Raises
    UserError where a pack has gone since the set was opened.
    """
    data = {os.path.dirname(file) for file in pose_set.files}
    if len(data) != 1 or not (pack := data.pop()).endswith(SUFFIX):
        return pose_set.files
    name = pack.removesuffix(SUFFIX).rpartition("-")[0]
    try:
        index = read(pose_set.root, name)
    except Unfit as why:
        raise UserError(f"{pose_set.root / name}.json: {why}; pack or copy it again") from None
    places = dict(zip(index.starts.tolist(), index.files, strict=True))
    return tuple(places[int(os.path.basename(f).partition("-")[0])] for f in pose_set.files)


def mapped(folder: Path, index: Index) -> np.ndarray:
    """(length,) uint8 the data, mapped into memory and shared by all who map it."""
    return mapped_file(folder / index.data, index.length)


def mapped_file(path: Path, length: int) -> np.ndarray:
    """(length,) uint8 the first bytes of a file, mapped into memory."""
    if not length:
        return np.zeros(0, dtype=np.uint8)
    return np.asarray(np.memmap(path, dtype=np.uint8, mode="r", shape=(length,)))


def check_data(data: np.ndarray, index: Index) -> None:
    """Compare every picture with its checksum. Raises Unfit."""
    for row, (start, length, due) in enumerate(
        zip(index.starts.tolist(), index.lengths.tolist(), index.sums.tolist(), strict=True)
    ):
        if zlib.crc32(data[start : start + length].data) != due:
            raise Unfit(f"its data of {index.files[row]} were changed")


@contextmanager
def locked(folder: Path, name: str) -> Iterator[None]:
    """One writer at a time, where the system has locks; a killed one holds none."""
    try:
        import fcntl
    except ImportError:  # not POSIX: two writers write the same, one after another
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / f".{name}.lock").open("w")
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror or error})") from None
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def stamp(path: str | Path) -> tuple[int, ...]:
    """What changes when a file does: bytes, mtime, ctime, inode; zeros where it is not there."""
    try:
        status = os.stat(path)
    except OSError:
        return (0,) * STAMP
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def content(path: str | Path) -> str:
    """A digest of a file's bytes, "" where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return _digest(file.read())
    except OSError:
        return ""


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _without_data(picture: Picture) -> Picture:
    return Picture(**{**vars(picture), "data": b""})


def _index(
    rows: list[Picture], marks: np.ndarray, *, encoding: str, data: str, more: dict[str, Any]
) -> Index:
    lengths, sums = marks
    ends = np.cumsum(lengths)
    return Index(
        encoding=encoding,
        data=data,
        length=int(lengths.sum()),
        files=tuple(row.file for row in rows),
        starts=ends - lengths,
        lengths=lengths,
        sums=sums,
        sizes=np.array([row.size for row in rows], dtype=np.int64).reshape(-1, 2),
        fulls=np.array([row.full for row in rows], dtype=np.int64).reshape(-1, 2),
        scales=np.array([row.scale for row in rows], dtype=np.float64),
        stamps=np.array([row.stamp for row in rows], dtype=np.int64).reshape(-1, STAMP),
        contents=tuple(row.content for row in rows),
        faults={row.file: row.fault for row in rows if row.fault},
        more=more,
    )


def _from(values: dict[str, Any]) -> Index:
    """An index from JSON; KeyError, TypeError or ValueError where it is not one."""
    count = len(values["files"])
    kinds = {"starts": 1, "lengths": 1, "sums": 1, "sizes": 2, "fulls": 2, "stamps": STAMP}
    for key, width in kinds.items():
        column = np.array(values[key], dtype=np.int64)
        values[key] = column.reshape((count, width) if width > 1 else (count,))
    values["scales"] = np.array(values["scales"], dtype=np.float64).reshape(count)
    values["files"], values["contents"] = tuple(values["files"]), tuple(values["contents"])
    return Index(**values)


def _clear(folder: Path, name: str, keep: str) -> None:
    """Remove data of before, and what killed writers left."""
    for pattern in (f"{name}-*{SUFFIX}", f".{name}.*.part"):
        for path in folder.glob(pattern):
            if path.name != keep:
                path.unlink(missing_ok=True)
