"""tetrapose evaluate from the outside: files in, figures, files and exit status out."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from PIL import Image

from tetrapose import cli, skeletons
from tetrapose.codecs import Heatmap
from tetrapose.evaluation.oks import FIGURES
from tetrapose.inference import predictor as inference
from tetrapose.models.small import small
from tetrapose.skeletons.mapping import between, carried
from tetrapose.structures import Problem
from tetrapose.weights import card

AP10K = skeletons.load("ap10k")
PICTURES = 6


@pytest.fixture
def labels(tmp_path):
    """A COCO file of two species in six small pictures, two animals in each."""
    rng = np.random.default_rng(0)
    annotations = []
    for number in range(2 * PICTURES):
        corner, side = rng.uniform(2, 20, 2), rng.uniform(60, 70, 2)
        points = corner + rng.uniform(0.1, 0.9, (len(AP10K), 2)) * side
        flags = np.where(rng.random(len(AP10K)) < 0.2, 0, 2)
        triples = np.concatenate([points * (flags[:, None] > 0), flags[:, None]], axis=1)
        annotations.append(
            {
                "id": number + 1,
                "image_id": 10 + number // 2,
                "category_id": (8, 24)[number % 2],
                "bbox": [*corner.tolist(), *side.tolist()],
                "area": float(np.prod(side)),
                "iscrowd": 0,
                "num_keypoints": int((flags > 0).sum()),
                "keypoints": triples.ravel().tolist(),
            }
        )
    content = {
        "images": [
            {"id": 10 + i, "file_name": f"{i}.jpg", "width": 100, "height": 96}
            for i in range(PICTURES)
        ],
        "annotations": annotations,
        "categories": [
            {"id": i, "name": name, "keypoints": list(AP10K.names), "skeleton": []}
            for i, name in ((8, "dog"), (24, "cat"))
        ],
    }
    (tmp_path / "images").mkdir()
    for i in range(PICTURES):
        pixels = rng.integers(0, 255, (96, 100, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{i}.jpg")
    file = tmp_path / "labels.json"
    file.write_text(json.dumps(content))
    return file


@dataclass
class Fake:
    """Stands where a predictor would, and answers with what it is told to."""

    skeleton: skeletons.Skeleton
    truth: np.ndarray
    lost: tuple[int, ...] = ()

    protocol = {"flip_test": True, "codec": {"decoder": "dark"}, "input_size": [64, 64]}

    def predict_set(self, pose_set, *, progress=None):
        assert pose_set.skeleton == self.skeleton
        assert not pose_set.visibility.any()  # a model must not see labels
        points = self.truth + np.random.default_rng(1).normal(0, 1.5, self.truth.shape)
        scores = np.random.default_rng(2).uniform(0.3, 1, points.shape[:2])
        points[list(self.lost)], scores[list(self.lost)] = np.nan, 0
        problems = tuple(
            Problem(f"{pose_set.path(int(pose_set.image_index[row]))}", "empty", "replace it")
            for row in self.lost
        )
        return inference.Predictions(points, scores, problems)


def true_points(labels) -> np.ndarray:
    annotations = json.loads(labels.read_text())["annotations"]
    points = np.array([a["keypoints"] for a in annotations]).reshape(len(annotations), -1, 3)
    return points[..., :2]


@pytest.fixture
def fake(labels, monkeypatch):
    """Puts a Fake in the predictor's place; returns what ``load`` was asked for."""
    asked = {}

    def use(skeleton=AP10K, truth=None, lost=()):
        truth = true_points(labels) if truth is None else truth

        def load(model, **options):
            asked.update(model=model, **options)
            return Fake(skeleton, truth, lost)

        monkeypatch.setattr(inference, "load", load)
        return asked

    return use


def test_writes_figures_and_a_page(labels, fake, tmp_path, capsys):
    asked = fake()
    out, page = tmp_path / "out" / "r.json", tmp_path / "out" / "r.html"
    status = cli.main(
        ["evaluate", "--data", f"coco:{labels}", "--json", str(out), "--html", str(page)]
        + ["--batch", "4", "--no-flip", "--decoder", "shift", "--model", "mine"]
    )
    assert status == 0
    assert asked == {
        "model": "mine", "flip": False, "decoder": "shift", "batch_size": 4, "device": None,
    }  # fmt: skip
    result = json.loads(out.read_text())
    due = {*FIGURES, "pck", "nme", "per_keypoint", "per_species", "protocol"}
    assert due <= set(result)
    assert result["AP"] > 0.7
    assert set(result["per_species"]) == {"dog", "cat"}
    assert result["data"]["set"] == f"coco:{labels}"
    text = capsys.readouterr().out
    for word in (
        "coco-macro",
        "sigmas own of ap10k",
        "decoder dark",
        "AP50",
        "root_of_tail",
        "dog",
    ):
        assert word in text
    html = page.read_text()
    assert html.count("<figure>") == 2 * PICTURES  # every animal is among the best or the worst
    assert not re.search(r'(src|href)="(?!data:)', html)  # nothing to fetch
    assert "box_area" in json.dumps(result["pck"])


def test_unreadable_pictures_are_listed_and_counted_as_misses(labels, fake, tmp_path, capsys):
    fake(lost=(0, 1))
    out = tmp_path / "r.json"
    assert cli.main(["evaluate", "--data", f"coco:{labels}", "--json", str(out)]) == 1
    said = capsys.readouterr().err
    assert "0.jpg: empty (replace it)" in said
    assert "done, 2 left out" in said
    result = json.loads(out.read_text())
    assert result["counts"]["instances_not_found"] == 2
    assert len(result["problems"]) == 2


def on_another(labels, name):
    """The true points of the labels carried to another skeleton, 0 where it has others."""
    other = skeletons.load(name)
    there = between(AP10K, other)
    return other, carried(true_points(labels), there, empty=0.0)


def test_another_skeleton_is_matched_by_place(labels, fake, tmp_path):
    other, truth = on_another(labels, "animal_pose")
    fake(skeleton=other, truth=truth)
    out = tmp_path / "r.json"
    assert cli.main(["evaluate", "--data", f"coco:{labels}", "--json", str(out)]) == 0
    result = json.loads(out.read_text())
    back = between(other, AP10K)
    assert set(result["per_keypoint"]) == {
        n for n, g in zip(AP10K.names, back.grade, strict=True) if g
    }
    assert "left_elbow" in result["per_keypoint"]  # called left_front_knee there
    assert result["AP"] > 0.7
    assert result["protocol"]["notes"][0] == "not predicted and left out: neck"


def test_near_points_are_told_or_dropped(labels, fake, tmp_path, capsys):
    other, truth = on_another(labels, "animal_pose")
    definition = other.to_dict()
    for point in definition["keypoints"]:
        if point["name"] == "throat":
            point["place"] = "neck_tigdog"
    near = skeletons.from_dict(definition)
    assert between(near, AP10K).grade[AP10K.index("neck")] == 1
    truth[:, other.index("throat")] = true_points(labels)[:, AP10K.index("neck")]
    fake(skeleton=near, truth=truth)
    out = tmp_path / "r.json"
    command = ["evaluate", "--data", f"coco:{labels}", "--json", str(out)]
    assert cli.main(command) == 0
    assert "near but not the same: neck (throat)" in capsys.readouterr().out
    assert "neck" in json.loads(out.read_text())["per_keypoint"]
    assert cli.main([*command, "--near", "drop"]) == 0
    assert "neck" not in json.loads(out.read_text())["per_keypoint"]


def test_no_point_in_common_is_wrong_use(labels, fake, capsys):
    odd = skeletons.from_dict(
        {
            "name": "odd", "source": {}, "edges": [],
            "keypoints": [{"name": "fin", "sigma": 0.1, "part": "trunk", "site": "fin"}],
        }
    )  # fmt: skip
    fake(skeleton=odd, truth=np.zeros((2 * PICTURES, 1, 2)))
    assert cli.main(["evaluate", "--data", f"coco:{labels}"]) == 2
    assert "no point in common with ap10k" in capsys.readouterr().err


def results_file(labels, tmp_path):
    annotations = json.loads(labels.read_text())["annotations"]
    entries = [
        {key: a[key] for key in ("image_id", "category_id", "keypoints")} | {"score": 0.9}
        for a in annotations
    ]
    file = tmp_path / "results.json"
    file.write_text(json.dumps(entries))
    return file, entries


def test_scores_a_results_file_without_pictures(labels, tmp_path):
    file, _ = results_file(labels, tmp_path)
    for picture in (tmp_path / "images").iterdir():
        picture.unlink()
    out = tmp_path / "r.json"
    status = cli.main(
        ["evaluate", "--data", f"coco:{labels}", "--predictions", str(file), "--json", str(out)]
        + ["--labels-only", "--protocol", "coco-pooled", "--sigmas", "scarcenet"]
        + ["--html", str(tmp_path / "r.html")]
    )
    assert status == 0
    result = json.loads(out.read_text())
    assert result["AP"] == pytest.approx(1.0)
    assert result["protocol"]["sigmas"]["set"] == "scarcenet"
    assert result["protocol"]["flip_test"] is None
    assert "No picture of these could be read" in (tmp_path / "r.html").read_text()


def test_faulty_results_are_left_out_with_status_1(labels, tmp_path, capsys):
    file, entries = results_file(labels, tmp_path)
    entries[0]["image_id"] = 999
    file.write_text(json.dumps(entries))
    assert cli.main(["evaluate", "--data", f"coco:{labels}", "--predictions", str(file)]) == 1
    assert f"{file}: entry 0: image_id 999 is not in the set" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options, words",
    [
        (["--sigmas", "mmpse"], "no sigmas 'mmpse'"),
        (["--protocol", "voc"], "no protocol 'voc'"),
        (["--labels-only"], "--labels-only goes with --predictions"),
        (["--predictions", "absent.json"], "absent.json: no such file"),
        (["--json", "/proc/none/r.json"], "/proc/none/r.json: cannot be written"),
        (["--model", "m.safetensors", "--json", "./m.json"], "./m.json: is the model's own card"),
    ],
)
def test_wrong_use_is_told_before_any_work(labels, fake, capsys, options, words):
    asked = fake()
    assert cli.main(["evaluate", "--data", f"coco:{labels}", *options]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert asked == {}


def test_a_set_of_which_nothing_can_be_predicted_is_an_error(labels, fake, capsys):
    fake(lost=tuple(range(2 * PICTURES)))
    assert cli.main(["evaluate", "--data", f"coco:{labels}"]) == 2
    assert "not one of 12 animals was predicted" in capsys.readouterr().err


def test_a_real_weights_file_from_end_to_end(labels, tmp_path):
    torch.manual_seed(0)
    sizes = {"channels": [8, 8, 16, 16], "blocks": [1, 1, 1, 1], "neck": 16}
    path = tmp_path / "tiny.safetensors"
    card.save(
        path,
        small(len(AP10K), **sizes).eval(),
        card.describe(
            "tetrapose.models.small:small",
            sizes,
            skeleton=AP10K,
            codec=Heatmap(len(AP10K), input_size=(64, 64)),
            normalisation={"mean": [0.5] * 3, "std": [0.25] * 3},
            crop={"padding": 1.25},
        ),
    )
    out = tmp_path / "r.json"
    command = ["evaluate", "--data", f"coco:{labels}", "--model", str(path), "--json", str(out)]
    assert cli.main(command) == 0
    result = json.loads(out.read_text())
    assert result["protocol"]["flip_test"] is True
    assert result["protocol"]["decoder"] == "dark"
    assert result["counts"]["keypoints_not_found"] == 0
    assert result["model"]["weights_sha256"]
    assert -1 <= result["AP"] < 0.5
