"""Corrected poses as labels that training reads back."""

from __future__ import annotations

import json

import numpy as np
import pytest
from studio_parts import jpeg, pose

from tetrapose import images
from tetrapose.app import poses
from tetrapose.app.labels import LabelBook
from tetrapose.app.uploads import Limits, Shelf
from tetrapose.data import open_set
from tetrapose.errors import UserError


@pytest.fixture
def desk(tmp_path):
    """A shelf, a book, and a way to save a pose of picture number ``seed``."""
    shelf, book = Shelf(tmp_path / "pictures", Limits()), LabelBook(tmp_path / "labels")

    def save(content, seed=0):
        picture = shelf.add(jpeg(seed=seed), "../../evil.jpg")
        source = shelf.folder(picture.id) / picture.file
        return book.save(poses.read(content), picture, source)

    return save


def test_what_was_saved_is_what_is_read(desk):
    content = pose()
    del content["animals"][0]["keypoints"]["nose"]
    saved = desk(content)
    assert (saved.pictures, saved.animals) == (1, 1)
    found = open_set(f"coco:{saved.file}", sizes=True)
    assert found.skeleton.name == "union26"
    assert found.problems == ()
    posed = poses.read(content)
    np.testing.assert_allclose(found.keypoints, posed.instances.keypoints, atol=1e-4)
    np.testing.assert_array_equal(found.visibility, posed.instances.visibility)
    np.testing.assert_allclose(found.bboxes, posed.instances.bboxes, atol=1e-3)
    assert np.isnan(found.keypoints[0, found.skeleton.index("nose")]).all()
    assert found.species_names == ("dog",)
    assert found.sizes.tolist() == [[320, 240]]
    expected = images.read_image(found.path(0))[0]
    assert expected.shape == (240, 320, 3)


def test_saving_again_replaces_and_others_stay(desk):
    first = desk(pose(), seed=0)
    before = open_set(f"coco:{first.file}")
    two = pose()
    two["animals"].append({"label": "fox", "keypoints": {"nose": [5, 6, 2], "chin": [7, 8, 1]}})
    desk(two, seed=1)
    moved = pose()
    moved["animals"][0]["keypoints"]["nose"] = [1.5, 2.5, 1]
    moved["animals"][0]["label"] = "wolf"
    saved = desk(moved, seed=0)
    assert (saved.pictures, saved.animals) == (2, 3)
    found = open_set(f"coco:{saved.file}")
    names = [found.species_names[s] for s in found.species]
    assert sorted(names) == ["dog", "fox", "wolf"]
    row = names.index("wolf")
    nose = found.keypoints[row, found.skeleton.index("nose")]
    assert nose.tolist() == [1.5, 2.5]
    assert found.files[found.image_index[row]] == before.files[0]
    assert len(set(found.annotation_ids.tolist())) == 3


def test_each_skeleton_has_a_file_of_its_own(desk):
    one, two = desk(pose("union26")), desk(pose("quadruped"))
    assert one.file != two.file
    assert open_set(f"coco:{two.file}").skeleton.name == "quadruped"
    assert len(open_set(f"coco:{one.file}")) == 1


def test_what_others_wrote_into_the_file_stays(desk):
    saved = desk(pose())
    book = json.loads(saved.file.read_text())
    book["info"]["by"] = "me"
    book["images"].append({"id": 40, "file_name": "other.jpg", "width": 9, "height": 9})
    book["annotations"].append({"id": 90, "image_id": 40, "category_id": 1, "mine": True})
    saved.file.write_text(json.dumps(book))
    desk(pose(), seed=3)
    after = json.loads(saved.file.read_text())
    assert after["info"]["by"] == "me"
    assert {"id": 90, "image_id": 40, "category_id": 1, "mine": True} in after["annotations"]
    assert max(e["id"] for e in after["images"]) == 41


@pytest.mark.parametrize("text", ["", "{", "[]", '{"images": []}'])
def test_a_file_that_is_not_understood_is_left_alone(desk, text):
    saved = desk(pose())
    saved.file.write_text(text)
    with pytest.raises(UserError):
        desk(pose())
    assert saved.file.read_text() == text


def test_what_is_no_label_is_refused(desk, tmp_path):
    with pytest.raises(UserError, match="no point to save"):
        desk(pose(animals=[]))
    with pytest.raises(UserError, match="no point to save"):
        desk(pose(animals=[{"keypoints": {}}]))
    with pytest.raises(UserError, match="another size"):
        desk(pose(picture={"name": "x", "width": 10, "height": 10}))
    shelf = Shelf(tmp_path / "pictures", Limits())
    with pytest.raises(UserError, match="empty canvas"):
        LabelBook(tmp_path).save(poses.read(pose()), shelf.canvas(320, 240), tmp_path)


def test_an_animal_without_points_is_left_out(desk):
    content = pose()
    content["animals"].insert(0, {"label": "cat", "keypoints": {}})
    saved = desk(content)
    found = open_set(f"coco:{saved.file}")
    assert [found.species_names[s] for s in found.species] == ["dog"]
