"""tetrapose finetune from the outside, and the model that comes of it in tetrapose predict."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import own_frames
import pytest

from tetrapose import cli
from tetrapose.data import hold_out, open_set
from tetrapose.training import finetune as tuning
from tetrapose.weights import card


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return own_frames.deeplabcut(tmp_path_factory.mktemp("mice") / "dlc", count=6)


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> Path:
    return own_frames.start(tmp_path_factory.mktemp("start"))


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(tuning, "EPOCH", 2)


def told_of(capsys, *words) -> str:
    assert cli.main([str(word) for word in words]) == 2
    return capsys.readouterr().err


@pytest.fixture(scope="module")
def made(root, start, tmp_path_factory) -> Path:
    """A run folder, made once."""
    out = tmp_path_factory.mktemp("made") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning, "EPOCH", 2)
        words = ["finetune", str(root), "--out", str(out), "--model", str(start), "--steps", "4",
                 "--batch", "4"]  # fmt: skip
        assert cli.main(words) == 0
    return out


def test_a_project_gives_a_model_and_a_report(made, root, start):
    pose_set = open_set(f"deeplabcut:{root}")
    test = hold_out.by_lot(pose_set)
    names = {part: (made / f"{part}.txt").read_text().split() for part in ("train", "test")}
    assert names["test"] == [pose_set.files[i] for i in np.flatnonzero(test)]
    assert sorted(names["train"] + names["test"]) == sorted(pose_set.files)

    report = json.loads((made / "report.json").read_text())
    rows = list(csv.DictReader((made / "errors.csv").read_text().splitlines()))
    assert len(rows) == 6 * 4
    assert {row["keypoint"] for row in rows} == set(own_frames.PARTS)  # the labels' own names
    for part, frames in (("train", 5), ("test", 1)):
        figures = report["figures"][part]
        errors = [float(row["error"]) for row in rows if row["part"] == part]
        assert figures["count"] + figures["missing"] == len(errors) == frames * 4
        there = [one for one in errors if np.isfinite(one)]
        assert figures["mean"] == pytest.approx(np.mean(there), abs=1e-3)
    truth = {(r["file"], r["keypoint"]): (float(r["x"]), float(r["y"])) for r in rows}
    assert truth[pose_set.files[0], "snout"] == pytest.approx(tuple(pose_set.keypoints[0, 0]))
    assert list(report["ways"]) == [
        "two looks, as predict does", "the whole frame alone", "in labelled boxes"
    ]  # fmt: skip

    held = card.read(made / "model.safetensors")
    assert [p["name"] for p in held["skeleton"]["keypoints"]] == [
        "snout", "left_ear", "right_ear", "tailbase"
    ]  # fmt: skip
    assert held["training"]["label_names"] == list(own_frames.PARTS)
    assert held["training"]["start_sha256"] == card.read(start)["sha256"]
    assert held["crop"]["locate"]["smallest"] > 0
    assert held["scores"]["test frames"]["mean_px"] == pytest.approx(
        report["figures"]["test"]["mean"]
    )
    assert str(root) not in json.dumps(held)

    form = list(csv.reader((made / "predictions_dlc.csv").read_text().splitlines()))
    assert [line[0] for line in form[:3]] == ["scorer", "bodyparts", "coords"]
    assert form[1][1:4] == ["snout"] * 3
    assert form[2][1:4] == ["x", "y", "likelihood"]
    assert [line[0] for line in form[3:]] == sorted(pose_set.files)
    line = next(line for line in form[3:] if line[0] == rows[0]["file"])
    told = [float(rows[0][key]) for key in ("predicted_x", "predicted_y", "score")]
    if np.isfinite(told).all():
        assert [float(cell) for cell in line[1:4]] == pytest.approx(told, abs=1e-3)

    page = (made / "report.html").read_text()
    assert page.startswith("<!doctype html>")
    assert page.count("data:image/jpeg") == 6  # the worst eight of each part: one and five
    assert "mean error, test" in page
    assert "left_ear from left_ear_tip" in page


def test_the_model_is_used_at_once_and_looks_twice(made, root, tmp_path, capsys):
    picture = root / "labeled-data" / "vid0" / "img000.png"
    model = made / "model.safetensors"
    words = ["predict", str(picture), "--model", str(model), "--backend", "torch", "--out"]
    assert cli.main([*words, str(tmp_path / "seen")]) == 0
    entries = json.loads((tmp_path / "seen" / "predictions.json").read_text())
    meta = json.loads((tmp_path / "seen" / "predictions.meta.json").read_text())
    assert "whole picture" in meta["protocol"]["boxes"]["finder"]
    rows = list(csv.DictReader((made / "errors.csv").read_text().splitlines()))
    mine = [r for r in rows if r["file"].endswith("vid0/img000.png")]
    if mine[0]["predicted_x"] != "nan":
        points = np.array(entries[0]["keypoints"]).reshape(-1, 3)[:, :2]
        reported = [[float(r["predicted_x"]), float(r["predicted_y"])] for r in mine]
        np.testing.assert_allclose(points, reported, atol=0.02)
    assert cli.main([*words, str(tmp_path / "whole"), "--boxes", "whole"]) == 0
    capsys.readouterr()
    assert "never learned to find" in told_of(
        capsys, "predict", picture, "--boxes", "model", "--out", tmp_path / "none"
    )


def test_a_film_is_followed_with_it(made, root, tmp_path):
    pytest.importorskip("av")
    from tetrapose.images import read_image
    from tetrapose.inference.video import VideoWriter

    film = tmp_path / "mouse.mp4"
    with VideoWriter(film) as writer:
        for i in range(4):
            pixels, _ = read_image(root / "labeled-data" / "vid0" / f"img{i:03d}.png")
            writer.add(pixels, i / 10)
    out = tmp_path / "tracks"
    words = ["track", film, "--model", made / "model.safetensors", "--out", out, "--backend",
             "torch", "--find", "every", "--also", "dlc-csv"]  # fmt: skip
    assert cli.main([str(word) for word in words]) == 0
    rows = list(csv.reader((out / "mouse.dlc.csv").read_text().splitlines()))
    assert rows[-4][0] == "0"
    assert set(rows[1][1:]) == {"snout", "left_ear", "right_ear", "tailbase"}
    assert len(rows[-1]) == 1 + 3 * 4
    told = json.loads((out / "mouse.json").read_text())
    assert told["boxes"] == "model" or "model" in json.dumps(told)


def test_the_same_command_goes_on_and_another_is_refused(made, root, start, capsys):
    words = ["finetune", root, "--out", made, "--model", start, "--batch", "4"]
    before = (made / "errors.csv").read_text()
    assert cli.main([str(word) for word in [*words, "--steps", "4"]]) == 0
    assert "going on from" in capsys.readouterr().err
    assert (made / "errors.csv").read_text() == before
    assert "holds a run with other settings (steps)" in told_of(capsys, *words, "--steps", "6")
    assert "other settings (seed, test)" in told_of(capsys, *words, "--steps", "4", "--seed", "3")


def test_several_animals_are_measured_in_labelled_boxes(start, tmp_path, capsys):
    root = own_frames.deeplabcut(tmp_path / "dlc", count=4)
    table = root / "labeled-data" / "vid0" / "CollectedData_me.csv"
    lines = [line.split(",") for line in table.read_text().splitlines()]
    body = [line[1:] for line in lines]
    twice = [[one[0], *b, *b] for one, b in zip(lines, body, strict=True)]
    twice.insert(1, ["individuals", *["one"] * 8, *["two"] * 8])
    table.write_text("\n".join(",".join(row) for row in twice))
    out = tmp_path / "run"
    words = ["finetune", root, "--out", out, "--model", start, "--steps", "2", "--batch", "2"]
    assert cli.main([str(word) for word in words]) == 0
    report = json.loads((out / "report.json").read_text())
    assert list(report["ways"]) == ["in labelled boxes"]
    assert report["recipe"]["whole"] == 0
    assert report["figures"]["test"]["count"] == 8
    assert "locate" not in card.read(out / "model.safetensors")["crop"]
    assert "several in some" in capsys.readouterr().err


def test_left_out_frames_are_told_by_the_exit_status(start, tmp_path, capsys):
    root = own_frames.deeplabcut(tmp_path / "dlc", count=4)
    (root / "labeled-data" / "vid0" / "img002.png").unlink()
    words = ["finetune", root, "--out", tmp_path / "run", "--model", start, "--steps", "2",
             "--batch", "2", "--test-share", "0"]  # fmt: skip
    assert cli.main([str(word) for word in words]) == 1
    told = capsys.readouterr()
    assert "img002" in told.err
    assert "train" in told.out
    assert "test " not in told.out.partition("report")[0].replace("tetrapose", "")
    assert (tmp_path / "run" / "test.txt").read_text() == ""


@pytest.mark.parametrize(
    "words, told",
    [
        (["--test", "a.txt", "--shuffle", "1"], "choose one way"),
        (["--shuffle", "1", "--whole-videos"], "--whole-videos draws frames"),
        (["--pcutoff", "2"], "--pcutoff must lie in 0..1"),
        (["--steps", "0"], "--steps must be 1 or more"),
        (["--batch", "1"], "--batch must be 2 or more"),
        (["--lr", "-1"], "--lr must lie between 0 and 1"),
        (["--rotation", "200"], "--rotation must lie in 0..180"),
        (["--input-size", "100"], "multiple of 32"),
        (["--shuffle", "3"], "no shuffle 3"),
        (["--whole-videos"], "all frames are of one video"),
        (["--model", "nowhere"], "nowhere"),
    ],
)
def test_wrong_use_is_said_in_a_line(root, tmp_path, capsys, words, told):
    err = told_of(capsys, "finetune", root, "--out", tmp_path / "run", *words)
    assert told in err
    assert len(err.strip().splitlines()) <= 12  # the line itself, after what was read


def test_a_folder_that_is_not_ours_is_left_alone(root, start, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    words = ["finetune", root, "--model", start, "--steps", "2", "--out"]
    assert "not empty, and no run of this command" in told_of(capsys, *words, tmp_path)
    assert "a file, where a folder is due" in told_of(capsys, *words, tmp_path / "notes.txt")
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]
