"""What is exported gives the points that torch gives, or is not there."""

from __future__ import annotations

import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tetrapose import cli, skeletons
from tetrapose.codecs import Heatmap
from tetrapose.errors import UserError
from tetrapose.export import writing
from tetrapose.export.writing import DriftError, export
from tetrapose.inference import agreement
from tetrapose.inference.exported import read
from tetrapose.inference.predictor import load
from tetrapose.inference.runtimes import installed
from tetrapose.models.efficientnet import efficientnet_lite
from tetrapose.models.small import small
from tetrapose.weights import card

SKELETON = skeletons.load("akd_cats")
K = len(SKELETON)
TINY = {"channels": [8, 8, 16, 16], "blocks": [1, 1, 1, 1], "neck": 16}
LITE = {"variant": 0, "widths": [8, 8, 8, 8]}
FORMS = [
    pytest.param("onnx", ".onnx", marks=pytest.mark.skipif(
        not (installed("onnx") and installed("onnxruntime")), reason="no onnx, onnxruntime")),
    pytest.param("openvino", ".xml", marks=pytest.mark.skipif(
        not installed("openvino"), reason="no openvino, or tcmalloc before it")),
    pytest.param("torch", ".pt2"),
]  # fmt: skip
with_onnx = pytest.mark.skipif(
    not (installed("onnx") and installed("onnxruntime")), reason="no onnx, onnxruntime"
)


def save(path: Path, network: torch.nn.Module, builder: str, arguments: dict) -> Path:
    torch.manual_seed(0)
    with torch.no_grad():
        network.head.weight.normal_(0, 1.0)
    described = card.describe(
        f"tetrapose.models.{builder}", arguments, skeleton=SKELETON,
        codec=Heatmap(K, input_size=(64, 96)), crop={"padding": 1.25},
        normalisation={"mean": [0.48] * 3, "std": [0.23] * 3},
    )  # fmt: skip
    card.save(path, network.eval(), described, dtype=torch.float32)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    return save(path, small(K, **TINY), "small:small", TINY)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pictures")
    paths = []
    for seed in range(6):
        grid = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), dtype=np.uint8)
        path = folder / f"{seed}.png"
        Image.fromarray(grid).resize((90, 70), Image.Resampling.BICUBIC).save(path)
        paths.append(path)
    return paths


@pytest.mark.parametrize("form, suffix", FORMS)
def test_an_export_is_a_model_that_gives_the_same_points(model, pictures, tmp_path, form, suffix):
    out = tmp_path / f"made{suffix}"
    done = export(model, out, form=form, pictures=pictures)
    assert done.drift.points == len(pictures) * K
    assert done.drift.holds()
    assert {file.name for file in done.files} == {file.name for file in tmp_path.iterdir()}
    theirs = load(out, device="cpu")
    ours = load(model, device="cpu")
    for batch_size in (1, 4):  # the batch is free
        items = [(path, None) for path in pictures]
        found = list(replace(theirs, batch_size=batch_size).predict_many(items))
        for one, two in zip(ours.predict_many(items), found, strict=True):
            np.testing.assert_allclose(one.keypoints, two.keypoints, atol=0.01)
            np.testing.assert_allclose(one.scores, two.scores, atol=1e-4)
    written = json.loads(done.files[-1].read_text())
    assert written["export"]["check"]["points"] == len(pictures) * K
    assert written["export"]["from_sha256"] == card.read(model)["sha256"]
    assert theirs.skeleton.names == SKELETON.names
    backend = {"onnx": "onnxruntime", "openvino": "openvino", "torch": "torch"}[form]
    assert theirs.protocol["backend"].startswith(f"{backend} ")
    assert theirs.protocol["precision"] == "float32"


@pytest.mark.parametrize("form, suffix", FORMS)
def test_a_depthwise_network_is_exported_too(pictures, tmp_path, form, suffix):
    torch.manual_seed(2)
    network = efficientnet_lite(K, **LITE)
    path = save(tmp_path / "lite.safetensors", network, "efficientnet:efficientnet_lite", LITE)
    done = export(path, tmp_path / f"lite{suffix}", form=form, pictures=pictures)
    assert done.drift.holds()


@pytest.mark.parametrize("form, suffix", FORMS)
def test_a_file_cut_short_or_changed_is_refused(model, pictures, tmp_path, form, suffix):
    out = tmp_path / f"made{suffix}"
    export(model, out, form=form, pictures=pictures[:1])
    for part in [file for file in tmp_path.iterdir() if file.suffix != ".json"]:
        whole = part.read_bytes()
        for damaged in (whole[: len(whole) // 2], whole[:-1] + bytes([whole[-1] ^ 1]), b""):
            part.write_bytes(damaged)
            with pytest.raises(UserError, match=f"{part.name}.*(sha256 differs|is empty)"):
                load(out)
        part.unlink()
        with pytest.raises(UserError, match=f"{part.name}: no such file"):
            load(out)
        part.write_bytes(whole)
    load(out)
    note = out.with_name(f"{out.name}.json")
    note.rename(tmp_path / "elsewhere.json")
    with pytest.raises(UserError, match=f"its card {note.name} is not beside it"):
        load(out)
    shutil.copy(model.with_suffix(".json"), note)
    with pytest.raises(UserError, match="lacks export"):
        load(out)


@with_onnx
def test_bytes_that_are_no_network_are_one_line_even_with_a_fitting_card(model, pictures, tmp_path):
    out = tmp_path / "made.onnx"
    export(model, out, form="onnx", pictures=pictures[:1])
    note = json.loads((tmp_path / "made.onnx.json").read_text())
    out.write_bytes(out.read_bytes()[:5000])
    note["export"]["files"][".onnx"] = writing.digest(out.read_bytes())
    (tmp_path / "made.onnx.json").write_text(json.dumps(note))
    with pytest.raises(UserError, match="onnxruntime cannot open it") as told:
        load(out)
    assert "\n" not in str(told.value)


def test_an_archive_with_code_is_refused(model, pictures, tmp_path):
    out = tmp_path / "made.pt2"
    export(model, out, form="torch", pictures=pictures[:1])
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr("made/data/constants/opaque_obj_0", b"cos\nsystem\n(S'true'\ntR.")
    note = json.loads((tmp_path / "made.pt2.json").read_text())
    note["export"]["files"][".pt2"] = writing.digest(out.read_bytes())
    (tmp_path / "made.pt2.json").write_text(json.dumps(note))
    with pytest.raises(UserError, match="refused, since it holds code or pickled objects"):
        load(out)


def test_an_export_that_drifts_is_deleted_and_the_old_one_stays(
    model, pictures, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "made.pt2"
    export(model, out, form="torch", pictures=pictures[:2])
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    real = writing.convert

    def worse(network, size, form, **options):
        with torch.no_grad():
            network.head.weight += 0.3 * torch.randn_like(network.head.weight)
        return real(network, size, form, **options)

    monkeypatch.setattr(writing, "convert", worse)
    # a deep copy: the reference must not change with what is written
    monkeypatch.setattr(writing, "_converted", _of_a_copy(writing._converted))
    with pytest.raises(DriftError, match=r"made.pt2: deleted, .* px at the 99th percentile"):
        export(model, out, form="torch", pictures=pictures[:2])
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    status = cli.main(
        ["export", "--model", str(model), "--to", "torch", "--out", str(out),
         "--pictures", str(pictures[0].parent)]
    )  # fmt: skip
    assert status == 2
    assert capsys.readouterr().err.count("\n") == 1
    loose = export(model, out, form="torch", pictures=pictures[:2], bound=1000.0)
    assert loose.drift.p99 > 0.1


def _of_a_copy(converted):
    import copy

    def call(reference, *rest):
        return converted(replace(reference, model=copy.deepcopy(reference.model)), *rest)

    return call


@pytest.mark.parametrize("form, suffix", [FORMS[0], FORMS[2]])
def test_float16_computes_in_half_and_says_so(model, pictures, tmp_path, form, suffix):
    out = tmp_path / f"half{suffix}"
    done = export(model, out, form=form, precision="float16", pictures=pictures, bound=2.0)
    full = export(model, tmp_path / f"full{suffix}", form=form, pictures=pictures)
    assert done.drift.maximum > full.drift.maximum
    assert out.stat().st_size < (tmp_path / f"full{suffix}").stat().st_size
    assert load(out).protocol["precision"] == "float16"


@with_onnx
@pytest.mark.parametrize("form, suffix", FORMS[:2])
def test_int8_learns_its_ranges_on_other_pictures(model, pictures, tmp_path, form, suffix):
    out = tmp_path / f"small{suffix}"
    done = export(model, out, form=form, precision="int8", pictures=pictures, bound=1000.0)
    assert done.pictures == 3
    assert done.drift.maximum > 0
    assert load(out).protocol["precision"] == "int8"
    with pytest.raises(UserError, match="two pictures"):
        export(model, out, form=form, precision="int8", pictures=pictures[:1])


def test_drawn_animals_are_the_same_every_time_and_others_for_learning():
    cutter = agreement.Cutter((32, 32), 1.25)
    one, two = agreement.drawn_crops(cutter, 2), agreement.drawn_crops(cutter, 2)
    np.testing.assert_array_equal(one, two)
    assert one.shape == (2, 32, 32, 3)
    assert not np.array_equal(agreement.drawn_crops(cutter, 1, first=1), one[:1])


def test_drift_is_in_pixels_of_the_input(model):
    reference = load(model, flip=False, device="cpu")

    class Moved:
        def look(self, crops):
            points, scores = reference.look(crops)
            points[0, 0, 0] += 3.0
            return points + [0.03, 0.04], scores

    crops = agreement.drawn_crops(reference.cutter(), 8)
    drift = agreement.measure(reference, Moved(), crops)
    assert drift.points == 8 * K
    assert drift.median == pytest.approx(0.05)
    assert drift.p99 == pytest.approx(0.05)
    assert drift.maximum > 3.0
    assert drift.holds(0.051)
    assert not drift.holds(0.049)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"form": "tflite"}, "no form 'tflite'; there are: onnx, openvino, torch"),
        ({"precision": "int4"}, "no precision 'int4'"),
        ({"precision": "int8"}, "int8 is made for onnx and openvino"),
        ({"form": "onnx"}, "ends in .onnx"),
        ({"bound": 0.0}, "the bound must be above 0"),
    ],
)
def test_wrong_use_is_told_before_the_work(model, tmp_path, options, words):
    with pytest.raises(UserError, match=words):
        export(model, tmp_path / "x.pt2", **{"form": "torch", **options})
    assert list(tmp_path.iterdir()) == []


def test_places_that_cannot_be_written_are_told(model, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be made"):
        export(model, tmp_path / "file" / "x.pt2", form="torch")
    (tmp_path / "x.pt2").mkdir()
    with pytest.raises(UserError, match="is a folder"):
        export(model, tmp_path / "x.pt2", form="torch")
    monkeypatch.setattr(writing.os, "access", lambda path, mode: False)
    with pytest.raises(UserError, match="cannot be written to"):
        export(model, tmp_path / "y.pt2", form="torch")


def test_an_exported_file_is_not_exported_again(model, pictures, tmp_path):
    out = tmp_path / "made.pt2"
    export(model, out, form="torch", pictures=pictures[:1])
    with pytest.raises(UserError, match="is an exported file"):
        export(out, tmp_path / "again.pt2", form="torch")
    with pytest.raises(UserError, match=r"runs on torch, not on openvino"):
        load(out, backend="openvino")
    with pytest.raises(UserError, match="in float32 and does not run in float16"):
        load(out, precision="float16")
    assert read(out).precision == "float32"
