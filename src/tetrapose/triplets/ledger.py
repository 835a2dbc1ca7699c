"""The ledger: one Parquet table a part, one row an item, written once and never changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tetrapose.errors import UserError
from tetrapose.triplets import columns
from tetrapose.triplets.library import Library, write_file
from tetrapose.triplets.rows import Decision, LedgerRow

if TYPE_CHECKING:
    import pyarrow as pa

TEXTS = (
    "key", "source", "where", "url", "licence", "sha256", "phash", "outcome", "step", "reason",
    "triplet",
)  # fmt: skip
DECISION = tuple(field.name for field in fields(Decision))


def need_arrow() -> None:
    """UserError where pyarrow is not installed."""
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise UserError("triplets need pyarrow: pip install 'tetrapose[triplets]'") from None


def write(path: Path, rows: Sequence[LedgerRow], notes: Mapping[str, str]) -> None:
    """A part's table, whole or not at all; ``notes`` go with it (its shard's length and digest)."""
    decisions = [decision for row in rows for decision in row.decisions]
    told = columns.structs(
        {name: columns.texts([clean(getattr(d, name)) for d in decisions]) for name in DECISION}
    )
    table = columns.table(
        {
            "part": columns.numbers([row.part for row in rows], "int64"),
            "place": columns.numbers([row.place for row in rows], "int64"),
            **{name: columns.texts([clean(getattr(row, name)) for row in rows]) for name in TEXTS},
            "width": columns.numbers([row.size[0] for row in rows], "int32"),
            "height": columns.numbers([row.size[1] for row in rows], "int32"),
            "decisions": columns.lists([len(row.decisions) for row in rows], told),
        }
    )
    write_table(path, table, notes)


def read(path: Path) -> list[LedgerRow]:
    """The rows of a part's table; UserError where it is damaged."""
    rows = read_table(path).to_pylist()
    for row in rows:
        row["size"] = (row.pop("width"), row.pop("height"))
        row["decisions"] = tuple(Decision(**decision) for decision in row["decisions"])
    return [LedgerRow(**row) for row in rows]


def read_all(library: Library) -> Iterator[LedgerRow]:
    """Every row of a library, in order, one part in memory at a time."""
    for part in library.parts_written():
        yield from read(library.ledger(part))


def notes(path: Path) -> dict[str, str]:
    """What was noted with a part's table; UserError where it is damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        found = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, error) from None
    return {key.decode(): value.decode() for key, value in found.items()}


def counts(library: Library) -> dict[str, Any]:
    """How many items were kept and dropped, by step and reason and by source."""
    by_reason: Counter[tuple[str, str]] = Counter()
    by_source: dict[str, Counter[str]] = {}
    for part in library.parts_written():
        table = read_table(library.ledger(part), names=["source", "outcome", "step", "reason"])
        rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
        for source, outcome, step, reason in rows:
            by_source.setdefault(source, Counter())[outcome] += 1
            if outcome == "dropped":
                by_reason[(step, reason.partition(":")[0])] += 1
    totals = sum(by_source.values(), Counter())
    return {
        "items": totals.total(),
        "kept": totals["kept"],
        "dropped": {f"{step}: {reason}": n for (step, reason), n in sorted(by_reason.items())},
        "sources": {name: dict(sorted(n.items())) for name, n in sorted(by_source.items())},
    }


def clean(text: str) -> str:
    """Text that any reader of UTF-8 takes: lone surrogates become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def write_table(path: Path, table: pa.Table, notes: Mapping[str, str] | None = None) -> None:
    """A table as Parquet, the same bytes for the same rows, whole or not at all."""
    import pyarrow.parquet as pq

    if notes:
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), **notes})
    write_file(path, lambda part: pq.write_table(table, part, compression="zstd"))


def read_table(path: Path, names: list[str] | None = None) -> pa.Table:
    """A Parquet file's rows; UserError where it is damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path).read(columns=names)
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> UserError:
    told = " ".join(str(error).split())[:120]
    return UserError(f"{path}: not a whole Parquet file ({told}); copy or build it again")


def decided(row: LedgerRow, decision: Decision) -> LedgerRow:
    """The row with one decision more, which is its last word."""
    more = replace(row, decisions=(*row.decisions, decision))
    if decision.outcome == "kept":
        return more
    return replace(more, outcome="dropped", step=decision.step, reason=decision.reason, triplet="")
