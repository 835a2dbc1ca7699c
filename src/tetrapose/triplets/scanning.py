"""The first look at a part: fetch what is far, check, hash; and what the hashes are judged by."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tetrapose.audit import hashes
from tetrapose.triplets import columns, ledger, pictures
from tetrapose.triplets.duplicates import Judge, Looks
from tetrapose.triplets.library import Library, read_json, write_file, write_json
from tetrapose.triplets.pictures import Scanned
from tetrapose.triplets.rows import Item
from tetrapose.triplets.settings import Settings
from tetrapose.triplets.timing import Clock


def scan_part(
    library: Library, part: int, items: Sequence[Item], settings: Settings, clock: Clock
) -> None:
    """Look at the pictures of a part and write what they are; nothing is done twice."""
    if library.scan(part).exists():
        return
    side = hashes.SIDE
    small = np.zeros((len(items), side, side), dtype=np.uint8)
    found: list[Scanned] = []
    stream = pictures.bytes_of(library, part, items)
    for item in items:
        with clock.step("read"):
            place, data = next(stream)
        with clock.step("check and hash"):
            one = (
                Scanned(data) if isinstance(data, str)
                else pictures.scan(item.path or item.url, data, settings)
            )  # fmt: skip
        found.append(one)
        if one.small is not None:
            small[place] = one.small
    write_small(library.small(part), small)
    write(library.scan(part), found)


def write_small(path: Path, small: np.ndarray) -> None:
    """The small pictures (M, 32, 32) of a part."""
    data = io.BytesIO()
    np.save(data, small)
    write_file(path, lambda target: target.write_bytes(data.getvalue()))


def write(path: Path, found: Sequence[Scanned]) -> None:
    """What the first look found of each item of a part."""
    table = columns.table(
        {
            "reason": columns.texts([ledger.clean(one.reason) for one in found]),
            "sha256": columns.texts([one.sha256 for one in found]),
            "width": columns.numbers([one.size[0] for one in found], "int64"),
            "height": columns.numbers([one.size[1] for one in found], "int64"),
            "phash": columns.numbers([one.phash for one in found], "uint64"),
            "mirrored": columns.numbers([one.mirrored for one in found], "uint64"),
        }
    )
    ledger.write_table(path, table)


def read(library: Library, part: int) -> list[Scanned]:
    """What the first look found of each item of a part."""
    return [
        Scanned(row["reason"], row["sha256"], (row["width"], row["height"]), row["phash"],
                row["mirrored"])
        for row in ledger.read_table(library.scan(part)).to_pylist()
    ]  # fmt: skip


def looks(found: Sequence[Scanned]) -> Looks:
    """What duplicates are told by."""
    return Looks(
        digests=np.array([int(one.sha256[:16] or "0", 16) for one in found], dtype=np.uint64),
        phashes=np.array([one.phash for one in found], dtype=np.uint64),
        mirrored=np.array([one.mirrored for one in found], dtype=np.uint64),
        fit=np.array([not one.reason for one in found], dtype=bool),
    )


def judge_of(library: Library, near: int, like: float) -> Judge:
    """A judge that looks small pictures up in a library's scan."""

    def small(part: int, place: int) -> np.ndarray:
        return np.array(np.load(library.small(part), mmap_mode="r")[place])

    return Judge(near, like, small)


def judge_part(library: Library, part: int, judge: Judge) -> dict[int, str]:
    """Which items of a part repeat earlier pictures; parts are judged in order.

    What was judged in an earlier run is read, and the judge told.
    """
    path = library.judged(part)
    seen = looks(read(library, part))
    if path.exists():
        repeated = {int(place): reason for place, reason in read_json(path).items()}
        judge.recall(part, seen, list(repeated))
        return repeated
    repeated = judge.judge(part, seen)
    write_json(path, {str(place): reason for place, reason in repeated.items()})
    return repeated
