"""Smoothing keeps what is true, outliers are seen, and doubtful frames come first."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrapose.tracking.labelling import Worth
from tetrapose.tracking.outliers import BONE, JUMP, UNSURE, Bones, jumps, unsure
from tetrapose.tracking.smoothing import OneEuro, savitzky_golay


def noisy(seed=0, count=60):
    rng = np.random.default_rng(seed)
    times = np.arange(count) / 25
    true = np.stack([100 + 40 * times, 50 + 10 * np.sin(3 * times)], axis=-1)[:, None]
    return true, true + rng.normal(0, 1, true.shape), times


def test_savitzky_golay_is_scipys_away_from_the_ends():
    signal = pytest.importorskip("scipy.signal")
    _, rough, times = noisy()
    mine = savitzky_golay(rough, times, window=9, order=2)
    theirs = signal.savgol_filter(rough, 9, 2, axis=0)
    np.testing.assert_allclose(mine[4:-4], theirs[4:-4], atol=1e-8)


@given(st.integers(0, 10**6), st.sampled_from([5, 7, 11]))
def test_a_parabola_stays_itself_through_gaps_and_uneven_times(seed, window):
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.uniform(0.5, 2.0, 40))
    points = np.stack([times**2 - 3 * times, 5 - times], axis=-1)[:, None]
    points[rng.random(40) < 0.2] = np.nan
    smooth = savitzky_golay(points, times, window=window, order=2)
    np.testing.assert_allclose(smooth, points, rtol=1e-6, atol=1e-5)
    assert (np.isnan(smooth) == np.isnan(points)).all()


def test_savitzky_golay_comes_nearer_to_the_truth_and_one_euro_calms_without_much_lag():
    true, rough, times = noisy()
    euro = OneEuro()
    filtered = np.array([euro.step(1, t, p, 100.0) for t, p in zip(times, rough, strict=True)])
    smooth = savitzky_golay(rough, times, window=9)
    error = np.abs(rough - true)[10:].mean()
    assert np.abs(smooth - true)[10:].mean() < 0.7 * error
    still = [np.abs(np.diff(one, n=2, axis=0))[10:].mean() for one in (rough, filtered)]
    assert still[1] < 0.5 * still[0]
    assert np.abs(filtered - true)[10:].mean() < 1.5 * error


def test_one_euro_begins_anew_after_a_gap_and_knows_tracks_apart():
    euro = OneEuro()
    euro.step(1, 0.0, np.array([[10.0, 10.0]]), 50.0)
    assert (euro.step(2, 0.0, np.array([[90.0, 10.0]]), 50.0) == [[90.0, 10.0]]).all()
    assert (euro.step(1, 2.0, np.array([[70.0, 10.0]]), 50.0) == [[70.0, 10.0]]).all()
    assert np.isnan(euro.step(1, 2.1, np.full((1, 2), np.nan), 50.0)).all()


def test_a_window_is_odd_and_wide_enough():
    with pytest.raises(ValueError, match="odd"):
        savitzky_golay(np.zeros((5, 1, 2)), np.arange(5.0), window=4)


def walk(count=30):
    """A square animal of four points that moves 5 px a frame; (T, 4, 2), sides (T,)."""
    corners = np.array([[0, 0], [100, 0], [100, 80], [0, 80]], dtype=float)
    return corners + np.array([5.0, 0.0]) * np.arange(count)[:, None, None], np.full(count, 90.0)


def test_a_jump_is_flagged_where_it_happens_and_not_where_it_ends():
    points, sides = walk()
    assert not jumps(points, sides).any()
    points[10, 2] += [0, 60]
    assert np.argwhere(jumps(points, sides)).tolist() == [[10, 2]]
    points[20:, 1] += [70, 0]  # and stays there
    assert np.argwhere(jumps(points, sides)).tolist() == [[10, 2], [20, 1]]
    points[5] = np.nan
    assert np.argwhere(jumps(points, sides)).tolist() == [[10, 2], [20, 1]]


def test_a_bone_too_long_is_flagged_and_a_short_one_is_not():
    points, sides = walk(60)
    bones = Bones(np.array([[0, 1], [1, 2]]))
    bones.add(1, points, sides, np.ones((60, 4), bool))
    points[30, 2] += [0, 90]
    points[40, 2] -= [0, 60]
    flags = bones.flags(1, points, sides)
    assert np.argwhere(flags).tolist() == [[30, 1], [30, 2]]
    assert not bones.flags(2, points, sides).any()  # of whom nothing is known


def test_unsure_points():
    points = np.array([[[1.0, 1.0], [np.nan, 1.0], [2.0, 2.0]]])
    assert unsure(points, np.array([[0.9, 0.9, 0.1]])).tolist() == [[False, True, True]]


def test_frames_to_label_are_the_doubtful_ones_and_apart():
    worth = Worth(apart=1.0)
    good, bad = np.zeros((1, 4), np.uint8), np.array([[JUMP | UNSURE, BONE, 0, 0]], np.uint8)
    for frame in range(100):
        flags = (
            bad if frame in (30, 31, 32) else np.array([[UNSURE, 0, 0, 0]]) if frame == 80 else good
        )
        worth.add(frame, frame / 25, flags, np.full((1, 4), 0.9))
    ranked = worth.ranked()
    assert [one.frame for one in ranked] == [30, 80]
    assert ranked[0].why == "1 unsure, 1 jump, 1 bone"
    assert ranked[0].doubt > ranked[1].doubt


def test_what_is_kept_for_labelling_is_bounded():
    worth = Worth(apart=0.01, most=5)
    for frame in range(200):
        worth.add(frame, frame / 25, np.array([[UNSURE]], np.uint8), np.array([[frame / 400]]))
    assert [one.frame for one in worth.ranked()] == [0, 1, 2, 3, 4]
