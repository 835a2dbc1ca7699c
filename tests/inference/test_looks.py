"""From a look at the whole picture to the box of a second one."""

from __future__ import annotations

import numpy as np
import own_frames
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrapose.data import open_set
from tetrapose.errors import UserError
from tetrapose.inference import looks
from tetrapose.inference.predictor import load
from tetrapose.structures import Instances

SIZE = (200, 100)


def seen(points, scores) -> Instances:
    points = np.array(points, dtype=float)[None]
    flags = np.full(points.shape[:2], 2, np.uint8)
    return Instances(points, flags, np.zeros((1, 4)), np.array(scores, dtype=float)[None])


def test_the_box_is_that_of_the_sure_points():
    look = seen([[50, 50], [90, 60], [190, 5]], [0.9, 0.8, 0.1])
    (box,), scores = looks.located(look, SIZE, smallest=0.0, least=0.05)
    np.testing.assert_allclose(box, [45, 45, 95, 65])  # 5 px are the least margin
    np.testing.assert_allclose(scores, [0.6])


def test_unsure_looks_see_nothing():
    boxes, scores = looks.located(seen([[5, 5]], [0.04]), SIZE, smallest=0.0, least=0.05)
    assert boxes.shape == (0, 4)
    assert scores.shape == (0,)
    gone = seen([[np.nan, np.nan]], [0.9])
    assert len(looks.located(gone, SIZE, smallest=0.0, least=0.05)[0]) == 0


@given(
    st.lists(st.tuples(st.floats(0, 199), st.floats(0, 99)), min_size=1, max_size=6),
    st.floats(0.05, 0.4),
    st.integers(0, 1000),
)
def test_a_box_holds_its_points_and_is_no_smaller_than_asked(points, smallest, seed):
    scores = np.random.default_rng(seed).uniform(0.5, 1, len(points))
    (box,), _ = looks.located(seen(points, scores), SIZE, smallest=smallest, least=0.0)
    assert (np.array(points) >= box[:2] - 1e-6).all()
    assert (np.array(points) <= box[2:] + 1e-6).all()
    assert (box[2:] - box[:2]).max() >= smallest * 200 - 1e-6


@given(st.floats(0, 199), st.floats(0, 99))
def test_a_box_that_grew_is_moved_into_the_picture(x, y):
    (box,), _ = looks.located(seen([[x, y]], [1.0]), SIZE, smallest=0.4, least=0.0)
    np.testing.assert_allclose(box[2:] - box[:2], 80)
    assert (box >= -0.5 - 1e-6).all()
    assert (box <= np.array([199.5, 99.5] * 2) + 1e-6).all()


@pytest.fixture
def predictor(tmp_path):
    four = own_frames.skeleton(own_frames.START[:4], own_frames.PLACES[:4])
    return load(own_frames.start(tmp_path, points=four))


def test_a_model_that_was_not_taught_to_is_refused(predictor):
    with pytest.raises(UserError, match="never learned to find"):
        looks.locator(predictor)


def test_second_looks_go_where_the_first_led(predictor, tmp_path):
    pose_set = open_set(f"deeplabcut:{own_frames.deeplabcut(tmp_path, count=3)}", sizes=True)
    first = looks.whole_looks(predictor, pose_set)
    assert first.keypoints.shape == (3, 4, 2)
    two = looks.second_looks(predictor, pose_set, first, smallest=0.3, least=0.0)
    locator = looks.Locator(predictor, smallest=0.3, least=0.0)
    for row in range(3):
        box = locator.find(pose_set.path(row))
        assert len(box) == 1
        assert box.size == (96, 72)
        alone = predictor.predict(pose_set.path(row), box.bboxes)
        np.testing.assert_allclose(two.keypoints[row], alone.keypoints[0], atol=1e-3)
    nothing = looks.second_looks(predictor, pose_set, first, smallest=0.3, least=1.1)
    assert np.isnan(nothing.keypoints).all()
    assert (nothing.scores == 0).all()
    assert len(looks.Locator(predictor, least=1.1).find(pose_set.path(0))) == 0
    assert "whole" in locator.protocol["finder"]
