"""A library as Parquet, as a Hugging Face datasets folder or as plain shards, and back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tetrapose.errors import UserError
from tetrapose.triplets import ledger, shards
from tetrapose.triplets.library import ABOUT, Library, read_json, told, write_file, write_json
from tetrapose.triplets.rows import COLUMNS, KEPT, Decision, LedgerRow, Triplet
from tetrapose.triplets.steps import KEY

if TYPE_CHECKING:
    import pyarrow as pa

MARK = ".export.json"  # in a folder that an export has begun
GROUP = 64  # triplets of a row group, so that readers need not hold many
FORMS = ("hf", "parquet", "webdataset")


def export(source: str | Path, out: str | Path, form: str) -> int:
    """Write a library, or what was exported from one, in another form; how many triplets.

    - ``hf``: OUT/data/train-NNNNN-of-NNNNN.parquet, as ``datasets.load_dataset(OUT)`` opens it,
      pictures as its Image features
    - ``parquet``: OUT/NNNNNN.parquet with pictures as bytes
    - ``webdataset``: OUT/shards/NNNNNN.tar with the ledger of what is in them: a library again

    The triplets' files come through unchanged, to the byte and in order. Nothing about where the
    pictures lay is carried along but the keys, addresses and licences of their provenance. Files
    that an interrupted export wrote are kept. Raises UserError for an OUT with other things in it.
    """
    ledger.need_arrow()
    if form not in FORMS:
        raise UserError(f"form {form!r}: it is one of {', '.join(FORMS)}")
    root, target = Path(source), Path(out)
    files, about = pieces(root), _about(root)
    if not files:
        raise UserError(f"{root}: holds no triplets")
    _begin(target, {"of": _digest(about), "form": form, "pieces": len(files)})
    count = 0
    for number, piece in enumerate(files):
        if form == "webdataset":
            count += _to_shard(piece, Library(target), number)
            continue
        name = f"{number:06d}.parquet"
        if form == "hf":
            name = f"data/train-{number:05d}-of-{len(files):05d}.parquet"
        count += _to_table(piece, target / name, images=form == "hf")
    if form == "webdataset":
        about = {**about, "counts": ledger.counts(Library(target))}
    write_json(target / ABOUT, {**about, "finished": True})
    return count


def triplets_in(piece: Path) -> Iterator[Triplet]:
    """The triplets of a shard or of an exported table, in order."""
    if piece.suffix == ".tar":
        yield from shards.read(piece)
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(piece)
        missing = [name for name in COLUMNS if name not in file.schema_arrow.names]
        if missing:
            raise UserError(f"{piece}: lacks the columns {', '.join(missing)}; it was exported by"
                            " something else")  # fmt: skip
        for batch in file.iter_batches(GROUP, columns=list(COLUMNS)):
            for row in batch.to_pylist():
                yield _triplet(row)
    except (OSError, pa.ArrowException) as error:
        text = " ".join(str(error).split())[:100]
        raise UserError(f"{piece}: not a whole Parquet file ({text}); export it again") from None


def _triplet(row: dict[str, Any]) -> Triplet:
    provenance = json.loads(row["provenance"])
    pictures = {
        name: row[name]["bytes"] if isinstance(row[name], dict) else row[name]
        for name in shards.PICTURES
    }
    return Triplet(
        key=provenance["sha256"][:KEY],
        **pictures,
        caption=row["caption"],
        points=json.loads(row["points"]),
        provenance=provenance,
    )


def pieces(root: Path) -> list[Path]:
    """The files of a library or an export that hold triplets, in order."""
    for found in (Library(root).shards(), sorted(root.glob("data/train-*.parquet")),
                  sorted(root.glob("[0-9]*.parquet"))):  # fmt: skip
        if found:
            return found
    return []


def _about(root: Path) -> dict[str, Any]:
    """What ``library.json`` says, without where the sources lay."""
    about = Library(root).read_about()
    if not about.get("finished"):
        raise UserError(f"{root}: is not finished; give the command that builds it once more")
    identity = {key: value for key, value in about["identity"].items() if key != "sources"}
    kept = {key: about[key] for key in ("triplet_library", "counts", "skeletons") if key in about}
    return {**kept, "identity": identity}


def _digest(about: dict[str, Any]) -> str:
    return hashlib.sha256(shards.plain_json(about)).hexdigest()


def _begin(target: Path, mark: dict[str, Any]) -> None:
    """Claim a folder for an export, or go on with the very same one."""
    path = target / MARK
    if path.exists():
        if read_json(path) != mark:
            raise UserError(f"{target}: holds another export; name a new folder")
        return
    with told(target):
        target.mkdir(parents=True, exist_ok=True)
        others = ", ".join(sorted(p.name for p in target.iterdir())[:3])
    if others:
        raise UserError(f"{target}: holds other files ({others}); name a new folder")
    write_json(path, mark)


def _to_table(piece: Path, path: Path, *, images: bool) -> int:
    import pyarrow.parquet as pq

    if path.exists():
        return pq.ParquetFile(path).metadata.num_rows
    schema = _schema(images=images)
    count = 0

    def fill(part: Path) -> None:
        nonlocal count
        held: list[Triplet] = []
        # pictures are compressed already
        with pq.ParquetWriter(part, schema, compression="none", use_dictionary=False) as writer:
            for triplet in triplets_in(piece):
                held.append(triplet)
                if len(held) == GROUP:
                    writer.write_table(_rows(held, schema, images=images))
                    count, held = count + len(held), []
            if held:
                writer.write_table(_rows(held, schema, images=images))
            count += len(held)

    write_file(path, fill)
    return count


def _schema(*, images: bool) -> pa.Schema:
    import pyarrow as pa

    picture = pa.struct([("bytes", pa.binary()), ("path", pa.string())]) if images else pa.binary()
    fields = [(name, picture if name in shards.PICTURES else pa.string()) for name in COLUMNS]
    if not images:
        return pa.schema(fields)
    # how datasets notes in a Parquet file what its columns are (datasets.Features, "huggingface")
    features = {
        name: {"_type": "Image"} if name in shards.PICTURES
        else {"dtype": "string", "_type": "Value"}
        for name in COLUMNS
    }  # fmt: skip
    return pa.schema(fields, {"huggingface": json.dumps({"info": {"features": features}})})


def _rows(triplets: list[Triplet], schema: pa.Schema, *, images: bool) -> pa.Table:
    import pyarrow as pa

    rows = []
    for one in triplets:
        row: dict[str, Any] = {"caption": one.caption}
        for name, suffix in shards.PICTURES.items():
            data = getattr(one, name)
            row[name] = {"bytes": data, "path": f"{one.key}.{name}.{suffix}"} if images else data
        row["points"] = shards.plain_json(one.points).decode()
        row["provenance"] = shards.plain_json(one.provenance).decode()
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=schema)


def _to_shard(piece: Path, library: Library, number: int) -> int:
    """A shard and the ledger of what is in it."""
    if library.ledger(number).exists():
        return len(ledger.read(library.ledger(number)))
    rows: list[LedgerRow] = []

    def noted() -> Iterator[Triplet]:
        for place, triplet in enumerate(triplets_in(piece)):
            rows.append(_row(number, place, triplet))
            yield triplet

    wrote = shards.write(library.shard(number), noted())
    ledger.write(library.ledger(number), rows, wrote.seal)
    return wrote.count


def _row(part: int, place: int, triplet: Triplet) -> LedgerRow:
    told = triplet.provenance
    decisions = [Decision(step, KEPT, "", *_named(model)) for step, model in told["models"].items()]
    width, height = told["source_size"]
    return LedgerRow(
        part, place, told["key"], told["source"], "", told["url"], told["licence"],
        told["sha256"], told["phash"], (width, height), KEPT, "write", "", triplet.key,
        tuple(decisions),
    )  # fmt: skip


def _named(model: str) -> tuple[str, str]:
    name, _, version = model.partition(" ")
    return name, version
