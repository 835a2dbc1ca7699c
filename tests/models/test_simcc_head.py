"""The head of SimCC: what it reads, what it may be put around, what it costs."""

from __future__ import annotations

import pytest
import torch

from tetrapose.models.simcc import simcc
from tetrapose.skeletons import load
from tetrapose.training.start import start_from

SMALL = {
    "_target_": "tetrapose.models.small.small", "channels": [8, 8, 8, 8], "blocks": [1, 1, 1, 1],
    "neck": 8,
}  # fmt: skip


def test_bins_of_x_come_first_and_every_weight_learns() -> None:
    model = simcc(5, network=SMALL, input_size=(96, 64), ratio=2.0)
    output = model(torch.rand(2, 3, 64, 96))
    assert output.shape == (2, 5, 192 + 128)
    maps = model.network(torch.rand(2, 3, 64, 96)).flatten(2)
    assert model.mlp_head_x(maps).shape[-1] == 192
    output.square().sum().backward()
    still = [name for name, p in model.named_parameters() if p.grad is None]
    assert still == []
    head = sum(p.numel() for name, p in model.named_parameters() if name.startswith("mlp"))
    assert head == (24 * 16 + 1) * (192 + 128)


def test_another_input_size_is_refused() -> None:
    model = simcc(5, network=SMALL, input_size=(96, 64))
    with pytest.raises(ValueError, match=r"maps of \(16, 24\) cells .* not \(24, 24\)"):
        model(torch.rand(1, 3, 96, 96))


def test_several_outputs_are_refused() -> None:
    network = {"_target_": "tetrapose.models.hourglass.hourglass", "stacks": 2, "width": 16}
    model = simcc(2, network=network, input_size=(64, 64)).train()
    with pytest.raises(ValueError, match="not several outputs"):
        model(torch.rand(2, 3, 64, 64))


@pytest.mark.parametrize(
    "name",
    (
        "os.system", "tetrapose.models.small.nn", "tetrapose.models.nothing.here",
        "tetrapose.models.small.Small", "tetrapose.weights.card.load", None, 3,
        "tetrapose.models.hrnet.layer",
    ),
)  # fmt: skip
def test_a_network_is_a_function_of_the_models_and_nothing_else(name: object) -> None:
    with pytest.raises(ValueError, match="network "):
        simcc(5, network={"_target_": name})


def test_weights_of_the_plain_network_are_a_start(tmp_path) -> None:
    torch.manual_seed(0)
    skeleton = load("akd_cats")
    plain = simcc(len(skeleton), network=SMALL, input_size=(64, 64)).network
    torch.save(plain.state_dict(), tmp_path / "plain.pth")
    network = {**SMALL, "channels": [8, 8, 8, 8]}
    model = simcc(len(skeleton), network=network, input_size=(32, 32), ratio=0.5)
    told = start_from(model, tmp_path / "plain.pth", skeleton)
    for name, value in plain.state_dict().items():
        assert torch.equal(model.network.state_dict()[name], value), name
    assert len(told) == 1
    assert "not in the file: mlp_head_x" in told[0]
