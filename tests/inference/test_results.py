"""Predictions on disk: whole files, readable by others, nothing lost on the way."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from tetrapose import skeletons
from tetrapose.errors import UserError
from tetrapose.inference.boxes import read_boxes
from tetrapose.inference.results import ResultWriter, to_entries
from tetrapose.structures import Instances

SKELETON = skeletons.load("akd_cats")
K = len(SKELETON)


def animals(n: int = 2) -> Instances:
    rng = np.random.default_rng(n)
    boxes = np.tile([10.0, 20, 110, 70], (n, 1))
    return Instances(
        rng.uniform(0, 100, (n, K, 2)), np.full((n, K), 2, np.uint8), boxes, rng.random((n, K))
    )


def test_entries_are_coco_results(tmp_path):
    found = animals()
    entries = to_entries(found, file_name="a/x.jpg", image_id=5, category_ids=[3, 4], frame=2)
    assert [entry["category_id"] for entry in entries] == [3, 4]
    for row, entry in enumerate(entries):
        assert entry["bbox"] == [10, 20, 100, 50]
        assert (entry["image_id"], entry["file_name"], entry["frame"]) == (5, "a/x.jpg", 2)
        triples = np.reshape(entry["keypoints"], (K, 3))
        np.testing.assert_allclose(triples[:, :2], found.keypoints[row], atol=0.006)
        np.testing.assert_allclose(triples[:, 2], found.scores[row], atol=6e-5)
        sure = found.scores[row][found.scores[row] > 0.2]
        assert entry["score"] == pytest.approx(sure.mean(), abs=1e-3)
    (tmp_path / "r.json").write_text(json.dumps(entries))
    again = read_boxes(tmp_path / "r.json").find(tmp_path / "a/x.jpg", frame=2)
    np.testing.assert_allclose(again.bboxes, found.bboxes)


def test_missing_points_are_zeros_and_missing_animals_no_entries():
    found = animals(3)
    found.keypoints[0, 4] = np.nan
    found.keypoints[1] = np.nan
    entries = to_entries(found, file_name="x", image_id=1)
    assert len(entries) == 2
    assert entries[0]["keypoints"][12:15] == [0, 0, 0]
    json.dumps(entries, allow_nan=False)


def test_labels_are_no_predictions():
    labels = Instances(
        np.zeros((1, K, 2)), np.zeros((1, K), np.uint8), np.zeros((1, 4)), scores=None
    )
    with pytest.raises(ValueError, match="no predictions"):
        to_entries(labels, file_name="x", image_id=1)


def test_what_was_added_is_on_disk_before_the_end_and_final_after_it(tmp_path):
    writer = ResultWriter(tmp_path / "new" / "out", SKELETON, csv=True)
    entries = to_entries(animals(), file_name="ü/x.jpg", image_id=1)
    entries += to_entries(animals(1), file_name="v.mp4", image_id=2, frame=3, time=0.125)
    writer.add(entries)
    folder = tmp_path / "new" / "out"
    lines = (folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == entries
    assert not (folder / "predictions.json").exists()
    paths = writer.finish({"model": "m"})
    assert json.loads((folder / "predictions.json").read_text(encoding="utf-8")) == entries
    meta = json.loads((folder / "predictions.meta.json").read_text())
    assert skeletons.from_dict(meta.pop("skeleton")) == SKELETON
    assert meta == {"keypoints": list(SKELETON.names), "model": "m"}
    assert sorted(path.name for path in paths) == sorted(p.name for p in folder.iterdir())
    with (folder / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file_name"] for row in rows] == ["ü/x.jpg", "ü/x.jpg", "v.mp4"]
    assert [row["frame"] for row in rows] == ["", "", "3"]
    assert float(rows[2]["x2"]) == 110
    assert float(rows[2]["head_y"]) == entries[2]["keypoints"][1]


def test_no_animals_give_an_empty_list(tmp_path):
    writer = ResultWriter(tmp_path, SKELETON)
    writer.finish({})
    assert json.loads((tmp_path / "predictions.json").read_text()) == []
    ResultWriter(tmp_path / "other", SKELETON).discard()
    assert list((tmp_path / "other").iterdir()) == []


def test_an_earlier_result_stands_until_the_new_one_is_whole(tmp_path):
    (tmp_path / "predictions.json").write_text("old")
    writer = ResultWriter(tmp_path, SKELETON)
    writer.add(to_entries(animals(), file_name="x", image_id=1))
    with pytest.raises(TypeError):
        writer.finish({"model": object()})
    assert len(json.loads((tmp_path / "predictions.json").read_text())) == 2
    assert (tmp_path / "predictions.jsonl").exists()
    assert not list(tmp_path.glob(".*"))


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        ResultWriter(tmp_path / "file" / "out", SKELETON)
