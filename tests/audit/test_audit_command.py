"""``tetrapose datasets audit`` as a user runs it."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import clean_labels as clean
import miniatures
import pytest


def run(*words, cwd):
    return subprocess.run(
        [sys.executable, "-m", "tetrapose", "datasets", "audit", *map(str, words)],
        capture_output=True, text=True, check=False, cwd=cwd,
    )  # fmt: skip


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_status_and_json_of_clean_and_spoilt_files(tmp_path):
    write(tmp_path / "clean.json", clean.labels(1))
    spoilt = clean.labels(2)
    spoilt["annotations"][3]["area"] = -1
    write(tmp_path / "spoilt.json", spoilt)
    done = run("clean.json", "--json", "told.json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads((tmp_path / "told.json").read_text()) == {"clean.json": []}
    done = run("clean.json", "spoilt.json", "--json", "told.json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    told = json.loads((tmp_path / "told.json").read_text())
    assert list(told) == ["clean.json", "spoilt.json"]
    (one,) = told["spoilt.json"]
    assert (one["code"], one["count"], one["entries"]) == ("area-wrong", 1, [1003])
    assert one["message"]


@pytest.mark.parametrize(
    "content",
    [
        "", "{", "[1, 2]", "null", "\x00\xff", "[" * 100_000,
        '{"images": 3, "annotations": []}', '{"images": [], "annotations": 1}',
        '{"images": [], "annotations": []}',
        '{"images": [], "annotations": [], "categories": 4}',
    ],
)  # fmt: skip
def test_unreadable_files_are_told_in_a_line_and_the_rest_is_audited(tmp_path, content):
    write(tmp_path / "bad.json", content)
    write(tmp_path / "clean.json", clean.labels(1))
    done = run("bad.json", "clean.json", "--json", "told.json", "--html", "told.html", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("tetrapose: bad.json: ")
    assert done.stderr.count("\n") == 1
    told = json.loads((tmp_path / "told.json").read_text())
    assert [one["code"] for one in told["bad.json"]] == ["file-unreadable"]
    assert told["clean.json"] == []


@pytest.mark.parametrize(
    "words",
    [
        [], ["nowhere.json"], ["."], ["--splits", "a.json"], ["a.json", "a.json"],
        ["a.json", "--only", "no-such"], ["a.json", "--fix", "a.json"],
        ["a.json", "--images", "nowhere"], ["a.json", "b/a.json", "--fix", "out"],
        ["coco:nowhere.json"],
    ],
)  # fmt: skip
def test_wrong_use_is_one_line_and_status_2(tmp_path, words):
    write(tmp_path / "a.json", clean.labels(1))
    (tmp_path / "b").mkdir()
    write(tmp_path / "b" / "a.json", clean.labels(1))
    done = run(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_splits_fix_and_page(tmp_path):
    train, val = clean.labels(3), clean.labels(3)
    val["images"] = val["images"][:5]
    kept = {one["id"] for one in val["images"]}
    val["annotations"] = [e for e in val["annotations"] if e["image_id"] in kept]
    train["annotations"][0]["num_keypoints"] = 1
    train["images"][7]["file_name"] = "<b>&.jpg"
    for name, content in (("train", train), ("val", val)):
        write(tmp_path / f"{name}.json", content)
    before = (tmp_path / "train.json").read_bytes()
    words = ["--splits", "train=train.json", "val=val.json"]
    done = run(*words, "--json", "t.json", "--html", "t.html", "--fix", "fixed", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    told = json.loads((tmp_path / "t.json").read_text())
    assert [one["count"] for one in told["val.json"]] == [5]
    assert {one["code"] for one in told["train.json"]} == {"split-leak", "num-keypoints"}
    assert "split-leak: 5 mended" in done.stdout
    page = (tmp_path / "t.html").read_text()
    assert "split-leak" in page
    assert len(page) < 40_000
    assert not re.search(r"<(script|link)|src=\"http", page)
    assert (tmp_path / "train.json").read_bytes() == before
    words = ["--splits", "train=fixed/train.json", "val=fixed/val.json"]
    assert run(*words, cwd=tmp_path).returncode == 0


def test_only_and_ignore(tmp_path):
    content = clean.labels(4)
    content["annotations"][0]["num_keypoints"] = 1
    content["annotations"][1]["area"] = 0
    write(tmp_path / "a.json", content)
    for words, due in (
        (["--only", "area-wrong"], ["area-wrong"]),
        (["--ignore", "area-wrong"], ["num-keypoints"]),
        (["--ignore", "area-wrong,num-keypoints"], []),
    ):
        done = run("a.json", *words, "--json", "t.json", cwd=tmp_path)
        told = json.loads((tmp_path / "t.json").read_text())["a.json"]
        assert [one["code"] for one in told] == due
        assert done.returncode == bool(due)


def test_sets_of_any_reader_and_the_official_animal_pose_file(tmp_path):
    folder = miniatures.animal_pose(tmp_path / "animal_pose")
    miniatures.akd_cats(tmp_path / "cats")
    done = run(
        "animal_pose:animal_pose", "akd_cats:cats", "animal_pose/keypoints.json", cwd=tmp_path
    )
    assert done.stderr == ""
    assert "akd_cats:cats: 3 animals, 4 pictures" in done.stdout
    assert "pictures not looked at" not in done.stdout
    assert done.returncode == 0, done.stdout
    (folder / "images" / "a.jpg").write_bytes(b"no picture")
    done = run("animal_pose/keypoints.json", "--html", "t.html", cwd=tmp_path)
    assert done.returncode == 1
    assert "picture-broken: 1 picture" in done.stdout


def test_the_page_shows_pictures_of_findings(tmp_path):
    file = miniatures.coco(tmp_path / "coco")
    miniatures.edit(file, lambda c: c["annotations"][0].update(area=99_999))
    done = run(file, "--html", "t.html", cwd=tmp_path)
    assert done.returncode == 1
    page = (tmp_path / "t.html").read_text()
    assert page.count("data:image/jpeg") == 1
    assert "area-wrong" in page
