"""What a user's paths mean: pictures and videos, each with a name of its own."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tetrapose import images
from tetrapose.errors import UserError
from tetrapose.structures import Problem

VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".mts")


@dataclass(frozen=True)
class Source:
    """A picture or a video; ``name`` tells it apart from all others, with / between folders."""

    path: Path
    name: str
    is_video: bool


def find_sources(
    paths: Sequence[str | Path], *, out: Path | None = None
) -> tuple[list[Source], list[Problem]]:
    """Pictures and videos of files, folders (searched whole) and globs, each once, in order.

    Names are paths below the folder given, or the file's own; where those clash, paths below the
    folder common to all. Files given by name are taken whatever their suffix; in folders only what
    looks like a picture or a video is, and never what lies in ``out``.
    """
    found: list[Source] = []
    problems: list[Problem] = []
    for text in paths:
        for path in _expand(str(text)):
            if not path.exists():
                problems.append(Problem(str(path), "no such file or folder", "check the path"))
                continue
            more = _in_folder(path, out) if path.is_dir() else [_source(path, path.name)]
            if not more:
                what = "holds no pictures or videos"
                problems.append(Problem(str(path), what, "name another folder"))
            found += more
    unique: dict[Path, Source] = {}
    for source in found:
        unique.setdefault(source.path.resolve(), source)
    sources = list(unique.values())
    if len({source.name for source in sources}) < len(sources):
        whole = [Path(os.path.abspath(source.path)) for source in sources]
        top = os.path.commonpath([path.parent for path in whole])
        names = [path.relative_to(top).as_posix() for path in whole]
        sources = [replace(s, name=name) for s, name in zip(sources, names, strict=True)]
    return sources, problems


def overlay_paths(sources: Sequence[Source], folder: Path) -> list[Path]:
    """Where each source's overlay goes: its name below ``folder`` with .jpg or .mp4.

    Names that differ in their suffix alone keep it (cat.png.jpg). A UserError where an overlay
    would take the place of an input.
    """
    plain = [_with_suffix(Path(s.name), s.is_video) for s in sources]
    count = Counter(str(path).casefold() for path in plain)
    inputs = {source.path.resolve() for source in sources}
    paths = []
    for source, path in zip(sources, plain, strict=True):
        if count[str(path).casefold()] > 1:
            path = path.with_name(Path(source.name).name + path.suffix)
        target = folder / path
        if target.resolve() in inputs:
            raise UserError(
                f"{target}: an overlay would take the place of this input; choose another --out"
            )
        paths.append(target)
    return paths


def _expand(text: str) -> list[Path]:
    if os.path.lexists(text) or not glob.has_magic(text):
        return [Path(text)]
    return [Path(match) for match in sorted(glob.glob(text, recursive=True))] or [Path(text)]


def _in_folder(folder: Path, out: Path | None) -> list[Source]:
    skip = None if out is None else out.resolve()
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(
            f for f in folders if not f.startswith(".") and Path(place, f).resolve() != skip
        )
        for file in sorted(files):
            suffix = Path(file).suffix.lower()
            if suffix in images.SUFFIXES + VIDEO_SUFFIXES and not file.startswith("."):
                path = Path(place, file)
                found.append(_source(path, path.relative_to(folder).as_posix()))
    return found


def _source(path: Path, name: str) -> Source:
    return Source(path, name, path.suffix.lower() in VIDEO_SUFFIXES)


def _with_suffix(path: Path, is_video: bool) -> Path:
    return path.with_suffix(".mp4" if is_video else ".jpg")
