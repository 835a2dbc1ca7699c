"""ScarceNet's rules, one by one: worked examples, bounds, and what they do with nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tetrapose.training.labelfree import selection

CONFIDENCES = hnp.arrays(np.float64, (6, 5), elements=st.floats(0, 1, allow_nan=False))


def test_the_least_confident_forty_in_a_hundred_go():
    confidence = np.arange(1, 11).reshape(2, 5) / 10
    kept = selection.confident(confidence, dropped=0.4)
    # sorted(c)[4] is 0.5, and what ties with it goes
    assert kept.tolist() == [[False] * 5, [True] * 5]
    assert selection.confident(confidence, dropped=0.0).all()
    with pytest.raises(ValueError, match="dropped"):
        selection.confident(confidence, dropped=1.0)


@given(CONFIDENCES)
def test_kept_are_surer_than_dropped(confidence):
    kept = selection.confident(confidence)
    if kept.any() and not kept.all():
        assert confidence[kept].min() >= confidence[~kept].max()
    assert kept.any() == (confidence > 0).any()
    if len(np.unique(confidence)) == confidence.size:
        assert kept.sum() == confidence.size - int(0.4 * confidence.size) - 1


@pytest.mark.parametrize("nothing", [0.0, np.nan, -np.inf, np.inf])
def test_a_model_that_knows_nothing_keeps_nothing(nothing):
    assert not selection.confident(np.full((3, 4), nothing)).any()
    some = np.full((3, 4), nothing)
    some[1, 2] = 0.2
    assert np.argwhere(selection.confident(some)).tolist() == [[1, 2]]


def test_equal_confidences_all_stay():
    assert selection.confident(np.full((3, 4), 0.7)).all()


def test_the_share_of_small_losses_falls_as_published():
    share = selection.small_loss_share
    assert share(0) == 1.0
    assert share(5) == pytest.approx((1 + math.cos(math.pi / 6)) / 2)
    assert share(8.85) > 0.8 >= share(8.86)  # docstring: 8.9 epochs
    assert share(30) == share(1000) == 0.8
    assert share(30, least=0.1) == pytest.approx(0.1)
    assert share(0, ramp=0) == 0.8
    falling = [share(epoch) for epoch in np.linspace(0, 40, 100)]
    assert falling == sorted(falling, reverse=True)


@given(
    hnp.arrays(np.float32, (4, 6), elements=st.floats(0, 10, width=32)),
    hnp.arrays(bool, (4, 6)),
    st.floats(0, 1),
)
def test_small_losses_are_the_smallest_and_as_many_as_told(losses, there, share):
    chosen = selection.small_losses(torch.tensor(losses), torch.tensor(there), share).numpy()
    assert chosen.sum() == int(share * there.sum() + 1e-9)
    assert not (chosen & ~there).any()
    left = there & ~chosen
    if chosen.any() and left.any():
        assert losses[chosen].max() <= losses[left].min()


def test_small_losses_of_nothing_and_of_no_number():
    losses = torch.tensor([[1.0, math.nan], [math.inf, 0.5]])
    every = torch.ones(2, 2, dtype=torch.bool)
    assert selection.small_losses(losses, every, 1.0).tolist() == [[True, False], [False, True]]
    assert not selection.small_losses(losses, ~every, 1.0).any()
    # 0.8 of 10 is 8 in binary too, and equal losses go by place
    chosen = selection.small_losses(torch.zeros(2, 5), torch.ones(2, 5, dtype=torch.bool), 0.8)
    assert chosen.flatten().tolist() == [True] * 8 + [False] * 2


def test_agreeing_is_in_cells():
    one = torch.tensor([[[10.0, 10.0], [0.0, 0.0], [math.nan, 0.0]]])
    other = torch.tensor([[[12.3, 10.0], [2.5, 0.0], [0.0, 0.0]]])
    # 0.6 cells of 4 px are 2.4 px
    assert selection.agreeing(one, other, cells=4).tolist() == [[True, False, False]]
    assert not selection.agreeing(one, one, cells=4, near=0).any()


def test_trusted_keep_their_label_agreeing_take_the_answer_the_rest_nothing():
    pseudo = torch.tensor([[[1.0, 1.0], [2.0, 2.0], [3.0, 3.0], [math.nan, 4.0]]])
    answer = pseudo.nan_to_num(9.0) + 10
    trusted = torch.tensor([[True, False, False, True]])
    reusable = torch.tensor([[True, True, False, True]])
    points, weights = selection.targets(pseudo, trusted, answer, reusable)
    assert weights.tolist() == [[1.0, 1.0, 0.0, 0.0]]
    assert points[0, 0].tolist() == [1.0, 1.0]  # trusted wins over reusable
    assert points[0, 1].tolist() == [12.0, 12.0]
    assert points[0, 2].isnan().all()


def test_the_teachers_weight_rises_as_published():
    weight = selection.consistency_weight
    assert weight(0) == pytest.approx(2 * math.exp(-5))
    assert weight(5) == pytest.approx(2 * math.exp(-1.25))
    assert weight(10) == weight(150) == 2.0
    assert weight(3, rise=0) == 2.0
    assert weight(10, most=0.0) == 0.0
