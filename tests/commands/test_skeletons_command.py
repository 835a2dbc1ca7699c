"""`tetrapose skeletons` as a subprocess."""

from __future__ import annotations

import json
import subprocess
import sys

import miniatures
import pytest

from tetrapose import skeletons


def call(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tetrapose", "skeletons", *words],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_all_are_listed_and_one_is_shown():
    listed = call("list")
    assert listed.returncode == 0
    assert len(listed.stdout.splitlines()) == len(skeletons.available())
    shown = call("show", "union26").stdout
    assert "left_front_ankle" in shown
    assert "seed001" in shown


def test_a_mapping_is_told_with_its_grades():
    done = call("map", "akd_cats", "ap10k")
    assert done.returncode == 0
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["exact", "left_knee", "left_hip"] in lines
    assert any(line[:3] == ["near", "upper_spine", "neck"] for line in lines)
    assert ["absent", "-", "nose"] in lines
    assert "not in ap10k: head, " in done.stdout


def test_a_union_is_written_and_can_be_used(tmp_path):
    path = tmp_path / "mine.yaml"
    done = call("build", "ap10k", "animal_pose", "--out", str(path))
    assert done.returncode == 0, done.stderr
    assert len(skeletons.load(str(path))) == 21
    again = call("build", "ap10k", "--out", str(path))
    assert (again.returncode, again.stdout) == (2, "")
    assert "is there already" in again.stderr
    assert "nearest" not in call("map", str(path), "union21").stderr


@pytest.mark.parametrize(
    "words, told",
    [
        (("show", "ap10"), "no skeleton 'ap10'; there are: ap10k"),
        (("map", "ap10k", "nothing.yaml"), "nothing.yaml: cannot be read"),
        (("build", "ap10k", "--out", "mine.json"), "ends in .yaml"),
    ],
)
def test_wrong_use_is_one_line(words, told):
    done = call(*words)
    assert done.returncode == 2
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_offsets_are_measured_with_the_model_that_ships(tmp_path):
    folder = miniatures.animal_pose(tmp_path / "set")
    written = tmp_path / "offsets.json"
    done = call("offsets", "--data", f"animal_pose:{folder}", "--json", str(written))
    # noise pictures: what is told is told, or nothing could be measured, in one line
    assert done.returncode in (0, 2)
    if done.returncode == 0:
        rows = json.loads(written.read_text())["offsets"]
        assert {row["grade"] for row in rows} == {"exact"}
    else:
        assert "no animal shows a pair" in done.stderr
