"""Parts of a plan and the columns they are written in; what a worker has to import."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import piles
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tetrapose.structures import Instances
from tetrapose.triplets import columns, plan
from tetrapose.triplets.library import Library
from tetrapose.triplets.rows import Item
from tetrapose.triplets.sources import Source

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)


def parts(count: int, size: int) -> list[list[Item]]:
    items = [Item(key=str(i), source="s") for i in range(count)]
    return list(plan._parts(iter(items), size))


@given(st.integers(0, 3000), st.integers(1, 700))
@settings(max_examples=40)
def test_parts_hold_every_item_in_order_and_end_small(count, size):
    found = parts(count, size)
    assert [item.key for part in found for item in part] == [str(i) for i in range(count)]
    lengths = [len(part) for part in found]
    assert all(0 < length <= size for length in lengths)
    assert lengths == sorted(lengths, reverse=True)
    # two workers that take the next part when they are done end within a small part
    busy = [0, 0]
    for length in lengths:
        busy[busy.index(min(busy))] += length
    assert max(busy) - min(busy) <= max(plan.LEAST, size if count <= 2 * size else plan.LEAST * 2)


def test_small_parts_stay_as_they_are_asked_for():
    assert [len(part) for part in parts(10, 4)] == [4, 4, 2]
    assert [len(part) for part in parts(1500, 500)] == [500, 250, 187, 140, 105, 79, 59, 45, 33, 32,
                                                        32, 32, 6]  # fmt: skip


@given(st.lists(st.tuples(words, st.binary(max_size=9), st.integers(-(2**31), 2**31 - 1),
                          st.lists(words, max_size=4))))  # fmt: skip
def test_columns_are_what_arrow_makes_of_the_values(rows):
    texts, raw, numbers, lists = ([row[i] for row in rows] for i in range(4))
    flat = [word for one in lists for word in one]
    ours = columns.table(
        {
            "t": columns.texts(texts), "r": columns.raw(raw),
            "n": columns.numbers(numbers, "int32"),
            "l": columns.lists([len(one) for one in lists], columns.texts(flat)),
            "s": columns.structs({"a": columns.texts(texts), "b": columns.texts(texts[::-1])}),
        }
    )  # fmt: skip
    pairs = [{"a": a, "b": b} for a, b in zip(texts, texts[::-1], strict=True)]
    theirs = pa.table(
        {
            "t": pa.array(texts, pa.string()), "r": pa.array(raw, pa.binary()),
            "n": pa.array(numbers, pa.int32()), "l": pa.array(lists, pa.list_(pa.string())),
            "s": pa.array(pairs, pa.struct([("a", pa.string()), ("b", pa.string())])),
        }
    )  # fmt: skip
    ours.validate(full=True)
    assert ours.equals(theirs)


def test_a_plan_gives_labels_back_to_the_bit(tmp_path):
    draw = np.random.default_rng(0)
    points = draw.uniform(-9, 999, (3, 7, 2))
    points[0, 2] = np.nan
    labels = Instances(points, draw.integers(0, 3, (3, 7)).astype(np.uint8), draw.random((3, 4)))
    none = Instances(points[:0], labels.visibility[:0], labels.bboxes[:0])
    items = [Item(key="a", source="s", instances=labels, species=("dog", "", "cat")),
             Item(key="b", source="s", path="p\udcff.jpg", row=4),
             Item(key="c", source="s", instances=none)]  # fmt: skip
    library = Library(tmp_path / "lib")
    plan.write(library, [Source("s", lambda _: iter(items))], 8)
    back = plan.read(library, 0)
    for one, other in zip(items, back, strict=True):
        assert (one.key, one.path, one.row, one.species) == (
            other.key, other.path, other.row, other.species,
        )  # fmt: skip
        assert (one.instances is None) == (other.instances is None)
        if one.instances is not None and other.instances is not None:
            for name in ("keypoints", "visibility", "bboxes"):
                a, b = getattr(one.instances, name), getattr(other.instances, name)
                np.testing.assert_array_equal(a, b)
                assert a.dtype == b.dtype
    assert [item.path for item in plan.read_places(library, 0)] == [item.path for item in items]


def test_a_part_is_made_without_heavy_imports(tmp_path):
    """Each worker pays for what is imported: half a second for pandas alone."""
    spec = piles.labelled(tmp_path / "set", 2)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import piles\n"
        "from tetrapose.triplets.build import build\n"
        "build([sys.argv[2]], sys.argv[3], piles.SMALL)\n"
        "print(*sorted({'pandas', 'asyncio', 'torch', 'scipy', 'matplotlib'} & set(sys.modules)))"
    )
    here = piles.__file__.rpartition("/")[0]
    done = subprocess.run(
        [sys.executable, "-c", code, here, spec, str(tmp_path / "lib")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == ""


def test_a_column_that_is_too_long_is_told():
    with pytest.raises(OverflowError, match="smaller"):
        columns._offsets([2**31])
