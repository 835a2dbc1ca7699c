"""Draws that even out labels and points, and what EpochSampler makes of them."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_sets import drawn_set
from hypothesis import given, settings
from hypothesis import strategies as st

from tetrapose.data import samplers
from tetrapose.data.crops import EpochSampler


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60))
def test_every_label_is_seen_equally_often(labels):
    labels = np.array(labels)
    draws = samplers.balanced(labels)
    seen = [draws[labels == one].sum() for one in np.unique(labels)]
    assert np.allclose(seen, len(labels) / len(seen))
    assert np.allclose(samplers.balanced(labels, power=0), 1)
    half = samplers.balanced(labels, power=0.5)
    spread = [half[labels == one].sum() for one in np.unique(labels)]
    counts = np.unique(labels, return_counts=True)[1]
    assert max(spread) / min(spread) == pytest.approx(np.sqrt(counts.max() / counts.min()))


@settings(max_examples=15)
@given(st.integers(0, 30))
def test_every_point_is_seen_about_as_often_as_asked(seed):
    """Points labelled by chance alone can all be brought to the target."""
    rng = np.random.default_rng(seed)
    labelled = rng.random((800, 8)) < rng.uniform(0.3, 0.8, 8)
    labelled[:5] = False
    draws = samplers.per_point(labelled, target=500)
    assert samplers.seen_labels(labelled, draws) == pytest.approx(500, rel=0.01)
    assert draws.min() >= 0
    assert draws.max() <= samplers.MOST
    assert not draws[:5].any()


def test_what_cannot_be_reached_is_neared():
    """One point on ten animals, seen ten times at most; another not at all."""
    labelled = np.zeros((200, 3), dtype=bool)
    labelled[:, 0] = True
    labelled[:10, 1] = True
    seen = samplers.seen_labels(labelled, samplers.per_point(labelled, target=300))
    assert seen[1] == pytest.approx(100, rel=0.01)
    assert seen[0] == pytest.approx(300, rel=0.05)
    assert seen[2] == 0
    assert not samplers.per_point(np.zeros((4, 3), dtype=bool)).any()


def test_what_is_near_even_is_left_near_alone():
    labelled = np.ones((50, 4), dtype=bool)
    assert np.allclose(samplers.per_point(labelled, target=50), 1)
    start = samplers.balanced(np.repeat([0, 1], [40, 10]))
    assert np.allclose(samplers.per_point(labelled, target=50, start=start), start)


def test_draws_do_not_hang_on_the_order_of_rows():
    labelled = drawn_set(3, pictures=60).labelled
    order = np.random.default_rng(0).permutation(len(labelled))
    one, other = (samplers.per_point(table, target=90) for table in (labelled, labelled[order]))
    assert np.allclose(one[order], other)


def test_an_epoch_of_draws_shows_each_point_as_often():
    labelled = np.random.default_rng(0).random((900, 6)) < np.linspace(0.2, 0.9, 6)
    draws = samplers.per_point(labelled, target=400)
    sampler = EpochSampler(len(draws), seed=4, draws=draws)
    epochs = []
    for epoch in (0, 1):
        sampler.set_epoch(epoch)
        rows = np.array([row for _, row in sampler])
        assert labelled[rows].sum(axis=0) == pytest.approx(400, rel=0.12)
        epochs.append(rows.tolist())
    assert epochs[0] != epochs[1]
    again = EpochSampler(len(draws), seed=4, draws=draws)
    again.set_epoch(1)
    assert [row for _, row in again] == epochs[1]
