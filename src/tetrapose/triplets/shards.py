"""Triplets in tar files as WebDataset reads them, the same bytes whenever the same is written."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
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


@dataclass(frozen=True)
class Written:
    """A shard as it was written: triplets, and the length and digest that its table keeps."""

    count: int = 0
    length: int = 0
    sha256: str = ""

    @property
    def seal(self) -> dict[str, str]:
        """Length and digest as notes of a table; of no shard, length 0."""
        return {"shard_bytes": str(self.length), "shard_sha256": self.sha256}


class ShardWriter:
    """A tar file that grows by triplets; headers hold nothing but name and length."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "wb")  # noqa: SIM115 kept open
        self._digest = hashlib.sha256()
        self._length = self._count = 0

    def add(self, triplet: Triplet) -> None:
        """The six members of a triplet, in the order of ``MEMBERS``, in one go."""
        parts = []
        for name, data in zip(MEMBERS, _contents(triplet), strict=True):
            rest = -len(data) % tarfile.BLOCKSIZE
            parts += [_header(f"{triplet.key}.{name}", len(data)), data, bytes(rest)]
        self._put(b"".join(parts))
        self._count += 1

    def close(self) -> Written:
        """Write what ends a tar file."""
        with self._file:
            ended = self._length + 2 * tarfile.BLOCKSIZE
            self._put(bytes(2 * tarfile.BLOCKSIZE + -ended % tarfile.RECORDSIZE))
        return Written(self._count, self._length, self._digest.hexdigest())

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self._digest.update(data)
        self._length += len(data)


def _header(name: str, size: int) -> bytes:
    """A member's header in tar's first standard form, of a file of no owner and no time."""
    said = name.encode()
    if len(said) > 100 or size >= 8**11:
        info = tarfile.TarInfo(name)
        info.size = size
        return info.tobuf(tarfile.USTAR_FORMAT)
    out = bytearray(_plain_header())  # a fifth of the time that tarfile takes
    out[: len(said)] = said
    out[124:135] = b"%011o" % size
    out[148:155] = b"%06o\0" % sum(out)
    return bytes(out)


@cache
def _plain_header() -> bytes:
    """The header of no name and no size, blanks for its sum, as which the sum counts itself."""
    out = bytearray(tarfile.TarInfo("").tobuf(tarfile.USTAR_FORMAT))
    out[148:156] = b" " * 8
    return bytes(out)


def write(path: Path, triplets: Iterable[Triplet]) -> Written:
    """A shard of triplets as they come, whole or not at all. None makes no file."""
    done = Written()

    def fill(part: Path) -> None:
        nonlocal done
        shard = ShardWriter(part)
        try:
            for triplet in triplets:
                shard.add(triplet)
        finally:
            done = shard.close()

    write_file(path, fill)
    if not done.count:
        path.unlink()
        return Written()
    return done


def sealed(path: Path) -> dict[str, str]:
    """The seal of a shard that lies there."""
    if not path.exists():
        return Written().seal
    digest = hashlib.sha256()
    length = 0
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
            length += len(block)
    return Written(0, length, digest.hexdigest()).seal


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
            _at_end(path, tar.offset)
    except (tarfile.TarError, EOFError) as error:
        raise UserError(f"{path}: not a whole tar file ({error}); copy or build it again") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None


def _at_end(path: Path, offset: int) -> None:
    """That an archive ends here as one does: a header that was cut off reads like an end too."""
    with open(path, "rb") as file:
        file.seek(offset)
        if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("the file ends early")


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
