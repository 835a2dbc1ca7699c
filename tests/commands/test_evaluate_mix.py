"""tetrapose evaluate with several sets, each in its own skeleton, and with every protocol."""

from __future__ import annotations

import json
import re

import miniatures
import numpy as np
import pytest

from tetrapose import cli, skeletons
from tetrapose.data import open_set
from tetrapose.evaluation.protocols import PROTOCOLS
from tetrapose.inference import predictor as inference
from tetrapose.skeletons.mapping import between, carried


class Superset:
    """Stands where a predictor of 26 points would; knows the truth of the sets it is told."""

    skeleton = skeletons.load("union26")
    protocol = {"flip_test": True, "codec": {"decoder": "dark"}, "input_size": [64, 64]}

    def __init__(self):
        self.truths = {}

    def know(self, pose_set, noise):
        rng = np.random.default_rng(len(self.truths))
        points = np.nan_to_num(pose_set.keypoints) + rng.normal(0, noise, pose_set.keypoints.shape)
        there = between(pose_set.skeleton, self.skeleton)
        rows = zip(pose_set.bboxes, carried(points, there, empty=0.0), strict=True)
        self.truths[pose_set.root] = {box.tobytes(): row for box, row in rows}

    def predict_set(self, pose_set, *, progress=None):
        assert pose_set.skeleton == self.skeleton
        assert not pose_set.visibility.any()  # a model must not see labels
        known = self.truths[pose_set.root]
        points = np.array([known[box.tobytes()] for box in pose_set.bboxes])
        scores = np.random.default_rng(2).uniform(0.3, 1, points.shape[:2])
        return inference.Predictions(points, scores, ())


@pytest.fixture
def sets(tmp_path, monkeypatch):
    """Specs of three sets on three skeletons, and a predictor in place that knows them."""
    specs = {
        "animal_pose": f"animal_pose:{miniatures.animal_pose(tmp_path / 'ap')}",
        "labels": f"coco:{miniatures.coco(tmp_path / 'ten', 'ap10k')}",
        "tigdog_horse": f"coco:{horses(tmp_path / 'dogs')}",
    }
    model = Superset()
    for noise, spec in enumerate(specs.values(), 1):
        model.know(open_set(spec), noise)
    monkeypatch.setattr(inference, "load", lambda name, **options: model)
    return specs


def horses(folder):
    """A COCO file on TigDog's horse skeleton that holds horses alone."""
    file = miniatures.coco(folder, "tigdog_horse")

    def alone(content):
        for entry in content["annotations"]:
            entry["category_id"] = 4  # horse
        content["categories"][0]["keypoints"] = content["categories"][3]["keypoints"]

    miniatures.edit(file, alone)
    return file


def command(sets, *more):
    return ["evaluate", *(word for spec in sets.values() for word in ("--data", spec)), *more]


def test_a_mix_is_scored_set_by_set_and_overall(sets, tmp_path, capsys):
    out = tmp_path / "r.json"
    assert cli.main(command(sets, "--json", str(out))) == 0
    whole = json.loads(out.read_text())
    assert set(whole) == {"sets", "overall", "problems"}
    assert list(whole["sets"]) == list(sets)
    text = capsys.readouterr().out
    for (name, result), spec in zip(whole["sets"].items(), sets.values(), strict=True):
        own = result["protocol"]["skeleton"]
        assert own == {"labels": "ap10k"}.get(name, name)
        assert result["protocol"]["sigmas"]["values"] == {
            p.name: p.sigma for p in skeletons.load(own).keypoints
        }
        assert result["data"]["set"] == spec
        assert result["counts"]["instances_scored"] == 4
        assert re.search(rf"^{name} .*{own}, own$", text, re.M)
    aps = [result["AP"] for result in whole["sets"].values()]
    assert len(set(aps)) > 1
    assert whole["overall"]["AP"] == pytest.approx(np.mean(aps))  # four animals in each
    assert whole["overall"]["weights"] == dict.fromkeys(sets, 4)
    assert re.search(r"^overall +[\d.]+", text, re.M)
    near = whole["sets"]["tigdog_horse"]["protocol"]["notes"]
    assert any("near but not the same" in note and "left_front_paw" in note for note in near)


def test_each_set_equals_itself_alone(sets, tmp_path):
    out = tmp_path / "r.json"
    assert cli.main(command(sets, "--json", str(out))) == 0
    whole = json.loads(out.read_text())
    for name, spec in sets.items():
        alone = tmp_path / "alone.json"
        assert cli.main(["evaluate", "--data", spec, "--json", str(alone)]) == 0
        result = json.loads(alone.read_text())
        assert result.pop("problems") == []
        assert result == whole["sets"][name]


def test_near_points_can_be_dropped_from_all_sets(sets, tmp_path):
    out = tmp_path / "r.json"
    assert cli.main(command(sets, "--json", str(out), "--near", "drop")) == 0
    horse = json.loads(out.read_text())["sets"]["tigdog_horse"]
    assert not {"left_front_paw", "neck"} & set(horse["per_keypoint"])
    assert not any("near" in note for note in horse["protocol"]["notes"])


def test_every_protocol_of_a_mix_in_text_json_and_page(sets, tmp_path, capsys):
    out, page = tmp_path / "r.json", tmp_path / "r.html"
    more = ("--protocol", "all", "--json", str(out), "--html", str(page))
    assert cli.main(command(sets, *more)) == 0
    whole = json.loads(out.read_text())
    text, html = capsys.readouterr().out, page.read_text()
    assert set(whole["overall"]["protocols"]) == set(PROTOCOLS)
    for name in PROTOCOLS:
        each = [result["protocols"][name] for result in whole["sets"].values()]
        assert all(one["protocol"]["flip_test"] is True for one in each)
        assert whole["overall"]["protocols"][name]["AP"] == pytest.approx(
            np.mean([one["AP"] for one in each])
        )
        assert re.search(rf"^{name} ", text, re.M)
        assert f"<td>{name}</td>" in html
    for name in sets:
        assert f"<td>{name}</td>" in html
        assert f'<h1 id="{name}">' in html
    assert "departs from its source" in html
    assert not re.search(r'(?:src|href)="(?!data:)', html)


def test_every_protocol_of_one_set_is_one_table(sets, tmp_path, capsys):
    page = tmp_path / "r.html"
    one = ["evaluate", "--data", sets["labels"], "--protocol", "all", "--html", str(page)]
    assert cli.main(one) == 0
    text = capsys.readouterr().out
    rows = {row.split()[0]: row for row in text.splitlines() if row.split()[:1]}
    assert set(PROTOCOLS) <= set(rows)
    assert "scarcenet, box" in rows["freenet"]
    assert "0.1, extent; species pooled; pixel error (RMSE): " in rows["dlc"]
    assert "ultralytics, box053; mean over species" in rows["ultralytics"]
    assert "PCK@0.05 box_area, mean over instances: " in rows["seed001"]
    assert "The same predictions under every protocol" in page.read_text()


def test_one_results_file_under_every_protocol(sets, tmp_path, capsys):
    """The figures of a file equal those of the rows that it was written from."""
    pose_set = open_set(sets["labels"])
    entries = [
        {
            "image_id": int(pose_set.image_ids[pose_set.image_index[row]]),
            "category_id": int(pose_set.species[row]) + 1,
            "keypoints": np.insert(
                np.nan_to_num(pose_set.keypoints[row], nan=1.0), 2, 0.5 + row / 10, axis=-1
            ).ravel().tolist(),
            "score": 0.9 - row / 10,
        }
        for row in range(len(pose_set))
    ]  # fmt: skip
    file, out = tmp_path / "results.json", tmp_path / "r.json"
    file.write_text(json.dumps(entries))
    base = ["evaluate", "--data", sets["labels"], "--predictions", str(file), "--labels-only"]
    assert cli.main([*base, "--protocol", "all", "--json", str(out)]) == 0
    result = json.loads(out.read_text())
    for name in PROTOCOLS:
        due = 0.995 if name == "ultralytics" else 1.0
        assert result["protocols"][name]["AP"] == pytest.approx(due)
        assert "read from a file" in result["protocols"][name]["protocol"]["boxes"]
    for name in ("dlc", "freenet"):
        assert cli.main([*base, "--protocol", name, "--json", str(out)]) == 0
        alone = json.loads(out.read_text())
        assert alone["protocol"] == result["protocols"][name]["protocol"]
        assert alone["headline"] == result["protocols"][name]["headline"]
    capsys.readouterr()


def test_species_as_sets_of_their_own(sets, tmp_path):
    out = tmp_path / "r.json"
    one = ["evaluate", "--data", sets["animal_pose"], "--species-apart", "--json", str(out)]
    assert cli.main(one) == 0
    whole = json.loads(out.read_text())
    assert list(whole["sets"]) == ["animal_pose_dog", "animal_pose_cat", "animal_pose_horse"]
    assert whole["overall"]["weights"]["animal_pose_dog"] == 2


def test_a_split_of_each_set(sets, tmp_path, capsys):
    (tmp_path / "ap" / "one.txt").write_text("a.jpg\n")
    first, second, _ = sets.values()
    out = tmp_path / "r.json"
    split = f"{first},split=one.txt"
    assert cli.main(command({"a": split, "b": second}, "--json", str(out))) == 0
    whole = json.loads(out.read_text())
    assert whole["overall"]["weights"] == {"animal_pose": 2, "labels": 4}
    assert whole["sets"]["animal_pose"]["data"]["split"] == ["one.txt"]
    assert cli.main(["evaluate", "--data", split, "--split", "one.txt"]) == 2
    assert "its split is given twice" in capsys.readouterr().err


@pytest.mark.parametrize(
    "more, words",
    [
        (["--split", "val.txt"], "--split goes with one --data"),
        (["--protocol", "all", "--sigmas", "own"], "--sigmas goes with one protocol"),
        (["--predictions", "a.json"], "1 --predictions for 3 --data; give one for each set"),
        (["--protocol", "coco"], "no protocol 'coco'; there are: coco-macro, "),
        (["--sigmas", "mmpose"], "skeleton ap10k has no sigmas 'mmpose'"),
    ],
)
def test_wrong_use_of_several_sets_is_one_line(sets, capsys, more, words):
    assert cli.main(command(sets, *more)) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_near_goes_with_a_model(sets, tmp_path, capsys):
    one = ["evaluate", "--data", sets["labels"], "--predictions", "r.json", "--near", "drop"]
    assert cli.main(one) == 2
    assert "--near goes with --model" in capsys.readouterr().err


def test_a_set_without_points_cannot_be_scored(sets, tmp_path, capsys):
    file = miniatures.coco(tmp_path / "bare")

    def bare(content):
        for entry in content["annotations"]:
            entry["keypoints"] = [0] * len(entry["keypoints"])
            entry["num_keypoints"] = 0

    miniatures.edit(file, bare)
    assert cli.main(["evaluate", "--data", f"coco:{file}"]) == 2
    assert "4 animals without one labelled point to score" in capsys.readouterr().err
