"""Networks written for other programs, kept in the user's folder of things that can be made again.

TETRAPOSE_CACHE names the folder; else it is tetrapose/ in XDG_CACHE_HOME, LOCALAPPDATA (Windows) or
~/.cache. An entry is a folder, moved there whole; its manifest.json names what it was made from and
the sha256 of every file. Anything that does not fit is as good as absent.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tetrapose.errors import UserError

VERSION = 1  # of what conversions give: goes up when the same key stands for another network


@dataclass(frozen=True)
class Entry:
    """Files by suffix, and what was noted of them when they were put here."""

    files: dict[str, bytes]
    notes: dict[str, Any]


def folder() -> Path:
    """Where entries lie; it need not exist."""
    if os.environ.get("TETRAPOSE_CACHE"):
        return Path(os.environ["TETRAPOSE_CACHE"])
    base = os.environ.get("XDG_CACHE_HOME")
    if not base and os.name == "nt":
        base = os.environ.get("LOCALAPPDATA")
    return (Path(base) if base else Path.home() / ".cache") / "tetrapose"


def place(key: Mapping[str, Any]) -> Path:
    """The folder of the entry of a key: plain values that say what it is made from."""
    text = json.dumps({**key, "version": VERSION}, sort_keys=True)
    return folder() / "networks" / hashlib.sha256(text.encode()).hexdigest()[:32]


def find(key: Mapping[str, Any]) -> Entry | None:
    """The entry of a key, every file as it was written; None where that is not so."""
    where = place(key)
    try:
        manifest = json.loads((where / "manifest.json").read_bytes())
        if manifest["key"] != {**key, "version": VERSION}:
            return None
        files = {end: (where / f"network{end}").read_bytes() for end in manifest["files"]}
        for end, data in files.items():
            if hashlib.sha256(data).hexdigest() != manifest["files"][end]:
                return None
        return Entry(files, dict(manifest["notes"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def keep(key: Mapping[str, Any], entry: Entry) -> None:
    """Put an entry in its place, whole, over whatever lies there.

    Raises UserError where the folder cannot be written.
    """
    where = place(key)
    manifest = {
        "key": {**key, "version": VERSION},
        "files": {end: hashlib.sha256(data).hexdigest() for end, data in entry.files.items()},
        "notes": entry.notes,
    }
    try:
        where.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=where.parent, prefix=".part-") as made:
            part = Path(made) / "entry"
            part.mkdir()
            for end, data in entry.files.items():
                (part / f"network{end}").write_bytes(data)
            (part / "manifest.json").write_text(json.dumps(manifest, indent=1))
            _move(part, where, Path(made) / "old")
    except OSError as error:
        raise UserError(
            f"{folder()}: converted networks cannot be kept there ({error.strerror or error});"
            " TETRAPOSE_CACHE names another folder"
        ) from None


def forget(key: Mapping[str, Any]) -> None:
    """Remove the entry of a key, if there is one."""
    shutil.rmtree(place(key), ignore_errors=True)


def _move(part: Path, where: Path, aside: Path) -> None:
    """``part`` to ``where``; what lies there is moved away first, since folders cannot be replaced.

    Another process may put its own there in between: it was made from the same key and stays.
    """
    if where.exists():
        os.replace(where, aside)
    try:
        os.replace(part, where)
    except OSError:
        if not where.is_dir():
            raise
