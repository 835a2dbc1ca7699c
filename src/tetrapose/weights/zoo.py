"""Published weights by name: where they lie, and how they become models of ours (``zoo.yaml``).

A fetched file is kept as it came in the cache folder; beside it stands what was imported from it,
NAME.safetensors with its card, which is a model by that name from then on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

from tetrapose import skeletons
from tetrapose.weights.download import download
from tetrapose.weights.files import SUFFIX, WeightsError, fetched_folder
from tetrapose.weights.importers import Imported, Meaning, import_file
from tetrapose.weights.importers.common import Choice


@dataclass(frozen=True)
class Entry:
    """One published file; the fields are those of zoo.yaml."""

    name: str
    kind: str
    address: str
    sha256: str | None
    sha256_start: str | None
    skeleton: str | None
    input: tuple[int, int]
    licence: str
    score: str
    source: str
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        """Where the published file lies once it is fetched, or is to be put by hand."""
        return fetched_folder() / self.name / Path(unquote(urlsplit(self.address).path)).name

    @property
    def model(self) -> Path:
        """The model, or backbone, that is made of it."""
        return fetched_folder() / f"{self.name}{SUFFIX}"


@cache
def entries() -> dict[str, Entry]:
    """All entries by name, in the file's order."""
    text = (resources.files("tetrapose.weights") / "zoo.yaml").read_text(encoding="utf-8")
    rows = yaml.safe_load(text)
    return {
        name: Entry(name=name, **{**row, "input": tuple(row["input"])})
        for name, row in rows.items()
    }


def entry(name: str) -> Entry:
    """The entry of that name; a WeightsError tells the nearest ones."""
    found = entries().get(name)
    if found is None:
        near = get_close_matches(name, entries(), n=3)
        hint = f"did you mean {', '.join(near)}?" if near else "tetrapose weights list has them"
        raise WeightsError(f"no weights {name!r} in the zoo; {hint}")
    return found


def fetch(
    name: str, *, trust: bool = False, progress: Callable[[int, int | None], None] | None = None
) -> Imported:
    """Fetch a published file, or go on where it stopped, check it, and make a model of it.

    ``trust`` accepts a file for which no checksum is published. A file that was put in its place by
    hand is checked alike. Raises WeightsError.
    """
    one = entry(name)
    if not (one.sha256 or one.sha256_start or trust):
        raise WeightsError(
            f"{name}: no checksum is published for {one.address}; --trust takes what comes"
        )
    digest = download(
        one.address, one.file, sha256=one.sha256, start=one.sha256_start, progress=progress
    )
    skeleton = skeletons.load(one.skeleton) if one.skeleton else None
    options = dict(one.options)
    choice = Choice(
        part=options.get("part"), expert=options.get("expert"), size=one.input,
        head=not options.get("backbone", False),
    )  # fmt: skip
    meaning = Meaning(
        skeleton=skeleton,
        about={
            "zoo": name, "address": one.address, "licence": one.licence, "source": one.source,
            "checked": "sha256" if one.sha256 else one.sha256_start or "no published sum",
            "fetched_sha256": digest,
        },
        scores={"published": one.score},
    )  # fmt: skip
    return import_file(one.kind, one.file, one.model, choice=choice, meaning=meaning)
