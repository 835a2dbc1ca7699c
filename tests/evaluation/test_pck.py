"""PCK by hand in each definition, and what must hold in all of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrapose import geometry
from tetrapose.evaluation import pck
from tetrapose.evaluation.pck import DEFINITIONS, Pairs, distances, shares


def by_hand(shift=(0.0, 0.0)) -> Pairs:
    """One animal of four points in a 200 x 100 box, its first point moved."""
    truth = np.array([[[60.0, 60.0], [160.0, 60.0], [60.0, 90.0], [160.0, 90.0]]])
    predicted = truth.copy()
    predicted[0, 0] += shift
    return Pairs(
        truth, np.ones((1, 4), bool), predicted, np.array([[10.0, 20.0, 210.0, 120.0]]),
        np.array([10_000.0]), np.array([[400, 200]]),
    )  # fmt: skip


@pytest.mark.parametrize(
    "name, expected",
    [
        ("box_area", 5 / 100),  # sqrt(10000)
        ("box_side", 5 / 200),
        ("keypoint_diagonal", 5 / np.hypot(100, 30)),
        ("keypoint_diagonal_square", np.hypot(3 / 400, 4 / 200) / np.hypot(0.25, 0.15)),
        ("heatmap", 1 / 64),  # 250 px over 64 cells: from cell (19, 29) to (19, 30)
    ],
)
def test_lengths_by_hand(name, expected):
    table = distances(by_hand((3.0, 4.0)), name)
    assert table[0, 0] == pytest.approx(expected)
    assert np.all(table[0, 1:] == 0)


def test_every_definition_says_what_it_is():
    assert {"box_area", "box_side", "heatmap", "keypoint_diagonal"} <= set(DEFINITIONS)
    for definition in DEFINITIONS.values():
        assert definition.mean in ("points", "instances", "types")
        assert all((definition.length, definition.counts, definition.source))


def random_pairs(seed: int) -> Pairs:
    rng = np.random.default_rng(seed)
    n, k = int(rng.integers(1, 9)), 6
    corner, side = rng.uniform(0, 50, (n, 2)), rng.uniform(30, 200, (n, 2))
    truth = corner[:, None] + rng.uniform(0, 1, (n, k, 2)) * side[:, None]
    labelled = rng.random((n, k)) < 0.7
    predicted = truth + rng.normal(0, 8, truth.shape)
    predicted[rng.random((n, k)) < 0.1] = np.nan
    boxes = np.concatenate([corner, corner + side], axis=1)
    return Pairs(
        np.where(labelled[..., None], truth, np.nan), labelled, predicted, boxes,
        np.prod(side, axis=1), np.tile([300, 260], (n, 1)),
    )  # fmt: skip


@pytest.mark.parametrize("name", DEFINITIONS)
@given(seed=st.integers(0, 10**6))
def test_unlabelled_never_counts_and_missing_always_misses(name, seed):
    pairs = random_pairs(seed)
    table = distances(pairs, name)
    assert np.isnan(table[~pairs.labelled]).all()
    lost = pairs.labelled & np.isnan(pairs.predicted).any(axis=-1)
    assert not np.isfinite(table[lost]).any()
    wild = np.where(pairs.labelled[..., None], pairs.predicted, 1e5)
    np.testing.assert_array_equal(table, distances(replace(pairs, predicted=wild), name))


@pytest.mark.parametrize("name", DEFINITIONS)
@given(seed=st.integers(0, 10**6), scale=st.sampled_from([0.5, 2.0, 4.0]))
def test_size_of_the_picture_does_not_matter(name, seed, scale):
    pairs = random_pairs(seed)
    grown = Pairs(
        pairs.truth * scale, pairs.labelled, pairs.predicted * scale, pairs.bboxes * scale,
        pairs.areas * scale**2, pairs.sizes * scale,
    )  # fmt: skip
    np.testing.assert_allclose(distances(pairs, name), distances(grown, name), rtol=1e-9)


@pytest.mark.parametrize("name", DEFINITIONS)
def test_perfect_is_one_and_more_noise_is_less(name):
    shares_at = []
    for noise in (0.0, 15.0, 60.0):
        rng = np.random.default_rng(1)
        pairs = random_pairs(4)
        guess = pairs.truth + rng.normal(0, 1, pairs.truth.shape) * noise
        shares_at.append(shares(distances(replace(pairs, predicted=guess), name), 0.1)["points"])
    assert shares_at[0] == 1.0
    assert shares_at[0] > shares_at[1] > shares_at[2]


def test_means_differ_as_they_say():
    table = np.array([[0.0, 1.0, np.nan], [0.0, 0.0, 0.0]])
    got = shares(table, 0.5)
    assert got == {
        "points": pytest.approx(4 / 5),
        "instances": pytest.approx((1 / 2 + 1) / 2),
        "types": pytest.approx((1 + 1 / 2 + 1) / 3),
    }


def test_a_threshold_is_not_reached_by_standing_on_it():
    assert shares(np.array([[0.05]]), 0.05)["points"] == 0.0


def test_nothing_counted_is_no_number():
    assert all(np.isnan(v) for v in shares(np.full((2, 3), np.nan), 0.1).values())
    assert np.isnan(pck.mean_error(np.full((2, 3), np.nan)))


def test_unusable_lengths_do_not_count():
    pairs = by_hand((3.0, 4.0))
    assert np.isnan(distances(replace(pairs, areas=np.zeros(1)), "box_area")).all()
    unknown = replace(pairs, sizes=np.zeros((1, 2)))
    assert np.isnan(distances(unknown, "keypoint_diagonal_square")).all()


def test_heatmap_cells_are_those_of_the_crop():
    """The shortened formula agrees with geometry's own way from picture to map."""
    pairs = random_pairs(11)
    centers, sizes = geometry.box_to_region(pairs.bboxes, aspect=1.0, padding=pck.MAP_PADDING)
    for row in range(len(pairs.truth)):
        matrix = geometry.crop_matrix(centers[row], sizes[row], (256, 256))
        cells = [
            np.round(geometry.pixels_to_grid(geometry.transform_points(matrix, points[row]), 4))
            for points in (pairs.truth, pairs.predicted)
        ]
        far = np.linalg.norm(np.clip(cells[1], 0, 63) - cells[0], axis=-1) / 64
        counted = pairs.labelled[row] & (cells[0] > 1).all(-1) & (cells[0] < 64).all(-1)
        expected = np.where(counted, np.where(np.isnan(far), np.inf, far), np.nan)
        np.testing.assert_allclose(distances(pairs, "heatmap")[row], expected)


def test_heatmap_leaves_out_the_first_two_cells():
    """A target in the map's first two columns does not count, as in HRNet's accuracy()."""
    pairs = by_hand()
    box = np.array([[0.0, 0.0, 256.0, 256.0]]) / 1.25  # 4 px a cell, the map from -25.6 px on
    truth = np.array([[[-24.0, 50.0], [-18.0, 50.0], [-14.0, 50.0], [50.0, -24.0]]])
    table = distances(replace(pairs, truth=truth, predicted=truth, bboxes=box), "heatmap")
    assert np.isnan(table[0]).tolist() == [True, True, False, True]


def test_swaps_are_seen_only_where_both_sides_are_labelled():
    flip = np.array([1, 0, 2, 4, 3])
    truth = np.array([[[0.0, 0.0], [10.0, 0.0], [5.0, 5.0], [0.0, 9.0], [10.0, 9.0]]])
    labelled = np.array([[True, True, True, True, False]])
    pairs = Pairs(truth, labelled, truth[:, flip], np.zeros((1, 4)), np.ones(1), np.ones((1, 2)))
    np.testing.assert_array_equal(pck.swaps(pairs, flip), [[1, 1, np.nan, np.nan, np.nan]])
    right = replace(pairs, predicted=truth)
    np.testing.assert_array_equal(pck.swaps(right, flip), [[0, 0, np.nan, np.nan, np.nan]])
