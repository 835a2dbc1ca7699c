"""``tetrapose label-free pseudo-labels``: parts, going on, what is said of bad input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tetrapose import skeletons
from tetrapose.cli import main
from tetrapose.codecs import Heatmap
from tetrapose.data import open_set
from tetrapose.models.small import small
from tetrapose.training.labelfree import pseudo_files
from tetrapose.weights import card

SKELETON = skeletons.load("animal_pose")
WIDTHS = {"channels": (8, 8, 8, 8), "blocks": (1, 1, 1, 1), "neck": 8}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The small network at its smallest, as a file with its card."""
    torch.manual_seed(0)
    path = tmp_path / "tiny.safetensors"
    described = card.describe(
        "tetrapose.models.small:small", WIDTHS, skeleton=SKELETON,
        codec=Heatmap(len(SKELETON), (64, 64)),
        normalisation={"mean": [0.5] * 3, "std": [0.25] * 3}, crop={"padding": 1.25},
    )  # fmt: skip
    card.save(path, small(len(SKELETON), **WIDTHS), described)
    return path


def test_parts_make_the_file_that_one_would(tiny_animal_pose, model, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(pseudo_files, "SHARD", 1)
    spec = f"animal_pose:{tiny_animal_pose}"
    given = ["label-free", "pseudo-labels", spec, "--model", str(model), "--looks", "2"]
    assert main([*given, "--out", str(tmp_path / "one.safetensors")]) == 0
    told = capsys.readouterr().out
    assert f"one.safetensors: {len(open_set(spec))} animals, 20 points each" in told
    assert "left_eye" in told
    for part in ("2/2", "1/2"):
        assert not (tmp_path / "two.safetensors").exists()
        assert main([*given, "--out", str(tmp_path / "two.safetensors"), "--part", part]) == 0
    one, two = ((tmp_path / f"{name}.safetensors").read_bytes() for name in ("one", "two"))
    assert one == two
    assert "part 2/2 is done" in capsys.readouterr().out
    labels = pseudo_files.read(tmp_path / "one.safetensors", open_set(spec))
    assert labels.readable.all()
    assert np.isfinite(labels.keypoints[labels.confidence > 0]).all()
    assert labels.confidence.any()


def test_what_cannot_be_is_told_in_a_line(tiny_animal_pose, model, tmp_path, capsys):
    spec, out = f"animal_pose:{tiny_animal_pose}", str(tmp_path / "p.safetensors")
    given = ["label-free", "pseudo-labels", spec, "--model", str(model), "--looks", "1"]
    for more, told in (
        (["--out", out, "--part", "3/2"], "part 3 of 2: parts are counted from 1 to 2"),
        (["--out", out, "--part", "0/2"], "part 0 of 2"),
        (["--out", out, "--part", "half"], "--part half: due is I/N"),
        (["--out", out, "--batch", "0"], "--batch 0: 1 or more"),
        (["--out", str(tmp_path / "p.npy")], "ends in .safetensors"),
        (["--out", str(model / "p.safetensors")], "pseudo-labels cannot be written"),
    ):
        assert main([*given, *more]) == 2
        assert told in capsys.readouterr().err
    assert main([*given, "--out", out]) == 0
    assert main([*given, "--out", out, "--no-mirror"]) == 2
    assert "stale, made from another looks" in capsys.readouterr().err


def test_unreadable_pictures_are_counted(tiny_animal_pose, model, tmp_path, capsys):
    spec = f"animal_pose:{tiny_animal_pose}"
    Image.new("RGB", (48, 64)).save(tiny_animal_pose / "images" / "b.jpg")
    data = (tiny_animal_pose / "images" / "b.jpg").read_bytes()
    (tiny_animal_pose / "images" / "b.jpg").write_bytes(data[: len(data) // 2])
    given = ["label-free", "pseudo-labels", spec, "--model", str(model), "--looks", "1"]
    assert main([*given, "--out", str(tmp_path / "p.safetensors")]) == 1
    assert "1 animals: their pictures cannot be decoded" in capsys.readouterr().err
