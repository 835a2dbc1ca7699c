"""The official Animal-Pose layout, and each thing that can be wrong with a copy of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from miniatures import ANIMALS, SIZES, edit

from tetrapose.data import animal_pose
from tetrapose.errors import UserError
from tetrapose.geometry import box_area


def test_a_clean_set_in_columns(tiny_animal_pose):
    pose_set = animal_pose.read(tiny_animal_pose)
    assert len(pose_set) == 4
    assert pose_set.files == tuple(f"images/{name}" for name in SIZES)
    assert all(pose_set.path(i).exists() for i in range(4))
    assert pose_set.image_index.tolist() == [0, 0, 1, 2]
    assert [pose_set.species_names[i] for i in pose_set.species] == [a[2] for a in ANIMALS]
    np.testing.assert_array_equal(pose_set.bboxes, [a[1] for a in ANIMALS])
    np.testing.assert_array_equal(pose_set.areas, box_area(pose_set.bboxes))
    assert pose_set.annotation_ids.tolist() == [1, 2, 3, 4]
    assert pose_set.image_ids.tolist() == [1, 2, 3, 4]
    assert (pose_set.sizes == 0).all()
    assert pose_set.problems == ()


def test_flag_one_is_visible_and_zero_unlabelled(tiny_animal_pose):
    pose_set = animal_pose.read(tiny_animal_pose)
    raw = json.loads((tiny_animal_pose / "keypoints.json").read_text())["annotations"]
    flags = np.array([entry["keypoints"] for entry in raw])
    np.testing.assert_array_equal(pose_set.visibility, flags[..., 2] * 2)
    np.testing.assert_array_equal(np.isnan(pose_set.keypoints[..., 0]), flags[..., 2] == 0)
    labelled = pose_set.labelled
    np.testing.assert_array_equal(pose_set.keypoints[labelled], flags[labelled][:, :2])


def test_a_place_with_flag_zero_is_unlabelled(tiny_animal_pose):
    """About 300 points of the set are such; MMPose's converter drops them too."""

    def hide(content):
        content["annotations"][0]["keypoints"][1] = [12, 9, 0]

    edit(tiny_animal_pose / "keypoints.json", hide)
    pose_set = animal_pose.read(tiny_animal_pose)
    assert pose_set.visibility[0, 1] == 0
    assert np.isnan(pose_set.keypoints[0, 1]).all()


def test_sizes_come_from_the_pictures_when_asked(tiny_animal_pose):
    pose_set = animal_pose.read(tiny_animal_pose, sizes=True)
    np.testing.assert_array_equal(pose_set.sizes, list(SIZES.values()))


def test_labels_without_their_pictures(tiny_animal_pose):
    for picture in (tiny_animal_pose / "images").iterdir():
        picture.unlink()
    (tiny_animal_pose / "images").rmdir()
    assert len(animal_pose.read(tiny_animal_pose, pictures=False)) == 4


class Oddity(NamedTuple):
    """A spoiled set, the words it must be told with, how many animals are left."""

    spoil: Callable[[Any], Any]
    told: str
    left: int = 3


def _first(**fields: Any) -> Callable[[Any], None]:
    return lambda content: content["annotations"][0].update(fields)


def _point(value: Any) -> Callable[[Any], None]:
    return lambda content: content["annotations"][0]["keypoints"].__setitem__(1, value)


ODDITIES = {
    "too few keypoints": Oddity(
        lambda c: c["annotations"][0]["keypoints"].pop(), "19 keypoints, where 20 are due"
    ),
    "too few everywhere": Oddity(
        lambda c: [a["keypoints"].pop() for a in c["annotations"][:3]], "19 keypoints", 1
    ),
    "point without a flag": Oddity(_point([3, 4]), "cannot be read"),
    "point of words": Oddity(_point(["x", "y", 1]), "cannot be read"),
    "point not a list": Oddity(_point(None), "cannot be read"),
    "no keypoints": Oddity(
        lambda c: c["annotations"][0].pop("keypoints"), "'keypoints' is missing"
    ),
    "keypoints null": Oddity(_first(keypoints=None), "cannot be read"),
    "point NaN": Oddity(_point([float("nan"), 4, 1]), "right_eye: labelled, yet not finite", 4),
    "point infinite": Oddity(_point([float("inf"), 4, 1]), "right_eye: labelled, yet not", 4),
    "point null": Oddity(_point([None, 4, 1]), "right_eye: labelled, yet not finite", 4),
    "box of three": Oddity(_first(bbox=[1, 2, 3]), "box has 3 numbers"),
    "box missing": Oddity(lambda c: c["annotations"][0].pop("bbox"), "'bbox' is missing"),
    "box empty": Oddity(_first(bbox=[10, 10, 10, 40]), "the box [10, 10, 10, 40] is empty"),
    "box turned round": Oddity(_first(bbox=[40, 40, 4, 6]), "is empty"),
    "box NaN": Oddity(_first(bbox=[float("nan"), 1, 5, 5]), "holds NaN or infinity"),
    "box outside": Oddity(_first(bbox=[100, 100, 120, 130]), "lies outside its picture of 64x48"),
    "unknown image": Oddity(_first(image_id=99), "image id 99 is not among the images"),
    "image id missing": Oddity(lambda c: c["annotations"][0].pop("image_id"), "'image_id'"),
    "unknown category": Oddity(_first(category_id=9), "category 9 is not among the categories"),
    "entry not an object": Oddity(
        lambda c: c["annotations"].__setitem__(0, [1, 2]), "an object with named fields is due"
    ),
    "missing picture": Oddity(
        lambda c: c["images"].update({"3": "gone.jpg"}), "picture images/gone.jpg: missing in"
    ),
}


@pytest.mark.parametrize("name", ODDITIES)
def test_an_oddity_is_told_and_the_rest_is_read(tiny_animal_pose, name):
    oddity = ODDITIES[name]
    file = tiny_animal_pose / "keypoints.json"
    edit(file, oddity.spoil)
    pose_set = animal_pose.read(tiny_animal_pose, sizes=True)
    assert len(pose_set) == oddity.left
    told = [str(problem) for problem in pose_set.problems if problem.left_out]
    assert told
    assert all(line.startswith(f"{file}: ") and "\n" not in line for line in told)
    assert all(oddity.told in line for line in told)
    assert all(problem.fix for problem in pose_set.problems)
    assert np.isfinite(pose_set.keypoints[pose_set.labelled]).all()
    assert np.isfinite(pose_set.bboxes).all()


def test_all_oddities_come_at_once(tiny_animal_pose):
    def spoil(content):
        content["annotations"][0]["bbox"] = [10, 10, 10, 40]
        content["annotations"][1]["keypoints"].pop()
        content["annotations"][2]["category_id"] = 77

    edit(tiny_animal_pose / "keypoints.json", spoil)
    pose_set = animal_pose.read(tiny_animal_pose)
    assert len(pose_set) == 1
    assert pose_set.annotation_ids.tolist() == [
        4
    ]  # ids are places in the file, whatever is left out
    named = " ".join(problem.where for problem in pose_set.problems)
    assert all(entry in named for entry in ("annotation 1 ", "annotation number 2", "number 3"))


def test_points_and_boxes_beyond_the_picture_are_kept_and_told(tiny_animal_pose):
    def spoil(content):
        content["annotations"][0]["keypoints"][1] = [-40, 10, 1]
        content["annotations"][2]["keypoints"][4] = [10, 90, 1]
        content["annotations"][3]["bbox"] = [1, 1, 70, 36]

    edit(tiny_animal_pose / "keypoints.json", spoil)
    pose_set = animal_pose.read(tiny_animal_pose, sizes=True)
    assert len(pose_set) == 4
    assert pose_set.keypoints[0, 1].tolist() == [-40, 10]
    assert not any(problem.left_out for problem in pose_set.problems)
    told = [str(problem) for problem in pose_set.problems]
    assert len(told) == 3
    assert "right_eye (-40, 10) outside its picture of 64x48; kept" in told[0]
    assert "right_ear (10, 90) outside" in told[1]
    assert "the box [1, 1, 70, 36] outside its picture of 50x37" in told[2]


def test_a_broken_picture_is_left_out_when_its_header_is_read(tiny_animal_pose):
    (tiny_animal_pose / "images" / "b.jpg").write_bytes(b"no picture")
    pose_set = animal_pose.read(tiny_animal_pose, sizes=True)
    assert len(pose_set) == 3
    assert "images/b.jpg" not in pose_set.files
    assert "not a picture" in pose_set.problems[0].what


@pytest.mark.parametrize(
    "spoil, told",
    [
        (lambda c: c.pop("images"), "not the official Animal-Pose layout"),
        (lambda c: c.update(images=[{"id": 1, "file_name": "a.jpg"}]), "opened as coco:FILE"),
        (lambda c: c["images"].update(x="a.jpg"), "not the official Animal-Pose layout"),
        (lambda c: c["categories"][0]["keypoints"].reverse(), "not the official 20 in their order"),
    ],
)
def test_another_layout_is_refused_as_such(tiny_animal_pose, spoil, told):
    edit(tiny_animal_pose / "keypoints.json", spoil)
    with pytest.raises(UserError, match=told):
        animal_pose.read(tiny_animal_pose)


def test_missing_is_told_apart_from_misplaced(tiny_animal_pose, tmp_path):
    with pytest.raises(UserError, match="absent: no such folder"):
        animal_pose.read(tmp_path / "absent")
    with pytest.raises(
        UserError, match=r"the folder is there but lacks keypoints\.json and images"
    ):
        animal_pose.read(tmp_path)
    with pytest.raises(UserError, match="a file, where a folder is due"):
        animal_pose.read(tiny_animal_pose / "keypoints.json")
    (tiny_animal_pose / "images").rename(tiny_animal_pose / "pictures")
    with pytest.raises(UserError, match="lacks images; due is FOLDER/keypoints"):
        animal_pose.read(tiny_animal_pose)
    (tiny_animal_pose / "images").mkdir()
    with pytest.raises(UserError, match="none of its 4 pictures is there"):
        animal_pose.read(tiny_animal_pose)


@pytest.mark.parametrize(
    "text, told",
    [("", "is empty"), ('{"images": {', "not valid JSON"), ("[1]", "not the official")],
)
def test_a_broken_label_file(tiny_animal_pose, text, told):
    (tiny_animal_pose / "keypoints.json").write_text(text)
    with pytest.raises(UserError, match=told):
        animal_pose.read(tiny_animal_pose)


def test_the_real_set(shared_data):
    folder = shared_data / "animal_pose"
    if not folder.is_dir():
        pytest.skip(f"no Animal-Pose at {folder}")
    pose_set = animal_pose.read(folder, split="val.txt", sizes=True)
    assert (len(pose_set), len(pose_set.files)) == (1205, 810)
    assert not [problem for problem in pose_set.problems if problem.left_out]
    whole = animal_pose.read(folder)
    assert len(whole) == 5717
    assert (whole.groups != np.arange(len(whole.files))).sum() == 10  # copies of other pictures
