"""Columns stay together, and shapes are checked where things are made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tetrapose import skeletons
from tetrapose.structures import Instances, PoseSet, Problem

K = 20


@pytest.fixture
def pose_set() -> PoseSet:
    """Four pictures with 2, 0, 1 and 3 animals; every column tells its row."""
    index = np.array([0, 0, 2, 3, 3, 3])
    rows = np.arange(6)
    return PoseSet(
        skeleton=skeletons.load("animal_pose"),
        root=Path("root"),
        source="test",
        licence="CC0",
        files=("a.jpg", "b.jpg", "sub/c.jpg", "d.jpg"),
        image_ids=np.array([10, 11, 12, 13]),
        sizes=np.array([[10, 20], [30, 40], [50, 60], [70, 80]]),
        groups=np.array([0, 1, 0, 3]),
        image_index=index,
        keypoints=np.broadcast_to(rows[:, None, None], (6, K, 2)).astype(np.float32),
        visibility=np.full((6, K), 2, np.uint8),
        bboxes=np.broadcast_to(rows[:, None], (6, 4)).astype(np.float32),
        areas=rows.astype(float),
        species=rows % 2,
        species_names=("cat", "dog"),
        crowd=rows == 5,
        annotation_ids=rows + 100,
    )


def test_chosen_pictures_keep_their_animals(pose_set):
    chosen = pose_set.select_images(np.array([False, True, True, True]))
    assert chosen.files == ("b.jpg", "sub/c.jpg", "d.jpg")
    assert chosen.annotation_ids.tolist() == [102, 103, 104, 105]
    assert [chosen.files[i] for i in chosen.image_index] == ["sub/c.jpg", "d.jpg", "d.jpg", "d.jpg"]
    assert chosen.image_ids.tolist() == [11, 12, 13]
    assert chosen.sizes[:, 0].tolist() == [30, 50, 70]
    assert chosen.groups.tolist() == [1, 0, 3]


@pytest.mark.parametrize("keep", [[4, 1], [False, True, False, False, True, False]])
def test_chosen_animals_keep_their_columns_together(pose_set, keep):
    chosen = pose_set.select_instances(np.array(keep))
    rows = np.array([4, 1] if keep[0] == 4 else [1, 4])
    assert chosen.files == pose_set.files
    assert (chosen.annotation_ids - 100).tolist() == rows.tolist()
    for column in ("areas", "bboxes", "keypoints"):
        values = getattr(chosen, column).reshape(2, -1)[:, 0]
        assert values.tolist() == rows.tolist()
    assert chosen.image_index.tolist() == pose_set.image_index[rows].tolist()


def test_nothing_chosen_is_an_empty_set(pose_set):
    assert len(pose_set.select_images(np.zeros(4, bool))) == 0
    assert len(pose_set.select_instances(np.array([], dtype=int))) == 0


def test_a_record_is_one_row_of_pictures(pose_set):
    record = pose_set.record(3)
    assert record.path == Path("root/d.jpg")
    assert (record.size, record.key, record.group, record.licence) == ((70, 80), 13, 3, "CC0")
    assert record.instances.bboxes[:, 0].tolist() == [3, 4, 5]
    assert len(pose_set.record(1).instances) == 0


def test_labelled_is_what_visibility_says(pose_set):
    visibility = pose_set.visibility.copy()
    visibility[2, :5] = 0
    visibility[3, :5] = 1
    labelled = replace(pose_set, visibility=visibility).labelled
    assert labelled.sum() == 6 * K - 5
    assert not labelled[2, :5].any()


@pytest.mark.parametrize(
    "column, value",
    [
        ("keypoints", np.zeros((6, K - 1, 2))),
        ("visibility", np.zeros((6, K, 1))),
        ("bboxes", np.zeros((5, 4))),
        ("areas", np.zeros(7)),
        ("species", None),
        ("sizes", np.zeros((4, 3))),
        ("groups", np.zeros(3)),
        ("image_ids", np.zeros(6)),
    ],
)
def test_a_column_of_the_wrong_shape_is_named(pose_set, column, value):
    with pytest.raises(ValueError, match=column):
        replace(pose_set, **{column: value})


@pytest.mark.parametrize(
    "column, shape",
    [("visibility", (2, 4)), ("bboxes", (3, 4)), ("scores", (2,)), ("bbox_scores", (2, 1))],
)
def test_instances_check_their_shapes(column, shape):
    good = {
        "keypoints": np.zeros((2, 3, 2)),
        "visibility": np.zeros((2, 3), np.uint8),
        "bboxes": np.zeros((2, 4)),
        "scores": np.zeros((2, 3)),
        "bbox_scores": np.zeros(2),
    }
    assert len(Instances(**good)) == 2
    with pytest.raises(ValueError, match=column):
        Instances(**{**good, column: np.zeros(shape)})


def test_a_problem_is_one_line_with_place_fault_and_remedy():
    problem = Problem("a.json: annotation 7", "the box is empty", "correct it")
    assert str(problem) == "a.json: annotation 7: the box is empty (correct it)"
    assert problem.left_out
