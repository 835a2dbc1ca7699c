"""The plan of a library: every item of its sources, in order, in parts of a fixed number.

It is written once, before anything else, and read from then on: what is added to a folder while a
library is made does not shift its parts.
"""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from tetrapose import skeletons
from tetrapose.errors import UserError
from tetrapose.skeletons import Skeleton
from tetrapose.structures import Instances
from tetrapose.triplets import columns, ledger
from tetrapose.triplets.library import Library, read_json, write_json
from tetrapose.triplets.rows import Item
from tetrapose.triplets.sources import Listing, Source

TEXTS = ("key", "source", "column", "url", "text", "licence", "skeleton")
SHOWN = 100  # problems kept
HELD = 3  # parts whose items are in hand, of which the smaller ones at the end are made
LEAST = 32  # items of these at least
COUNTS = struct.Struct("<2i")


def write(library: Library, sources: Sequence[Source], size: int) -> dict[str, Any]:
    """The plan in parts of ``size`` items, unless it is there; its counts.

    ``items``, ``parts``, ``passed`` (entries passed over, by reason), ``problems`` and
    ``skeletons`` of labels by name. A UserError where no source gives an item.
    """
    done = library.work / "plan" / "done.json"
    if done.exists():
        return read_json(done)
    listing = Listing()
    items, parts = 0, 0
    try:
        for part, some in enumerate(_parts(_listed(sources, listing), size)):
            _write_part(library, part, some)
            items, parts = items + len(some), part + 1
    except UserError:
        shutil.rmtree(library.work, ignore_errors=True)
        raise
    if not items:
        shutil.rmtree(library.work, ignore_errors=True)
        told = "; ".join(str(problem) for problem in listing.problems[:3])
        passed = ", ".join(f"{n:,} {why}" for why, n in sorted(listing.passed.items()) if n)
        more = told or passed or "the sources are empty"
        raise UserError(f"no pictures in {', '.join(s.name for s in sources)}: {more}")
    passed = {why: n for why, n in sorted(listing.passed.items()) if n}
    problems = [str(problem) for problem in listing.problems[:SHOWN]]
    content = {"items": items, "parts": parts, "passed": passed, "problems": problems}
    content["skeletons"] = {name: one.to_dict() for name, one in listing.skeletons.items()}
    write_json(done, content)
    return content


def read(library: Library, part: int) -> list[Item]:
    """The items of a part."""
    rows = ledger.read_table(library.plan(part)).to_pylist()
    for row in rows:
        row["path"] = os.fsdecode(row["path"])
        row["species"] = tuple(row["species"])
        row["instances"] = _instances(row["instances"])
    return [Item(**row) for row in rows]


def read_places(library: Library, part: int) -> list[Item]:
    """The items of a part with no more than where their pictures are."""
    names = ["key", "source", "path", "row", "column", "url"]
    rows = ledger.read_table(library.plan(part), names).to_pylist()
    return [Item(**row | {"path": os.fsdecode(row["path"])}) for row in rows]


def skeletons_of(library: Library) -> dict[str, Skeleton]:
    """The skeletons that labels of a plan stand on, by name."""
    content = read_json(library.work / "plan" / "done.json")
    return {name: skeletons.from_dict(one) for name, one in content["skeletons"].items()}


def _listed(sources: Sequence[Source], listing: Listing) -> Iterator[Item]:
    for source in sources:
        yield from source.items(listing)


def _parts(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Items in parts of ``size``, and the last ones in ever smaller parts.

    So several workers end at about one time, however many they are.
    """
    held: list[Item] = []
    for item in items:
        held.append(item)
        if len(held) == HELD * size:
            yield held[:size]
            del held[:size]
    while held:
        some = min(max(len(held) // 4, LEAST), size)
        yield held[:some]
        del held[:some]


def _write_part(library: Library, part: int, items: Sequence[Item]) -> None:
    words = [ledger.clean(word) for item in items for word in item.species]
    table = columns.table(
        {
            **{
                name: columns.texts([ledger.clean(getattr(item, name)) for item in items])
                for name in TEXTS
            },
            # names of files are bytes, and not always text
            "path": columns.raw([os.fsencode(item.path) for item in items]),
            "row": columns.numbers([item.row for item in items], "int64"),
            "species": columns.lists([len(item.species) for item in items], columns.texts(words)),
            "instances": columns.raw([_packed(item.instances) for item in items]),
        }
    )
    ledger.write_table(library.plan(part), table)


def _packed(instances: Instances | None) -> bytes:
    """Labels as bytes: how many, of how many points; points, boxes and visibility. "" for none."""
    if instances is None:
        return b""
    floats = np.concatenate([instances.keypoints.ravel(), instances.bboxes.ravel()])
    head = COUNTS.pack(*instances.visibility.shape)
    return head + floats.astype("<f8").tobytes() + instances.visibility.astype(np.uint8).tobytes()


def _instances(data: bytes) -> Instances | None:
    if not data:
        return None
    n, k = COUNTS.unpack_from(data)
    floats = np.frombuffer(data, "<f8", n * (2 * k + 4), COUNTS.size).astype(np.float64)
    seen = np.frombuffer(data, np.uint8, n * k, COUNTS.size + 8 * len(floats))
    points, boxes = floats[: 2 * n * k], floats[2 * n * k :]
    return Instances(points.reshape(n, k, 2), seen.reshape(n, k).copy(), boxes.reshape(n, 4))
