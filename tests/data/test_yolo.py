"""YOLO-pose: relative numbers, parts, mirrors that must be the names' own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from miniatures import paint

from tetrapose.data import open_set, yolo
from tetrapose.errors import UserError

NAMES = ["nose", "left_ear", "right_ear"]


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """Three pictures of 80 x 40: two of train (one without a label file), one of val."""
    root = tmp_path / "yolo"
    for i, part in enumerate(("train", "train", "val")):
        paint(root / f"images/{part}/{i}.png", (80, 40), i)
        (root / f"labels/{part}").mkdir(parents=True, exist_ok=True)
    line = "1 0.5 0.5 0.25 0.5 0.5 0.25 2 0.4 0.3 1 0 0 0\n"
    (root / "labels/train/0.txt").write_text(line + "\n")
    (root / "labels/val/2.txt").write_text(line + line.replace("1 0.5", "0 0.5", 1))
    describe(root)
    return root


def describe(root: Path, **change) -> None:
    content = {
        "path": "/somewhere/else", "train": "images/train", "val": ["images/val"],
        "names": {0: "cat", 1: "dog"}, "kpt_shape": [3, 3], "flip_idx": [0, 2, 1],
        "kpt_names": {0: NAMES, 1: NAMES},
    } | change  # fmt: skip
    (root / "data.yaml").write_text(
        yaml.safe_dump({k: v for k, v in content.items() if v is not None})
    )


def test_a_clean_set_in_columns(tiny):
    pose_set = yolo.read(tiny)
    assert pose_set.files == ("images/train/0.png", "images/train/1.png", "images/val/2.png")
    assert pose_set.image_index.tolist() == [0, 2, 2]
    np.testing.assert_array_equal(pose_set.bboxes[0], [30, 10, 50, 30])
    np.testing.assert_array_equal(pose_set.keypoints[0], [[40, 10], [32, 12], [np.nan, np.nan]])
    np.testing.assert_array_equal(pose_set.visibility[0], [2, 1, 0])
    assert [pose_set.species_names[i] for i in pose_set.species] == ["dog", "dog", "cat"]
    assert pose_set.problems == ()
    assert len(yolo.read(tiny, part="val")) == 2
    assert len(open_set(f"yolo:{tiny / 'data.yaml'},part=train")) == 1


def test_a_list_of_pictures_and_points_without_flags(tiny):
    (tiny / "val.txt").write_text("images/val/2.png\n\n")
    (tiny / "labels/val/2.txt").write_text("0 0.5 0.5 0.25 0.5 0.5 0.25 0.4 0.3 0 0\n")
    describe(tiny, val="val.txt", train=None, kpt_shape=[3, 2], kpt_names=NAMES, names=["cat"])
    pose_set = yolo.read(tiny)
    np.testing.assert_array_equal(pose_set.visibility, [[2, 2, 0]])


def test_a_folder_is_found_though_it_is_written_with_dots(tiny):
    describe(tiny, val="../images/val")
    assert len(yolo.read(tiny, part="val")) == 2


def test_without_names_a_skeleton_must_be_named(tiny):
    describe(tiny, kpt_names=None)
    with pytest.raises(UserError, match="has no kpt_names.* what its 3 points are; add skeleton="):
        yolo.read(tiny)
    with pytest.raises(UserError, match="17 keypoint names for kpt_shape of 3"):
        yolo.read(tiny, skeleton="ap10k")
    with pytest.raises(UserError, match="no skeleton 'ap1'"):
        yolo.read(tiny, skeleton="ap1")


SPOILT = {
    "a mirror that is none": (
        {"flip_idx": [0, 1, 2]},
        "is not the mirror that its keypoints'",
    ),
    "no shape": ({"kpt_shape": None}, "kpt_shape is None"),
    "a shape of four": ({"kpt_shape": [3, 4]}, r"kpt_shape is \[3, 4\]"),
    "a folder that is not there": ({"val": "images/none"}, "images/none is not there"),
    "no part": ({"val": None, "train": None}, "names none of train, val, test"),
    "out of the folder": ({"val": "../beside"}, "leads out of"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_description_that_cannot_be_used(tiny, name):
    paint(tiny.parent / "beside/0.png", (80, 40), 0)
    change, told = SPOILT[name]
    describe(tiny, **change)
    with pytest.raises(UserError, match=told):
        yolo.read(tiny)


def test_another_layout_is_refused_as_such(tiny, tmp_path):
    with pytest.raises(UserError, match=r"data\.yaml: no such file"):
        yolo.read(tmp_path)
    with pytest.raises(UserError, match="has no part 'test'; it has train, val"):
        yolo.read(tiny, part="test")
    with pytest.raises(UserError, match="relative to the pictures"):
        yolo.read(tiny, pictures=False)
    (tiny / "data.yaml").write_text("a: [")
    with pytest.raises(UserError, match="cannot be read as YAML"):
        yolo.read(tiny)
    (tiny / "data.yaml").write_text("- a")
    with pytest.raises(UserError, match="named fields are due"):
        yolo.read(tiny)


ODDITIES = {
    "a number short": ("1 0.5 0.5 0.25 0.5", "5 numbers, where 14 are due"),
    "a word": ("dog 0.5 0.5 0.25 0.5 0.5 0.25 2 0.4 0.3 1 0 0 0", "could not convert"),
    "an unknown class": ("7 0.5 0.5 0.25 0.5 0.5 0.25 2 0.4 0.3 1 0 0 0", "class 7 of 2"),
    "a flag of 3": ("1 0.5 0.5 0.25 0.5 0.5 0.25 3 0.4 0.3 1 0 0 0", "visibility 3"),
    "an empty box": ("1 0.5 0.5 0 0.5 0.5 0.25 2 0.4 0.3 1 0 0 0", "is empty"),
}


@pytest.mark.parametrize("name", ODDITIES)
def test_an_oddity_is_told_and_the_rest_is_read(tiny, name):
    line, told = ODDITIES[name]
    (tiny / "labels/train/0.txt").write_text(line)
    pose_set = yolo.read(tiny)
    assert len(pose_set) == 2
    (problem,) = pose_set.problems
    assert told in problem.what


def test_a_broken_picture_is_told(tiny):
    (tiny / "images/train/0.png").write_bytes(b"no picture")
    pose_set = yolo.read(tiny)
    assert len(pose_set) == 2
    assert "images/train/0.png" in pose_set.problems[0].where


def test_what_lies_outside_is_cut_and_told(tiny_coco, tmp_path):
    from dataclasses import replace

    pose_set = open_set(f"coco:{tiny_coco}", sizes=True)
    points, boxes = pose_set.keypoints.copy(), pose_set.bboxes.copy()
    points[0, 1], boxes[0] = (-8, 3), (-9, -9, 50, 40)
    notes = yolo.write(replace(pose_set, keypoints=points, bboxes=boxes), tmp_path / "out")
    assert notes == (
        "1 points outside their picture written as not labelled",
        "1 boxes cut at the picture's border",
    )
    numbers = np.loadtxt(tmp_path / "out/labels/a.txt")[:, 1:5]
    assert ((numbers >= 0) & (numbers <= 1)).all()
    back = yolo.read(tmp_path / "out")
    np.testing.assert_allclose(back.bboxes[0], [0, 0, 50, 40], atol=1e-5)
    assert back.visibility[0, 1] == 0


def test_unknown_sizes_are_refused(tiny_coco, tmp_path):
    from dataclasses import replace

    pose_set = open_set(f"coco:{tiny_coco}")
    unknown = replace(pose_set, sizes=np.zeros_like(pose_set.sizes))
    with pytest.raises(UserError, match="size of a.jpg and 3 more is not known"):
        yolo.write(unknown, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_labels_are_where_ultralytics_looks(tmp_path):
    """The last images/ of the path becomes labels/."""
    assert yolo._label_name("images/x/images/a.jpg") == "images/x/labels/a.txt"
    assert yolo._label_name("a/b.png") == "a/b.txt"
    for name in ("images/a.jpg", "x/images/y/a.jpg", "a.jpg", "JPEGImages/dog/0.jpg"):
        placed = yolo._picture_name(name)
        assert placed.startswith("images/")
        assert [part for part in Path(placed).parts if part == "images"] == ["images"]
