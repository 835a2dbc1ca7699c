"""tetrapose evaluate --boxes auto: the models that ship, on a few drawn animals."""

from __future__ import annotations

import json

import pytest

from tetrapose import cli


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    size = ["--count", "4", "--animals", "1..2", "--size", "256", "--seed", "5", "--workers", "1"]
    assert cli.main(["synth", str(folder), "--skeleton", "quadruped", *size]) == 0
    return folder


def test_poses_in_found_boxes_are_scored(drawn, tmp_path, capsys):
    out = tmp_path / "result.json"
    words = ["evaluate", "--data", f"menagerie:{drawn}", "--protocol", "coco-pooled", "--no-flip"]
    assert cli.main([*words, "--boxes", "auto", "--json", str(out)]) == 0
    result = json.loads(out.read_text())
    assert result["protocol"]["boxes"] == "found by tetrapose's finder"
    told = result["model"]
    assert told["weights_sha256"] != told["finder"]["weights_sha256"]
    assert result["model"]["boxes"]["AP50"] > 0.5
    assert result["AP50"] > 0.2
    assert "boxes found: AP" in capsys.readouterr().err
    given = tmp_path / "given.json"
    assert cli.main([*words, "--json", str(given)]) == 0
    assert json.loads(given.read_text())["protocol"]["boxes"] != result["protocol"]["boxes"]


@pytest.mark.parametrize(
    "more, words",
    [
        (["--tiles", "2"], "--tiles goes with --boxes auto"),
        (["--finder", "x.safetensors"], "--finder goes with --boxes auto"),
        (["--boxes", "auto", "--least-score", "2"], "--least-score must lie in 0..1"),
        (["--boxes", "auto", "--finder", "x.safetensors"], "x.safetensors: no such file"),
    ],
)
def test_wrong_use_is_one_line(drawn, capsys, more, words):
    assert cli.main(["evaluate", "--data", f"menagerie:{drawn}", *more]) == 2
    told = capsys.readouterr().err.strip()
    assert words in told
    assert "\n" not in told


def test_a_results_file_has_made_its_choice(drawn, tmp_path, capsys):
    (tmp_path / "r.json").write_text("[]")
    words = ["--predictions", str(tmp_path / "r.json"), "--boxes", "auto"]
    assert cli.main(["evaluate", "--data", f"menagerie:{drawn}", *words]) == 2
    assert "--boxes auto goes with --model" in capsys.readouterr().err
