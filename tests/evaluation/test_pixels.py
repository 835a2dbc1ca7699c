"""Errors in pixels: by hand, against DeepLabCut's rule written out anew, and laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrapose.evaluation.pixels import kept, pixel_errors, pixel_figures, summary

NAMES = ("nose", "tail")


def drawn(seed: int, count: int = 6):
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0, 100, (count, 2, 2))
    truth[rng.random((count, 2)) < 0.3] = np.nan
    predicted = truth + rng.normal(0, 3, truth.shape)
    predicted[rng.random((count, 2)) < 0.1] = np.nan
    return truth, predicted, rng.random((count, 2))


def test_by_hand():
    truth = np.array([[[0, 0], [10, 10]], [[5, 5], [np.nan, np.nan]], [[1, 1], [2, 2]]], float)
    predicted = np.array([[[3, 4], [10, 10]], [[5, 6], [7, 7]], [[np.nan] * 2, [2, 4]]], float)
    scores = np.array([[0.9, 0.5], [0.6, 0.9], [0.0, 0.7]])
    errors = pixel_errors(truth, predicted, scores)
    figures = pixel_figures(errors, NAMES, 0.6)
    assert figures["count"] == 4
    assert figures["missing"] == 1
    assert figures["mean"] == pytest.approx((5 + 0 + 1 + 2) / 4)
    assert figures["rms"] == pytest.approx(np.sqrt((25 + 0 + 1 + 4) / 4))
    assert figures["median"] == pytest.approx(1.5)
    assert figures["max"] == 5
    assert figures["with_cutoff"]["mean"] == pytest.approx((5 + 1 + 2) / 3)
    assert figures["with_cutoff"]["kept"] == pytest.approx(3 / 4)
    assert figures["per_keypoint"]["nose"]["mean"] == 3
    assert figures["per_keypoint"]["tail"]["with_cutoff"]["mean"] == 2
    np.testing.assert_allclose(errors.of_animals(), [2.5, 1, 2])


@pytest.mark.parametrize("seed", range(5))
def test_the_mean_is_what_deeplabcut_calls_rmse(seed):
    """Its rule, point by point: unlabelled and unpredicted are NaN, the rest are averaged."""
    truth, predicted, scores = drawn(seed)
    error, support, sure, sure_support = 0.0, 0, 0.0, 0
    for n in range(len(truth)):
        for k in range(2):
            distance = np.linalg.norm(truth[n, k] - predicted[n, k])
            if np.isnan(distance):
                continue
            error, support = error + distance, support + 1
            if scores[n, k] >= 0.6:
                sure, sure_support = sure + distance, sure_support + 1
    figures = pixel_figures(pixel_errors(truth, predicted, scores), NAMES, 0.6)
    assert figures["mean"] == pytest.approx(error / support)
    assert figures["with_cutoff"]["mean"] == pytest.approx(sure / sure_support)


@given(st.integers(0, 1000), st.floats(-50, 50), st.floats(-50, 50))
def test_a_shift_of_everything_changes_nothing_and_of_predictions_only_adds(seed, x, y):
    truth, predicted, scores = drawn(seed)
    figures = pixel_figures(pixel_errors(truth, predicted, scores), NAMES)
    both = pixel_figures(pixel_errors(truth + [x, y], predicted + [x, y], scores), NAMES)
    assert both["mean"] == pytest.approx(figures["mean"], abs=1e-9)
    same = pixel_errors(truth, truth + [x, y], scores)
    labelled = np.isfinite(truth).all(-1)
    np.testing.assert_allclose(same.distances[labelled], np.hypot(x, y), atol=1e-9)


@given(st.integers(0, 1000))
def test_a_higher_cutoff_keeps_no_more(seed):
    errors = pixel_errors(*drawn(seed))
    shares = [kept(errors, cutoff)["kept"] for cutoff in np.linspace(0, 1, 7)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] == 1


def test_nothing_is_told_as_nothing():
    empty = pixel_errors(np.full((2, 2, 2), np.nan), np.zeros((2, 2, 2)), np.ones((2, 2)))
    figures = pixel_figures(empty, NAMES)
    assert figures["mean"] is None
    assert figures["with_cutoff"]["kept"] is None
    assert np.isnan(empty.of_animals()).all()
    assert summary(np.zeros(0))["count"] == 0


def test_shapes_that_do_not_go_together_are_refused():
    with pytest.raises(ValueError, match="labels"):
        pixel_errors(np.zeros((2, 2, 2)), np.zeros((3, 2, 2)), np.zeros((2, 2)))
