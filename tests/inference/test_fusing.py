"""A network without its batch norms gives what it gave with them."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tetrapose import skeletons
from tetrapose.codecs import Heatmap
from tetrapose.errors import UserError
from tetrapose.inference.fusing import fuse
from tetrapose.inference.predictor import load
from tetrapose.models.efficientnet import efficientnet_lite
from tetrapose.models.hrnet import HRNet
from tetrapose.models.simple_baseline import simple_baseline
from tetrapose.models.small import small
from tetrapose.weights import card

SKELETON = skeletons.load("akd_cats")
TINY = {"channels": [8, 8, 16, 16], "blocks": [1, 1, 1, 1], "neck": 16}


def lived_in(model: nn.Module) -> nn.Module:
    """With statistics and weights as training leaves them, not those of the start."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.3, 3.0)
        elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(module.weight)
    return model.eval()


def norms(model: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())


@pytest.mark.parametrize(
    "build",
    [lambda: small(5, **TINY), lambda: HRNet(5, width=4), lambda: simple_baseline(5, 18),
     lambda: simple_baseline(5, 50), lambda: efficientnet_lite(5, variant=0, widths=(8, 8, 8, 8))],
    ids=["small", "hrnet", "simple_baseline_18", "simple_baseline_50", "efficientnet_lite"],
)  # fmt: skip
@torch.no_grad()
def test_every_network_of_the_package_is_fused_whole_and_equal_to_1e_5(build) -> None:
    model = lived_in(build())
    images = torch.randn(2, 3, 64, 96)
    wanted = model(images)
    assert norms(model) > 0
    made = fuse(copy.deepcopy(model))
    assert norms(made) == 0
    assert float((made(images) - wanted).abs().max()) < 1e-5 * float(wanted.abs().max())


@torch.no_grad()
def test_norms_that_follow_no_convolution_stay() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(3, 8, 3)
            self.bn2 = nn.BatchNorm2d(8)
            self.body = nn.Sequential(
                nn.Conv2d(8, 8, 1, bias=True), nn.ReLU(), nn.BatchNorm2d(8),
                nn.ConvTranspose2d(8, 8, 3, groups=2), nn.BatchNorm2d(8),
                nn.Conv2d(8, 8, 1, bias=True), nn.BatchNorm2d(8),
            )  # fmt: skip

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.body(self.bn2(self.conv1(x)))

    model = lived_in(Odd())
    images = torch.randn(2, 3, 9, 9)
    wanted = model(images)
    made = fuse(model)
    assert norms(made) == 3
    torch.testing.assert_close(made(images), wanted, atol=1e-5, rtol=1e-5)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    model = lived_in(small(len(SKELETON), **TINY))
    with torch.no_grad():
        model.head.weight.normal_(0, 1.0)
    described = card.describe(
        "tetrapose.models.small:small", TINY, skeleton=SKELETON,
        codec=Heatmap(len(SKELETON), input_size=(64, 64)), crop={"padding": 1.25},
        normalisation={"mean": [0.48] * 3, "std": [0.23] * 3},
    )  # fmt: skip
    card.save(tmp_path / "m.safetensors", model, described, dtype=torch.float32)
    return tmp_path / "m.safetensors"


def test_a_model_that_was_loaded_already_is_left_as_it_was(saved: Path) -> None:
    loaded = card.load(saved)
    before = {name: value.clone() for name, value in loaded.model.state_dict().items()}
    predictor = load(loaded, device="cpu")
    after = loaded.model.state_dict()
    assert norms(predictor.model) == 0
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_half_precision_is_asked_for_and_told(saved: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    whole, half = (load(saved, device="cpu", precision=p) for p in ("float32", "bfloat16"))
    assert whole.protocol["precision"] == "float32"
    assert half.protocol["precision"] == "bfloat16"
    assert {p.dtype for p in half.model.parameters()} == {torch.bfloat16}
    a, b = whole.predict(image), half.predict(image)
    assert b.keypoints.dtype == np.float64
    apart = np.linalg.norm(a.keypoints - b.keypoints, axis=-1)
    assert 0 < np.median(apart) < 1.5
    assert np.abs(a.scores - b.scores).max() < 0.1
    with pytest.raises(UserError, match="no precision 'int8'; there are: float32, bfloat16"):
        load(saved, precision="int8")
