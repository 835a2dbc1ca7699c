"""``tetrapose synth`` as a user types it."""

import json
import re
import subprocess
import sys

import cv2
import pytest

from tetrapose import cli


def synth(*words):
    return subprocess.run(
        [sys.executable, "-m", "tetrapose", "synth", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_draws_labels_and_a_sheet(tmp_path):
    out = tmp_path / "made"
    words = (
        out, "--count", 2, "--seed", 7, "--size", "96x64", "--animals", "1..2",
        "--builds", "cat,dog", "--skeleton", "animal_pose", "--skeleton", "ap10k",
        "--hide", "animal_pose:withers,throat", "--sheet",
    )  # fmt: skip
    done = synth(*words)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(
        r"2 pictures, \d animals in .*; drew 2 in .* s: [\d.]+ pictures/s, [\d.]+ a second",
        done.stdout,
    )
    assert cv2.imread(str(out / "images" / "000001.jpg")).shape == (64, 96, 3)
    assert cv2.imread(str(out / "sheet.png")).shape == (320, 640, 3)
    species = {
        c["id"]: c["name"] for c in json.loads((out / "ap10k.json").read_text())["categories"]
    }
    labels = json.loads((out / "animal_pose.json").read_text())
    assert {species[a["category_id"]] for a in labels["annotations"]} <= {"cat", "dog"}
    before = (out / "animal_pose.json").read_bytes()
    again = synth(*words)
    assert again.returncode == 0
    assert "all were there" in again.stdout
    assert (out / "animal_pose.json").read_bytes() == before
    other = synth(out, "--count", 3)
    assert other.returncode == 2
    assert other.stdout == ""
    assert re.fullmatch(r"tetrapose: .*made: was written with another count, .*\n", other.stderr)


@pytest.mark.parametrize(
    "words, told",
    [
        (["--size", "big"], "--size big: a number of pixels"),
        (["--animals", "many"], "--animals many: a number, or two as 1..3"),
        (["--hide", "withers"], "--hide withers: a skeleton and its points"),
        (["--builds", "yak"], "no build yak; there are: cat, cow"),
        (["--poses", "fly"], "no pose fly; there are: stand"),
        (["--skeleton", "centaur"], "no skeleton 'centaur'"),
        (["--count", "0"], "count 0"),
    ],
)
def test_wrong_use_is_one_line_and_status_2(tmp_path, capsys, words, told):
    assert cli.main(["synth", str(tmp_path / "out"), *words]) == 2
    shown = capsys.readouterr()
    assert told in shown.err
    assert shown.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_help_names_every_option(capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["synth", "--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    for option in ("--count", "--seed", "--size", "--animals", "--builds", "--skeleton", "--hide"):
        assert option in shown
