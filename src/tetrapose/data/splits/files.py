"""What a split file holds, and reading and writing it.

A JSON object: ``format``, ``recipe``, ``options``, ``seed``, ``source`` (the set's written form,
numbers of pictures and animals, and the digest of its labels), ``report`` (what was reached) and
``parts``. A part has ``pictures`` (names, or null for all), ``annotations`` (ids, or null for all
of those pictures) and ``shown``: null, or blocks of keypoint names and annotation ids. An animal
then shows the points of the blocks that list it, and every other point counts as not labelled.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tetrapose.data.reading import load_json, write_text
from tetrapose.errors import UserError

FORMAT = "tetrapose split 1"
ANYWAY = "anyway"  # FILE.json:PART:anyway reads a split that was made from other labels


@dataclass(frozen=True)
class Shown:
    """Keypoints that the animals of a block show."""

    name: str
    points: tuple[str, ...]
    annotations: tuple[int, ...]


@dataclass(frozen=True)
class Part:
    """What one part of a split has; None stands for all."""

    pictures: tuple[str, ...] | None = None
    annotations: tuple[int, ...] | None = None
    shown: tuple[Shown, ...] | None = None


@dataclass(frozen=True)
class SplitFile:
    """A split with how it was made. ``source`` has set, pictures, animals and digest."""

    recipe: str
    options: Mapping[str, Any]
    seed: int
    source: Mapping[str, Any]
    parts: Mapping[str, Part]
    report: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Wanted:
    """A split as it is written on the command line: ``FILE.json:PART[+PART][:anyway]``."""

    path: Path
    parts: tuple[str, ...] = ()
    anyway: bool = False


def wanted(text: str | Path) -> Wanted | None:
    """The JSON split that a text names; None where it is a plain list.

    >>> wanted("a/s.json:train+val").parts, wanted("val.txt")
    (('train', 'val'), None)
    """
    found = re.fullmatch(r"(.*\.json)(?::([^:/\\]*))?(?::([^:/\\]*))?", str(text))
    if not found:
        return None
    file, part, mark = found.groups()
    if mark not in (None, ANYWAY):
        raise UserError(f"split {text}: {mark!r} means nothing here; it is FILE.json:PART:{ANYWAY}")
    return Wanted(Path(file), tuple((part or "").split("+")) if part else (), mark == ANYWAY)


def write(split: SplitFile, path: Path) -> None:
    """Write a split, one line a list, so that two files can be compared by eye."""
    content = {
        "format": FORMAT,
        "recipe": split.recipe,
        "options": dict(split.options),
        "seed": split.seed,
        "source": dict(split.source),
        "report": dict(split.report),
        "parts": {
            name: {
                "pictures": part.pictures,
                "annotations": part.annotations,
                "shown": part.shown
                and [
                    {"name": s.name, "points": s.points, "annotations": s.annotations}
                    for s in part.shown
                ],
            }
            for name, part in split.parts.items()
        },
    }
    write_text(path, _told(content) + "\n")


def load(path: Path) -> SplitFile:
    """The split in a file; a UserError gathers all its faults."""
    content = load_json(path)
    if not isinstance(content, dict) or not str(content.get("format", "")).startswith("tetrapose"):
        raise UserError(
            f"split {path}: not a split file (no format field); tetrapose datasets split writes one"
        )
    if content["format"] != FORMAT:
        raise UserError(f"split {path}: its format is {content['format']!r}; this reads {FORMAT!r}")
    faults = _faults(content)
    if faults:
        raise UserError(f"split {path}: {'; '.join(faults)}")
    return SplitFile(
        recipe=content["recipe"],
        options=content["options"],
        seed=content["seed"],
        source=content["source"],
        report=content.get("report") or {},
        parts={name: _part(part) for name, part in content["parts"].items()},
    )


def chosen(split: SplitFile, asked: Wanted) -> list[Part]:
    """The parts that were asked for; the only one where none was named."""
    names = list(split.parts)
    if not asked.parts and len(names) > 1:
        raise UserError(
            f"split {asked.path}: has the parts {', '.join(names)}; choose with "
            f"{asked.path}:{names[0]}"
        )
    absent = [name for name in asked.parts if name not in split.parts]
    if absent:
        raise UserError(
            f"split {asked.path}: no part {', '.join(map(repr, absent))}; it has {', '.join(names)}"
        )
    return [split.parts[name] for name in asked.parts or names]


def _part(values: dict[str, Any]) -> Part:
    def listed(key: str) -> tuple[Any, ...] | None:
        found = values.get(key)
        return None if found is None else tuple(found)

    shown = values.get("shown")
    return Part(
        listed("pictures"),
        listed("annotations"),
        None
        if shown is None
        else tuple(
            Shown(str(s.get("name", "")), tuple(s["points"]), tuple(s["annotations"]))
            for s in shown
        ),
    )


def _faults(content: dict[str, Any]) -> list[str]:
    kinds = {"recipe": str, "options": dict, "seed": int, "source": dict, "parts": dict}
    faults = [
        f"{key} is missing or not {kind.__name__}"
        for key, kind in kinds.items()
        if not isinstance(content.get(key), kind)
    ]
    if faults:
        return faults
    if not isinstance(content["source"].get("digest"), str):
        faults.append("source lacks the digest of the labels")
    if not content["parts"]:
        faults.append("it has no parts")
    for name, part in content["parts"].items():
        if not isinstance(part, dict):
            faults.append(f"part {name} is not an object")
            continue
        faults += [
            f"part {name}: {key} is not a list of {kind.__name__}"
            for key, kind in (("pictures", str), ("annotations", int))
            if not _is_list(part.get(key), kind, none=True)
        ]
        faults += _shown_faults(name, part.get("shown"))
    return faults


def _shown_faults(part: str, shown: Any) -> list[str]:
    if shown is None:
        return []
    if not isinstance(shown, list):
        return [f"part {part}: shown is not a list of blocks"]
    return [
        f"part {part}: block {i + 1} of shown lacks points (names) or annotations (ids)"
        for i, block in enumerate(shown)
        if not isinstance(block, dict)
        or not _is_list(block.get("points"), str)
        or not _is_list(block.get("annotations"), int)
    ]


def _is_list(values: Any, kind: type, *, none: bool = False) -> bool:
    if values is None:
        return none
    return isinstance(values, list) and all(type(value) is kind for value in values)


def _told(value: Any, indent: str = "") -> str:
    """JSON with objects spread over lines and lists of plain values kept on one."""
    inner = indent + " "
    if isinstance(value, dict) and value:
        rows = [
            f"{inner}{json.dumps(str(key), ensure_ascii=False)}: {_told(one, inner)}"
            for key, one in value.items()
        ]
        return "{\n" + ",\n".join(rows) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(one, dict) for one in value):
        rows = [inner + _told(one, inner) for one in value]
        return "[\n" + ",\n".join(rows) + f"\n{indent}]"
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
