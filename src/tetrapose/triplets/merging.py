"""Several libraries as one: in their order, what repeats an earlier picture left out."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tetrapose.audit import hashes
from tetrapose.audit.pictures import LEAST
from tetrapose.errors import UserError
from tetrapose.images import read_image
from tetrapose.triplets import ledger, scanning, shards
from tetrapose.triplets.library import Library, claim, finish, locked
from tetrapose.triplets.pictures import Scanned, looked
from tetrapose.triplets.rows import DROPPED, KEPT, Decision, LedgerRow, Triplet
from tetrapose.triplets.running import Did, Tell, run
from tetrapose.triplets.timing import Clock

ALIKE = ("size", "buckets", "style")  # settings without which triplets do not belong together
OUT = "merged"  # reason of rows that were dropped before


@dataclass(frozen=True)
class Merge:
    """The joining of finished libraries, a part of theirs a part of the new one's.

    A ``running.Job``; ``inputs`` (library, its part) for each part.
    """

    library: Library
    inputs: tuple[tuple[Library, int], ...]
    near: int
    like: float

    @property
    def parts(self) -> int:
        """Of all libraries together."""
        return len(self.inputs)

    def scan(self, part: int) -> Did:
        """Hash what a shard's triplets show; UserError where it is not as its ledger says."""
        clock = Clock()
        if self.library.scan(part).exists():
            return Did(clock=clock)
        source, number = self.inputs[part]
        table, shard = source.ledger(number), source.shard(number)
        rows = ledger.read(table)
        with clock.step("read", len(rows)):
            if shards.sealed(shard).items() - ledger.notes(table).items():
                raise UserError(f"{shard}: not the shard that {table} tells of; copy it again")
        small = np.zeros((len(rows), hashes.SIDE, hashes.SIDE), dtype=np.uint8)
        found = []
        triplets = _of(shard)
        for place, row in enumerate(rows):
            if row.outcome != KEPT:
                found.append(Scanned(OUT, row.sha256, row.size))
                continue
            with clock.step("check and hash"):
                one, small[place] = _look(row, next(triplets))
            found.append(one)
        scanning.write_small(self.library.small(part), small)
        scanning.write(self.library.scan(part), found)
        return Did(items=len(rows), clock=clock)

    def judges(self) -> Callable[[int], Mapping[int, str]]:
        """Repeats of earlier triplets."""
        judge = scanning.judge_of(self.library, self.near, self.like)
        return lambda part: scanning.judge_part(self.library, part, judge)

    def make(self, part: int, repeated: Mapping[int, str]) -> Did:
        """Write what is left of a shard, and its ledger with what was left out."""
        clock = Clock()
        source, number = self.inputs[part]
        rows = [_joined(row, part, repeated) for row in ledger.read(source.ledger(number))]
        stay = {row.triplet for row in rows if row.triplet}
        with clock.step("write", len(stay)):
            kept = (one for one in _of(source.shard(number)) if one.key in stay)
            wrote = shards.write(self.library.shard(part), kept)
        with clock.step("ledger", len(rows)):
            ledger.write(self.library.ledger(part), rows, wrote.seal)
        return Did(wrote.count, len(rows), clock)


def merge(
    libraries: Sequence[str | Path],
    out: str | Path,
    *,
    near: int = 12,
    like: float = 0.9,
    workers: int = 1,
    tell: Tell | None = None,
) -> dict[str, Any]:
    """Join finished libraries in the order given, or go on with it; ``library.json`` of the new.

    Triplets of one picture file, and of pictures that look the same (as ``Settings.near``), come
    once: the first stays. Refuses libraries of other sizes or styles, which no generator should
    learn together, and a folder of another run.
    """
    ledger.need_arrow()
    sources = [Library(Path(one)) for one in libraries]
    abouts = [one.read_about() for one in sources]
    _check(sources, abouts)
    skeletons = _skeletons(sources, abouts)
    settings = abouts[0]["identity"]["settings"]
    # what a library is, not where it lies: shards depend on nothing else
    identity = {
        "merged": [_digest(one) for one in sources],
        "settings": {"near": near, "like": like, **{name: settings[name] for name in ALIKE}},
        "style": abouts[0]["identity"]["style"],
    }
    library = Library(Path(out))
    inputs = tuple((one, part) for one in sources for part in one.parts_written())
    with locked(library):
        about = claim(library, identity)
        if about["finished"]:
            return about
        run(Merge(library, inputs, near, like), workers=workers, tell=tell)
        counts = ledger.counts(library)
        finish(library, about | {"counts": counts, "skeletons": skeletons})
    return library.read_about()


def _check(sources: Sequence[Library], abouts: Sequence[Mapping[str, Any]]) -> None:
    for source, about in zip(sources, abouts, strict=True):
        if not about.get("finished"):
            raise UserError(f"{source.root}: is not finished; give its command once more")
    first = abouts[0]["identity"]
    for source, about in zip(sources[1:], abouts[1:], strict=True):
        other = about["identity"]
        for name in ALIKE:
            one, two = first["settings"].get(name), other["settings"].get(name)
            if one != two or (name == "style" and first["style"] != other["style"]):
                raise UserError(
                    f"{source.root}: its {name} is {two}, {sources[0].root}'s {one}; triplets to be"
                    " learned together are made alike: build one of them anew"
                )


def _skeletons(sources: Sequence[Library], abouts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """All skeletons by name; UserError where one name means two."""
    out: dict[str, Any] = {}
    for source, about in zip(sources, abouts, strict=True):
        for name, definition in about.get("skeletons", {}).items():
            if out.setdefault(name, definition) != definition:
                raise UserError(f"{source.root}: means other points by the skeleton {name!r} than a"
                                " library before it")  # fmt: skip
    return out


def _digest(library: Library) -> str:
    """Of every shard, by what the ledger notes."""
    digest = hashlib.sha256()
    for part in library.parts_written():
        digest.update(ledger.notes(library.ledger(part)).get("shard_sha256", "").encode() + b";")
    return digest.hexdigest()


def _of(shard: Path) -> Iterator[Triplet]:
    return shards.read(shard) if shard.exists() else itertools.chain(())


def _look(row: LedgerRow, triplet: Triplet) -> tuple[Scanned, np.ndarray]:
    if triplet.key != row.triplet:
        raise UserError(f"triplet {triplet.key} stands where the ledger tells of {row.triplet};"
                        " the shards are not in the order of their ledger")  # fmt: skip
    pixels, _ = read_image(triplet.key, least=LEAST, data=triplet.original_image)
    plain, mirrored, small = looked(pixels)
    return Scanned("", row.sha256, row.size, plain, mirrored), small


def _joined(row: LedgerRow, part: int, repeated: Mapping[int, str]) -> LedgerRow:
    """A row of an input in the new ledger; what repeats an earlier one is dropped in it."""
    from dataclasses import replace

    place = row.place
    row = replace(row, part=part)
    if place not in repeated:
        return row
    return ledger.decided(row, Decision("duplicates", DROPPED, repeated[place]))
