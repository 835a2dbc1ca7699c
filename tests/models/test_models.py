"""Laws of every network: shape, gradient everywhere, one by one is all at once, published sizes.

Outputs equal the authors' own code to the bit: benchmarks/parity/original_hrnet.py, given a clone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
import torch
from torch import nn

from tetrapose.models.hrnet import hrnet_w32, hrnet_w48
from tetrapose.models.simple_baseline import simple_baseline
from tetrapose.models.small import small


def resnet(depth: int) -> Callable[[int], nn.Module]:
    return lambda num_keypoints: simple_baseline(num_keypoints, depth)


NETWORKS = {
    "small": small,
    "hrnet_w32": hrnet_w32,
    "hrnet_w48": hrnet_w48,
    "resnet_18": resnet(18),
    "resnet_50": resnet(50),
    "resnet_101": resnet(101),
    "resnet_152": resnet(152),
}
LIGHT = ("small", "hrnet_w32", "resnet_18", "resnet_50")  # one of each kind of block

# At 17 keypoints: parameters, and the start of the sha256 of their state_dict written as lines
# of "name [shape]" in order; taken by running their code (see the module's docstring).
PUBLISHED = {
    "hrnet_w32": (28_536_113, "33d183da9806e2ce"),
    "hrnet_w48": (63_595_745, "f0e89ca79e714d97"),
    "resnet_18": (15_376_721, "6880d4d904c3ee9c"),
    "resnet_50": (33_999_697, "789f3a10546bdaea"),
    "resnet_101": (52_991_825, "3134c132ba90aefb"),
    "resnet_152": (68_635_473, "5478de3dd19fdb8a"),
}


def lively(model: nn.Module, seed: int = 0) -> nn.Module:
    """Weights and statistics under which the output depends on the input, as after training."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            deviation = (2 / module.weight[0].numel()) ** 0.5
            nn.init.normal_(module.weight, std=deviation, generator=generator)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
            nn.init.uniform_(module.running_var, 0.5, 1.5, generator=generator)
    return model


def pictures(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", LIGHT)
def test_one_map_a_keypoint_at_a_quarter_of_the_size(name: str) -> None:
    with torch.device("meta"):
        model = NETWORKS[name](5)
        for height, width in ((96, 160), (160, 32)):
            maps = model(torch.empty(2, 3, height, width))
            assert maps.shape == (2, 5, height // 4, width // 4)


@pytest.mark.parametrize("name", LIGHT)
def test_gradient_reaches_every_parameter(name: str) -> None:
    model = lively(NETWORKS[name](5)).train()
    model(pictures(2, 3, 64, 64)).square().sum().backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


@pytest.mark.parametrize("name", LIGHT)
def test_one_by_one_is_all_at_once(name: str) -> None:
    model = lively(NETWORKS[name](5)).eval()
    images = pictures(3, 3, 64, 96)
    with torch.no_grad():
        together = model(images)
        alone = torch.cat([model(image[None]) for image in images])
        assert torch.equal(together, model(images))
        assert model(images[:0]).shape == (0, 5, 16, 24)
    assert together.std() > 1e-3
    assert not torch.allclose(together[0], together[1], rtol=0.01)
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-4 * float(together.std()))


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_layers_are_the_published(name: str) -> None:
    with torch.device("meta"):
        model = NETWORKS[name](17)
    lines = [f"{key} {list(value.shape)}" for key, value in model.state_dict().items()]
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
    count = sum(p.numel() for p in model.parameters())
    assert (count, digest) == PUBLISHED[name]


@pytest.mark.parametrize("name", ("hrnet_w32", "resnet_18"))
def test_sides_that_are_no_multiple_of_32_are_refused(name: str) -> None:
    with torch.device("meta"):
        model = NETWORKS[name](5)
        with pytest.raises(ValueError, match="multiples of 32, not 100x64"):
            model(torch.empty(1, 3, 64, 100))


def test_an_unknown_depth_names_those_there_are() -> None:
    with pytest.raises(ValueError, match="18, 50, 101, 152"):
        simple_baseline(5, depth=34)
