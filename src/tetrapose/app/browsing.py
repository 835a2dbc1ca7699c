"""Triplets to look through: the shards of a library, or Parquet files exported from one.

Nothing is unpacked: a shard's headers are read once, then each picture from its place in the file.
"""

from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from tetrapose.errors import UserError
from tetrapose.triplets.library import Library
from tetrapose.triplets.rows import COLUMNS
from tetrapose.triplets.shards import PICTURES

PAGE = 24  # triplets at a time
MOST_BYTES = 64_000_000  # of one member: more is no picture of a triplet
TYPES = {"jpg": "image/jpeg", "png": "image/png"}


@dataclass(frozen=True)
class Part:
    """Triplets of one shard or table: their keys in order, and where their members lie."""

    keys: tuple[str, ...]
    places: dict[str, dict[str, tuple[int, int]]]  # key -> member -> offset and length, or row


class Shown:
    """The triplets below one folder, which only ``parts`` of it are looked into."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.parts = tuple(_parts(root))
        self._part = lru_cache(maxsize=8)(_indexed)

    @property
    def count(self) -> int:
        """How many parts there are."""
        return len(self.parts)

    def page(self, part: int, start: int) -> dict[str, Any]:
        """Keys and captions of up to ``PAGE`` triplets of a part, from number ``start`` on."""
        path = self._path(part)
        index = self._part(path)
        start = max(0, start)
        rows = [
            {"key": key, "caption": self._text(path, key, "caption")}
            for key in index.keys[start : start + PAGE]
        ]
        return {
            "part": part,
            "parts": len(self.parts),
            "name": path.name,
            "start": start,
            "count": len(index.keys),
            "page": PAGE,
            "rows": rows,
        }

    def picture(self, part: int, key: str, column: str) -> tuple[bytes, str]:
        """The bytes and media type of one of a triplet's three pictures."""
        if column not in PICTURES:
            raise UserError(f"a triplet's pictures are {', '.join(PICTURES)}")
        return self._bytes(self._path(part), key, column), TYPES[PICTURES[column]]

    def points(self, part: int, key: str) -> dict[str, Any]:
        """A triplet's points, as ``triplets.rows.Triplet`` says."""
        try:
            content = json.loads(self._text(self._path(part), key, "points"))
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise UserError("this triplet's points are damaged; build it again")
        return content

    def _path(self, part: int) -> Path:
        if not 0 <= part < len(self.parts):
            raise UserError(f"no such part; there are {len(self.parts)}")
        return self.parts[part]

    def _text(self, path: Path, key: str, column: str) -> str:
        return self._bytes(path, key, column).decode("utf-8", "replace")

    def _bytes(self, path: Path, key: str, column: str) -> bytes:
        place = self._part(path).places.get(key, {}).get(column)
        if place is None:
            raise UserError("no such triplet; the library may have been built anew")
        if path.suffix == ".parquet":
            return _cell(path, place[0], column)
        offset, length = place
        if length > MOST_BYTES:
            raise UserError("this triplet's picture is larger than any that is built")
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(length)


def open_all(folders: list[str]) -> dict[str, Shown]:
    """Libraries by the name of their folder; UserError for one that holds no triplets."""
    out: dict[str, Shown] = {}
    for folder in folders:
        root = Path(folder).resolve()
        name, number = root.name, 2
        while name in out:
            name, number = f"{root.name} ({number})", number + 1
        out[name] = Shown(root)
    return out


def _parts(root: Path) -> list[Path]:
    if not root.is_dir():
        raise UserError(f"{root}: no such folder of triplets")
    found = Library(root).shards() or sorted(root.glob("*.tar"))
    # an export for Hugging Face lies in data/; a library's own ledger is no part of it
    found = found or sorted(root.glob("data/*.parquet")) or sorted(root.glob("*.parquet"))
    if not found:
        raise UserError(
            f"{root}: no triplets here; a library (tetrapose triplets) or its Parquet files are due"
        )
    return found


def _indexed(path: Path) -> Part:
    return _parquet(path) if path.suffix == ".parquet" else _tar(path)


def _tar(path: Path) -> Part:
    places: dict[str, dict[str, tuple[int, int]]] = {}
    try:
        with tarfile.open(path, "r:") as tar:
            for header in tar:
                stem, _, member = header.name.partition(".")
                column = member.partition(".")[0]
                if header.isfile() and column in COLUMNS:
                    places.setdefault(stem, {})[column] = (header.offset_data, header.size)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UserError(f"{path.name}: not a whole tar file ({error}); build it again") from None
    whole = {key: members for key, members in places.items() if set(members) >= set(COLUMNS)}
    return Part(tuple(whole), whole)


def _parquet(path: Path) -> Part:
    table = _table(path)
    lacking = [name for name in COLUMNS if name not in table.schema_arrow.names]
    if lacking:
        raise UserError(f"{path.name}: lacks the columns {', '.join(lacking)}")
    keys = tuple(f"{row:09d}" for row in range(table.metadata.num_rows))
    return Part(keys, {key: {c: (row, 0) for c in COLUMNS} for row, key in enumerate(keys)})


def _cell(path: Path, row: int, column: str) -> bytes:
    """One value as bytes, whether it is stored as bytes, text, or a picture with its bytes."""
    table = _table(path)
    for group in range(table.num_row_groups):
        count = table.metadata.row_group(group).num_rows
        if row < count:
            value = table.read_row_group(group, columns=[column])[column][row].as_py()
            break
        row -= count
    else:
        raise UserError("no such triplet; the library may have been built anew")
    if isinstance(value, dict) and isinstance(value.get("bytes"), bytes):
        value = value["bytes"]
    if isinstance(value, bytes):
        return value
    return (value if isinstance(value, str) else json.dumps(value)).encode()


def _table(path: Path) -> Any:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise UserError("Parquet wants pyarrow: pip install 'tetrapose[triplets]'") from None
    try:
        return pq.ParquetFile(path)
    except (OSError, pa.ArrowException):
        raise UserError(f"{path.name}: not a whole Parquet file; export it again") from None
