"""CLEAR, IDF1 and HOTA on films small enough to be worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tetrapose.evaluation.tracks import Step, clear_counts, hota_curves, idf1, track_figures


def film(*frames, similarity=1.0):
    """Frames as {animal: track or None}; extra tracks as negative animals."""
    steps = []
    for frame in frames:
        truth = [a for a in frame if a >= 0]
        tracks = [t for t in frame.values() if t is not None]
        likeness = np.zeros((len(truth), len(tracks)))
        for row, animal in enumerate(truth):
            if frame[animal] is not None:
                likeness[row, tracks.index(frame[animal])] = similarity
        steps.append(Step(np.array(truth, int), np.array(tracks, int), likeness))
    return steps


def test_all_right_is_one():
    figures = track_figures(film(*[{0: 7, 1: 9}] * 4))
    assert (figures.switches, figures.misses, figures.false, figures.animals) == (0, 0, 0, 8)
    assert figures.mota == figures.idf1 == figures.hota == figures.deta == figures.assa == 1


def test_a_swap_halfway():
    steps = film(*[{0: 1, 1: 2}] * 3, *[{0: 2, 1: 1}] * 3)
    figures = track_figures(steps)
    assert figures.switches == 2
    assert figures.mota == pytest.approx(1 - 2 / 12)
    assert figures.idf1 == pytest.approx(6 / 12)  # either naming is right for half of the frames
    # each of the 12 hits: 3 frames together, of 6 + 6 - 3
    assert figures.deta == pytest.approx(1)
    assert figures.assa == pytest.approx(3 / 9)
    assert figures.hota == pytest.approx(np.sqrt(1 / 3))


def test_misses_and_false_boxes():
    steps = film({0: 1}, {0: None, -1: 5}, {0: 1}, {0: 1})
    assert clear_counts(steps) == (0, 1, 1)
    # IDTP 3, IDFP 1, IDFN 1
    assert idf1(steps) == pytest.approx(2 * 3 / (2 * 3 + 1 + 1))
    hota, deta, assa = hota_curves(steps)
    np.testing.assert_allclose(deta, 3 / 5)  # 3 hits, 1 miss, 1 false
    np.testing.assert_allclose(assa, 3 / 4)  # 3 together, of 4 + 3 - 3
    np.testing.assert_allclose(hota, np.sqrt(3 / 5 * 3 / 4))


def test_a_switch_after_a_gap_counts_and_returning_to_the_same_does_not():
    assert clear_counts(film({0: 1}, {0: None}, {0: 2}))[0] == 1
    assert clear_counts(film({0: 1}, {0: None}, {0: 1}))[0] == 0


def test_a_pair_goes_on_though_another_is_nearer():
    likeness = [np.array([[0.9]]), np.array([[0.6, 0.8]])]
    tracks = [np.array([1]), np.array([1, 2])]
    steps = [Step(np.array([0]), t, s) for t, s in zip(tracks, likeness, strict=True)]
    assert clear_counts(steps) == (0, 0, 1)


def test_a_box_half_as_like_counts_up_to_its_threshold():
    figures = track_figures(film(*[{0: 1}] * 5, similarity=0.5))
    assert (figures.misses, figures.idf1) == (0, 1)
    assert figures.hota == pytest.approx(10 / 19)  # right at 0.05 .. 0.5, nothing above
    below = track_figures(film(*[{0: 1}] * 5, similarity=0.49))
    assert (below.misses, below.false, below.idf1) == (5, 5, 0)


def test_nothing_there_and_nothing_told():
    assert np.isnan(track_figures(film({}, {})).idf1)
    assert track_figures(film({0: None})).idf1 == 0
