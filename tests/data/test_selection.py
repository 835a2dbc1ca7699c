"""Few-shot selection: species even, favoured points rich, the same in any order."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_sets import drawn_set, shuffled
from hypothesis import given, settings
from hypothesis import strategies as st

from tetrapose.data import selection
from tetrapose.errors import UserError

ONES = np.ones(17)


@settings(max_examples=25)
@given(st.integers(0, 40), st.integers(1, 30))
def test_species_have_equally_many_as_far_as_they_go(seed, count):
    pose_set = drawn_set(seed, pictures=40)
    rows = selection.few_shot(pose_set, count, ONES)
    assert len(set(rows.tolist())) == count
    have = np.bincount(pose_set.species[rows], minlength=3)
    can = np.bincount(pose_set.species[selection.usable(pose_set)], minlength=3)
    assert all(h == c or h >= have.max() - 1 for h, c in zip(have, can, strict=True))


def test_favoured_points_are_chosen_more():
    pose_set = drawn_set(5, pictures=150)
    favoured = np.array([10.0] * 3 + [1.0] * 14)
    plain = pose_set.labelled[selection.few_shot(pose_set, 30, ONES)]
    chosen = pose_set.labelled[selection.few_shot(pose_set, 30, favoured)]
    by_lot = pose_set.labelled[selection.at_random(pose_set, 30)]
    assert chosen[:, :3].mean() > plain[:, :3].mean() > by_lot[:, :3].mean()
    assert chosen[:, :3].mean() > 0.95


def test_no_point_is_left_behind():
    pose_set = drawn_set(6, pictures=150)
    spread = [
        np.ptp(pose_set.labelled[rows].sum(axis=0))
        for rows in (
            selection.few_shot(pose_set, 60, ONES),
            selection.at_random(pose_set, 60),
        )
    ]
    assert spread[0] < spread[1]


@pytest.mark.parametrize("seed", [0, 1])
def test_rows_in_another_order_give_the_same_animals(seed):
    pose_set = drawn_set(seed, pictures=40)
    other = shuffled(pose_set, seed + 5)
    for choose in (
        lambda s: selection.few_shot(s, 12, ONES, seed=3),
        lambda s: selection.at_random(s, 12, seed=3),
    ):
        one, two = (set(s.annotation_ids[choose(s)].tolist()) for s in (pose_set, other))
        assert one == two
    assert set(selection.at_random(pose_set, 12, seed=4)) != set(
        selection.at_random(pose_set, 12, seed=3)
    )


def test_cells_of_ones_own():
    pose_set = drawn_set(2, pictures=60)
    sets = (pose_set.image_index % 2).astype(int)
    cells = sets * 3 + pose_set.species
    rows = selection.few_shot(pose_set, 18, ONES, cells=cells)
    assert np.bincount(cells[rows], minlength=6).tolist() == [3] * 6


def test_groups_are_not_chosen_twice_while_others_wait():
    pose_set = drawn_set(8, pictures=60)
    alike = pose_set.visibility.copy()
    alike[:] = 2
    pose_set.visibility[:] = alike
    rows = selection.few_shot(pose_set, 12, ONES)
    groups = pose_set.groups[pose_set.image_index[rows]]
    assert len(set(groups.tolist())) == 12


def test_animals_without_labels_and_crowds_are_not_chosen():
    pose_set = drawn_set(9)
    pose_set.visibility[:5] = 0
    pose_set.crowd[5:9] = True
    count = len(pose_set) - 9
    assert selection.few_shot(pose_set, count, ONES).min() == 9
    assert selection.at_random(pose_set, count).min() == 9
    for choose in (lambda n: selection.few_shot(pose_set, n, ONES),):
        with pytest.raises(UserError, match=f"the set has {count} with labels"):
            choose(count + 1)
        with pytest.raises(UserError, match="0 animals to choose"):
            choose(0)


def test_the_rest_has_no_picture_of_a_chosen_group():
    pose_set = drawn_set(10, pictures=40)
    rows = selection.few_shot(pose_set, 10, ONES)
    parts = selection.parts(pose_set, rows)
    assert parts["selected"].annotations == tuple(sorted(pose_set.annotation_ids[rows].tolist()))
    chosen = set(pose_set.groups[pose_set.image_index[rows]].tolist())
    rest = {pose_set.groups[pose_set.files.index(name)] for name in parts["rest"].pictures or ()}
    assert not chosen & rest
    assert chosen | rest == set(pose_set.groups.tolist())
