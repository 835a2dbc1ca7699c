"""tetrapose export from the outside, and predict with what it wrote."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from tetrapose import cli, skeletons
from tetrapose.codecs import Heatmap
from tetrapose.inference.runtimes import installed
from tetrapose.models.small import small
from tetrapose.weights import card

SKELETON = skeletons.load("akd_cats")
TINY = {"channels": [8, 8, 16, 16], "blocks": [1, 1, 1, 1], "neck": 16}


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(0)
    network = small(len(SKELETON), **TINY).eval()
    with torch.no_grad():
        network.head.weight.normal_(0, 1.0)
    described = card.describe(
        "tetrapose.models.small:small", TINY, skeleton=SKELETON,
        codec=Heatmap(len(SKELETON), input_size=(64, 64)), crop={"padding": 1.25},
        normalisation={"mean": [0.48] * 3, "std": [0.23] * 3},
    )  # fmt: skip
    card.save(tmp_path / "m.safetensors", network, described)
    return tmp_path / "m.safetensors"


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "in"
    root.mkdir()
    for seed in range(3):
        grid = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), dtype=np.uint8)
        Image.fromarray(grid).resize((80, 60), Image.Resampling.BICUBIC).save(root / f"{seed}.png")
    return root


def call(*words) -> int:
    return cli.main([str(word) for word in words])


def entries(out):
    return json.loads((out / "predictions.json").read_text())


def test_what_is_exported_predicts_the_same(model, folder, tmp_path, capsys):
    made = tmp_path / "made.pt2"
    assert call("export", "--model", model, "--to", "torch", "--out", made,
                "--pictures", folder) == 0  # fmt: skip
    text = capsys.readouterr().out
    assert "made.pt2.json" in text
    assert "px at the 99th percentile" in text
    assert "on 3 pictures" in text
    for name in (model, made):
        out = tmp_path / f"of_{name.suffix[1:]}"
        assert call("predict", folder, "--model", name, "--out", out, "--no-overlays",
                    "--boxes", "whole") == 0  # fmt: skip
        assert "computed by  torch" in capsys.readouterr().out
    ours, theirs = (entries(tmp_path / f"of_{kind}") for kind in ("safetensors", "pt2"))
    for one, two in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one["keypoints"], two["keypoints"], atol=0.02)


@pytest.mark.skipif(
    not (installed("onnx") and installed("onnxruntime")), reason="no onnx, onnxruntime"
)
def test_a_named_backend_stands_in_the_results(model, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("TETRAPOSE_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "out"
    words = ("predict", folder, "--model", model, "--out", out, "--no-overlays")
    assert call(*words, "--boxes", "whole", "--backend", "onnxruntime") == 0
    protocol = json.loads((out / "predictions.meta.json").read_text())["protocol"]
    assert protocol["backend"].startswith("onnxruntime ")
    assert list((tmp_path / "cache").rglob("manifest.json"))


def test_few_pictures_are_not_converted_for(model, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("TETRAPOSE_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "out"
    assert call("predict", folder, "--model", model, "--out", out, "--no-overlays",
                "--boxes", "whole") == 0  # fmt: skip
    protocol = json.loads((out / "predictions.meta.json").read_text())["protocol"]
    assert protocol["backend"].startswith("torch ")
    assert not (tmp_path / "cache").exists()


def test_unreadable_pictures_are_listed(model, folder, tmp_path, capsys):
    (folder / "bad.png").write_bytes(b"no picture")
    words = ("export", "--model", model, "--to", "torch", "--pictures", folder)
    assert call(*words, "--out", tmp_path / "x.pt2") == 1
    assert "bad.png" in capsys.readouterr().err
    for path in folder.iterdir():
        path.write_bytes(b"")
    assert call(*words, "--out", tmp_path / "y.pt2") == 2
    assert "not one of 4 pictures can be used" in capsys.readouterr().err
    assert not (tmp_path / "y.pt2").exists()


@pytest.mark.parametrize(
    "words, told",
    [
        (["--to", "torch", "--out", "x.onnx"], "ends in .pt2"),
        (["--to", "coreml", "--out", "x.mlmodel"], "no form 'coreml'"),
        (["--to", "torch", "--out", "x.pt2", "--most", "1"], "--most must be 2 or more"),
        (["--to", "torch", "--out", "x.pt2", "--pictures", "nowhere"], "no picture was found"),
    ],
)
def test_wrong_use_is_one_line(words, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["export", *words]) == 2
    err = capsys.readouterr().err
    assert told in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
