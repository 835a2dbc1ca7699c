"""Animal-Pose's first release: two parts, two spellings, a box whose ymin is called xmax."""

from __future__ import annotations

import miniatures_dogs
import numpy as np
import pytest
from miniatures import points
from miniatures_dogs import BOX, PART1, PART2, animal_xml, write

from tetrapose.data import animal_pose_xml, naming, open_set
from tetrapose.errors import UserError

DOG = "PASCAL2011_animal_annotation/dog/2007_000063_1.xml"


@pytest.fixture
def root(tmp_path):
    return miniatures_dogs.animal_pose_xml(tmp_path / "xml")


def told(pose_set) -> str:
    return "\n".join(map(str, pose_set.problems))


def test_both_parts_in_the_official_order(root):
    pose_set = open_set(f"animal_pose_xml:{root},sizes=true")
    assert pose_set.skeleton.name == "animal_pose"
    assert pose_set.files == (
        "VOC2012/JPEGImages/2007_000063.jpg",
        "animalpose_image_part2/cow/co13.jpeg",
    )
    names = [pose_set.species_names[i] for i in pose_set.species]
    assert names == ["cat", "dog", "cow"]
    assert pose_set.image_index.tolist() == [0, 0, 1]
    np.testing.assert_array_equal(pose_set.bboxes, [BOX] * 3)  # part 2's ymin stands under xmax
    known = naming.aliases()["animal_pose"]
    for row, (spelled, seed) in enumerate(((PART1, 1), (PART1, 0), (PART2, 2))):
        places = points(20, BOX, seed)
        for number, name in enumerate(spelled.split()):
            k = pose_set.skeleton.index(known.get(name, name))
            assert pose_set.visibility[row, k] == (2 if number % 3 else 0)
            if number % 3:
                np.testing.assert_allclose(pose_set.keypoints[row, k], places[number])
    assert pose_set.problems == ()


def test_one_part_alone_and_other_places_of_the_pictures(root):
    for file in (root / "animalpose_anno2" / "cow").iterdir():
        file.unlink()
    (root / "VOC2012").rename(root / "VOCdevkit")
    (root / "VOCdevkit" / "VOC2012").mkdir()
    (root / "VOCdevkit" / "JPEGImages").rename(root / "VOCdevkit" / "VOC2012" / "JPEGImages")
    pose_set = animal_pose_xml.read(root)
    assert pose_set.files == ("VOCdevkit/VOC2012/JPEGImages/2007_000063.jpg",)
    assert len(pose_set) == 2


def _swap(old, new):
    return lambda text: text.replace(old, new, 1)


ODDITIES = {
    "not XML": (lambda text: text[:200], "not valid XML"),
    "no image": (_swap("<image>2007_000063</image>", ""), "<image> is missing or empty"),
    "no box": (_swap("visible_bounds", "bounds"), "<visible_bounds> is missing"),
    "no width": (_swap("width=", "breadth="), "width of <visible_bounds> is missing"),
    "no ymin at all": (_swap("ymin=", "y="), "ymin of <visible_bounds> is missing"),
    "box of words": (_swap('xmin="12.00"', 'xmin="left"'), "is 'left', where a number is due"),
    "box empty": (_swap('width="32.00"', 'width="0"'), "is empty"),
    "unknown point": (_swap('"Throat"', '"Knee"'), "a keypoint 'Knee' is none of Animal-Pose's"),
    "point twice": (_swap('"Throat"', '"Nose"'), "the keypoint 'Nose' stands twice"),
    "odd flag": (_swap('visible="1"', 'visible="2"'), "visible is '2', where 0 or 1 is due"),
    "no points": (lambda t: t.replace("<keypoint name", "<point name"), "holds no <keypoint>"),
    "no x": (_swap('visible="1" x=', 'visible="1" u='), "x of R_Eye is missing"),
}


@pytest.mark.parametrize("name", ODDITIES)
def test_an_oddity_is_told_and_the_rest_is_read(root, name):
    spoil, words = ODDITIES[name]
    text = animal_xml("2007_000063", "dog", 1, 0)
    assert spoil(text) != text
    write(root / DOG, spoil(text))
    pose_set = animal_pose_xml.read(root)
    assert len(pose_set) == 2
    assert words in told(pose_set)
    assert "2007_000063" in told(pose_set)


def test_a_missing_picture_tells_where_it_was_due(root):
    (root / "VOC2012" / "JPEGImages" / "2007_000063.jpg").unlink()
    pose_set = animal_pose_xml.read(root)
    assert pose_set.species_names[pose_set.species[0]] == "cow"
    assert "picture VOC2012/JPEGImages/2007_000063.jpg: missing" in told(pose_set)
    assert len(animal_pose_xml.read(root, pictures=False)) == 3


def test_wrong_layouts(root, tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        animal_pose_xml.read(tmp_path / "absent")
    with pytest.raises(UserError, match="lacks PASCAL2011_animal_annotation; due is"):
        animal_pose_xml.read(root / "VOC2012")
    for file in root.glob("*/*/*.xml"):
        write(file, "")
    with pytest.raises(UserError, match="no animal in its annotations; the first problem: .*empty"):
        animal_pose_xml.read(root)
