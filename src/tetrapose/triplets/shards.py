"""Triplets in tar files as WebDataset reads them, the same bytes whenever the same is written."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tetrapose.errors import UserError
from tetrapose.triplets.library import write_file
from tetrapose.triplets.rows import Triplet

PICTURES = {
    "original_image": "jpg", "conditioning_image": "png", "overlaid": "jpg"
}  # fmt: skip
MEMBERS = (
    *(f"{name}.{suffix}" for name, suffix in PICTURES.items()),
    "caption.txt", "points.json", "provenance.json",
)  # fmt: skip


class ShardWriter:
    """A tar file that grows by triplets; headers hold nothing but name and length."""

    def __init__(self, path: Path) -> None:
        self._tar = tarfile.open(path, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115 kept open
        self.count = 0

    def add(self, triplet: Triplet) -> None:
        """The six members of a triplet, in the order of ``MEMBERS``."""
        for name, data in zip(MEMBERS, _contents(triplet), strict=True):
            header = tarfile.TarInfo(f"{triplet.key}.{name}")  # mtime, owner and group are 0
            header.size = len(data)
            self._tar.addfile(header, io.BytesIO(data))
        self.count += 1

    def close(self) -> None:
        """Write what ends a tar file."""
        self._tar.close()


def write(path: Path, triplets: Iterable[Triplet]) -> int:
    """A shard of triplets as they come, whole or not at all; how many. None makes no file."""
    count = 0

    def fill(part: Path) -> None:
        nonlocal count
        shard = ShardWriter(part)
        try:
            for triplet in triplets:
                shard.add(triplet)
        finally:
            shard.close()
        count = shard.count

    write_file(path, fill)
    if not count:
        path.unlink()
    return count


def read(path: Path) -> Iterator[Triplet]:
    """The triplets of a shard in order; UserError for one that is damaged or cut off."""
    held: dict[str, bytes] = {}
    key = ""
    for name, data in members(path):
        stem, _, member = name.partition(".")
        if held and stem != key:
            yield _triplet(path, key, held)
            held = {}
        key = stem
        held[member] = data
    if held:
        yield _triplet(path, key, held)


def members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of the files in a tar, in order; UserError where it is damaged or cut off."""
    try:
        with tarfile.open(path, "r:") as tar:
            for header in tar:
                if not header.isfile():
                    continue
                file = tar.extractfile(header)
                data = b"" if file is None else file.read()
                if len(data) < header.size:
                    raise tarfile.ReadError("the file ends early")
                yield header.name, data
    except (tarfile.TarError, EOFError) as error:
        raise UserError(f"{path}: not a whole tar file ({error}); copy or build it again") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None


def plain_json(content: Any) -> bytes:
    """Plain values as one line of UTF-8, keys in the order given."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode("utf-8", "backslashreplace")


def _contents(triplet: Triplet) -> tuple[bytes, ...]:
    return (
        triplet.original_image,
        triplet.conditioning_image,
        triplet.overlaid,
        triplet.caption.encode("utf-8", "replace"),
        plain_json(triplet.points),
        plain_json(triplet.provenance),
    )


def _triplet(path: Path, key: str, held: dict[str, bytes]) -> Triplet:
    missing = [name for name in MEMBERS if name not in held]
    if missing:
        raise UserError(f"{path}: {key} lacks {', '.join(missing)}; copy or build it again")
    try:
        return Triplet(
            key=key,
            **{name: held[f"{name}.{suffix}"] for name, suffix in PICTURES.items()},
            caption=held["caption.txt"].decode("utf-8"),
            points=json.loads(held["points.json"]),
            provenance=json.loads(held["provenance.json"]),
        )
    except (UnicodeDecodeError, ValueError) as error:
        raise UserError(f"{path}: {key} is damaged ({error}); copy or build it again") from None
