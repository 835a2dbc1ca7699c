"""The command from the outside: preflight, train, go on, generate of every kind of pose, score."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tiny_sd

from tetrapose.cli import main

pytest.importorskip("diffusers")

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def command(*words) -> int:
    return main(["controlnet", *map(str, words)])


@pytest.fixture(scope="module")
def run(tiny_base, tiny_library, tmp_path_factory):
    """A run of the miniature, stopped after two steps and brought to three."""
    out = tmp_path_factory.mktemp("run") / "animals"
    options = ["--base", tiny_base, "--out", out, "--batch", 2, "--shown", 0, "--workers", 0]
    for steps in (2, 3):
        assert command("train", tiny_library, *options, "--every", 2, "--steps", steps) == 0
    return out


def test_preflight_tells_what_it_looked_at_and_begins_nothing(
    tiny_base, tiny_library, tmp_path, capsys
):
    options = ["--base", tiny_base, "--out", tmp_path / "run"]
    assert command("train", tiny_library, *options, "--batch", 2, "--preflight") == 0
    told = capsys.readouterr().out
    assert [line.split()[:2] for line in told.splitlines()] == [
        ["ok", name]
        for name in ("packages", "base", "triplets", "shards", "sizes", "output", "memory")
    ]
    assert not (tmp_path / "run").exists()


def test_faults_are_a_line_each_and_nothing_is_begun(tiny_library, tmp_path, capsys):
    out = tmp_path / "run"
    assert command("train", tiny_library, "--base", tmp_path / "none", "--out", out) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 2
    assert "no such folder" in lines[0]
    assert lines[1] == "tetrapose: 1 of 5 checks failed; nothing was begun"
    assert not out.exists()


def test_a_run_goes_on_and_generates_and_is_scored(run, tiny_base, tiny_library, tmp_path, capsys):
    card = json.loads((run / "controlnet" / "card.json").read_text())
    assert card["steps"] == 3
    assert str(run.parent) not in json.dumps(card)  # nothing of where things lay
    asked = ["--base", tiny_base, "--controlnet", run, "--steps", 2]
    one = tiny_sd.pose_json(tmp_path / "pose.json", (80, 96))
    words = ["--pose", one, "--prompt", "a dog", "--count", 2, "--out", tmp_path / "posed"]
    assert command("generate", *asked, *words) == 0
    pictures = [tiny_sd.pixels(tmp_path / "posed" / f"00000{i}.png") for i in range(2)]
    assert [one.shape for one in pictures] == [(96, 80, 3)] * 2
    assert not np.array_equal(*pictures)
    again = ["--pose", one, "--prompt", "a dog", "--seed", 1, "--out", tmp_path / "again"]
    assert command("generate", *asked, *again) == 0
    assert np.array_equal(tiny_sd.pixels(tmp_path / "again" / "000000.png"), pictures[1])
    drawn = ["--pose-picture", tmp_path / "posed" / "000000.pose.png", "--prompt", "a cat"]
    assert command("generate", *asked, *drawn, "--out", tmp_path / "drawn") == 0
    many = ["--triplets", tiny_library, "--limit", 3, "--batch", 2, "--out", tmp_path / "many"]
    assert command("generate", *asked, *many) == 0
    assert command("score", tmp_path / "many", "--real", tiny_library, "--limit", 3) == 0
    told = capsys.readouterr()
    assert "real, own points" in told.out
    assert "FID, KID: left out" in told.err
    assert "CLIP score: left out" in told.err
    figures = json.loads((tmp_path / "many" / "score" / "score.json").read_text())
    assert set(figures) == {
        "painted", "painted, points shuffled", "real, own points", "real, points shuffled",
        "likeness",
    }  # fmt: skip
    assert figures["painted"]["pictures"] == 3
    assert (tmp_path / "many" / "score" / "score.html").stat().st_size > 3000


def test_what_is_missing_to_generate_is_told(run, tiny_base, tmp_path, capsys):
    asked = ["--base", tiny_base, "--controlnet", run, "--out", tmp_path / "out"]
    assert command("generate", *asked, "--pose", tmp_path / "no.json") == 2
    assert "--prompt is due" in capsys.readouterr().err
    assert command("generate", *asked, "--pose", tmp_path / "no.json", "--prompt", "x") == 2
    assert "no.json: cannot be read" in capsys.readouterr().err
    photo = tiny_sd.photo(tmp_path / "photo.png")
    assert command("generate", *asked, "--pose", photo, "--prompt", "x") == 2
    assert "--pose-picture" in capsys.readouterr().err
    one = tiny_sd.pose_json(tmp_path / "pose.json")
    other = ["--base", tiny_base, "--controlnet", tiny_base, "--out", tmp_path / "out"]
    assert command("generate", *other, "--pose", one, "--prompt", "x") == 2
    assert "no ControlNet" in capsys.readouterr().err
