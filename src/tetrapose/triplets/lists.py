"""Lists of addresses with captions, filtered by what the list says: LAION, Re-LAION and the like.

A list is one Parquet file or a folder of them. Columns are found by their usual names; options
after the path name others and filter:

  list:FILE.parquet,species=cat|dog          captions with a word for them, in any language known
  ...,words=cat|dog sled                     captions with one of these words
  ...,match=REGEX                            captions that a regular expression (RE2) finds
  ...,language=en|de                         the list's language column
  ...,similarity=0.28                        least similarity of picture and text
  ...,unsafe=0.5,watermark=0.8               most of the list's own odds of either
  ...,side=256                               least width and height that the list tells
  ...,url=COLUMN,text=COLUMN                 columns by name

Rows that pass no filter are counted and not kept in the ledger: of a web-scale list they are nearly
all. Rows without an address are dropped items.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tetrapose.errors import UserError
from tetrapose.structures import Problem
from tetrapose.triplets.rows import Item

if TYPE_CHECKING:
    import pyarrow as pa

    from tetrapose.triplets.sources import Lister, Listing

COLUMNS: dict[str, tuple[str, ...]] = {
    "url": ("url", "image_url", "img_url"),
    "text": ("caption", "text", "txt", "alt", "alt_text", "top_caption"),
    "similarity": ("similarity", "clip_similarity_vitb32", "clip_similarity"),
    "language": ("language", "lang"),
    "unsafe": ("punsafe", "unsafe"),
    "watermark": ("pwatermark", "watermark"),
    "width": ("width", "original_width"),
    "height": ("height", "original_height"),
    "licence": ("license", "licence"),
}
FILTERS = ("words", "match", "language", "similarity", "unsafe", "watermark", "side")
UNSPACED = ("zh", "ja", "th")
ROWS = 65_536  # looked at together


@cache
def species_words() -> dict[str, dict[str, tuple[str, ...]]]:
    """Words by species and language, as in species.yaml."""
    text = resources.files("tetrapose.triplets").joinpath("species.yaml").read_text("utf-8")
    return {
        name: {language: tuple(words) for language, words in languages.items()}
        for name, languages in yaml.safe_load(text).items()
    }


def pattern(species: str = "", words: str = "") -> str:
    """The regular expression (RE2 and Python's alike) of texts that name one of them; "" for none.

    Both are separated by ``|``. Raises UserError for a species without words.
    """
    spaced = [word.strip() for word in words.split("|") if word.strip()]
    unspaced: list[str] = []
    for name in (name.strip() for name in species.split("|") if name.strip()):
        known = species_words()
        if name not in known:
            raise UserError(f"species {name!r}: no words for it; there is {', '.join(known)};"
                            " or give words= themselves")  # fmt: skip
        for language, terms in known[name].items():
            (unspaced if language in UNSPACED else spaced).extend(terms)
    parts = []
    if spaced:
        # RE2 knows neither look-around nor Unicode's \b: what is no letter or digit stands around
        either = "|".join(re.escape(word) for word in dict.fromkeys(spaced))
        parts.append(rf"(?:^|[^\p{{L}}\p{{N}}])(?:{either})(?:$|[^\p{{L}}\p{{N}}])")
    if unspaced:
        parts.append("|".join(re.escape(word) for word in dict.fromkeys(unspaced)))
    return "(?i)" + "|".join(parts) if parts else ""


def named(text: str) -> tuple[str, ...]:
    """The species that a text names in any language known, in the order of species.yaml."""
    return tuple(name for name, finds in _finders().items() if finds.search(text))


@cache
def _finders() -> dict[str, re.Pattern[str]]:
    # \w without the underscore is Python's [\p{L}\p{N}]
    return {
        name: re.compile(pattern(name).replace(r"\p{L}\p{N}", r"\W_").replace(r"[^\W_]", r"[\W_]"))
        for name in species_words()
    }


def lister(root: Path, options: dict[str, Any]) -> Lister:
    """The rows of a list that pass its filters, as items with addresses."""
    from tetrapose.triplets.sources import no_options

    no_options("list", options, (*COLUMNS, *FILTERS, "species"))
    asked = pattern(str(options.pop("species", "")), str(options.get("words", "")))
    filters = _Filters(options, asked)

    def items(listing: Listing) -> Iterator[Item]:
        paths = [root] if root.is_file() else sorted(root.rglob("*.parquet"))
        if not paths:
            listing.problems.append(Problem(str(root), "holds no Parquet files", "name another"))
        for path in paths:
            name = path.name if root.is_file() else path.relative_to(root).as_posix()
            yield from _rows(path, name, filters, listing)

    return items


class _Filters:
    """What a row must say to be taken, checked when the source is opened."""

    def __init__(self, options: Mapping[str, Any], asked: str) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        calls: Any = pc
        self.columns = {key: str(value) for key, value in options.items() if key in ("url", "text")}
        self.patterns = [p for p in (asked, str(options.get("match", ""))) if p]
        try:
            for one in self.patterns:
                calls.match_substring_regex(pa.array([""]), one)
        except pa.ArrowInvalid as error:
            raise UserError(
                f"match={options.get('match')}: not a regular expression ({error})"
            ) from None
        self.languages = [v for v in str(options.get("language", "")).lower().split("|") if v]
        self.least = {
            "similarity": _number(options, "similarity"),
            "width": _number(options, "side"), "height": _number(options, "side"),
        }  # fmt: skip
        self.most = {name: _number(options, name) for name in ("unsafe", "watermark")}

    def needed(self) -> set[str]:
        """Columns without which a filter would pass everything."""
        numbers = {name for name, value in (self.least | self.most).items() if value is not None}
        return {"url"} | numbers | ({"language"} if self.languages else set()) | (
            {"text"} if self.patterns else set()
        )  # fmt: skip


def _number(options: Mapping[str, Any], name: str) -> float | None:
    if name not in options:
        return None
    try:
        return float(options[name])
    except ValueError:
        raise UserError(f"{name}={options[name]}: a number is due") from None


def _rows(path: Path, name: str, filters: _Filters, listing: Listing) -> Iterator[Item]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        columns = _columns(path, file.schema_arrow.names, filters)
        start = 0
        for batch in file.iter_batches(ROWS, columns=sorted(set(columns.values()))):
            table = {key: batch.column(column) for key, column in columns.items()}
            keep = _passing(table, filters, listing)
            for row, values in _taken(table, keep):
                yield Item(
                    key=f"{name}#{start + row}",
                    source="",
                    url=str(values.get("url") or "").strip(),
                    text=str(values.get("text") or ""),
                    licence=str(values.get("licence") or "").replace("?", ""),
                )
            start += batch.num_rows
            listing.passed["rows of lists read"] += batch.num_rows
    except (OSError, pa.ArrowException) as error:
        told = " ".join(str(error).split())[:100]
        raise UserError(f"{path}: not a whole Parquet file ({told}); fetch it again") from None


def _columns(path: Path, names: list[str], filters: _Filters) -> dict[str, str]:
    lower = {name.lower(): name for name in reversed(names)}
    found = {
        key: lower[usual[0]] for key, every in COLUMNS.items()
        if (usual := [one for one in every if one in lower])
    }  # fmt: skip
    for key, column in filters.columns.items():
        if column not in names:
            raise UserError(f"{path}: no column {column!r}; there is {', '.join(names)}")
        found[key] = column
    for key in sorted(filters.needed()):
        if key not in found:
            raise UserError(f"{path}: no column for {key} ({' or '.join(COLUMNS[key])});"
                            f" there is {', '.join(names)}")  # fmt: skip
    return found


def _passing(table: Mapping[str, pa.Array], filters: _Filters, listing: Listing) -> pa.Array:
    """Which rows pass; each that does not is counted under the first filter that it fails."""
    import pyarrow as pa
    import pyarrow.compute as pc

    calls: Any = pc  # made at run time: type checkers do not see them
    tests: list[tuple[str, pa.Array]] = []
    for one in filters.patterns:
        tests.append(("text", calls.match_substring_regex(table["text"].cast(pa.string()), one)))
    if filters.languages:
        spoken = calls.utf8_lower(table["language"].cast(pa.string()))
        tests.append(("language", calls.is_in(spoken, pa.array(filters.languages))))
    for bounds, compare in ((filters.least, calls.greater_equal), (filters.most, calls.less_equal)):
        for key, bound in bounds.items():
            if bound is not None:
                tests.append((key, compare(table[key].cast(pa.float64()), bound)))
    keep = pa.array([True] * len(table["url"]))
    for key, test in tests:
        passed = calls.and_(keep, pc.fill_null(test, False))
        lost = calls.sum(keep).as_py() or 0
        keep = passed
        listing.passed[f"filtered by {key}"] += lost - (calls.sum(keep).as_py() or 0)
    return keep


def _taken(table: Mapping[str, pa.Array], keep: pa.Array) -> Iterator[tuple[int, dict[str, Any]]]:
    import pyarrow.compute as pc

    calls: Any = pc
    rows = calls.indices_nonzero(keep)
    wanted = [key for key in ("url", "text", "licence") if key in table]
    values = {key: table[key].take(rows).to_pylist() for key in wanted}
    for number, row in enumerate(rows.to_pylist()):
        yield row, {key: values[key][number] for key in wanted}
