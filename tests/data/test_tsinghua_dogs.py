"""Tsinghua Dogs: body or head boxes, byte order marks, official lists."""

from __future__ import annotations

import miniatures_dogs
import numpy as np
import pytest
from miniatures_dogs import BOX, voc, write

from tetrapose.data import open_set, tsinghua_dogs
from tetrapose.errors import UserError


@pytest.fixture
def root(tmp_path):
    return miniatures_dogs.tsinghua_dogs(tmp_path / "tsinghua")


def test_bodies_and_heads(root):
    body = open_set(f"tsinghua_dogs:{root}")
    assert body.files[0] == "low-resolution/1043-n000001-Shiba_Dog/n100032.jpeg"
    assert [body.species_names[i] for i in body.species] == ["Shiba Dog", "Airedale"]
    np.testing.assert_array_equal(body.bboxes, [BOX, BOX])
    assert body.problems == ()
    head = open_set(f"tsinghua_dogs:{root},box=head,breeds=false")
    np.testing.assert_array_equal(head.bboxes, [(20, 10, 30, 20)] * 2)
    np.testing.assert_array_equal(head.areas, [100, 100])
    assert head.species_names == ("dog",)
    with pytest.raises(UserError, match="box=tail: it is body or head"):
        tsinghua_dogs.read(root, box="tail")


def test_parts_by_option_and_by_list(root):
    train = tsinghua_dogs.read(root, part="train")
    assert [name.rpartition("/")[2] for name in train.files] == ["n100032.jpeg"]
    by_list = tsinghua_dogs.read(root, split=root / "TrainAndValList" / "validation.lst")
    assert by_list.files == tsinghua_dogs.read(root, part="validation").files
    with pytest.raises(UserError, match="part=test: it is train or validation"):
        tsinghua_dogs.read(root, part="test")
    (root / "TrainAndValList" / "train.lst").unlink()
    with pytest.raises(UserError, match=r"lacks TrainAndValList/train\.lst.*TrainValSplit\.zip"):
        tsinghua_dogs.read(root, part="train")


def test_a_declaration_after_the_mark_is_no_fault(root):
    (file,) = (root / "Low-Annotations" / "200-n000008-Airedale").iterdir()
    body = '<?xml version="1.0"?>\n' + voc([{"headbndbox": BOX, "bodybndbox": BOX}])
    write(file, b"\xef\xbb\xbf\r\n" + body.encode())
    assert tsinghua_dogs.read(root).problems == ()


def test_the_high_resolution_where_it_alone_is_there(root):
    (root / "Low-Annotations").rename(root / "High-Annotations")
    with pytest.raises(UserError, match="lacks high-resolution; due is"):
        tsinghua_dogs.read(root)
    (root / "low-resolution").rename(root / "high-resolution")
    assert tsinghua_dogs.read(root).files[0].startswith("high-resolution/")


def test_a_head_alone_leaves_out_the_body(root):
    (file,) = (root / "Low-Annotations" / "200-n000008-Airedale").iterdir()
    write(file, voc([{"headbndbox": BOX}]))
    pose_set = tsinghua_dogs.read(root)
    assert len(pose_set) == 1
    assert "object 1: <bodybndbox> is missing" in str(pose_set.problems[0])
    assert len(tsinghua_dogs.read(root, box="head")) == 2


def test_listed_pictures_without_an_annotation_and_the_other_way(root):
    (file,) = (root / "Low-Annotations" / "200-n000008-Airedale").iterdir()
    file.unlink()
    pose_set = tsinghua_dogs.read(root)
    assert "n107028.jpg: its annotation is missing" in str(pose_set.problems[0])
    with pytest.raises(UserError, match="n107028.jpg: its annotation is missing"):
        open_set(f"tsinghua_dogs:{root},part=validation")


def test_wrong_layouts(root, tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        tsinghua_dogs.read(tmp_path / "absent")
    with pytest.raises(UserError, match="lacks Low-Annotations; due is FOLDER/Low-Annotations"):
        tsinghua_dogs.read(root / "low-resolution")
