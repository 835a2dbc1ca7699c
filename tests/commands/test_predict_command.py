"""tetrapose predict from the outside: pictures in, files, lines and exit status out."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "inference"))

from films_made import broken, film

import tetrapose
from tetrapose import cli, images, render, skeletons
from tetrapose.codecs import Heatmap
from tetrapose.inference.films import Count, read, survey
from tetrapose.inference.video import VideoWriter
from tetrapose.models.small import small
from tetrapose.weights import card

SKELETON = skeletons.load("akd_cats")
K = len(SKELETON)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A tiny network with random weights, saved as a model that can be loaded."""
    torch.manual_seed(0)
    arguments = {"channels": [8, 8, 16, 16], "blocks": [1, 1, 1, 1], "neck": 16}
    network = small(K, **arguments).eval()
    with torch.no_grad():
        network.head.weight.normal_(0, 1.0)
    described = card.describe(
        "tetrapose.models.small:small", arguments, skeleton=SKELETON,
        codec=Heatmap(K, input_size=(64, 64)), crop={"padding": 1.25},
        normalisation={"mean": [0.48] * 3, "std": [0.23] * 3},
    )  # fmt: skip
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    card.save(path, network, described)
    return path


def picture(seed: int, size=(80, 60)) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture
def folder(tmp_path):
    """Three good pictures, one of them below a folder."""
    root = tmp_path / "in"
    (root / "sub").mkdir(parents=True)
    for seed, name in enumerate(("a.png", "b.jpg", "sub/a.png")):
        picture(seed).save(root / name)
    return root


@pytest.fixture
def predict(model, tmp_path, capsys):
    """Runs the command in this process: status, entries and what was printed."""

    def call(*paths, out=tmp_path / "out", options=()):
        words = [str(path) for path in paths]
        if "--boxes" not in options:
            options = [*options, "--boxes", "whole"]
        status = cli.main(
            ["predict", *words, "--out", str(out), "--model", str(model), *map(str, options)]
        )
        made = out / "predictions.json"
        entries = json.loads(made.read_text(encoding="utf-8")) if made.exists() else None
        return status, entries, capsys.readouterr()

    return call


def meta(out: Path) -> dict:
    return json.loads((out / "predictions.meta.json").read_text(encoding="utf-8"))


def test_bad_files_are_listed_and_the_good_ones_done(model, folder, tmp_path):
    good = picture(0)
    exif = Image.Exif()
    exif[0x0112] = 6
    good.transpose(Image.Transpose.ROTATE_90).save(folder / "turned.png", exif=exif)
    good.convert("CMYK").save(folder / "cmyk.jpg")
    deep = np.asarray(good.convert("L")).astype(np.uint16) * 257
    Image.fromarray(deep).save(folder / "deep.png")
    whole = (folder / "b.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "letter.jpg").write_text("Dear reader,")
    (folder / "notes.txt").write_text("no picture, and none looked for")
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-m", "tetrapose", "predict", str(folder), "nowhere.jpg",
         "--out", str(out), "--model", str(model), "--csv", "--boxes", "whole"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 5
    for name, line in zip(("nowhere", "cut", "empty", "letter"), lines, strict=False):
        assert name in line
    assert lines[-1] == "tetrapose: 4 left out, listed above"
    assert str(out / "predictions.json") in done.stdout
    assert "pictures/s" in done.stdout

    entries = {e["file_name"]: e for e in json.loads((out / "predictions.json").read_text())}
    assert set(entries) == {
        "a.png", "b.jpg", "sub/a.png", "turned.png", "cmyk.jpg", "deep.png"
    }  # fmt: skip
    assert entries["turned.png"]["keypoints"] == entries["a.png"]["keypoints"]
    for name, entry in entries.items():
        points = np.reshape(entry["keypoints"], (K, 3))
        assert np.isfinite(points).all()
        assert (points[:, 2] <= 1).all()
        assert images.read_size(out / Path(name).with_suffix(".jpg")) == (80, 60)
    with (out / "predictions.csv").open(encoding="utf-8", newline="") as file:
        assert {row["file_name"] for row in csv.DictReader(file)} == set(entries)
    described = meta(out)
    assert described["keypoints"] == list(SKELETON.names)
    assert described["protocol"]["flip_test"] is True
    assert described["complete"] is True
    assert len(described["left_out"]) == 4
    assert not list(out.rglob("*.part*"))
    assert not (out / "predictions.jsonl").exists()


def test_the_command_and_three_lines_of_python_agree(predict, model, folder, capsys):
    status, entries, printed = predict(folder)
    assert (status, printed.err) == (0, "")
    predictor = tetrapose.load(model)
    animals = predictor.predict(folder / "b.jpg")
    (entry,) = [e for e in entries if e["file_name"] == "b.jpg"]
    points = np.reshape(entry["keypoints"], (K, 3))
    np.testing.assert_allclose(points[:, :2], animals.keypoints[0], atol=0.02)
    np.testing.assert_allclose(points[:, 2], animals.scores[0], atol=1e-3)


def test_boxes_from_a_coco_file_bring_their_ids(predict, folder, tmp_path):
    content = {
        "images": [{"id": 70, "file_name": "a.png"}, {"id": 71, "file_name": "in/sub/a.png"}],
        "annotations": [
            {"image_id": 70, "bbox": [5, 5, 40, 40], "category_id": 2},
            {"image_id": 71, "bbox": [1, 1, 70, 50], "category_id": 3},
            {"image_id": 70, "bbox": [30, 10, 40, 40], "category_id": 4},
            {"image_id": 70, "bbox": [300, 10, 40, 40], "category_id": 5},
        ],
    }
    (tmp_path / "boxes.json").write_text(json.dumps(content))
    status, entries, printed = predict(folder, options=["--boxes", tmp_path / "boxes.json"])
    assert status == 1
    assert [(e["image_id"], e["category_id"]) for e in entries] == [(70, 2), (70, 4), (71, 3)]
    assert entries[1]["bbox"] == [30, 10, 40, 40]
    assert "bbox 2: 300, 10, 340, 50" not in printed.err
    assert "lies outside the picture of 80x60" in printed.err
    assert "b.jpg" in printed.err
    assert "names pictures such as" in printed.err


def test_results_can_be_given_back_as_boxes(predict, folder, tmp_path):
    _, first, _ = predict(folder)
    again = tmp_path / "again"
    boxes = tmp_path / "out" / "predictions.json"
    status, second, _ = predict(folder, out=again, options=["--boxes", boxes, "--no-overlays"])
    assert status == 0
    assert [e["bbox"] for e in second] == [e["bbox"] for e in first]
    np.testing.assert_allclose(
        [e["keypoints"] for e in second], [e["keypoints"] for e in first], atol=0.3
    )
    assert sorted(p.name for p in again.iterdir()) == ["predictions.json", "predictions.meta.json"]


def test_a_video_gives_entries_with_times_and_a_film(predict, folder, tmp_path):
    with VideoWriter(folder / "clip.mp4") as writer:
        for n in range(7):
            writer.add(np.asarray(picture(n)), n / 5)
    status, entries, printed = predict(folder, options=["--csv"])
    assert status == 0
    assert "3 pictures and 7 frames of 1 video," in printed.out
    frames = [e for e in entries if e["file_name"] == "clip.mp4"]
    assert [e["frame"] for e in frames] == list(range(7))
    np.testing.assert_allclose([e["time"] for e in frames], np.arange(7) / 5, atol=1e-3)
    assert len({e["image_id"] for e in entries}) == len(entries)
    drawn = read(survey(tmp_path / "out" / "clip.mp4"), Count())
    times = [frame.time for frame in drawn]
    np.testing.assert_allclose(times, np.arange(7) / 5, atol=1e-3)


def test_a_bad_video_does_not_stop_the_others(predict, folder):
    (folder / "broken.mp4").write_bytes(b"no video" * 100)
    status, entries, printed = predict(folder)
    assert status == 1
    assert len(entries) == 3
    assert "broken.mp4: not a video that can be read" in printed.err


def test_frames_keep_their_numbers_beside_a_broken_one(predict, tmp_path):
    path = broken(film(tmp_path / "clip.mkv", 9, codec="mjpeg"), 4)
    shutil.copy(path, tmp_path / "other.mkv")
    status, entries, printed = predict(path, tmp_path / "other.mkv", options=["--no-overlays"])
    assert status == 1
    assert "clip.mkv: 1 of 9 frames are missing: 4 (broken" in printed.err
    numbers = np.array([0, 1, 2, 3, 5, 6, 7, 8])
    assert [e["frame"] for e in entries] == [*numbers, *numbers]
    np.testing.assert_allclose([e["time"] for e in entries[:8]], 0.04 * numbers, atol=1e-3)
    assert len({e["image_id"] for e in entries}) == 16


def test_what_was_done_before_an_interrupt_is_kept(predict, folder, tmp_path, monkeypatch):
    drawn = []

    def draw(image, *rest, **options):
        if len(drawn) == 2:
            raise KeyboardInterrupt
        drawn.append(1)
        return image

    monkeypatch.setattr(render, "draw", draw)
    status, entries, printed = predict(folder)
    assert status == 130
    assert "stopped" in printed.err
    assert [e["file_name"] for e in entries] == ["a.png", "b.jpg", "sub/a.png"]
    assert meta(tmp_path / "out")["complete"] is False
    assert len(list((tmp_path / "out").rglob("*.jpg"))) == 2
    assert "2 pictures" in printed.out


def test_a_second_run_does_not_take_overlays_for_pictures(predict, folder):
    for _ in range(2):
        status, entries, _ = predict(folder, out=folder / "seen")
        assert (status, len(entries)) == (0, 3)


def test_nothing_done_is_status_two_and_leaves_no_results(predict, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"?")
    status, entries, printed = predict(tmp_path / "bad.jpg")
    assert (status, entries) == (2, None)
    assert "bad.jpg" in printed.err
    assert "nothing could be predicted" in printed.err
    assert "Traceback" not in printed.err


@pytest.mark.parametrize(
    "options, words",
    [
        (["--boxes", "auto", "--finder", "none.safetensors"], "none.safetensors: no such file"),
        (["--boxes", "none.json"], "none.json: no such file"),
        (["--threshold", "1.5"], "0..1"),
        (["--batch", "0"], "--batch must be 1 or more"),
        (["--style", "loud"], "vivid"),
        (["--model", "none.safetensors"], "no such file"),
        (["--device", "abacus"], "cannot be used here"),
    ],
)
def test_wrong_use_is_one_line_and_status_two(predict, folder, tmp_path, options, words):
    status, entries, printed = predict(folder, options=options)
    assert (status, entries) == (2, None)
    assert words in printed.err
    assert printed.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_out_is_neither_a_file_nor_the_folder_of_the_inputs(predict, folder, tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", folder):
        before = sorted(path.name for path in tmp_path.rglob("*"))
        status, _, printed = predict(folder, out=out)
        assert status == 2
        assert "--out" in printed.err
        assert sorted(path.name for path in tmp_path.rglob("*")) == before
    shutil.copy(folder / "b.jpg", tmp_path / "b.jpg")
    status, _, printed = predict(tmp_path / "b.jpg", out=tmp_path)
    assert status == 2
    assert "take the place of this input" in printed.err
