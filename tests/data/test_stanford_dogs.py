"""Stanford Dogs: boxes from XML without a suffix, official parts, half a copy."""

from __future__ import annotations

import miniatures_dogs
import numpy as np
import pytest
from miniatures_dogs import BOX, DOGS, SIZE, voc, write

from tetrapose.data import coco, open_set, stanford_dogs
from tetrapose.errors import UserError


@pytest.fixture
def root(tmp_path):
    return miniatures_dogs.stanford_dogs(tmp_path / "stanford_dogs")


def told(pose_set) -> str:
    return "\n".join(map(str, pose_set.problems))


def test_a_clean_set(root):
    pose_set = open_set(f"stanford_dogs:{root}")
    assert pose_set.files == tuple(f"Images/{name}.jpg" for name in DOGS)
    assert pose_set.image_index.tolist() == [0, 1, 1]
    np.testing.assert_array_equal(pose_set.bboxes, [BOX, BOX, (1, 2, 30, 40)])
    np.testing.assert_array_equal(pose_set.sizes, [SIZE, SIZE])
    names = [pose_set.species_names[i] for i in pose_set.species]
    assert names == ["Rhodesian ridgeback", "Border terrier", "Border terrier"]
    assert pose_set.skeleton.name == "ap10k"
    assert np.isnan(pose_set.keypoints).all()
    assert not pose_set.labelled.any()
    assert pose_set.problems == ()


def test_options(root):
    pose_set = open_set(f"stanford_dogs:{root},breeds=false,skeleton=animal_pose,sizes=true")
    assert pose_set.species_names == ("dog",)
    assert pose_set.keypoints.shape == (3, 20, 2)
    with pytest.raises(UserError, match="no skeleton 'dog'; there are"):
        stanford_dogs.read(root, skeleton="dog")


def test_the_official_parts(root):
    assert stanford_dogs.read(root, part="train").files == (f"Images/{DOGS[0]}.jpg",)
    assert len(stanford_dogs.read(root, part="test")) == 2
    with pytest.raises(UserError, match="part=val: it is train or test"):
        stanford_dogs.read(root, part="val")
    (root / "test_list.mat").unlink()
    with pytest.raises(UserError, match=r"lacks test_list\.mat.*lists\.tar"):
        stanford_dogs.read(root, part="test")
    write(root / "test_list.mat", b"")
    with pytest.raises(UserError, match=r"test_list\.mat: the file is empty"):
        stanford_dogs.read(root, part="test")


def test_a_text_split_goes_by_the_pictures_names(root):
    write(root / "mine.txt", f"{DOGS[1].rpartition('/')[2]}.jpg\n")
    assert len(stanford_dogs.read(root, split="mine.txt")) == 2


def test_it_can_be_written_as_coco_and_read_again(root, tmp_path):
    pose_set = stanford_dogs.read(root)
    coco.write(pose_set, tmp_path / "dogs.json")
    again = coco.read(tmp_path / "dogs.json", images=root)
    np.testing.assert_array_equal(again.bboxes, pose_set.bboxes)
    assert not again.labelled.any()


ODDITIES = {
    "not XML": ("<annotation><object>", "not valid XML", 2),
    "empty": ("", "the file is empty", 2),
    "no object": (voc([]), "it holds no <object>", 2),
    "no box": (voc([{}]), "object 1: <bndbox> is missing", 2),
    "a corner empty": (
        voc([{"bndbox": BOX}]).replace("<xmax>44<", "<xmax><"),
        "<xmax> of <bndbox> is missing or empty",
        2,
    ),
    "a corner of words": (voc([{"bndbox": ("a", 1, 2, 3)}]), "is 'a', where a number", 2),
    "a corner infinite": (voc([{"bndbox": ("inf", 1, 2, 3)}]), "a finite number is due", 2),
    "box turned round": (voc([{"bndbox": (44, 8, 12, 40)}]), "is empty", 2),
    "box outside": (voc([{"bndbox": (90, 90, 99, 99)}]), "lies outside its picture", 2),
    "one of two bad": (voc([{"bndbox": BOX}, {}]), "object 2: <bndbox> is missing", 3),
}


@pytest.mark.parametrize("name", ODDITIES)
def test_an_oddity_is_told_and_the_rest_is_read(root, name):
    content, words, left = ODDITIES[name]
    write(root / "Annotation" / DOGS[0], content)
    pose_set = stanford_dogs.read(root)
    assert len(pose_set) == left
    assert words in told(pose_set)
    assert DOGS[0] in told(pose_set)


def test_entities_do_not_blow_up(root):
    laughs = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 30))
    bomb = f'<!DOCTYPE annotation [<!ENTITY a0 "ha">{laughs}]><annotation>&a29;</annotation>'
    write(root / "Annotation" / DOGS[0], bomb)
    assert "not valid XML" in told(stanford_dogs.read(root))


def test_half_a_copy_says_what_is_missing_and_how_much(root):
    breed = DOGS[0].partition("/")[0]
    for number in range(30):
        write(root / "Annotation" / breed / f"x_{number:02d}", voc([{"bndbox": BOX}]))
    first, *rest = stanford_dogs.read(root).problems
    assert "30 of 32 pictures are missing in" in str(first)
    assert f"first Images/{breed}/x_00.jpg" in str(first)
    assert len(rest) == 30
    for number in range(30):
        write(root / "Images" / breed / f"x_{number:02d}.jpg", b"jpeg")
        (root / "Annotation" / breed / f"x_{number:02d}").unlink()
    first, *rest = stanford_dogs.read(root).problems
    assert "of 30 of 32 the annotation is missing" in str(first)
    assert len(rest) == 30


def test_wrong_layouts_are_told_from_missing_ones(root, tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        stanford_dogs.read(tmp_path / "absent")
    with pytest.raises(UserError, match="the folder is there but lacks Annotation; due is FOLDER"):
        stanford_dogs.read(root / "Images")
    with pytest.raises(UserError, match="a file, where a folder is due"):
        stanford_dogs.read(root / "train_list.mat")
    (root / "Images").rename(root / "Pictures")
    with pytest.raises(UserError, match="lacks Images; due is"):
        stanford_dogs.read(root)
    assert len(stanford_dogs.read(root, pictures=False)) == 3
    (root / "Images").mkdir()
    with pytest.raises(UserError, match="none of its 2 pictures is there"):
        stanford_dogs.read(root)
    (root / "empty" / "Annotation").mkdir(parents=True)
    with pytest.raises(UserError, match="holds no annotation"):
        stanford_dogs.read(root / "empty", pictures=False)
