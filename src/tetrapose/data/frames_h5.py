"""DeepLabCut's h5 tables read as arrays, without the pickles that pandas would run.

pandas keeps a table as HDF5 in one of two layouts: "fixed" (levels and codes as plain arrays) and
"table" (rows in one dataset, column names pickled in an attribute). Both are read with h5py alone;
the attribute is read as plain values or refused (pickles.py), since a pickle in a downloaded file
may hold code, and pandas.read_hdf would run it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tetrapose.data.pickles import plain_values
from tetrapose.errors import UserError

Header = tuple[tuple[str, ...], ...]


def load(file: Path) -> tuple[Header, tuple[str, ...], np.ndarray]:
    """Column names, row names (levels joined by /) and values (rows, columns) as float.

    Raises ValueError for a file that holds no such table, UserError where h5py is not installed.
    """
    try:
        import h5py
    except ImportError:
        raise UserError(
            f"{file}: reading h5 needs h5py: pip install 'tetrapose[deeplabcut]'; or write the "
            "table as csv in DeepLabCut"
        ) from None
    try:
        with h5py.File(file, "r") as content:
            groups = [group for group in content.values() if isinstance(group, h5py.Group)]
            if len(groups) != 1:
                raise ValueError(f"{len(groups)} tables in it, where one is due")
            return _fixed(groups[0]) if "axis0_level0" in groups[0] else _rows(groups[0])
    except (OSError, KeyError, TypeError, IndexError) as error:
        told = " ".join(str(error).split())
        raise ValueError(f"not a table of labels ({told})") from None


def _fixed(group: Any) -> tuple[Header, tuple[str, ...], np.ndarray]:
    columns = _axis(group, "axis0")
    frames = tuple("/".join(row) for row in _axis(group, "axis1"))
    where = {column: index for index, column in enumerate(columns)}
    values = np.full((len(frames), len(columns)), np.nan)
    for block in range(int(group.attrs["nblocks"])):
        items = [where[item] for item in _axis(group, f"block{block}_items")]
        values[:, items] = group[f"block{block}_values"][()]
    return columns, frames, values


def _axis(group: Any, name: str) -> Header:
    """The names along an axis, of one level or several."""
    if name in group:
        return tuple((text,) for text in _texts(group[name][()]))
    levels = []
    for level in range(int(group.attrs[f"{name}_nlevels"])):
        texts = _texts(group[f"{name}_level{level}"][()])
        levels.append([texts[code] for code in group[f"{name}_label{level}"][()]])
    return tuple(zip(*levels, strict=True))


def _rows(group: Any) -> tuple[Header, tuple[str, ...], np.ndarray]:
    table = group["table"]
    columns: list[tuple[str, ...]] = []
    blocks = []
    for name in table.dtype.names:
        if name.startswith("values_block_"):
            told = plain_values(bytes(table.attrs[f"{name}_kind"]))
            columns += [tuple(map(str, column)) for column in told]
            blocks.append(table[name].reshape(len(table), -1))
    names = [name for name in table.dtype.names if not name.startswith("values_block_")]
    parts = [_texts(table[name]) for name in names]
    frames = tuple("/".join(row) for row in zip(*parts, strict=True))
    values = np.concatenate(blocks, axis=1).astype(np.float64)
    if values.shape[1] != len(columns):
        raise ValueError(f"{len(columns)} names for {values.shape[1]} columns")
    return tuple(columns), frames, values


def _texts(values: Sequence[Any]) -> list[str]:
    return [one.decode() if isinstance(one, bytes) else str(one) for one in values]
