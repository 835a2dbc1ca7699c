"""What every reader needs: label files and splits read with plain errors, pictures looked up."""

from __future__ import annotations

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from tetrapose.errors import UserError
from tetrapose.structures import Problem

Split: TypeAlias = str | Path | Sequence[str | Path]


@dataclass(frozen=True)
class About:
    """What a reader tells about its dataset: each reader module carries one as ``ABOUT``.

    ``fetch`` says where a person gets it and what to unpack where; ``layout`` what then lies there.
    """

    title: str
    skeleton: str
    origin: str
    licence: str
    citation: str
    layout: str
    traps: str
    fetch: str = ""


def load_json(path: Path) -> Any:
    """The values of a JSON file; a UserError tells a missing file from a broken one."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    if not data:
        raise UserError(f"{path}: the file is empty")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid JSON ({error}); is the file complete?") from None


def need_folder(root: Path, wants: Sequence[str], layout: str) -> None:
    """Raise a UserError unless ``root`` is a folder that holds every name of ``wants``."""
    if not root.exists():
        raise UserError(f"{root}: no such folder")
    if not root.is_dir():
        raise UserError(f"{root}: a file, where a folder is due that holds {' and '.join(wants)}")
    absent = [name for name in wants if not (root / name).exists()]
    if absent:
        raise UserError(
            f"{root}: the folder is there but lacks {' and '.join(absent)}; due is {layout}"
        )


def missing_pictures(root: Path, files: Sequence[str]) -> set[str]:
    """Those of ``files`` (paths below ``root``) that are not there; one listing a folder."""
    by_folder: dict[str, list[str]] = defaultdict(list)
    for file in files:
        by_folder[os.path.dirname(file)].append(file)
    missing: set[str] = set()
    for folder, members in by_folder.items():
        try:
            with os.scandir(root / folder) as entries:
                there = {entry.name for entry in entries}
        except (FileNotFoundError, NotADirectoryError):
            there = set()
        missing.update(file for file in members if os.path.basename(file) not in there)
    return missing


def content_groups(root: Path, files: Sequence[str]) -> np.ndarray:
    """(M,) the index of the first picture with the same file content.

    Only files of equal length are read, so a few thousand pictures take some tens of milliseconds.
    """
    groups = np.arange(len(files), dtype=np.int64)
    by_length: dict[int, list[int]] = defaultdict(list)
    for index, file in enumerate(files):
        try:
            by_length[os.stat(root / file).st_size].append(index)
        except OSError:
            continue
    for indices in by_length.values():
        if len(indices) == 1:
            continue
        first: dict[bytes, int] = {}
        for index in indices:
            digest = hashlib.blake2b((root / files[index]).read_bytes()).digest()
            groups[index] = first.setdefault(digest, index)
    return groups


def read_split(split: Split, folder: Path) -> dict[str, Path]:
    """Picture names of one or several plain lists, each with the file that names it first.

    One name a line; a line that begins with ``#`` is a comment. A bare file name is looked for in
    the set's own folder, when there is none where the program runs.
    """
    names: dict[str, Path] = {}
    for one in [split] if isinstance(split, (str, Path)) else split:
        path = Path(one)
        if not path.exists() and not path.is_absolute() and (folder / path).exists():
            path = folder / path
        for line in _split_text(path, folder).splitlines():
            name = (
                "" if line.startswith("#") else line.strip().replace("\\", "/").removeprefix("./")
            ).lstrip("/")  # Tsinghua Dogs' lists begin with .//
            if name:
                names.setdefault(name, path)
    return names


def _split_text(path: Path, folder: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        there = [file.name for file in folder.glob("*.txt")] if folder.is_dir() else []
        near = get_close_matches(path.name, there, n=3) or sorted(there)
        tail = f"; {folder} has {', '.join(near)}" if near else f", nor in {folder}"
        raise UserError(f"split {path}: no such file{tail}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"split {path}: cannot be read as text ({error})") from None


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all, its folder made where it is missing."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.part")
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from None


Columns = dict[str, Any]


def build_columns(
    entries: Sequence[Any],
    build: Callable[[Sequence[Any]], Columns],
    fault: Callable[[Any], str | None],
    where: str,
    kind: str = "annotation",
) -> tuple[Columns, np.ndarray, list[Problem]]:
    """Columns of all readable entries, the indices (n,) of those, and a problem for each other.

    ``build`` turns entries into columns at once and may raise; only then is each entry looked at,
    and ``fault`` says in words what is wrong with one.
    """
    try:
        return build(entries), np.arange(len(entries)), []
    except _UNREADABLE:
        pass
    good: list[int] = []
    problems: list[Problem] = []
    for index, entry in enumerate(entries):
        what = _judge(entry, build, fault)
        if what is None:
            good.append(index)
        else:
            named = f"{where}: {_entry_name(entry, index, kind)}"
            problems.append(Problem(named, what, "correct or remove the entry"))
    return build([entries[i] for i in good]), np.array(good, dtype=np.int64), problems


_UNREADABLE = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError)


def _judge(
    entry: Any, build: Callable[[Sequence[Any]], Columns], fault: Callable[[Any], str | None]
) -> str | None:
    if not isinstance(entry, dict):
        return f"an object with named fields is due, not {type(entry).__name__}"
    try:
        what = fault(entry)
        if what is None:
            build([entry])
    except KeyError as error:
        return f"the field {error} is missing"
    except _UNREADABLE as error:
        return f"cannot be read ({' '.join(str(error).split())})"
    return what


def _entry_name(entry: Any, index: int, kind: str) -> str:
    has_id = isinstance(entry, dict) and isinstance(entry.get("id"), (int, str))
    return f"{kind} {entry['id']}" if has_id else f"{kind} number {index + 1}"
