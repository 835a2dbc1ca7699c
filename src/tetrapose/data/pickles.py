"""Pickle files read as plain values: whatever would call or import anything is refused.

A pickle is a program. Sets that are spread as pickles hold nothing but dictionaries, lists, strings
and numbers, and those need none of the opcodes that look a name up; so every such look-up is
refused, before anything is imported or called.
Source: docs.python.org/3/library/pickle.html, "Restricting Globals".
"""

from __future__ import annotations

import io
import pickle
from typing import Any

DEEP = 1 << 24  # bytes; label pickles have a few thousand


class NotPlain(ValueError):
    """A pickle that is not made of plain values alone."""


class _Plain(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> Any:
        raise NotPlain(f"asks for {module_name}.{global_name}, which plain labels never do")

    def persistent_load(self, pid: Any) -> Any:
        raise NotPlain("refers to objects outside the file")


def plain_values(data: bytes) -> Any:
    """The dictionaries, lists, strings and numbers of a pickle.

    Raises NotPlain for a pickle that asks for anything else, that is cut off, or too large.
    """
    if len(data) > DEEP:
        raise NotPlain(f"{len(data)} bytes, far more than labels take")
    try:
        return _Plain(io.BytesIO(data), encoding="latin1").load()
    except NotPlain:
        raise
    except Exception as error:  # noqa: BLE001  # a broken pickle raises nearly anything
        raise NotPlain(f"not a whole pickle ({' '.join(str(error).split())})") from None
