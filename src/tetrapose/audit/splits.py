"""Pictures that stand in two splits: by name, by content, by look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tetrapose.audit.findings import Finding, finding, number
from tetrapose.audit.pictures import Fact, near_across
from tetrapose.audit.raw import Sheet


@dataclass(frozen=True)
class Part:
    """A split: its name, its sheet, and what is known of its pictures, if they are at hand."""

    name: str
    sheet: Sheet
    facts: Sequence[Fact] | None


def leaks(one: Part, other: Part) -> tuple[list[Finding], list[Finding]]:
    """Findings on the pictures that both splits hold: as ``one`` and as ``other`` names them.

    Only the first carries rows: it is the file that is mended.

    Names count where both files tell the same size or one tells none: numbered names of two sources
    may meet by chance.
    """
    why = _by_name(one.sheet, other.sheet)
    if one.facts and other.facts:
        _by_content(one.facts, other.facts, why)
        _by_look(one.facts, other.facts, why)
    if not why:
        return [], []
    kinds = [kind for _, kind in why.values()]
    told = " and ".join(
        f"{kinds.count(kind):,} by {kind}" for kind in ("name", "content", "look") if kind in kinds
    )
    return (
        _told(one, other, list(why), kinds, told),
        [replace(f, rows=()) for f in _told(other, one, [j for j, _ in why.values()], kinds, told)],
    )


def _told(part: Part, other: Part, places: list[int], kinds: list[str], told: str) -> list[Finding]:
    share = len(set(places)) / max(len(part.sheet.image_names), 1)
    return finding(
        "split-leak",
        [part.sheet.image_names[i] for i in places],
        f"{number(len(places), 'picture')} of {part.name} ({share:.0%}) also in {other.name} "
        f"({told})",
        details=[f"same {kind}" for kind in kinds],
        rows=part.sheet.image_rows[places],
        about="picture",
    )


def _by_name(one: Sheet, other: Sheet) -> dict[int, tuple[int, str]]:
    place = {name: j for j, name in enumerate(other.image_names)}
    found = {}
    for i, name in enumerate(one.image_names):
        j = place.get(name)
        if j is None:
            continue
        sizes = one.sizes[i], other.sizes[j]
        if np.isnan(sizes).any() or (sizes[0] == sizes[1]).all():
            found[i] = (j, "name")
    return found


def _by_content(
    one: Sequence[Fact], other: Sequence[Fact], found: dict[int, tuple[int, str]]
) -> None:
    place = {fact.content: j for j, fact in enumerate(other) if fact.content}
    for i, fact in enumerate(one):
        if fact.content in place:
            found.setdefault(i, (place[fact.content], "content"))


def _by_look(one: Sequence[Fact], other: Sequence[Fact], found: dict[int, tuple[int, str]]) -> None:
    left = [i for i, fact in enumerate(one) if fact.usable and i not in found]
    right = [j for j, fact in enumerate(other) if fact.usable]
    for a, b in near_across([one[i] for i in left], [other[j] for j in right]):
        found[left[a]] = (right[b], "look")
