"""What the addresses of a part answer, kept beside the library until the part is made.

A web that is asked twice answers twice differently: each address is asked in one run, its answer
written down, and what follows works on that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tetrapose.triplets.download import Manners, fetch_each
from tetrapose.triplets.library import Library, write_file, write_json
from tetrapose.triplets.rows import Item
from tetrapose.triplets.timing import Clock


def fetch_part(
    library: Library, part: int, items: Sequence[Item], manners: Manners, clock: Clock
) -> None:
    """Ask every address of a part, once: a pack of what came, and an index with the reasons."""
    pack = library.fetched(part)
    index = pack.with_suffix(".json")
    asked = [(place, item.url) for place, item in enumerate(items) if item.url]
    if not asked or index.exists():
        return
    found: dict[int, Any] = {}

    def fill(path: Path) -> None:
        with open(path, "wb") as file:
            asyncio.run(_gather(asked, manners, file, found))

    with clock.step("download", len(asked)):
        write_file(pack, fill)
        write_json(index, {str(place): found[place] for place, _ in asked})


async def _gather(
    asked: Sequence[tuple[int, str]], manners: Manners, file: Any, found: dict[int, Any]
) -> None:
    end = 0
    async for place, one in fetch_each(asked, manners):
        if one.reason:
            found[place] = one.reason
            continue
        file.write(one.data)
        found[place] = [end, len(one.data)]
        end += len(one.data)


def shared(manners: Manners, workers: int) -> Manners:
    """A worker's part of the manners, so that all together ask no more than they allow."""
    if workers < 2:
        return manners
    return replace(
        manners,
        connections=max(manners.connections // workers, 1),
        per_host=max(manners.per_host // workers, 1),
        pause=manners.pause * workers,
    )


def forget(library: Library, part: int) -> None:
    """Clear what was fetched for a part that is made."""
    pack = library.fetched(part)
    pack.unlink(missing_ok=True)
    pack.with_suffix(".json").unlink(missing_ok=True)
