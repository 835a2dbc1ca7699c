"""Groups that join, and many missing pictures told as a sum."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from miniatures import edit, paint

from tetrapose.data import checks, coco, foreign

LABELS = st.integers(1, 12).flatmap(
    lambda n: st.tuples(*[st.lists(st.integers(0, 6), min_size=n, max_size=n)] * 2)
)


@given(LABELS)
def test_joined_groups_are_the_finest_that_cut_neither(pair):
    one, other = map(np.array, pair)
    groups = checks.joined_groups(one, other)
    reach = (one[:, None] == one) | (other[:, None] == other)
    for _ in one:  # the transitive closure, slowly
        reach = (reach.astype(int) @ reach.astype(int)) > 0
    np.testing.assert_array_equal(groups[:, None] == groups, reach)
    assert (groups <= np.arange(len(groups))).all()
    assert (groups[groups] == groups).all()  # each group is called by its first picture


def test_no_pictures_no_groups():
    assert checks.joined_groups(np.zeros(0, np.int64), np.zeros(0, np.int64)).shape == (0,)


def test_many_missing_pictures_are_first_told_as_a_sum(tiny_coco):
    def more(content):
        content["images"] += [{"id": 500 + i, "file_name": f"gone/{i}.jpg"} for i in range(21)]

    edit(tiny_coco, more)
    first, *rest = coco.read(tiny_coco).problems
    assert "21 of 25 pictures are missing in" in str(first)
    assert "first gone/0.jpg" in str(first)
    assert len(rest) == 21
    paint(tiny_coco.parent / "images" / "gone" / "0.jpg", (8, 8), 3)
    assert len(coco.read(tiny_coco).problems) == 20  # so few are told one by one


def test_files_below_are_sorted_and_without_hidden_ones(tmp_path):
    for name in ("b/2.xml", "b/1.xml", "a/9.xml", "a/._9.xml", "a/9.txt", "top.xml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert foreign.files_below(tmp_path, ".xml") == ["a/9.xml", "b/1.xml", "b/2.xml"]
