"""COCO's animals out of its instances: ten kinds, crowds flagged, people passed over."""

from __future__ import annotations

import json

import miniatures_dogs
import numpy as np
import pytest
from miniatures import edit

from tetrapose.data import coco_animals, open_set
from tetrapose.errors import UserError

FILE = "annotations/instances_val2017.json"


@pytest.fixture
def root(tmp_path):
    return miniatures_dogs.coco_animals(tmp_path / "coco")


def test_the_animals_and_their_pictures_alone(root):
    pose_set = open_set(f"coco_animals:{root}")
    assert pose_set.files == ("000000000009.jpg", "000000000025.jpg")
    assert pose_set.image_ids.tolist() == [9, 25]
    assert [pose_set.species_names[i] for i in pose_set.species] == ["dog", "sheep", "bird"]
    assert pose_set.crowd.tolist() == [False, True, False]
    assert pose_set.annotation_ids.tolist() == [9001, 25000, 25001]
    np.testing.assert_array_equal(pose_set.bboxes, [(5.5, 6, 25.5, 16)] * 3)
    np.testing.assert_array_equal(pose_set.areas, [77.5] * 3)
    assert not pose_set.labelled.any()
    assert pose_set.root == (root / "val2017").resolve()
    assert pose_set.problems == ()


def test_some_kinds_alone_and_the_file_by_name(root):
    pose_set = open_set(f"coco_animals:{root / FILE},only=bird,sheep,skeleton=animal_pose")
    assert pose_set.species_names == ("bird", "sheep")
    assert pose_set.keypoints.shape == (2, 20, 2)
    with pytest.raises(UserError, match="only=wolf: 'wolf' is none of bird, cat"):
        coco_animals.read(root, only="wolf")
    with pytest.raises(UserError, match="none of its 4 categories is zebra"):
        coco_animals.read(root, only="zebra")


def test_pictures_elsewhere(root, tmp_path):
    (root / "val2017").rename(tmp_path / "pictures")
    with pytest.raises(UserError, match=r"not in \.\./val2017/ nor beside it; name their folder"):
        coco_animals.read(root)
    assert len(coco_animals.read(root, images=tmp_path / "pictures")) == 3
    assert len(coco_animals.read(root, pictures=False)) == 3
    with pytest.raises(UserError, match="no such folder"):
        coco_animals.read(root, images=tmp_path / "absent")


def _dog(**fields):
    return lambda c: c["annotations"][1].update(fields)


ODDITIES = {
    "unknown image": (_dog(image_id=77), "image id 77 is not among the images"),
    "box of three": (_dog(bbox=[1, 2, 3]), "the box has 3 numbers"),
    "box missing": (lambda c: c["annotations"][1].pop("bbox"), "'bbox' is missing"),
    "area missing": (lambda c: c["annotations"][1].pop("area"), "'area' is missing"),
    "box empty": (_dog(bbox=[1, 2, 0, 5]), "is empty"),
    "box NaN": (_dog(bbox=[1, 2, None, 5]), "holds NaN"),
    "id twice": (_dog(id=25000), "this annotation id stood before"),
    "image without a name": (lambda c: c["images"][0].pop("file_name"), "image id 9 is not"),
}


@pytest.mark.parametrize("name", ODDITIES)
def test_an_oddity_is_told_and_the_rest_is_read(root, name):
    spoil, words = ODDITIES[name]
    edit(root / FILE, spoil)
    pose_set = coco_animals.read(root)
    assert len(pose_set) == 2
    assert words in "\n".join(map(str, pose_set.problems))


def test_other_files_are_refused_as_such(root, tmp_path):
    with pytest.raises(UserError, match="no such file or folder"):
        coco_animals.read(tmp_path / "absent")
    with pytest.raises(UserError, match=r"lacks annotations/instances_\*\.json; due is"):
        coco_animals.read(root / "val2017")
    (root / "annotations" / "instances_train2017.json").write_text("{}")
    with pytest.raises(UserError, match="holds 2 parts; choose coco_animals:"):
        coco_animals.read(root)
    with pytest.raises(UserError, match="not COCO's instances"):
        coco_animals.read(root / "annotations" / "instances_train2017.json")
    people = root / "annotations" / "person_keypoints_val2017.json"
    content = json.loads((root / FILE).read_text())
    content["categories"] = content["categories"][:1]
    people.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"of COCO's files the instances_\*\.json are due"):
        coco_animals.read(people)
