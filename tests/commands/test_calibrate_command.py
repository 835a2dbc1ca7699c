"""tetrapose calibrate from the outside, and what its map does to predictions."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import miniatures
import numpy as np
import pytest
import torch

import tetrapose
from tetrapose import cli, skeletons
from tetrapose.codecs import Distribution
from tetrapose.errors import UserError
from tetrapose.models.small import small
from tetrapose.weights import card

SKELETON = skeletons.load("quadruped")
K = len(SKELETON)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A tiny network with random weights on the 32 points of the quadruped."""
    torch.manual_seed(0)
    arguments = {"channels": [8, 8, 16, 16], "blocks": [1, 1, 1, 1], "neck": 16}
    network = small(K, **arguments).eval()
    with torch.no_grad():
        network.head.weight.normal_(0, 2.0)
    described = card.describe(
        "tetrapose.models.small:small", arguments, skeleton=SKELETON,
        codec=Distribution(K, input_size=(64, 64)), crop={"padding": 1.25},
        normalisation={"mean": [0.48] * 3, "std": [0.23] * 3},
    )  # fmt: skip
    path = tmp_path_factory.mktemp("trained") / "tiny.safetensors"
    card.save(path, network, described)
    return path


@pytest.fixture
def model(trained: Path, tmp_path: Path) -> Path:
    """A copy whose card a test may write to."""
    for suffix in (".safetensors", ".json"):
        shutil.copy(trained.with_suffix(suffix), tmp_path)
    return tmp_path / trained.name


@pytest.fixture
def sets(tmp_path: Path) -> list[str]:
    """Two sets of other skeletons than the model's."""
    animals = miniatures.animal_pose(tmp_path / "animal_pose")
    cats = miniatures.akd_cats(tmp_path / "akd_cats")
    return ["--data", f"animal_pose:{animals}", "--data", f"akd_cats:{cats}"]


def test_a_map_is_fitted_told_stored_and_applied(model, sets, tmp_path, capsys) -> None:
    page = tmp_path / "page" / "c.html"
    raw = tetrapose.load(model, device="cpu")
    assert raw.calibration is None
    before = card.read(model)
    assert cli.main(["calibrate", "--model", str(model), *sets, "--html", str(page)]) == 0
    assert card.read(model) == before
    assert "--store" in capsys.readouterr().out
    assert page.read_text().startswith("<!doctype html>")

    assert cli.main(["calibrate", "--model", str(model), *sets, "--store"]) == 0
    told = capsys.readouterr().out
    assert "expected calibration error" in told
    assert any(f"  {name} " in told for name in SKELETON.names)
    held = card.read(model)["calibration"]
    assert {key: value for key, value in card.read(model).items() if key != "calibration"} == before
    assert [one["source"] for one in held["fitted_on"]["sets"]] == ["animal_pose", "akd_cats"]
    assert held["fitted_on"]["animals"] == 7
    assert held["held_out"]["flip"]["ece_after"] <= 1
    assert str(tmp_path) not in json.dumps(held)

    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    for flip, kind in ((True, "flip"), (False, "single")):
        plain = tetrapose.load(model, device="cpu", flip=flip, calibrated=False).predict(image)
        mended = tetrapose.load(model, device="cpu", flip=flip)
        found = mended.predict(image)
        np.testing.assert_array_equal(found.keypoints, plain.keypoints)
        rows = held["maps"][kind]["shares"]
        wanted = [
            np.interp(score, held["maps"][kind]["knots"], rows[k])
            for k, score in enumerate(plain.scores[0])
        ]
        np.testing.assert_allclose(found.scores[0], wanted, atol=1e-12)
        assert "share of labelled points" in mended.protocol["scores"]
    assert tetrapose.load(model, calibrated=False).protocol["scores"] == "as the codec gives them"

    # fitted again, it is the raw scores that are looked at: nothing changes
    assert cli.main(["calibrate", "--model", str(model), *sets, "--store"]) == 0
    assert card.read(model)["calibration"] == held


@pytest.mark.parametrize(
    "spoil, words",
    [
        (lambda held: [], "flip and single"),
        (lambda held: {"maps": {"flip": {}}}, "flip and single"),
        (lambda held: {"maps": {"flip": {}, "single": {}}}, "lists of numbers"),
        (
            lambda held: {
                "maps": dict.fromkeys(("flip", "single"), {"knots": [1], "shares": [[1]]})
            },
            f"of 1 keypoints, not {K}",
        ),
    ],
)
def test_a_card_with_a_calibration_that_cannot_be_used(model, spoil, words) -> None:
    beside = model.with_suffix(".json")
    content = json.loads(beside.read_text())
    beside.write_text(json.dumps(content | {"calibration": spoil(content)}))
    with pytest.raises(UserError, match=words):
        tetrapose.load(model, device="cpu")
    tetrapose.load(model, device="cpu", calibrated=False)


def test_an_unreadable_picture_is_told(model, tiny_animal_pose, capsys) -> None:
    next((tiny_animal_pose / "images").iterdir()).write_bytes(b"no picture")
    assert (
        cli.main(["calibrate", "--model", str(model), "--data", f"animal_pose:{tiny_animal_pose}"])
        == 1
    )
    out, err = capsys.readouterr()
    assert "expected calibration error" in out
    assert "1 left out" in err


def test_wrong_use_is_one_line(model, tmp_path, tiny_animal_pose, capsys) -> None:
    data = f"animal_pose:{tiny_animal_pose}"
    for words in (
        ["--data", "nothing:here"],
        ["--data", data, "--model", str(tmp_path / "no.safetensors")],
        ["--data", data, "--model", str(model), "--device", "abacus"],
    ):
        assert cli.main(["calibrate", *words]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("tetrapose: ")
        assert err.count("\n") == 1
