"""Bands of points by error and number of labels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrapose.errors import UserError
from tetrapose.evaluation.difficulty import bands, errors_of


def test_the_bands_as_they_were_told():
    """Easy or medium with many; medium with few or hard with many; hard with few."""
    cases = [("e+", 0.1, 9, 1), ("e-", 0.1, 1, 1), ("m+", 0.2, 9, 1), ("m-", 0.2, 1, 2),
             ("h+", 0.3, 9, 2), ("h-", 0.3, 1, 3)]  # fmt: skip
    names, nme, counts, due = zip(*cases, strict=True)
    made = bands(names, nme, counts, easy=0.15, hard=0.25, plenty=5)
    assert made.band.tolist() == list(due)
    assert made.difficulty == ("easy", "easy", "medium", "medium", "hard", "hard")
    assert made.values(4).tolist() == [1, 1, 1, 4, 4, 1]


def test_thresholds_are_part_of_the_lower_class():
    made = bands("abc", [0.1, 0.2, 0.2001], [5, 5, 5], easy=0.1, hard=0.2, plenty=5)
    assert made.difficulty == ("easy", "medium", "hard")
    assert made.band.tolist() == [1, 1, 2]


def test_thresholds_of_their_own():
    made = bands([str(i) for i in range(9)], np.arange(9) / 10, [1, 9] * 4 + [9])
    assert [made.difficulty.count(one) for one in ("easy", "medium", "hard")] == [3, 3, 3]
    assert made.plenty == 9


def test_left_and_right_go_alike():
    made = bands(
        ["left", "right", "nose"], [0.1, 0.5, 0.2], [4, 2, 9], flip_indices=np.array([1, 0, 2])
    )
    assert made.nme == pytest.approx([0.3, 0.3, 0.2])
    assert made.counts.tolist() == [3, 3, 9]
    half = bands(["left", "right"], [None, 0.5], [4, 2], flip_indices=np.array([1, 0]))
    assert half.nme.tolist() == [0.5, 0.5]


@given(st.lists(st.tuples(st.none() | st.floats(0, 1), st.integers(0, 9)), min_size=1, max_size=20))
def test_harder_or_rarer_is_never_a_lower_band(points):
    nme, counts = zip(*points, strict=True)
    if not any(one is not None for one in nme):
        with pytest.raises(UserError, match="no NME is known"):
            bands(range(len(nme)), nme, counts)
        return
    made = bands([str(i) for i in range(len(nme))], nme, counts)
    for i, one in enumerate(nme):
        assert (made.band[i] == 0) == (one is None) == (made.difficulty[i] == "unknown")
        for j, other in enumerate(nme):
            if one is not None and other is not None and one <= other and counts[i] >= counts[j]:
                assert made.band[i] <= made.band[j]


def test_thresholds_that_cross():
    with pytest.raises(UserError, match="the first exceeds the second"):
        bands("ab", [0.1, 0.2], [1, 1], easy=0.3, hard=0.2)


def test_errors_from_a_result():
    result = {"per_keypoint": {"nose": {"nme": 0.1, "count": 3}, "neck": {"nme": None}}}
    assert errors_of(result, "r.json") == {"nose": 0.1, "neck": None}


@pytest.mark.parametrize(
    "result, told",
    [
        ([], "no per_keypoint"),
        ({"per_keypoint": {}}, "no per_keypoint"),
        ({"per_keypoint": {"nose": {"nme": "high"}, "neck": 3}}, "no nme for nose, neck"),
    ],
)
def test_no_result(result, told):
    with pytest.raises(UserError, match=f"r.json: {told}"):
        errors_of(result, "r.json")
