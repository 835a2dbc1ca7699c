"""The plan of a library: every item of its sources, in order, in parts of a fixed number.

It is written once, before anything else, and read from then on: what is added to a folder while a
library is made does not shift its parts.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from tetrapose import skeletons
from tetrapose.errors import UserError
from tetrapose.skeletons import Skeleton
from tetrapose.structures import Instances
from tetrapose.triplets import ledger
from tetrapose.triplets.library import Library, read_json, write_json
from tetrapose.triplets.rows import Item
from tetrapose.triplets.sources import Listing, Source

TEXTS = ("key", "source", "column", "url", "text", "licence", "skeleton")
SHOWN = 100  # problems kept


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


def skeletons_of(library: Library) -> dict[str, Skeleton]:
    """The skeletons that labels of a plan stand on, by name."""
    content = read_json(library.work / "plan" / "done.json")
    return {name: skeletons.from_dict(one) for name, one in content["skeletons"].items()}


def _listed(sources: Sequence[Source], listing: Listing) -> Iterator[Item]:
    for source in sources:
        yield from source.items(listing)


def _parts(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    held: list[Item] = []
    for item in items:
        held.append(item)
        if len(held) == size:
            yield held
            held = []
    if held:
        yield held


def _write_part(library: Library, part: int, items: Sequence[Item]) -> None:
    import pyarrow as pa

    columns: dict[str, Any] = {
        name: pa.array([ledger.clean(getattr(item, name)) for item in items], pa.string())
        for name in TEXTS
    }
    # names of files are bytes, and not always text
    columns["path"] = pa.array([os.fsencode(item.path) for item in items], pa.binary())
    columns["row"] = pa.array([item.row for item in items], pa.int64())
    words = [[ledger.clean(word) for word in item.species] for item in items]
    columns["species"] = pa.array(words, pa.list_(pa.string()))
    columns["instances"] = pa.array([_plain(item.instances) for item in items], pa.string())
    ledger.write_table(library.plan(part), pa.table(columns))


def _plain(instances: Instances | None) -> str | None:
    if instances is None:
        return None
    known = np.all(np.isfinite(instances.keypoints), axis=-1)  # what is not is no JSON
    content = {
        "keypoints": [
            [
                [x, y] if there else [None, None]
                for (x, y), there in zip(points, finite, strict=True)
            ]
            for points, finite in zip(instances.keypoints.tolist(), known.tolist(), strict=True)
        ],
        "visibility": instances.visibility.tolist(),
        "bboxes": instances.bboxes.tolist(),
    }
    return json.dumps(content)


def _instances(text: str | None) -> Instances | None:
    if text is None:
        return None
    content = json.loads(text)
    n = len(content["bboxes"])
    return Instances(
        np.array(content["keypoints"], dtype=np.float64).reshape(n, -1, 2),
        np.array(content["visibility"], dtype=np.uint8).reshape(n, -1),
        np.array(content["bboxes"], dtype=np.float64).reshape(n, 4),
    )
