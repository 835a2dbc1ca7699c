"""The AKD cats' layout, and each thing that can be wrong with a copy of it."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from miniatures import SIZES, edit

from tetrapose.data import akd_cats
from tetrapose.errors import UserError
from tetrapose.geometry import box_area, points_box

FILE = "train/train_keypoints_annotations.json"


def test_a_clean_set_in_columns(tiny_akd_cats):
    pose_set = akd_cats.read(tiny_akd_cats)
    assert len(pose_set) == 3
    assert len(pose_set.files) == 4  # a picture without a cat is a picture still
    assert pose_set.root == tiny_akd_cats / "train"
    assert pose_set.species_names == ("cat",)
    np.testing.assert_array_equal(pose_set.sizes, list(SIZES.values()))
    assert pose_set.problems == ()


def test_coordinates_are_relative_and_x_comes_first(tiny_akd_cats):
    pose_set = akd_cats.read(tiny_akd_cats)
    raw = json.loads((tiny_akd_cats / FILE).read_text())["keypoints"]["0"]
    width, height = SIZES["a.jpg"]
    for name in ("head", "rear_right_paw"):
        x, y, _ = raw[name]
        found = pose_set.keypoints[0, pose_set.skeleton.index(name)]
        np.testing.assert_allclose(found, [x * width, y * height], rtol=1e-6)


def test_flag_zero_is_hidden_yet_placed(tiny_akd_cats):
    pose_set = akd_cats.read(tiny_akd_cats)
    expected = np.where(np.arange(16) % 4 > 0, 2, 1)
    np.testing.assert_array_equal(pose_set.visibility, [expected] * 3)
    assert np.isfinite(pose_set.keypoints).all()


def test_the_box_is_the_points_with_a_tenth_around_cut_at_the_border(tiny_akd_cats):
    pose_set = akd_cats.read(tiny_akd_cats)
    tight = points_box(pose_set.keypoints)
    margin = 0.1 * (tight[:, 2:] - tight[:, :2]).max(axis=1, keepdims=True)
    border = pose_set.sizes[pose_set.image_index] - 0.5
    low, high = np.maximum(tight[:, :2] - margin, -0.5), np.minimum(tight[:, 2:] + margin, border)
    np.testing.assert_allclose(pose_set.bboxes, np.concatenate([low, high], axis=1), rtol=1e-6)
    np.testing.assert_allclose(pose_set.areas, box_area(pose_set.bboxes), rtol=1e-5)


def test_the_part_itself_may_be_named(tiny_akd_cats):
    assert len(akd_cats.read(tiny_akd_cats / "train")) == 3


def test_of_several_parts_one_is_to_be_chosen(tiny_akd_cats):
    shutil.copytree(tiny_akd_cats / "train", tiny_akd_cats / "test")
    (tiny_akd_cats / FILE.replace("train", "test", 1)).rename(
        tiny_akd_cats / FILE.replace("train", "test")
    )
    with pytest.raises(UserError, match=r"2 parts; choose akd_cats:.*test or akd_cats:.*train$"):
        akd_cats.read(tiny_akd_cats)
    assert len(akd_cats.read(tiny_akd_cats / "test")) == 3


ODDITIES = {
    "a point missing": (lambda p: p.pop("head"), "1 of 16 keypoints are missing: head", 2),
    "a point of two numbers": (lambda p: p.update(head=[0.1, 0.2]), "cannot be read", 2),
    "a point of words": (lambda p: p.update(head=["a", "b", 1]), "cannot be read", 2),
    "never labelled": (
        lambda p: p.update(dict.fromkeys(p, [1.9944, 1.9888, 1])),
        "head at 1.9944, 1.9888 is far outside the picture, which spans 0 to 1",
        2,
    ),
    "in pixels": (lambda p: p.update(head=[31, 20, 1]), "head at 31, 20 is far outside", 2),
    "a point NaN": (lambda p: p.update(head=[float("nan"), 0.2, 1]), "head: labelled, yet not", 3),
    "all points in one place": (
        lambda p: p.update(dict.fromkeys(p, [0.5, 0.5, 1])), "is empty", 2
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ODDITIES)
def test_an_oddity_is_told_and_the_rest_is_read(tiny_akd_cats, name):
    spoil, told, left = ODDITIES[name]
    edit(tiny_akd_cats / FILE, lambda content: spoil(content["keypoints"]["0"]))
    pose_set = akd_cats.read(tiny_akd_cats)
    assert len(pose_set) == left
    (problem,) = pose_set.problems
    assert problem.left_out
    assert str(problem).startswith(str(tiny_akd_cats / FILE))
    assert told in str(problem)
    assert np.isfinite(pose_set.bboxes).all()


def test_labels_of_an_unknown_picture(tiny_akd_cats):
    edit(tiny_akd_cats / FILE, lambda c: c["keypoints"].update({"77": c["keypoints"]["0"]}))
    pose_set = akd_cats.read(tiny_akd_cats)
    assert len(pose_set) == 3
    assert "image id 77 is not among the images" in str(pose_set.problems[0])


def test_a_size_that_is_not_the_pictures_is_told(tiny_akd_cats):
    edit(tiny_akd_cats / FILE, lambda c: c["images"]["0"].update(width=128))
    assert akd_cats.read(tiny_akd_cats).problems == ()  # nobody looked
    problems = akd_cats.read(tiny_akd_cats, sizes=True).problems
    assert "is 64x48, the label file says 128x48" in problems[0].what
    assert not any(problem.left_out for problem in problems)


def test_another_layout_is_refused_as_such(tiny_akd_cats, tmp_path):
    with pytest.raises(UserError, match="absent: no such folder"):
        akd_cats.read(tmp_path / "absent")
    (tmp_path / "bare").mkdir()
    with pytest.raises(UserError, match="the folder is there but lacks"):
        akd_cats.read(tmp_path / "bare")
    edit(tiny_akd_cats / FILE, lambda c: c["images"]["0"].pop("width"))
    with pytest.raises(UserError, match="not the AKD layout"):
        akd_cats.read(tiny_akd_cats)


def test_the_real_set(shared_data):
    folder = shared_data / "akd_cats"
    if not folder.is_dir():
        pytest.skip(f"no AKD cats at {folder}")
    pose_set = akd_cats.read(folder, sizes=True)
    assert (len(pose_set), len(pose_set.files)) == (136, 137)
    (problem,) = pose_set.problems
    assert "annotation 137: head at 1.99444" in str(problem)
