"""Label files other than JSON, read with plain errors: XML, MATLAB, NumPy indices, folders."""

from __future__ import annotations

import math
import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from tetrapose.errors import UserError


def load_xml(path: Path) -> ElementTree.Element:
    """The root element of an XML file; a UserError says what is wrong with it.

    A byte order mark and blank lines before the first tag are passed over: Tsinghua Dogs' files
    begin so, and a declaration after them is an error to the parser.
    """
    data = _bytes(path).removeprefix(b"\xef\xbb\xbf").lstrip()
    if not data:
        raise UserError(f"{path}: the file is empty")
    try:
        return ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise UserError(f"{path}: not valid XML ({error}); is the file complete?") from None


def text_of(element: ElementTree.Element, tag: str) -> str:
    """The text of a child element, "" where there is none."""
    return (element.findtext(tag) or "").strip()


def corners(element: ElementTree.Element, tag: str) -> tuple[float, float, float, float]:
    """x1, y1, x2, y2 of a child that holds xmin, ymin, xmax and ymax; ValueError in words."""
    child = element.find(tag)
    if child is None:
        raise ValueError(f"<{tag}> is missing")
    x1, y1, x2, y2 = (
        number(child.findtext(name), f"<{name}> of <{tag}>")
        for name in ("xmin", "ymin", "xmax", "ymax")
    )
    return x1, y1, x2, y2


def number(text: str | None, name: str) -> float:
    """A finite number from text; a ValueError that calls it by ``name``."""
    if text is None or not text.strip():
        raise ValueError(f"{name} is missing or empty")
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{name} is {text.strip()!r}, where a number is due") from None
    if not math.isfinite(value):
        raise ValueError(f"{name} is {text.strip()}, where a finite number is due")
    return value


def size_of(root: ElementTree.Element) -> tuple[int, int]:
    """Width and height as <size> tells, 0, 0 where it does not."""
    try:
        width, height = (
            int(number(root.findtext(f"size/{side}"), side)) for side in ("width", "height")
        )
    except ValueError:
        return 0, 0
    return (width, height) if width > 0 and height > 0 else (0, 0)


def load_mat(path: Path) -> dict[str, Any]:
    """The variables of a MATLAB file up to version 7; a UserError says what is wrong."""
    try:
        from scipy.io import loadmat
        from scipy.io.matlab import MatReadError
    except ImportError:
        raise UserError(
            f"{path}: reading MATLAB files needs SciPy: pip install 'tetrapose[readers]'"
        ) from None
    if not _bytes(path, 1):
        raise UserError(f"{path}: the file is empty")
    try:
        return loadmat(path)
    except NotImplementedError:
        raise UserError(
            f"{path}: a MATLAB 7.3 file, which is not read; save it in MATLAB with -v7"
        ) from None
    except (
        MatReadError, OSError, ValueError, TypeError, KeyError, IndexError, EOFError,
        OverflowError, MemoryError, struct.error, zlib.error,
    ) as error:  # fmt: skip
        told = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"{path}: not a readable MATLAB file ({told}); is the file complete?"
        ) from None


def mat_strings(value: Any) -> list[str]:
    """The strings of a MATLAB cell array of strings, in order."""
    cells = np.asarray(value).ravel()
    return [str(np.asarray(cell).ravel()[0]) for cell in cells]


def load_indices(path: Path, count: int) -> np.ndarray:
    """Places 0..count-1 from a .npy file; a UserError where it holds anything else."""
    _bytes(path, 1)
    try:
        indices = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: not a readable .npy file ({error})") from None
    if not isinstance(indices, np.ndarray) or indices.ndim != 1 or indices.dtype.kind not in "iu":
        raise UserError(f"{path}: not a list of whole numbers")
    if len(indices) and (indices.min() < 0 or indices.max() >= count):
        raise UserError(
            f"{path}: names entry {indices.max()}, while the label file has {count:,}; do both "
            "belong to the same version?"
        )
    return indices.astype(np.int64)


def first_folder(root: Path, names: Sequence[str], layout: str) -> Path:
    """The first of ``names`` that is a folder below ``root``; a UserError tells what is due."""
    if not root.exists():
        raise UserError(f"{root}: no such folder")
    if not root.is_dir():
        raise UserError(f"{root}: a file, where a folder is due that holds {names[0]}")
    for name in names:
        if (root / name).is_dir():
            return root / name
    raise UserError(f"{root}: the folder is there but lacks {names[0]}; due is {layout}")


def files_below(folder: Path, suffix: str = "") -> list[str]:
    """Paths of the files in the folders of ``folder``, sorted, with ``/``; hidden ones left out.

    macOS archives bring a ``._name`` beside each file, which is no label.
    """
    found: list[str] = []
    with os.scandir(folder) as parts:
        inner = sorted(part.name for part in parts if part.is_dir())
    for name in inner:
        with os.scandir(folder / name) as entries:
            found += sorted(
                f"{name}/{entry.name}"
                for entry in entries
                if entry.name.endswith(suffix) and not entry.name.startswith(".")
            )
    return found


def _bytes(path: Path, count: int = -1) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(count)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
