"""COCO files that say what they should not: each oddity is told, and the rest is read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from miniatures import SIZES, edit

from tetrapose.data import coco
from tetrapose.errors import UserError


def _first(**fields: Any):
    return lambda content: content["annotations"][0].update(fields)


def _number(at: int, value: Any):
    return lambda content: content["annotations"][0]["keypoints"].__setitem__(at, value)


ODDITIES = {
    "too few numbers": (
        lambda c: c["annotations"][0]["keypoints"].pop(),
        "annotation 100: 50 numbers for keypoints, where 3 for each of 17 are due",
        3,
    ),
    "point NaN": (_number(3, float("nan")), "right_eye: labelled, yet not finite", 4),
    "flag three": (_number(5, 3), "keypoint flag 3, where 0, 1 or 2 is due", 3),
    "a score for a flag": (_number(5, 0.93), "keypoint flag 0.93, where 0, 1 or 2", 3),
    "flag NaN": (_number(5, float("nan")), "keypoint flag nan", 3),
    "unknown image": (_first(image_id=99), "image id 99 is not among the images", 3),
    "unknown category": (_first(category_id=99), "category 99 is not among the categories", 3),
    "unhashable image id": (_first(image_id=[1]), "cannot be read", 3),
    "box empty": (_first(bbox=[5, 5, 0, 10]), "the box [5, 5, 5, 15] is empty", 3),
    "box of negative width": (_first(bbox=[50, 5, -20, 10]), "is empty", 3),
    "box outside": (_first(bbox=[500, 5, 20, 10]), "lies outside its picture of 64x48", 3),
    "box NaN": (_first(bbox=[float("nan"), 5, 20, 10]), "holds NaN", 3),
    "box missing": (lambda c: c["annotations"][0].pop("bbox"), "'bbox' is missing", 3),
    "id missing": (lambda c: c["annotations"][0].pop("id"), "annotation number 1: the field", 3),
    "id repeated": (
        lambda c: c["annotations"][1].update(id=100),
        "annotation 100 (a.jpg): this annotation id stood before",
        3,
    ),
    "image id repeated": (
        lambda c: c["images"].append({"id": 10, "file_name": "d.jpg"}),
        "image 10 (d.jpg): this image id stood before",
        4,
    ),
    "image without a name": (
        lambda c: c["images"][3].pop("file_name"), "image 13: the field 'file_name' is missing", 4
    ),
    "missing picture": (
        lambda c: c["images"][2].update(file_name="gone.jpg"), "picture gone.jpg: missing in", 3
    ),
    "one box as corners": (
        lambda c: c["annotations"][2].update(bbox=[10, 9, 45, 60]),
        "annotation 102 (b.jpg): the box [10.0, 9.0, 45.0, 60.0] fits as x1, y1, x2, y2 only",
        3,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ODDITIES)
def test_an_oddity_is_told_and_the_rest_is_read(tiny_coco, name):
    spoil, told, left = ODDITIES[name]
    edit(tiny_coco, spoil)
    pose_set = coco.read(tiny_coco)
    assert len(pose_set) == left
    (line,) = [str(problem) for problem in pose_set.problems if problem.left_out]
    assert line.startswith(f"{tiny_coco}: ")
    assert told in line
    assert np.isfinite(pose_set.keypoints[pose_set.labelled]).all()


def corners(content):
    for entry in content["annotations"]:
        x, y, width, height = entry["bbox"]
        entry["bbox"] = [x, y, x + width, y + height]
        entry["area"] = -1.0  # FreeNet's: x2 times y2


def test_corners_for_widths_are_told_once_and_not_guessed_at(tiny_coco):
    plain = coco.read(tiny_coco)
    edit(tiny_coco, corners)
    refused = coco.read(tiny_coco)
    assert len(refused) == 0
    (problem,) = refused.problems
    assert "boxes leave their picture as x, y, width, height and fit as x1, y1, x2, y2" in str(
        problem
    )
    assert "boxes=xyxy" in problem.fix
    read = coco.read(tiny_coco, boxes="xyxy")
    np.testing.assert_array_equal(read.bboxes, plain.bboxes)
    np.testing.assert_array_equal(read.areas, [32 * 38, 33 * 38, 35 * 51, 40 * 29])
    with pytest.raises(UserError, match="it is xywh or xyxy"):
        coco.read(tiny_coco, boxes="corners")


def test_a_box_that_truly_leaves_its_picture_is_kept_and_told(tiny_coco):
    """Its points tell it from corners: some lie beyond what would be the second corner."""
    edit(tiny_coco, _first(bbox=[20, 6, 50, 40]))
    pose_set = coco.read(tiny_coco)
    assert len(pose_set) == 4
    (problem,) = pose_set.problems
    assert "the box [20, 6, 70, 46] outside its picture of 64x48; kept" in str(problem)
    assert not problem.left_out


def test_areas_that_are_missing_are_the_boxes(tiny_coco):
    edit(tiny_coco, lambda c: [entry.pop("area") for entry in c["annotations"]])
    assert coco.read(tiny_coco).areas.tolist() == [32 * 38, 33 * 38, 35 * 51, 40 * 29]


def test_ids_of_pictures_may_be_words(tiny_coco):
    def rename(content):
        for entry in content["images"]:
            entry["id"] = f"picture-{entry['id']}"
        for entry in content["annotations"]:
            entry["image_id"] = f"picture-{entry['image_id']}"

    edit(tiny_coco, rename)
    pose_set = coco.read(tiny_coco)
    assert len(pose_set) == 4
    assert pose_set.image_ids.tolist() == [1, 2, 3, 4]


def test_sizes_may_be_unknown(tiny_coco):
    edit(tiny_coco, lambda c: [(e.pop("width"), e.pop("height")) for e in c["images"]])
    assert (coco.read(tiny_coco).sizes == 0).all()
    np.testing.assert_array_equal(coco.read(tiny_coco, sizes=True).sizes, list(SIZES.values()))


@pytest.mark.parametrize(
    "spoil, told",
    [
        (lambda c: c.pop("annotations"), "it lacks annotations"),
        (lambda c: c.update(images={"1": "a.jpg"}), "open it as animal_pose:FOLDER"),
        (lambda c: c["categories"][0].pop("name"), "a category lacks its id or name"),
        (lambda c: c["categories"][0].update(id=2), "two categories have the same id"),
    ],
)
def test_another_layout_is_refused_as_such(tiny_coco, spoil, told):
    edit(tiny_coco, spoil)
    with pytest.raises(UserError, match=told):
        coco.read(tiny_coco)


def test_results_are_no_labels(tmp_path):
    (tmp_path / "results.json").write_text('[{"image_id": 1, "score": 0.9}]')
    with pytest.raises(UserError, match="not a COCO label file"):
        coco.read(tmp_path / "results.json")
