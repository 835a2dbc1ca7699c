"""The assignment against scipy's, and pairs that may not be made."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrapose.matching import assign, pair


@given(st.integers(0, 7), st.integers(0, 7), st.integers(0, 10**6), st.booleans())
def test_the_least_cost_is_scipys(n, m, seed, ties):
    optimize = pytest.importorskip("scipy.optimize")
    cost = np.random.default_rng(seed).normal(size=(n, m))
    cost = cost.round(0) if ties else cost
    rows, columns = assign(cost)
    assert len(rows) == min(n, m) == len(set(columns.tolist()))
    assert rows.tolist() == sorted(set(rows.tolist()))
    a, b = optimize.linear_sum_assignment(cost)
    assert cost[rows, columns].sum() == pytest.approx(cost[a, b].sum())


def test_what_is_not_alike_is_not_paired():
    rows, columns = pair(np.array([[0.9, 0.8], [0.85, 0.1]]), 0.3)
    assert list(zip(rows, columns, strict=True)) == [(0, 1), (1, 0)]  # together 1.65, not 1.0
    rows, columns = pair(np.array([[0.9, 0.2], [0.8, 0.1]]), 0.3)
    assert list(zip(rows, columns, strict=True)) == [(0, 0)]
    assert pair(np.zeros((2, 2)), 0.0)[0].size == 0


def test_costs_are_finite():
    with pytest.raises(ValueError, match="finite"):
        assign(np.array([[np.inf]]))
