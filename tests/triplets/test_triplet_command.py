"""``tetrapose triplets`` as a user types it, with the models that ship."""

from __future__ import annotations

import json

import piles
import pytest

from tetrapose import cli
from tetrapose.triplets import ledger, shards
from tetrapose.triplets.library import Library


def run(*words) -> int:
    return cli.main(["triplets", *map(str, words)])


SMALL = ("--size", 64, "--least-side", 32, "--part", 3, "--no-card")


def test_a_folder_of_photographs_becomes_a_library(tmp_path, shared_data, capsys):
    from PIL import Image

    names = (shared_data / "animal_pose" / "val.txt").read_text().split()[3:6]
    for name in names:
        path = shared_data / "animal_pose" / "images" / name.rsplit("/", 1)[-1]
        with Image.open(path) as photo:
            (tmp_path / "photos").mkdir(exist_ok=True)
            photo.save(tmp_path / "photos" / path.name)
    piles.save(tmp_path / "photos" / "zz.png", piles.picture(1, (400, 300)))
    words = ("build", tmp_path / "photos", "--out", tmp_path / "lib", "--no-flip")
    assert run(*words) == 0
    out = capsys.readouterr().out
    assert " triplets of 4 pictures in " in out
    assert "find animals" in out
    assert "ms each" in out
    rows = list(ledger.read_all(Library(tmp_path / "lib")))
    assert rows[3].reason.split(":")[0] in ("no_animal", "too_few_points")  # colours alone
    kept = [row for row in rows if row.triplet]
    assert len(kept) >= 2
    by_step = {decision.step: decision for decision in kept[0].decisions}
    assert (by_step["find"].model, by_step["points"].model) == ("finder", "default")
    assert len(by_step["find"].version) == len(by_step["points"].version) == 12
    triplet = next(shards.read(Library(tmp_path / "lib").shards()[0]))
    assert triplet.points["skeleton"] == "quadruped"
    assert triplet.points["animals"][0]["bbox_score"] >= 0.3
    scores = triplet.points["animals"][0]["scores"]
    points = triplet.points["animals"][0]["keypoints"]
    assert all(v == 0 or s >= 0.3 for (_, _, v), s in zip(points, scores, strict=True))
    assert sum(v > 0 for *_, v in points) >= 0.3 * len(points)
    card = tmp_path / "lib" / "README.md"
    assert f"{len(kept)} triplets for pose-guided generators" in card.read_text()
    assert (tmp_path / "lib" / "card" / "samples.jpg").exists()
    card.write_text("mine")
    assert run(*words) == 0
    assert "nothing was left to do" in capsys.readouterr().out
    assert card.read_text() == "mine"


def test_labelled_boxes_are_looked_at_where_points_are_not(tmp_path, shared_data):
    source = shared_data / "animal_pose"
    content = json.loads((source / "keypoints.json").read_text())
    images = dict(list(content["images"].items())[:2])
    ids = {int(key) for key in images}
    rows = [row for row in content["annotations"] if row["image_id"] in ids]
    for row in rows:
        row["keypoints"] = [[0, 0, 0]] * 20
        row["num_keypoints"] = 0
    (tmp_path / "set" / "images").mkdir(parents=True)
    for name in images.values():
        if not (source / "images" / name).exists():
            pytest.skip("the picture is not among those at hand")
        (tmp_path / "set" / "images" / name).symlink_to(source / "images" / name)
    told = {**content, "images": images, "annotations": rows}
    (tmp_path / "set" / "keypoints.json").write_text(json.dumps(told))
    words = ("build", f"animal_pose:{tmp_path / 'set'}", "--out", tmp_path / "lib", "--no-flip")
    assert run(*words, "--threshold", "0.05") == 0
    kept = [row for row in ledger.read_all(Library(tmp_path / "lib")) if row.triplet]
    assert kept
    assert "find" not in {decision.step for decision in kept[0].decisions}
    triplet = next(shards.read(Library(tmp_path / "lib").shards()[0]))
    assert triplet.points["animals"][0]["species"] in ("dog", "cat", "sheep", "horse", "cow")
    assert triplet.points["animals"][0]["bbox_score"] is None
    assert triplet.points["animals"][0]["labelled"] is False


def test_counts_and_losses_are_printed(tmp_path, capsys):
    spec = piles.labelled(tmp_path / "set", 4)
    (tmp_path / "set" / "images" / "p001.jpg").write_bytes(b"\xff\xd8\xff")
    assert run("build", spec, "--out", tmp_path / "lib", "--no-networks", *SMALL) == 0
    out = capsys.readouterr().out
    assert f"3 triplets of 4 pictures in {tmp_path / 'lib'}" in out
    assert "1 dropped at decode: unreadable" in out
    assert run("export", tmp_path / "lib", "--to", "hf", "--out", tmp_path / "hub") == 0
    assert f"3 triplets in {tmp_path / 'hub'}" in capsys.readouterr().out
    assert run("merge", tmp_path / "lib", "--out", tmp_path / "both") == 0
    assert "3 triplets of 4 pictures" in capsys.readouterr().out


def test_captions_are_chosen_by_options(tmp_path):
    spec = piles.labelled(tmp_path / "set", 6)
    words = ("build", spec, "--out", tmp_path / "lib", "--no-networks", *SMALL)
    words += ("--captions", "text=0.5,template=0.5", "--caption-dropout", "1", "--seed", "3")
    assert run(*words) == 0
    about = Library(tmp_path / "lib").read_about()["identity"]["settings"]["captions"]
    assert about["mix"] == {"text": 0.5, "template": 0.5}
    assert (about["dropout"], about["seed"]) == (1.0, 3)
    triplets = [t for path in Library(tmp_path / "lib").shards() for t in shards.read(path)]
    assert {(t.caption, t.provenance["caption_origin"]) for t in triplets} == {("", "dropped")}


@pytest.mark.parametrize(
    "words, told",
    [
        (("--size", "70"), "size 70: a multiple of 8"),
        (("--captions", "text=much"), "--captions text=much: 'much' is no number"),
        (("--captions", "poem"), "'poem' is none of text, model, template"),
        (("--style", "baroque"), "no pose style 'baroque'"),
        (("--skeleton", "spider"), "no skeleton 'spider'"),
        (("--model", "nothing"), "no model 'nothing'"),
        (("--finder", "nothing.safetensors"), "nothing.safetensors: no such weights"),
        (("--workers", "0"), "workers 0: one or more"),
        (("--per-host", "0"), "per_host is 1 or more"),
    ],
)
def test_wrong_use_is_told_in_one_line_and_nothing_is_begun(tmp_path, capsys, words, told):
    folder = piles.photos(tmp_path / "photos", 1)
    assert run("build", folder, "--out", tmp_path / "lib", *words) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert not (tmp_path / "lib").exists()


def test_a_library_is_looked_at_and_gets_its_card(tmp_path, capsys):
    spec = piles.labelled(tmp_path / "set", 4)
    assert run("build", spec, "--out", tmp_path / "lib", "--no-networks", *SMALL) == 0
    assert run("inspect", tmp_path / "lib", "--out", tmp_path / "page.html", "--kept", 2) == 0
    page = (tmp_path / "page.html").read_text()
    assert "2 of 4 triplets" in page
    words = ("card", tmp_path / "lib", "--title", "Blobs")
    assert run(*words) == 0
    card = (tmp_path / "lib" / "README.md").read_text()
    assert "Blobs" in card
    assert run("build", spec, "--out", tmp_path / "lib", "--no-networks", *SMALL) == 0  # still its
    capsys.readouterr()


@pytest.mark.parametrize(
    "words, told",
    [
        (("card", "LIB", "--push", "no repository"), "is no repository"),
        (("inspect", "nothing"), "nothing: no library of triplets"),
        (("build", "LIB", "--out", "x", "--gpus", "1"), "--gpus goes with --ray"),
        (("export", "nothing", "--to", "hf", "--out", "x"), "nothing: no library of triplets"),
    ],
)
def test_verbs_that_look_tell_wrong_use(tmp_path, monkeypatch, capsys, words, told):
    monkeypatch.chdir(tmp_path)
    piles.photos(tmp_path / "photos", 1)
    assert run("build", "photos", "--out", "LIB", "--no-networks", *SMALL) == 0
    assert run(*words) == 2
    assert told in capsys.readouterr().err
