"""Scores against outcomes: errors known beforehand, maps that mend them, none judging itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrapose import skeletons
from tetrapose.evaluation import calibration
from tetrapose.evaluation.calibration import Calibration, Judged
from tetrapose.evaluation.predictions import in_given_boxes
from tetrapose.reports.calibration import calibration_page, reliability_section

SKELETON = skeletons.load("animal_pose")
PARTNERS = SKELETON.flip_indices


def drawn(count: int = 800, *, keypoints: int = 6, power: float = 2.0, seed: int = 0) -> Judged:
    """Scores s of points that are right with chance s^power; a fifth not labelled."""
    rng = np.random.default_rng(seed)
    scores = rng.random((count, keypoints))
    right = (rng.random(scores.shape) < scores**power).astype(float)
    right[rng.random(scores.shape) < 0.2] = np.nan
    return Judged(scores, right, np.arange(count) // 2)


def sides(keypoints: int = 6) -> np.ndarray:
    return np.arange(keypoints).reshape(-1, 2)[:, ::-1].reshape(-1)


def slow_error(judged: Judged, bins: int) -> float:
    total, error = 0, 0.0
    pairs = [
        (s, r)
        for s, r in zip(judged.scores.flat, judged.right.flat, strict=True)
        if r == r  # noqa: PLR0124
    ]
    for b in range(bins):
        inside = [
            (s, r) for s, r in pairs if b / bins <= s < (b + 1) / bins or (b == bins - 1 and s == 1)
        ]
        total += len(inside)
        error += abs(sum(s for s, _ in inside) - sum(r for _, r in inside))
    return error / total


@given(seed=st.integers(0, 10**6), bins=st.sampled_from([4, 8, 16]))
def test_the_error_is_the_definitions(seed: int, bins: int) -> None:
    judged = drawn(30, seed=seed)
    judged.scores[0, 0] = 1.0
    table = calibration.reliability(judged, bins=bins)
    assert table.expected_error == pytest.approx(slow_error(judged, bins), abs=1e-12)
    assert table.counts.sum() == judged.counted.sum()


def test_scores_that_keep_their_promise_have_next_to_no_error() -> None:
    honest, boastful = drawn(20_000, power=1.0), drawn(20_000, power=2.0)
    assert calibration.reliability(honest).expected_error < 0.01
    # E |s - s^2| over 0..1 is 1/6
    assert calibration.reliability(boastful).expected_error == pytest.approx(1 / 6, abs=0.01)


def test_a_map_mends_scores_of_pictures_that_it_never_saw() -> None:
    judged = drawn(4000)
    after = calibration.held_out(judged, sides())
    before = calibration.figures(judged, list("abcdef"))
    mended = calibration.figures(after, list("abcdef"))
    assert before["ece"] > 0.15
    assert mended["ece"] < 0.02
    assert mended["brier"] < before["brier"] - 0.02
    assert set(mended["per_keypoint"]) == set("abcdef")
    assert mended["per_keypoint"]["c"]["ece"] < 0.05


def test_nothing_of_a_picture_decides_about_itself() -> None:
    """Turning round the outcomes of some pictures changes no score of these pictures."""
    judged = drawn(200)
    for group in (0, 7, 50):
        own = judged.groups == group
        turned = np.where(own[:, None], 1 - judged.right, judged.right)
        a = calibration.held_out(judged, sides())
        b = calibration.held_out(Judged(judged.scores, turned, judged.groups), sides())
        np.testing.assert_array_equal(a.scores[own], b.scores[own])
        assert not np.array_equal(a.scores, b.scores)
    with pytest.raises(ValueError, match="cannot be parted"):
        calibration.held_out(judged.rows(judged.groups == 3), sides())


@given(seed=st.integers(0, 10**6), count=st.integers(1, 60))
def test_a_map_rises_stays_in_0_to_1_and_knows_no_sides(seed: int, count: int) -> None:
    judged = drawn(count, seed=seed)
    if not judged.counted.any():
        return
    made = calibration.fit(judged, sides())
    scores = np.linspace(0, 1, 301)[:, None].repeat(6, axis=1)
    shares = made(scores)
    assert (np.diff(shares, axis=0) >= 0).all()
    assert ((shares >= 0) & (shares <= 1)).all()
    np.testing.assert_array_equal(shares, shares[:, sides()])


def test_a_keypoint_that_errs_more_is_trusted_less_and_a_rare_one_as_the_rest() -> None:
    judged = drawn(4000, power=1.0)
    judged.right[:, :2] *= np.random.default_rng(5).random((4000, 2)) < 0.5
    judged.right[3:, 4:] = np.nan
    shares = calibration.fit(judged, sides())(np.full((1, 6), 0.7))[0]
    assert shares[0] < shares[2] - 0.2
    assert shares[2] == pytest.approx(0.7, abs=0.06)
    middle = float(np.median(shares))
    assert abs(shares[4] - middle) < 0.25


def test_a_map_comes_back_from_a_card() -> None:
    made = calibration.fit(drawn(), sides())
    back = calibration.from_dict(made.to_dict(), 6)
    scores = drawn(seed=3).scores
    np.testing.assert_allclose(back(scores), made(scores), atol=2e-3)
    assert made(np.zeros((0, 6))).shape == (0, 6)
    with pytest.raises(ValueError, match="6 keypoints are calibrated, not 5"):
        made(scores[:, :5])


@pytest.mark.parametrize(
    "values, words",
    [
        (None, "lists of numbers"),
        ({}, "lists of numbers"),
        ({"knots": ["a"], "shares": [[1]]}, "lists of numbers"),
        ({"knots": [], "shares": []}, "knots must be a list"),
        ({"knots": [0.1, 0.2], "shares": [[0.1]]}, "shares must be"),
        ({"knots": [0.2, 0.1], "shares": [[0.1, 0.2]]}, "rise"),
        ({"knots": [0.1, float("nan")], "shares": [[0.1, 0.2]]}, "rise"),
        ({"knots": [0.1, 0.2], "shares": [[0.2, 0.1]]}, "not fall"),
        ({"knots": [0.1, 0.2], "shares": [[0.2, 1.1]]}, "lie in 0..1"),
        ({"knots": [0.1, 0.2], "shares": [[0.2, 0.4]]}, "of 1 keypoints, not 2"),
    ],
)
def test_maps_that_cannot_be_used(values, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        calibration.from_dict(values, 2)


def test_points_are_judged_by_the_root_of_the_area(made_up) -> None:
    make_set, _ = made_up
    truth = make_set()
    length = np.sqrt(truth.areas)[:, None]
    near = np.random.default_rng(0).random(truth.visibility.shape) < 0.5
    points = np.nan_to_num(truth.keypoints, nan=5.0)
    points[..., 0] += np.where(near, 0.099, 0.101) * length
    scores = np.where(near, 0.9, 0.3)
    judged = calibration.judge(truth, in_given_boxes(truth, points, scores))
    there = truth.labelled & ~truth.crowd[:, None]
    np.testing.assert_array_equal(judged.counted, there)
    np.testing.assert_array_equal(judged.right[there], near[there])
    np.testing.assert_array_equal(judged.scores[there], scores[there])
    np.testing.assert_array_equal(judged.groups, truth.groups[truth.image_index])


def test_an_animal_without_a_prediction_is_not_judged(made_up) -> None:
    make_set, near = made_up
    truth = make_set()
    points, scores = near(truth, 2.0)
    points[5] = np.nan
    judged = calibration.judge(truth, in_given_boxes(truth, points, scores))
    assert truth.labelled[5].any()
    assert not judged.counted[5].any()


def test_sets_are_joined_with_their_pictures_apart() -> None:
    a, b = drawn(10), drawn(6, seed=1)
    both = calibration.joined([a, b])
    assert len(both.scores) == 16
    assert len(np.unique(both.groups)) == 5 + 3
    empty = a.rows(np.zeros(10, bool))
    assert len(calibration.joined([empty, b]).groups) == 6


def test_what_does_not_belong_together_is_refused() -> None:
    with pytest.raises(ValueError, match="belong together"):
        Judged(np.zeros((3, 2)), np.zeros((3, 1)), np.zeros(3))
    bare = Judged(np.zeros((3, 2)), np.full((3, 2), np.nan), np.arange(3))
    with pytest.raises(ValueError, match="no labelled point"):
        calibration.fit(bare, np.array([1, 0]))
    assert calibration.figures(bare, "ab")["ece"] is None
    with pytest.raises(ValueError, match="knots"):
        Calibration(np.zeros((2, 2)), np.zeros((2, 2)))


def test_the_pages_show_it(made_up) -> None:
    make_set, near = made_up
    truth = make_set()
    section = reliability_section(truth, in_given_boxes(truth, *near(truth, 6.0)))
    assert "trusted" in section
    assert "data:image/svg+xml" in section
    judged = drawn()
    page = calibration_page(
        judged, calibration.held_out(judged, sides()), list("abcdef"), title="<t>", lead="l"
    )
    assert "&lt;t&gt;" in page
    assert page.count("<tr>") == 7
