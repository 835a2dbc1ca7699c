"""The work on one part: its pictures through every step into a shard and a table of the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tetrapose import geometry, images
from tetrapose.render.pose_styles import load_pose_style
from tetrapose.skeletons import Skeleton
from tetrapose.triplets import ledger, pictures, scanning, shards, steps, timing
from tetrapose.triplets.animals import Animals, Networks, carried, labelled, looked_at
from tetrapose.triplets.library import Library
from tetrapose.triplets.pictures import Scanned
from tetrapose.triplets.rows import (
    DROPPED,
    KEPT,
    Captioned,
    Decision,
    Facts,
    Item,
    LedgerRow,
    Triplet,
)
from tetrapose.triplets.settings import STEPS_VERSION, Settings
from tetrapose.triplets.timing import Clock

AT_ONCE = 32  # pictures in memory together
VERSION = str(STEPS_VERSION)


class Writes(Protocol):
    """Whatever writes captions."""

    def __call__(
        self, pictures: Sequence[np.ndarray], facts: Sequence[Facts]
    ) -> Sequence[Captioned]:
        """A caption for each picture (H, W, 3) uint8 RGB."""
        ...


@dataclass
class Bench:
    """What a worker keeps from part to part."""

    settings: Settings
    networks: Networks
    captions: Writes
    skeletons: Mapping[str, Skeleton]


@dataclass(frozen=True)
class _One:
    """An item of a part on its way, with what was decided so far."""

    place: int
    item: Item
    scanned: Scanned
    decisions: tuple[Decision, ...]
    pixels: np.ndarray | None = None

    def then(self, *decisions: Decision, pixels: np.ndarray | None = None) -> _One:
        return _One(self.place, self.item, self.scanned, (*self.decisions, *decisions), pixels)


def make_part(
    library: Library,
    part: int,
    items: Sequence[Item],
    bench: Bench,
    repeated: Mapping[int, str],
    clock: Clock,
) -> int:
    """Write a part's shard and then its table; how many triplets. Nothing is done twice."""
    if library.ledger(part).exists():
        return 0
    rows: list[LedgerRow] = []

    def finished() -> Iterator[Triplet]:
        work = _ones(library, part, items, repeated)
        for some in pictures.chunks(work, AT_ONCE):
            for one, triplet in _chunk(some, bench, clock):
                rows.append(_row(part, one, triplet))
                if triplet is not None:
                    yield triplet

    # what the generator takes is clocked inside; what is left over is the writing itself
    inside, began = sum(clock.seconds.values()), timing.now()
    wrote = shards.write(library.shard(part), finished())
    whole, inside = timing.now() - began, sum(clock.seconds.values()) - inside
    clock.note("write", whole - inside, wrote.count)
    with clock.step("ledger", len(rows)):
        ledger.write(library.ledger(part), rows, wrote.seal)
    return wrote.count


def _ones(
    library: Library, part: int, items: Sequence[Item], repeated: Mapping[int, str]
) -> Iterator[tuple[_One, bytes | str]]:
    """The items of a part with their bytes, or "" for those that are out already."""
    found = scanning.read(library, part)
    fit = {place for place, one in enumerate(found) if not one.reason and place not in repeated}
    wanted = pictures.bytes_of(library, part, items, only=fit)
    for place, (item, scanned) in enumerate(zip(items, found, strict=True)):
        if place in fit:
            told = (Decision("decode", KEPT), Decision("duplicates", KEPT))
            yield _One(place, item, scanned, told), next(wanted)[1]
        elif scanned.reason:
            step = "decode" if scanned.sha256 else _far(item)
            yield _One(place, item, scanned, (Decision(step, DROPPED, scanned.reason),)), ""
        else:
            told = Decision("duplicates", DROPPED, repeated[place])
            yield _One(place, item, scanned, (Decision("decode", KEPT), told)), ""


def _far(item: Item) -> str:
    """The step at which bytes that never came were lost."""
    if item.url:
        return "download"
    return "decode" if item.path else "list"


def _chunk(
    some: Sequence[tuple[_One, bytes | str]], bench: Bench, clock: Clock
) -> Iterator[tuple[_One, Triplet | None]]:
    """Items with what became of them, in order."""
    ones = [_decoded(one, data, bench.settings, clock) for one, data in some]
    animals = _animals(ones, bench, clock)
    drafts: list[steps.Draft | None] = []
    for row, one in enumerate(ones):
        told, seen = animals[row] if one.pixels is not None else ((), None)
        ones[row], draft = _drafted(one.then(*told, pixels=one.pixels), seen, bench.settings, clock)
        drafts.append(draft)
    ready = [draft for draft in drafts if draft is not None]
    with clock.step("caption", len(ready)):
        told = [steps.facts(draft) for draft in ready]
        words = iter(bench.captions([draft.pixels for draft in ready], told) if ready else ())
    for one, draft in zip(ones, drafts, strict=True):
        said = None if draft is None else next(words)
        if draft is None or said is None:
            yield one, None
        elif not said.caption and not said.origin:
            yield one.then(Decision("caption", DROPPED, "no_caption")), None
        else:
            yield _finished(one, draft, said, bench, clock)


def _decoded(one: _One, data: bytes | str, settings: Settings, clock: Clock) -> _One:
    if any(decision.outcome == DROPPED for decision in one.decisions):
        return one
    with clock.step("decode"):
        if isinstance(data, str):
            return one.then(Decision("decode", DROPPED, data))
        name = one.item.path or one.item.url
        try:
            pixels, _ = pictures.decode(name, data, settings)
        except images.ImageError as error:
            return one.then(Decision("decode", DROPPED, pictures.reason_of(name, error)))
    return one.then(pixels=pixels)


def _animals(
    ones: Sequence[_One], bench: Bench, clock: Clock
) -> dict[int, tuple[tuple[Decision, ...], Animals | None]]:
    """By row of the chunk: what was decided, and the animals in pixels of what was decoded."""
    out: dict[int, tuple[tuple[Decision, ...], Animals | None]] = {}
    rows: list[int] = []
    matrices: list[np.ndarray] = []
    for row, one in enumerate(ones):
        if one.pixels is None:
            continue
        have = (one.pixels.shape[1], one.pixels.shape[0])
        matrix = geometry.resize_matrix(one.scanned.size, have)
        known = labelled(one.item, matrix, bench.skeletons)
        if known is not None:
            told = (Decision("find", KEPT, "", "labels"), Decision("points", KEPT, "", "labels"))
            out[row] = (told, known)
        elif not bench.settings.networks:
            out[row] = ((Decision("find", DROPPED, "not_labelled"),), None)
        else:
            rows.append(row)
            matrices.append(matrix)
    items = [ones[row].item for row in rows]
    views = [ones[row].pixels for row in rows]
    found = looked_at(items, views, matrices, bench.networks, clock)  # type: ignore[arg-type]
    for row, (seen, told) in zip(rows, found, strict=True):
        out[row] = (told, seen)
    return out


def _drafted(
    one: _One, seen: Animals | None, settings: Settings, clock: Clock
) -> tuple[_One, steps.Draft | None]:
    if seen is None or one.pixels is None:
        return one.then(), None
    with clock.step("crop"):
        seen = carried(seen, settings.skeleton)
        draft = steps.cropped(one.item, one.scanned, one.pixels, seen, settings)
    if isinstance(draft, str):
        step = "crop" if draft.startswith("outside") else "keep"
        return one.then(Decision(step, DROPPED, draft, "rule", VERSION)), None
    return one.then(Decision("keep", KEPT, "", "rule", VERSION)), draft


def _finished(
    one: _One, draft: steps.Draft, words: Captioned, bench: Bench, clock: Clock
) -> tuple[_One, Triplet]:
    settings = bench.settings
    with clock.step("draw"):
        pose, over = steps.drawn(draft, settings)
    with clock.step("encode"):
        files = (
            steps.jpeg(draft.pixels, settings.quality),
            steps.png(pose),
            steps.jpeg(over, min(settings.quality, steps.LOOKED_AT)),
        )
    style = load_pose_style(settings.style).label
    told = Decision("draw", KEPT, "", style, VERSION)
    wrote = Decision("caption", KEPT, "", words.origin, words.version)
    one = one.then(told, wrote)
    models = {d.step: f"{d.model} {d.version}".strip() for d in one.decisions if d.model}
    more = {"caption_origin": words.origin, "models": models, "style": style}
    return one, steps.triplet(draft, files, ledger.clean(words.caption), more)


def _row(part: int, one: _One, triplet: Triplet | None) -> LedgerRow:
    last = next((d for d in one.decisions if d.outcome == DROPPED), None)
    item, scanned = one.item, one.scanned
    return LedgerRow(
        part=part,
        place=one.place,
        key=item.key,
        source=item.source,
        where=item.path + (f"#{item.row}" if item.row >= 0 else ""),
        url=item.url,
        licence=item.licence,
        sha256=scanned.sha256,
        phash=f"{scanned.phash:016x}" if scanned.phash else "",
        size=scanned.size,
        outcome=KEPT if triplet is not None else DROPPED,
        step="write" if last is None else last.step,
        reason="" if last is None else last.reason,
        triplet="" if triplet is None else triplet.key,
        decisions=one.decisions,
    )
