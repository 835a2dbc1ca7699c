"""What the addresses of a part answer, kept beside the library until the part is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tetrapose.triplets.library import Library
from tetrapose.triplets.rows import Item
from tetrapose.triplets.timing import Clock


@dataclass(frozen=True)
class Manners:
    """How hosts are asked."""


def fetch_part(
    library: Library, part: int, items: Sequence[Item], manners: Manners, clock: Clock
) -> None:
    """Ask every address of a part, once."""
    if not any(item.url for item in items):
        return
    raise NotImplementedError


def forget(library: Library, part: int) -> None:
    """Clear what was fetched for a part that is made."""
    library.fetched(part).unlink(missing_ok=True)
