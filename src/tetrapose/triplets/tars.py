"""Pictures that lie in others' containers: tar shards of img2dataset, WebDataset, HF tables."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tetrapose import images
from tetrapose.errors import UserError
from tetrapose.structures import Problem
from tetrapose.triplets.rows import Item

if TYPE_CHECKING:
    from tetrapose.triplets.sources import Lister, Listing

TEXTS = ("txt", "caption", "text", "caption.txt")
PICTURE_COLUMNS = ("image", "original_image", "jpg", "png", "img", "picture")
TEXT_COLUMNS = ("caption", "text", "txt", "prompt")
LICENCES = ("licence", "license", "LICENSE")
ROWS = 256  # of a table looked at together


def lister(root: Path, options: dict[str, Any]) -> Lister:
    """Tar shards as img2dataset and WebDataset write them: KEY.jpg, KEY.txt, KEY.json."""
    from tetrapose.triplets.sources import no_options

    no_options("tars", options)

    def items(listing: Listing) -> Iterator[Item]:
        paths = [root] if root.is_file() else sorted(root.rglob("*.tar"))
        if not paths:
            listing.problems.append(Problem(str(root), "holds no tar files", "name another folder"))
        for path in paths:
            name = path.name if root.is_file() else path.relative_to(root).as_posix()
            yield from _shard(path, name, listing)

    return items


def _shard(path: Path, name: str, listing: Listing) -> Iterator[Item]:
    """The samples of one shard, as far as it can be read."""
    held: dict[str, Any] = {}
    key = ""
    try:
        with tarfile.open(path, "r:") as tar:
            whole = os.path.getsize(path)
            for header in tar:
                if not header.isfile():
                    continue
                folder, base = os.path.split(header.name)
                stem, _, suffix = base.partition(".")
                stem = os.path.join(folder, stem)
                if stem != key:
                    yield from _sample(path, name, key, held)
                    key, held = stem, {}
                if header.offset_data + header.size > whole:
                    raise tarfile.ReadError("the file ends early")
                small = suffix.lower() in TEXTS or suffix.lower() == "json"
                file = tar.extractfile(header) if small else None
                held[suffix.lower()] = header if file is None else file.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        what = f"cannot be read to its end ({error})"
        listing.note((Problem(str(path), what, "copy it again; what came before is used"),))
    yield from _sample(path, name, key, held)


def _sample(path: Path, name: str, key: str, held: dict[str, Any]) -> Iterator[Item]:
    """The item of one key, if there is a picture under it."""
    found = [
        (suffix, header) for suffix, header in held.items()
        if f".{suffix.rpartition('.')[2]}" in images.SUFFIXES
        and isinstance(header, tarfile.TarInfo)
    ]  # fmt: skip
    if not found:
        return
    # of a library's own shards the picture itself, not its drawing
    suffix, header = next((f for f in found if f[0].startswith("original_image")), found[0])
    told = _told(held.get("json", b""))
    text = next((held[one] for one in TEXTS if one in held), b"").decode("utf-8", "replace")
    ending = "." + suffix.rpartition(".")[2]
    yield Item(
        key=f"{name}/{key}",
        source="",
        path=str(path / images.member(header.offset_data, header.size, ending)),
        text=text.strip() or str(told.get("caption") or ""),
        licence=next((str(told[one]) for one in LICENCES if told.get(one)), ""),
    )


def _told(data: bytes) -> dict[str, Any]:
    try:
        content = json.loads(data) if data else {}
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def hf_lister(root: Path, options: dict[str, Any]) -> Lister:
    """A Hugging Face datasets folder: Parquet or Arrow tables with a picture in each row.

    ``image=`` and ``text=`` name the columns where they are not called as usual.
    """
    from tetrapose.triplets.sources import no_options

    no_options("hf", options, ("image", "text"))

    def items(listing: Listing) -> Iterator[Item]:
        tables = [*root.rglob("*.parquet"), *root.rglob("*.arrow")]
        paths = [root] if root.is_file() else sorted(tables)
        if not paths:
            what, fix = (
                "holds no Parquet or Arrow tables",
                "name another folder, or export it as Parquet",
            )
            listing.problems.append(Problem(str(root), what, fix))
        for path in paths:
            name = path.name if root.is_file() else path.relative_to(root).as_posix()
            yield from _table(path, name, options)

    return items


def _table(path: Path, name: str, options: dict[str, Any]) -> Iterator[Item]:
    names, _ = open_table(path)
    image = _column(path, names, options.get("image"), PICTURE_COLUMNS)
    text = _column(path, names, options.get("text"), TEXT_COLUMNS, must=False)
    licence = _column(path, names, None, LICENCES, must=False)
    row = 0
    for batch in rows_of(path, [one for one in (text, licence) if one]):
        for values in batch:
            yield Item(
                key=f"{name}#{row}",
                source="",
                path=str(path),
                row=row,
                column=image,
                text=str(values.get(text) or ""),
                licence=str(values.get(licence) or ""),
            )
            row += 1


def open_table(path: Path) -> tuple[list[str], Any]:
    """Column names and the open file of a Parquet table, or an Arrow one as datasets saves it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if path.suffix == ".arrow":
            table = pa.ipc.open_stream(pa.memory_map(str(path))).read_all()
            return table.schema.names, table
        file = pq.ParquetFile(path)
        return file.schema_arrow.names, file
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, error) from None


def rows_of(path: Path, columns: list[str]) -> Iterator[list[dict[str, Any]]]:
    """The rows of a table with some of its columns, as plain values, a batch at a time."""
    import pyarrow as pa

    _, source = open_table(path)
    try:
        batches = (
            source.select(columns).to_batches(ROWS) if isinstance(source, pa.Table)
            else source.iter_batches(ROWS, columns=columns)
        )  # fmt: skip
        for batch in batches:
            values = {one: batch.column(one).to_pylist() for one in columns}
            yield [{one: values[one][i] for one in columns} for i in range(batch.num_rows)]
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> UserError:
    told = " ".join(str(error).split())[:100]
    return UserError(f"{path}: not a whole table ({told}); fetch it again")


def _column(
    path: Path, names: list[str], told: str | None, usual: tuple[str, ...], *, must: bool = True
) -> str:
    """The column that was named, or the first there is of the usual ones; "" for none."""
    if told is not None and told not in names:
        raise UserError(f"{path}: no column {told!r}; there is {', '.join(names)}")
    found = told or next((name for name in usual if name in names), "")
    if must and not found:
        raise UserError(f"{path}: which column holds pictures? There is {', '.join(names)}")
    return found


def from_row(path: Path, column: str, row: int) -> tuple[int, Iterator[list[Any]]]:
    """A row at or before ``row``, and the column's values from it on in batches."""
    import pyarrow as pa

    _, source = open_table(path)
    if isinstance(source, pa.Table):
        start = row // ROWS * ROWS
        batches = source.select([column]).slice(start).to_batches(ROWS)
        return start, (batch.column(0).to_pylist() for batch in batches)
    start, group = 0, 0
    sizes = [source.metadata.row_group(i).num_rows for i in range(source.num_row_groups)]
    while group < len(sizes) - 1 and start + sizes[group] <= row:
        start += sizes[group]
        group += 1
    groups = list(range(group, len(sizes)))
    found = source.iter_batches(ROWS // 8, row_groups=groups, columns=[column])
    return start, (batch.column(0).to_pylist() for batch in found)
