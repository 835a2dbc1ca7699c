"""Boxes from files: three forms of one truth, and each fault told with its entry."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tetrapose.errors import UserError
from tetrapose.inference.boxes import read_boxes

IMAGES = [
    {"id": 7, "file_name": "a/x.jpg", "width": 100, "height": 80},
    {"id": 9, "file_name": "b/x.jpg", "width": 100, "height": 80},
    {"id": 11, "file_name": "empty.jpg", "width": 100, "height": 80},
]
ANNOTATIONS = [
    {"image_id": 7, "bbox": [10, 20, 30, 40], "category_id": 3},
    {"image_id": 9, "bbox": [1, 2, 3, 4], "category_id": 1},
    {"image_id": 7, "bbox": [50, 5, 20, 10], "category_id": 4},
    {"image_id": 7, "bbox": [0, 0, 9, 9], "category_id": 4, "iscrowd": 1},
]
CSV = "file_name,x1,y1,x2,y2\na/x.jpg,10,20,40,60\nb/x.jpg,1,2,4,6\na/x.jpg,50,5,70,15\n"


def write(folder: Path, name: str, content) -> Path:
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / name).write_text(text)
    return folder / name


@pytest.fixture(params=["coco", "results", "csv"])
def box_file(request, tmp_path):
    names = {image["id"]: image["file_name"] for image in IMAGES}
    content = {
        "coco": {"images": IMAGES, "annotations": ANNOTATIONS},
        "results": [{**a, "file_name": names[a["image_id"]]} for a in ANNOTATIONS[:3]],
        "csv": "\ufeff" + CSV,
    }[request.param]
    return write(tmp_path, "boxes.csv" if request.param == "csv" else "boxes.json", content)


def test_three_forms_say_the_same(box_file):
    boxes = read_boxes(box_file)
    assert not boxes.problems
    found = boxes.find(Path("/data/a/x.jpg"))
    np.testing.assert_array_equal(found.bboxes, [[10, 20, 40, 60], [50, 5, 70, 15]])
    np.testing.assert_array_equal(boxes.find(Path("/data/b/x.jpg")).bboxes, [[1, 2, 4, 6]])
    assert boxes.find(Path("/data/c/x.jpg")) is None
    assert boxes.find(Path("/data/other.jpg")) is None


def test_coco_brings_ids_and_categories_and_pictures_without_animals(tmp_path):
    boxes = read_boxes(write(tmp_path, "b.json", {"images": IMAGES, "annotations": ANNOTATIONS}))
    found = boxes.find(Path("/data/a/x.jpg"))
    assert found.categories == (3, 4)
    assert found.image_id == 7
    assert boxes.find(Path("/data/empty.jpg")).bboxes.shape == (0, 4)


def test_the_longest_name_that_fits_is_meant(tmp_path):
    text = "file_name,x1,y1,x2,y2\nx.jpg,0,0,1,1\na/x.jpg,0,0,2,2\n"
    boxes = read_boxes(write(tmp_path, "b.csv", text))
    assert boxes.find(Path("/data/a/x.jpg")).bboxes[0, 2] == 2
    assert boxes.find(Path("/data/b/x.jpg")).bboxes[0, 2] == 1


def test_rows_of_a_frame_and_rows_of_all(tmp_path):
    text = "file_name,frame,x1,y1,x2,y2\nv.mp4,0,0,0,1,1\nv.mp4,2,0,0,2,2\nv.mp4,,0,0,9,9\n"
    boxes = read_boxes(write(tmp_path, "b.csv", text))
    sides = [boxes.find(Path("v.mp4"), frame=i).bboxes[:, 2].tolist() for i in range(3)]
    assert sides == [[1, 9], [9], [2, 9]]


def test_faulty_entries_are_listed_and_the_rest_is_used(tmp_path):
    entries = [
        ANNOTATIONS[0],
        {"image_id": 99, "bbox": [1, 1, 2, 2]},
        {"image_id": 7},
        {"image_id": 7, "bbox": [1, 2, 3]},
        {"image_id": 7, "bbox": [1, 2, 3, float("nan")]},
        {"image_id": 7, "bbox": [9, 9, -3, 4]},
        "no entry",
    ]
    boxes = read_boxes(write(tmp_path, "b.json", {"images": IMAGES, "annotations": entries}))
    assert len(boxes.find(Path("a/x.jpg")).bboxes) == 1
    assert [p.where.rsplit(" ", 1)[1] for p in boxes.problems] == list("123456")
    lines = CSV + "a/x.jpg,40,60,10,20\na/x.jpg,1,2,nan,4\na/x.jpg,1,2,3\n"
    boxes = read_boxes(write(tmp_path, "b.csv", lines))
    assert [p.where.split(": ")[1] for p in boxes.problems] == ["line 5", "line 6", "line 7"]


def test_corners_in_coco_are_refused(tmp_path):
    corners = [{"image_id": 7, "bbox": [60, 20, 90, 70]}, {"image_id": 9, "bbox": [30, 50, 80, 78]}]
    with pytest.raises(UserError, match="2 of 2 leave their picture"):
        read_boxes(write(tmp_path, "b.json", {"images": IMAGES, "annotations": corners}))


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("b.json", {"a": 1}, "not a file of boxes"),
        ("b.json", "{", "JSON"),
        ("b.json", {"images": [{"id": 1}], "annotations": []}, "file_name"),
        ("b.json", {"images": IMAGES, "annotations": []}, "no boxes that can be used"),
        ("b.json", {"images": IMAGES, "annotations": {}}, "list"),
        ("b.json", [{"bbox": [1, 2, 3, 4]}], "entry 0: lacks file_name"),
        ("b.csv", "name,x,y\n", "x1, y1"),
        ("b.csv", "file_name,x1,y1,x2,y2\na.jpg,5,5,2,2\n", "width, height"),
        ("none.csv", None, "no such file"),
    ],
)
def test_a_file_of_no_use_is_told_in_one_line(tmp_path, name, content, words):
    path = tmp_path / name if content is None else write(tmp_path, name, content)
    with pytest.raises(UserError, match=words) as error:
        read_boxes(path)
    assert name in str(error.value)
    assert "\n" not in str(error.value)
