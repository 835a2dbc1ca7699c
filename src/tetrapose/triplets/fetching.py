"""What the addresses of a part answer, kept beside the library until the part is made.

A web that is asked twice answers twice differently: each address is asked in one run, its answer
written down, and what follows works on that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tetrapose.triplets.library import Library, write_json
from tetrapose.triplets.manners import Manners
from tetrapose.triplets.rows import Item
from tetrapose.triplets.timing import Clock


def fetch_part(
    library: Library, part: int, items: Sequence[Item], manners: Manners, clock: Clock
) -> None:
    """Ask every address of a part that was not asked yet: a pack of what came, and an index."""
    pack = library.fetched(part)
    index = pack.with_suffix(".json")
    places = [place for place, item in enumerate(items) if item.url]
    if not places or index.exists():
        return
    from tetrapose.triplets.fetched import fetch_into

    with clock.step("download", len(places)):
        answers = fetch_into(pack, [items[place].url for place in places], manners)
        found = {
            str(place): one.reason or [one.start, one.length]
            for place, one in zip(places, answers, strict=True)
        }
        write_json(index, found)


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
    for path in (pack, pack.with_suffix(".jsonl"), pack.with_suffix(".json")):
        path.unlink(missing_ok=True)
