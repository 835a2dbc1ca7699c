"""tetrapose benchmark from the outside: every part has a time, and the machine a name."""

from __future__ import annotations

import json

import pytest
import torch

from tetrapose import cli
from tetrapose.commands import benchmark
from tetrapose.inference.timing import PARTS, spread


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_figures_and_table(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(benchmark, "DRAWN", 3)
    file = tmp_path / "speed.json"
    words = ["benchmark", "--device", "cpu", "--rounds", "2", "--batch", "2", "--threads", "1"]
    assert cli.main([*words, "--json", str(file)]) == 0
    table = capsys.readouterr().out
    figures = json.loads(file.read_text())
    assert set(figures["ms_a_picture"]) == set(PARTS)
    for part in [*figures["ms_a_picture"].values(), figures["pictures_a_second"]]:
        assert 0 < part["min"] <= part["median"] <= part["max"]
    assert figures["pictures"] == 3
    assert figures["machine"]["threads"] == 1
    assert figures["machine"]["processor"] in table
    assert figures["backend"] in table
    assert all(name in table for name in PARTS)
    # the network is most of the way: nothing alone takes longer than all together
    slowest = max(part["min"] for part in figures["ms_a_picture"].values())
    assert 1000 / figures["pictures_a_second"]["max"] > 0.5 * slowest


@pytest.mark.parametrize("option", ["--batch", "--rounds", "--threads", "--most"])
def test_nothing_is_not_timed(option, capsys):
    assert cli.main(["benchmark", option, "0"]) == 2
    assert f"{option} must be 1 or more" in capsys.readouterr().err


def test_a_folder_without_pictures_is_told(tmp_path, capsys):
    assert cli.main(["benchmark", "--pictures", str(tmp_path)]) == 2
    assert "no picture was found" in capsys.readouterr().err
    assert cli.main(["benchmark", "--json", str(tmp_path / "no" / "x.json")]) == 2
    assert "there is no such folder" in capsys.readouterr().err


def test_a_spread_is_median_least_and_most():
    assert spread([3.0, 1.0, 2.0]).to_dict() == {"median": 2.0, "min": 1.0, "max": 3.0}
