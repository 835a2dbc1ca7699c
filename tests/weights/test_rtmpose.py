"""An RTMPose as ONNX comes in, predicts, and is refused where it is another graph.

The miniature has the shape of what MMDeploy writes (input, simcc_x, simcc_y) and one skill: every
keypoint is the brightest spot of the picture, so that where its points must lie is known.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import save
from PIL import Image
from torch import zeros

from tetrapose import skeletons
from tetrapose.cli import main
from tetrapose.inference.predictor import load
from tetrapose.weights import card as cards

pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")
WIDTH, HEIGHT, POINTS = 96, 64, 17
SPOT = (131.0, 58.0)


def finer(pixels: int, ratio: int) -> np.ndarray:
    """(pixels, ratio * pixels): values at pixels interpolated to bins, the first on the first."""
    away = np.abs(np.arange(pixels)[:, None] - np.arange(pixels * ratio)[None] / ratio)
    return np.maximum(1 - away, 0).astype(np.float32)


def graph(
    path: Path, *, batch: int | str = "batch", points: tuple[int, int] = (POINTS, POINTS),
    ratio: tuple[int, int] = (2, 2), size: Sequence[int | str] = (WIDTH, HEIGHT),
    outputs: Sequence[str] = ("simcc_x", "simcc_y"), channels: int = 3,
) -> Path:  # fmt: skip
    """A file like end2end.onnx: brightness by column and by row, in bins, for every keypoint."""
    make, kind = onnx.helper, onnx.TensorProto.FLOAT
    constants: dict[str, np.ndarray] = {"over_colours": np.array([1]), "last": np.array([-2])}
    nodes = [make.make_node("ReduceMax", ["input", "over_colours"], ["grey"], keepdims=0)]
    for axis, side, bins, count, much in (
        ("x", WIDTH, "simcc_x", points[0], ratio[0]), ("y", HEIGHT, "simcc_y", points[1], ratio[1])
    ):  # fmt: skip
        constants[f"over_{axis}"] = np.array([1 if axis == "x" else 2])
        constants[f"finer_{axis}"] = finer(side, much)
        constants[f"times_{axis}"] = np.array([1, count, 1])
        nodes += [
            make.make_node("ReduceMax", ["grey", f"over_{axis}"], [f"by_{axis}"], keepdims=0),
            make.make_node("MatMul", [f"by_{axis}", f"finer_{axis}"], [f"bins_{axis}"]),
            make.make_node("Unsqueeze", [f"bins_{axis}", "last_but_one"], [f"row_{axis}"]),
            make.make_node("Tile", [f"row_{axis}", f"times_{axis}"], [bins]),
        ]
    constants["last_but_one"] = constants.pop("last")
    taken = make.make_tensor_value_info("input", kind, [batch, channels, size[1], size[0]])
    given = [make.make_tensor_value_info(name, kind, None) for name in outputs]
    held = [
        onnx.numpy_helper.from_array(
            value if value.dtype == np.float32 else value.astype(np.int64), name
        )
        for name, value in constants.items()
    ]
    model = make.make_model(
        make.make_graph(nodes, "rtmpose", [taken], given, held),
        opset_imports=[make.make_opsetid("", 18)], ir_version=8,
    )  # fmt: skip
    path.write_bytes(model.SerializeToString())
    return path


def spot(path: Path) -> Path:
    """A picture of 200 x 120 with one soft bright spot at SPOT."""
    y, x = np.mgrid[:120, :200]
    bright = 255 * np.exp(-((x - SPOT[0]) ** 2 + (y - SPOT[1]) ** 2) / (2 * 6.0**2))
    Image.fromarray(np.repeat(bright.round().astype(np.uint8)[..., None], 3, -1)).save(path)
    return path


def bring(file: Path, *more: str, skeleton: str = "ap10k") -> int:
    out = file.parent / "out.safetensors"
    words = ["weights", "import", "rtmpose", str(file), "--skeleton", skeleton, *more]
    return main([*words, "--out", str(out)])


@pytest.mark.parametrize("batch", ["batch", 1])
def test_it_comes_in_and_finds_what_it_was_made_to_find(batch, tmp_path, capsys):
    assert bring(graph(tmp_path / "end2end.onnx", batch=batch)) == 0
    told = capsys.readouterr().out
    assert "cannot be trained on" in told
    assert "17 keypoints" in told
    card = cards.read(tmp_path / "out.safetensors")
    assert card["codec"]["kind"] == "simcc"
    assert card["codec"]["ratio"] == 2
    assert card["codec"]["input_size"] == [WIDTH, HEIGHT]
    assert card["codec"]["grid"] == "origin"
    for flip in (False, True):
        predictor = load(tmp_path / "out.safetensors", flip=flip)
        found = predictor.predict(spot(tmp_path / "spot.png"))
        np.testing.assert_allclose(found.keypoints[0], np.tile(SPOT, (POINTS, 1)), atol=2.0)
        assert (found.scores > 0.3).all()  # type: ignore[operator]


def test_the_command_line_predicts_with_it(tmp_path, capsys):
    assert bring(graph(tmp_path / "end2end.onnx")) == 0
    words = ["predict", str(spot(tmp_path / "spot.png")), "--boxes", "whole"]
    words += ["--model", str(tmp_path / "out.safetensors"), "--out", str(tmp_path / "found")]
    assert main(words) == 0, capsys.readouterr().err
    (file,) = (tmp_path / "found").glob("predictions.json")
    (found,) = json.loads(file.read_text())
    points = np.array(found["keypoints"]).reshape(-1, 3)
    assert len(points) == len(skeletons.load("ap10k"))
    np.testing.assert_allclose(points[:, :2], np.tile(SPOT, (POINTS, 1)), atol=2.0)


def test_a_free_input_wants_its_size(tmp_path, capsys):
    file = graph(tmp_path / "free.onnx", size=("w", "h"))
    assert bring(file) == 2
    assert "say --size" in capsys.readouterr().err
    assert bring(file, "--size", f"{WIDTH}x{HEIGHT}") == 0
    assert cards.read(tmp_path / "out.safetensors")["codec"]["input_size"] == [WIDTH, HEIGHT]


WRONG: dict[str, tuple[dict[str, Any], list[str], str]] = {
    "one output": ({"outputs": ["simcc_x"]}, [], "no SimCC network"),
    "maps instead of bins": ({"outputs": ["simcc_x", "grey", "simcc_y"]}, [], "no SimCC network"),
    "pictures instead of rows": ({"outputs": ["input", "simcc_y"]}, [], "no SimCC network"),
    "other numbers of keypoints": ({"points": (17, 5)}, [], "do not fit"),
    "bins of another ratio": ({"ratio": (2, 3)}, [], "do not fit an input of 96x64"),
    "another size": ({}, ["--size", "48x32"], "takes 96x64 pixels, not 48x32"),
    "grey pictures": ({"channels": 1}, [], "where one (B, 3, H, W) is due"),
    "a size its layers refuse": ({"size": ("w", "h")}, ["--size", "64x64"], "cannot run it"),
}


def refused(code: int, folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    error = capsys.readouterr().err
    assert code == 2
    assert error.count("\n") == 1, error
    assert len(error) < 450
    assert not list(folder.glob("out.*"))
    return error


@pytest.mark.parametrize("case", WRONG)
def test_another_graph_is_refused_in_one_line(case, tmp_path, capsys):
    spoilt, more, words = WRONG[case]
    code = bring(graph(tmp_path / "other.onnx", **spoilt), *more)
    assert words in refused(code, tmp_path, capsys)


def test_another_number_of_keypoints_is_refused(tmp_path, capsys):
    code = bring(graph(tmp_path / "five.onnx", points=(5, 5)))
    assert "gives 5 keypoints, the skeleton 'ap10k' has 17" in refused(code, tmp_path, capsys)


@pytest.mark.parametrize("left", [0, 40, 2000, -1])
def test_a_file_cut_short_is_refused(left, tmp_path, capsys):
    file = graph(tmp_path / "cut.onnx")
    file.write_bytes(file.read_bytes()[:left])
    assert "cut.onnx" in refused(bring(file), tmp_path, capsys)


def test_what_is_no_onnx_is_refused(tmp_path, capsys):
    other = tmp_path / "page.onnx"
    other.write_text("<html>404</html>")
    assert "onnxruntime cannot" in refused(bring(other), tmp_path, capsys)
    assert "no such file" in refused(bring(tmp_path / "none.onnx"), tmp_path, capsys)
    theirs = save(tmp_path / "rtmpose.pth", {"state_dict": {"head.cls_x.weight": zeros(2, 2)}})
    assert "ends in .onnx" in refused(bring(theirs), tmp_path, capsys)


def test_a_tampered_model_is_refused(tmp_path, capsys):
    assert bring(graph(tmp_path / "end2end.onnx")) == 0
    model = tmp_path / "out.safetensors"
    data = bytearray(model.read_bytes())
    data[-9] ^= 1
    model.write_bytes(data)
    capsys.readouterr()
    words = ["predict", str(spot(tmp_path / "spot.png")), "--model", str(model)]
    assert main([*words, "--boxes", "whole", "--out", str(tmp_path / "found")]) == 2
    assert "sha256 differs" in capsys.readouterr().err


def test_what_computes_it_is_named_and_nothing_else_can(tmp_path, capsys):
    file = graph(tmp_path / "end2end.onnx")
    assert bring(file) == 0
    model = tmp_path / "out.safetensors"
    for backend in (None, "auto", "onnxruntime"):
        assert load(model, backend=backend).backend.startswith("onnxruntime ")
    capsys.readouterr()
    words = ["predict", str(spot(tmp_path / "spot.png")), "--boxes", "whole"]
    words += ["--out", str(tmp_path / "found")]
    for command, told in (
        ([*words, "--model", str(model), "--backend", "openvino"], "runs, not openvino"),
        (["export", "--model", str(model), "--to", "onnx", "--out", str(tmp_path / "x.onnx")],
         "an ONNX graph already"),
        ([*words, "--model", str(file)], "tetrapose weights import rtmpose"),
    ):  # fmt: skip
        assert main(command) == 2
        error = capsys.readouterr().err
        assert told in error
        assert error.count("\n") == 1
    assert not (tmp_path / "x.onnx").exists()
