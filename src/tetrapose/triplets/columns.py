"""Columns of Arrow tables straight from plain values.

``pyarrow.array`` imports pandas wherever it is installed, half a second in each process: these do
not, and are quicker besides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa


def texts(values: Sequence[str]) -> pa.Array:
    """Strings of UTF-8 (``ledger.clean`` sees to that)."""
    import pyarrow as pa

    return _flat(pa.string(), [value.encode() for value in values])


def raw(values: Sequence[bytes]) -> pa.Array:
    """Bytes."""
    import pyarrow as pa

    return _flat(pa.binary(), values)


def numbers(values: Sequence[int], kind: str) -> pa.Array:
    """Whole numbers of a kind that NumPy and Arrow call the same, as "int64"."""
    import pyarrow as pa

    buffer = pa.py_buffer(np.array(values, dtype=kind))
    return pa.Array.from_buffers(pa.type_for_alias(kind), len(values), [None, buffer])


def lists(lengths: Sequence[int], inner: pa.Array) -> pa.Array:
    """Lists of so many entries each, one after another in ``inner``."""
    import pyarrow as pa

    return pa.Array.from_buffers(
        pa.list_(inner.type), len(lengths), [None, _offsets(lengths)], children=[inner]
    )


def structs(columns: dict[str, pa.Array]) -> pa.Array:
    """Records of columns of one length."""
    import pyarrow as pa

    fields = [pa.field(name, column.type) for name, column in columns.items()]
    return pa.StructArray.from_arrays(list(columns.values()), fields=fields)


def table(columns: dict[str, pa.Array]) -> pa.Table:
    """A table of columns of one length."""
    import pyarrow as pa

    return pa.Table.from_arrays(list(columns.values()), names=list(columns))


def _flat(kind: pa.DataType, values: Sequence[bytes]) -> pa.Array:
    import pyarrow as pa

    offsets: Any = _offsets([len(value) for value in values])
    whole = pa.py_buffer(b"".join(values))
    return pa.Array.from_buffers(kind, len(values), [None, offsets, whole])


def _offsets(lengths: Sequence[int]) -> pa.Buffer:
    import pyarrow as pa

    ends = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=ends[1:])
    if ends[-1] >= 2**31:
        raise OverflowError("a column of more than 2 GB; make the parts smaller (--part)")
    return pa.py_buffer(ends.astype(np.int32))
