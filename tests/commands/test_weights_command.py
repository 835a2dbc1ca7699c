"""tetrapose weights: the door to importers, zoo and hub."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tetrapose.cli import main
from tetrapose.commands import weights as command
from tetrapose.weights import card as cards
from tetrapose.weights.importers import KINDS

sys.path.insert(0, str(Path(__file__).parents[1] / "weights"))
import checkpoints as made  # noqa: E402  # shared with tests/weights


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = made.state(made.small_hrnet(width=2))
    return made.save(tmp_path_factory.mktemp("w") / "theirs.pth", made.as_mmpose(state))


def test_the_help_names_every_kind():
    assert set(command.KINDS) == set(KINDS)


def test_import_predict_and_push_dry(theirs, tmp_path, capsys):
    out = tmp_path / "mine.safetensors"
    assert main([
        "weights", "import", "mmpose", str(theirs), "--skeleton", "ap10k", "--out", str(out),
        "--size", "64x64", "--codec", "decoder=dark", "--codec", "sigma=1.5", "--licence", "MIT",
        "--mean", "0.5,0.5,0.5", "--padding", "1.1", "--half",
    ]) == 0  # fmt: skip
    told = capsys.readouterr().out
    assert "17 keypoints" in told
    assert str(out) in told
    card = cards.load(out).card
    assert card["codec"]["decoder"] == "dark"
    assert card["codec"]["sigma"] == 1.5
    assert card["codec"]["input_size"] == [64, 64]
    assert card["training"]["licence"] == "MIT"
    assert card["normalisation"]["mean"] == [0.5] * 3
    assert card["crop"]["padding"] == 1.1
    picture = tmp_path / "cat.png"
    cv2.imwrite(str(picture), np.random.default_rng(0).integers(0, 255, (70, 80, 3), np.uint8))
    assert main(["predict", str(picture), "--model", str(out), "--out", str(tmp_path / "p")]) == 0
    capsys.readouterr()
    assert main(["weights", "push", str(out), "--to", "me/cats", "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "would go up to me/cats" in told
    assert "mine.safetensors" in told
    assert "# mine" in told


def test_list_names_kinds_and_weights(capsys):
    assert main(["weights", "list"]) == 0
    told = capsys.readouterr().out
    assert "mmpose_hrnet_w32_ap10k" in told
    assert "licence: Apache-2.0" in told
    assert "freenet" in told


@pytest.mark.parametrize(
    "more, words",
    [
        (["--skeleton", "animal_pose"], "gives 17 keypoints"),
        ([], "--skeleton NAME"),
        (["--skeleton", "ap10k", "--size", "big"], "--size"),
        (["--skeleton", "ap10k", "--mean", "1,2"], "--mean"),
        (["--skeleton", "ap10k", "--codec", "dark"], "FIELD=VALUE"),
        (["--skeleton", "ap10k", "--codec", "colour=red"], "colour"),
        (["--skeleton", "ap10k", "--order", "nose,nose"], "once"),
        (["--skeleton", "ap10k", "--part", "nothing"], "no weights by name"),
    ],
)
def test_wrong_use_is_one_line(more, words, theirs, tmp_path, capsys):
    out = tmp_path / "o.safetensors"
    given = ["weights", "import", "mmpose", str(theirs), "--out", str(out), *more]
    assert main(given) == 2
    line = capsys.readouterr().err.strip()
    assert "\n" not in line
    assert words in line
    assert not out.exists()


def test_an_unknown_name_and_one_without_a_sum(capsys):
    assert main(["weights", "fetch", "mmpose_hrnet_w32"]) == 2
    assert "did you mean" in capsys.readouterr().err
    assert main(["weights", "fetch", "freenet_ap10k_share_5"]) == 2
    assert "--trust" in capsys.readouterr().err
