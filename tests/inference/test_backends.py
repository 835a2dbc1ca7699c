"""Which program computes, what it keeps for the next time, and that it never gives other points."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tetrapose import skeletons
from tetrapose.codecs import Heatmap
from tetrapose.errors import UserError
from tetrapose.inference import backends, cache, runtimes
from tetrapose.inference.predictor import Predictor, load
from tetrapose.models.small import small
from tetrapose.weights import card

SKELETON = skeletons.load("akd_cats")
K = len(SKELETON)
TINY = {"channels": [8, 8, 16, 16], "blocks": [1, 1, 1, 1], "neck": 16}
SOME = ["onnxruntime", "openvino"]


def there(name: str) -> bool:
    wanted = ("onnx", "onnxruntime") if name == "onnxruntime" else (name,)
    return all(runtimes.installed(one) for one in wanted)


EACH = [
    pytest.param(name, marks=pytest.mark.skipif(not there(name), reason=f"no {name}"))
    for name in SOME
]
needs_one = pytest.mark.skipif(not there("onnxruntime"), reason="no onnx, onnxruntime")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("TETRAPOSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(backends, "CHECKED", 3)
    return tmp_path / "cache"


@pytest.fixture
def model(tmp_path) -> Path:
    torch.manual_seed(0)
    network = small(K, **TINY).eval()
    with torch.no_grad():
        network.head.weight.normal_(0, 1.0)
    described = card.describe(
        "tetrapose.models.small:small", TINY, skeleton=SKELETON,
        codec=Heatmap(K, input_size=(64, 64)), crop={"padding": 1.25},
        normalisation={"mean": [0.48] * 3, "std": [0.23] * 3},
    )  # fmt: skip
    card.save(tmp_path / "m.safetensors", network, described, dtype=torch.float32)
    return tmp_path / "m.safetensors"


PICTURE = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)


def counted(monkeypatch) -> list[str]:
    made = []
    real = backends.convert
    monkeypatch.setattr(
        backends, "convert", lambda n, s, form, **o: (made.append(form), real(n, s, form, **o))[1]
    )
    return made


@pytest.mark.parametrize("name", EACH)
def test_a_backend_gives_torchs_points_and_is_converted_once(model, name, monkeypatch):
    made = counted(monkeypatch)
    wanted = load(model, device="cpu").predict(PICTURE)
    for _ in range(2):
        predictor = load(model, device="cpu", backend=name)
        found = predictor.predict(PICTURE)
        np.testing.assert_allclose(found.keypoints, wanted.keypoints, atol=0.01)
        np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-4)
        assert predictor.protocol["backend"].startswith(f"{name} ")
        assert "px at the 99th percentile" in predictor.protocol["backend_note"]
    assert len(made) == 1


@needs_one
def test_whatever_is_off_in_the_cache_is_made_again(model, own_cache, monkeypatch):
    made = counted(monkeypatch)
    wanted = load(model, device="cpu", backend="onnxruntime").predict(PICTURE).keypoints
    (entry,) = (own_cache / "networks").iterdir()
    network, manifest = entry / "network.onnx", entry / "manifest.json"
    good = network.read_bytes()

    def other(data: bytes) -> None:
        """Another network, and a manifest that vouches for it."""
        network.write_bytes(data)
        told = json.loads(manifest.read_text())
        told["files"][".onnx"] = runtimes_digest(data)
        manifest.write_text(json.dumps(told))

    torch.manual_seed(9)
    with torch.no_grad():
        stranger = small(K, **TINY).eval()
        stranger.head.weight.normal_(0, 1.0)
    foreign = backends.convert(stranger, (64, 64), "onnx")[".onnx"]
    made.clear()
    spoilt = [
        lambda: network.write_bytes(good[: len(good) // 2]),
        lambda: network.write_bytes(b""),
        network.unlink,
        manifest.unlink,
        lambda: manifest.write_text("[]"),
        lambda: manifest.write_text("{"),
        lambda: other(good[:3000]),
        lambda: other(foreign),
    ]
    for number, spoil in enumerate(spoilt, start=1):
        spoil()
        found = load(model, device="cpu", backend="onnxruntime").predict(PICTURE).keypoints
        np.testing.assert_array_equal(found, wanted)
        assert len(made) == number
        assert network.read_bytes() == good
    assert [p.name for p in (own_cache / "networks").iterdir()] == [entry.name]


def runtimes_digest(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()


@needs_one
def test_weights_changed_in_memory_are_another_model(model, own_cache):
    loaded = card.load(model)
    load(loaded, device="cpu", backend="onnxruntime")
    with torch.no_grad():
        loaded.model.head.weight.mul_(-1)
    changed = load(loaded, device="cpu", backend="onnxruntime").predict(PICTURE).keypoints
    np.testing.assert_allclose(
        changed, load(loaded, device="cpu").predict(PICTURE).keypoints, atol=0.01
    )
    assert len(list((own_cache / "networks").iterdir())) == 2


def test_auto_takes_the_first_that_agrees(model, monkeypatch):
    tried = []

    def pretend(predictor, name, precision):
        tried.append(name)
        if name == backends.ORDER[0]:
            raise UserError(f"backend {name} does not hold 0.1 px here")
        return predictor

    monkeypatch.setattr(backends, "installed", lambda name: True)
    real = backends.on_backend
    monkeypatch.setattr(
        backends, "on_backend", lambda p, n, q: real(p, n, q) if n == "auto" else pretend(p, n, q)
    )
    predictor = load(model, device="cpu")
    assert backends.on_backend(predictor, "auto", "float32") is predictor
    assert tried == list(backends.ORDER)


def test_auto_without_any_is_torch_and_says_why(model, monkeypatch):
    monkeypatch.setattr(backends, "installed", lambda name: False)
    predictor = load(model, device="cpu", backend="auto")
    assert predictor.protocol["backend"].startswith("torch ")
    told = predictor.protocol["backend_note"]
    assert "onnxruntime is not installed; openvino is not installed" in told
    assert "backend_note" not in load(model, device="cpu").protocol


@needs_one
def test_a_backend_that_moves_points_is_not_used(model, own_cache, monkeypatch):
    real = backends.convert

    def worse(network, size, form):
        import copy

        network = copy.deepcopy(network)
        with torch.no_grad():
            network.head.weight += 0.3 * torch.randn_like(network.head.weight)
        return real(network, size, form)

    monkeypatch.setattr(backends, "convert", worse)
    with pytest.raises(UserError, match="does not hold 0.1 px here"):
        load(model, device="cpu", backend="onnxruntime")
    monkeypatch.setattr(backends, "ORDER", ("onnxruntime",))
    predictor = load(model, device="cpu", backend="auto")
    assert predictor.protocol["backend"].startswith("torch ")
    assert "does not hold" in predictor.note


@needs_one
def test_a_cache_that_cannot_be_written_is_told(model, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TETRAPOSE_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="cannot be kept there.*TETRAPOSE_CACHE"):
        load(model, device="cpu", backend="onnxruntime")
    monkeypatch.setattr(backends, "ORDER", ("onnxruntime",))
    assert "cannot be kept" in load(model, device="cpu", backend="auto").note


def test_the_caches_place(monkeypatch, tmp_path):
    monkeypatch.delenv("TETRAPOSE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.folder() == tmp_path / "tetrapose"
    assert cache.place({"a": 1}) != cache.place({"a": 2})
    assert cache.find({"a": 1}) is None
    cache.keep({"a": 1}, cache.Entry({".x": b"one"}, {"n": 1}))
    cache.keep({"a": 1}, cache.Entry({".x": b"two"}, {"n": 2}))
    assert cache.find({"a": 1}) == cache.Entry({".x": b"two"}, {"n": 2})
    cache.forget({"a": 1})
    assert cache.find({"a": 1}) is None


@pytest.mark.parametrize(
    "name, pictures, settled",
    [("auto", 1, "torch"), ("auto", backends.FEW - 1, "torch"), ("auto", backends.FEW, "auto"),
     ("auto", None, "auto"), ("openvino", 1, "openvino"), ("torch", 9999, "torch")],
)  # fmt: skip
def test_a_conversion_is_for_much_work(name, pictures, settled):
    assert backends.settled(name, "default", pictures) == settled


def test_an_exported_file_is_not_converted_however_little_there_is():
    assert backends.settled("auto", "some.onnx", 1) == "auto"


@pytest.mark.parametrize("name", SOME)
def test_a_package_that_is_missing_is_one_line_with_what_to_install(model, monkeypatch, name):
    monkeypatch.delenv("LD_PRELOAD", raising=False)  # under tcmalloc that is told instead
    monkeypatch.setattr(runtimes.util, "find_spec", lambda name: None)
    extra = {"onnxruntime": "onnx", "openvino": "openvino"}[name]
    with pytest.raises(UserError, match=rf"not installed here: pip install 'tetrapose\[{extra}\]'"):
        load(model, device="cpu", backend=name)


def test_openvino_is_not_started_under_tcmalloc(model, monkeypatch):
    monkeypatch.setenv("LD_PRELOAD", "/usr/lib/libtcmalloc_minimal.so.4")
    assert not runtimes.installed("openvino")
    with pytest.raises(UserError, match="tcmalloc.*LD_PRELOAD"):
        load(model, device="cpu", backend="openvino")


@pytest.mark.parametrize(
    "options, words",
    [
        ({"backend": "tensorrt"}, "no backend 'tensorrt'; there are: auto, torch, onnxruntime"),
        ({"backend": "onnxruntime", "precision": "bfloat16"}, "does not compute in bfloat16"),
        ({"backend": "openvino", "precision": "float16"}, "does not compute in float16"),
    ],
)
def test_wrong_use_of_backends(model, options, words):
    with pytest.raises(UserError, match=words):
        load(model, device="cpu", **options)


def test_a_precision_that_is_asked_for_is_kept_by_auto(model):
    protocol = load(model, device="cpu", backend="auto", precision="bfloat16").protocol
    assert protocol["precision"] == "bfloat16"
    assert protocol["backend"].startswith("torch ")


def eager(network: nn.Module):
    """Stands in for torch.compile, and says which batches it was given."""

    def call(images):
        eager.sizes.append((len(images), images.is_contiguous(memory_format=torch.channels_last)))
        return network(images)

    return call


@pytest.mark.parametrize("count", [1, 3, 4, 5, 8, 9])
def test_a_compiled_network_sees_one_size_of_batch_alone(count):
    eager.sizes = []
    network = nn.Conv2d(3, 2, 3, padding=1)
    compiled = backends.Compiled(network, 4, eager)
    images = torch.randn(count, 3, 8, 8)
    torch.testing.assert_close(compiled(images), network(images))
    assert set(eager.sizes) == {(4, True)}


def test_torchs_compiler_takes_such_a_network():
    network = nn.Conv2d(3, 2, 3, padding=1)
    compiled = backends.Compiled(network, 4, lambda n: torch.compile(n, backend="eager"))
    images = torch.randn(3, 3, 8, 8)
    torch.testing.assert_close(compiled(images), network(images))


def test_on_a_gpu_half_precision_is_taken_where_it_holds_the_bound(model, monkeypatch):
    eager.sizes = []
    predictor = load(model, device="cpu", batch_size=4)
    made = backends.on_gpu(predictor, eager)
    kind = made.protocol["precision"]
    assert f"compiled, {kind}" in made.note
    assert {size for size, _ in eager.sizes} == {8}  # both ways of the flip test at once
    monkeypatch.setattr(backends.Drift, "holds", lambda self, bound=0.1: self.p99 == 0)
    assert backends.on_gpu(predictor, eager).protocol["precision"] == "float32"
    monkeypatch.setattr(backends.Drift, "holds", lambda self, bound=0.1: False)
    assert backends.on_gpu(predictor, eager).model is predictor.model


def test_the_flip_test_is_one_batch(model):
    seen = []

    class Watched(nn.Module):
        def forward(self, x):
            seen.append(len(x))
            return x.new_zeros(len(x), K, 16, 16)

    predictor = load(model, device="cpu", batch_size=5)
    watched = Predictor(Watched(), predictor.codec, SKELETON, (0.0,) * 3, (1.0,) * 3, batch_size=5)
    list(watched.predict_many([(PICTURE, None)] * 7))
    assert seen == [10, 4]
