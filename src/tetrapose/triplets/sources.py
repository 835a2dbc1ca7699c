"""Piles of pictures as items in a fixed order: folders, labelled sets, tars, lists, HF sets."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tetrapose import data, images
from tetrapose.errors import UserError
from tetrapose.skeletons import Skeleton
from tetrapose.structures import Instances, PoseSet, Problem
from tetrapose.triplets.rows import Item

OTHER_FILES = "files that are no pictures by their names"


@dataclass
class Listing:
    """What listing has met so far besides items: entries passed over by reason, and problems."""

    passed: Counter[str] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)
    skeletons: dict[str, Skeleton] = field(default_factory=dict)

    def note(self, problems: tuple[Problem, ...]) -> None:
        """Problems to be told; all are counted, the first hundred kept."""
        self.passed["entries that cannot be used"] += sum(problem.left_out for problem in problems)
        self.problems += problems[: max(100 - len(self.problems), 0)]

    def meet(self, skeleton: Skeleton) -> None:
        """A skeleton that labels stand on; UserError where two of one name differ."""
        known = self.skeletons.setdefault(skeleton.name, skeleton)
        if known.names != skeleton.names:
            raise UserError(f"skeleton {skeleton.name!r}: two sources mean different points by it;"
                            " rename one, or make two libraries and keep them apart")  # fmt: skip


Lister = Callable[[Listing], Iterator[Item]]


@dataclass(frozen=True)
class Source:
    """A pile by name; ``items`` lists it from the start each time, always in the same order."""

    name: str
    items: Lister


def open_source(spec: str) -> Source:
    """What a source's text stands for; UserError where there is none.

    - ``FOLDER`` of pictures, or of tar shards, or a Hugging Face datasets folder: by what lies in
      it; ``folder:``, ``tars:`` and ``hf:`` before it say which
    - ``list:FILE.parquet`` (or a folder of them) addresses with captions
    - ``NAME:WHERE`` a set that ``tetrapose datasets`` reads, as ``animal_pose:FOLDER`` or
      ``coco_animals:FOLDER,only=dog``: its labelled points are used, its boxes where it has only
      those

    ``,licence=...`` and ``,species=...`` after it speak for all pictures of the source; lists take
    the filters of ``lists.py`` in the same way, ``species`` among them.
    """
    if os.path.exists(spec):
        spec = f"{_kind(Path(spec))}:{spec}"
    kind, colon, rest = spec.partition(":")
    if not colon or not rest:
        raise UserError(f"{spec}: no such file or folder, nor NAME:WHERE with NAME one of"
                        f" {', '.join((*_kinds(), *data.available()))}")  # fmt: skip
    _, where, options = data.parse_spec(spec)
    common = {"licence": str(options.pop("licence", "")), "species": ""}
    if kind != "list":  # there it chooses rows
        common["species"] = str(options.pop("species", ""))
    if kind in _kinds():
        if not os.path.exists(where):
            raise UserError(f"{where}: no such file or folder")
        items = _kinds()[kind](Path(where), options)
    else:
        items = _labelled(spec, kind, where, options)
    name = f"{kind}:{Path(where).name or where}"
    return Source(name, _with_common(items, name, common))


def _kinds() -> dict[str, Callable[[Path, dict[str, Any]], Lister]]:
    from tetrapose.triplets import lists, tars

    return {"folder": _folder, "tars": tars.lister, "hf": tars.hf_lister, "list": lists.lister}


def _kind(path: Path) -> str:
    if path.is_file():
        if path.suffix == ".tar":
            return "tars"
        return "list" if path.suffix in (".parquet", ".csv") else "folder"
    names = [entry.name for entry in os.scandir(path)]
    if any(name.endswith(".tar") for name in names):
        return "tars"
    ends = ("*.parquet", "data/*.parquet", "*.arrow")
    tables = [found for end in ends for found in path.glob(end)]
    return "hf" if tables else "folder"


def _with_common(items: Lister, name: str, common: dict[str, str]) -> Lister:
    """Items with what the spec says of all of them where they say nothing themselves."""
    from dataclasses import replace

    species = tuple(word for word in (common["species"],) if word)

    def listed(listing: Listing) -> Iterator[Item]:
        for item in items(listing):
            yield replace(
                item,
                source=item.source or name,
                licence=item.licence or common["licence"],
                species=item.species or species,
            )

    return listed


def _folder(root: Path, options: dict[str, Any]) -> Lister:
    """Pictures below a folder by name, with the text of a file ``NAME.txt`` beside each."""
    no_options("folder", options)

    def items(listing: Listing) -> Iterator[Item]:
        if root.is_file():
            yield _plain(root, root.name)
            return
        found = False
        for place, folders, names in os.walk(root):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                if name.startswith("."):
                    continue
                if name.lower().endswith(images.SUFFIXES):
                    found = True
                    path = Path(place, name)
                    yield _plain(path, path.relative_to(root).as_posix())
                else:
                    listing.passed[
                        "files that are no pictures by their names"
                    ] += not name.endswith(".txt")
        if not found:
            listing.problems.append(Problem(str(root), "holds no pictures", "name another folder"))

    return items


def _plain(path: Path, key: str) -> Item:
    beside = path.with_suffix(".txt")
    text = ""
    if beside.is_file():
        text = beside.read_text(encoding="utf-8", errors="replace").strip()
    return Item(key=key, source="", path=str(path), text=text)


def no_options(kind: str, options: dict[str, Any], allowed: tuple[str, ...] = ()) -> None:
    """UserError for an option that a kind of source does not have."""
    for key in options:
        if key not in allowed:
            known = ", ".join(dict.fromkeys((*allowed, "licence", "species")))
            raise UserError(f"{kind}: no option {key!r}; there is {known}")


def _labelled(spec: str, kind: str, where: str, options: dict[str, Any]) -> Lister:
    data.about(kind)  # an unknown format is told at once
    given = ",".join(
        f"{key}={value}" for key, values in options.items()
        for value in (values if isinstance(values, list) else [values])
    )  # fmt: skip

    def items(listing: Listing) -> Iterator[Item]:
        pose_set = data.open_set(f"{kind}:{where}" + (f",{given}" if given else ""))
        listing.note(pose_set.problems)
        listing.meet(pose_set.skeleton)
        yield from set_items(pose_set)

    return items


def set_items(pose_set: PoseSet) -> Iterator[Item]:
    """The pictures of a set in its order, each with its animals; crowds are left out."""
    rows = np.flatnonzero(~pose_set.crowd)
    rows = rows[np.argsort(pose_set.image_index[rows], kind="stable")]
    starts = np.searchsorted(pose_set.image_index[rows], np.arange(len(pose_set.files) + 1))
    for image, file in enumerate(pose_set.files):
        mine = rows[starts[image] : starts[image + 1]]
        instances = Instances(
            pose_set.keypoints[mine].astype(np.float64),
            pose_set.visibility[mine],
            pose_set.bboxes[mine].astype(np.float64),
        )
        yield Item(
            key=str(file),
            source=pose_set.source,
            path=str(pose_set.path(image)),
            licence=pose_set.licence,
            species=tuple(pose_set.species_names[i] for i in pose_set.species[mine]),
            instances=instances if len(mine) else None,
            skeleton=pose_set.skeleton.name,
        )
