"""Oxford-IIIT Pet: bodies from trimaps, heads from XML, species from the list."""

from __future__ import annotations

import miniatures_dogs
import numpy as np
import pytest
from miniatures_dogs import SIZE, voc, write
from PIL import Image

from tetrapose.data import open_set, oxford_pet
from tetrapose.errors import UserError


@pytest.fixture
def root(tmp_path):
    return miniatures_dogs.oxford_pet(tmp_path / "pets")


def told(pose_set) -> str:
    return "\n".join(map(str, pose_set.problems))


def test_bodies_span_the_pixels_of_the_trimap(root):
    pose_set = open_set(f"oxford_pet:{root}")
    assert pose_set.files == ("images/Maine_Coon_10.jpg", "images/american_bulldog_2.jpg")
    np.testing.assert_array_equal(pose_set.bboxes, [(19.5, 9.5, 49.5, 39.5)] * 2)
    np.testing.assert_array_equal(pose_set.areas, [900, 900])
    np.testing.assert_array_equal(pose_set.sizes, [SIZE, SIZE])
    names = [pose_set.species_names[i] for i in pose_set.species]
    assert names == ["Maine Coon", "american bulldog"]
    assert pose_set.problems == ()


def test_heads_count_from_one_and_not_all_have_one(root):
    pose_set = open_set(f"oxford_pet:{root},box=head,breeds=false")
    np.testing.assert_array_equal(pose_set.bboxes, [(20, 10, 30, 20)])
    assert pose_set.species_names == ("cat",)
    (problem,) = pose_set.problems
    assert "1 of 2 pictures have a head's box" in str(problem)
    assert not problem.left_out


def test_parts(root):
    assert oxford_pet.read(root, part="trainval", breeds=False).species_names == ("cat",)
    assert oxford_pet.read(root, part="test", breeds=False).species_names == ("dog",)
    with pytest.raises(UserError, match="part=val: it is trainval or test"):
        oxford_pet.read(root, part="val")
    with pytest.raises(UserError, match="box=ear: it is body or head"):
        oxford_pet.read(root, box="ear")


def _trimap(values):
    def spoil(root):
        path = root / "annotations" / "trimaps" / "Maine_Coon_10.png"
        Image.fromarray(np.full((SIZE[1], SIZE[0]), values, np.uint8)).save(path)

    return spoil


ODDITIES = {
    "no animal": (_trimap(2), "no animal in it; a trimap of 1, 2 and 3 is due"),
    "no trimap at all": (_trimap(255), "holds 255, over 3"),
    "broken": (
        lambda root: write(root / "annotations" / "trimaps" / "Maine_Coon_10.png", b"nothing"),
        "not a picture",
    ),
    "missing": (
        lambda root: (root / "annotations" / "trimaps" / "Maine_Coon_10.png").unlink(),
        "Maine_Coon_10: its trimap is missing",
    ),
    "odd line": (
        lambda root: write(
            root / "annotations" / "list.txt", "Maine_Coon_10 21 3 7\namerican_bulldog_2 2 2 1\n"
        ),
        "line 1: 'Maine_Coon_10 21 3 7', where name, class, species 1 or 2",
    ),
    "picture missing": (
        lambda root: (root / "images" / "Maine_Coon_10.jpg").unlink(),
        "picture images/Maine_Coon_10.jpg: missing",
    ),
}


@pytest.mark.parametrize("name", ODDITIES)
def test_an_oddity_is_told_and_the_rest_is_read(root, name):
    spoil, words = ODDITIES[name]
    spoil(root)
    pose_set = oxford_pet.read(root)
    assert len(pose_set) == 1
    assert words in told(pose_set)


def test_a_head_that_cannot_be_read(root):
    write(root / "annotations" / "xmls" / "american_bulldog_2.xml", "<annotation>")
    write(root / "annotations" / "xmls" / "Maine_Coon_10.xml", voc([{}, {"bndbox": (2, 2, 9, 9)}]))
    pose_set = oxford_pet.read(root, box="head")
    np.testing.assert_array_equal(pose_set.bboxes, [(1, 1, 8, 8)])
    assert "not valid XML" in told(pose_set)
    assert "object 1: <bndbox> is missing" in told(pose_set)


def test_half_a_copy_says_how_much(root):
    rows = "".join(f"pug_{i} 25 2 17\n" for i in range(25))
    path = root / "annotations" / "list.txt"
    path.write_text(path.read_text() + rows)
    first = oxford_pet.read(root).problems[0]
    assert "of 25 of 27 the trimap is missing, first pug_0" in str(first)


def test_wrong_layouts(root, tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        oxford_pet.read(tmp_path / "absent")
    with pytest.raises(UserError, match=r"lacks annotations/list\.txt.*; due is FOLDER/images"):
        oxford_pet.read(root / "images")
    write(root / "annotations" / "list.txt", "# nothing\n")
    with pytest.raises(UserError, match="names no picture"):
        oxford_pet.read(root)
    write(root / "annotations" / "list.txt", b"\xff\xfe\x81")
    with pytest.raises(UserError, match="cannot be read as text"):
        oxford_pet.read(root)
