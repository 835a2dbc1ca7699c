"""Laws of CPM, Hourglass, ViTPose and part heads: sizes, shapes, stages, gradient, batches.

Outputs equal the authors' own code to the bit (CPM, Hourglass, part heads: see
benchmarks/parity/original_networks.py) or transformers' to rounding (ViTPose:
benchmarks/parity/transformers_vitpose.py); so do the names, orders and counts below.
"""

from __future__ import annotations

import hashlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tetrapose.inference.fusing import fuse
from tetrapose.models.cpm import PlaneNorm, cpm, cpm_paper
from tetrapose.models.hourglass import hourglass
from tetrapose.models.hrnet import HRNet, hrnet_w18, hrnet_w32
from tetrapose.models.vitpose import ViT, ViTPose, vitpose

# parameters and, where the authors' code was run, the start of the sha256 of the state_dict's
# "name [shape]" lines as in test_models.py
PUBLISHED = {
    "cpm": (lambda: cpm(16), 40_205_052),  # seed's README: 40.2 M
    "hourglass_2": (lambda: hourglass(17, stacks=2), 6_731_682),
    "hourglass_4": (lambda: hourglass(17, stacks=4), 13_020_612),  # DarkPose README: 13.0 M
    "hourglass_8": (lambda: hourglass(17, stacks=8), 25_598_472),
    "hrnet_w32_parts": (lambda: hrnet_w32(17, parts=True), 28_879_921),
    "vitpose_s": (lambda: vitpose(17, size="s"), 24_290_577),
    "vitpose_b": (lambda: vitpose(17, size="b"), 89_994_513),
    "vitpose_l": (lambda: vitpose(17, size="l"), 308_544_785),
    "vitpose_h": (lambda: vitpose(17, size="h"), 637_208_849),
    "vitpose_s_simple": (lambda: vitpose(17, size="s", head="simple"), 21_722_513),
    "vitpose_b_simple": (lambda: vitpose(17, size="b", head="simple"), 85_912_337),
    "vitpose_l_simple": (lambda: vitpose(17, size="l", head="simple"), 303_453_201),
    "vitpose_h_simple": (lambda: vitpose(17, size="h", head="simple"), 631_107_857),
    "hrnet_w18": (lambda: hrnet_w18(17), 9_318_215),
}
LAYERS = {
    "cpm": "9b0047792f63279b",
    "hourglass_4": "0c32b5c54406bd4b",
    "hrnet_w18": "af33c3ccae048184",
    "hrnet_w32_parts": "201254e86d6f4317",
}


def transformer(head: str) -> nn.Module:
    return ViTPose(5, ViT(32, 2, 4, input_size=(64, 96), drop_path=0.0), head)  # pyright: ignore[reportArgumentType]


TINY = {
    "cpm": (lambda: cpm(5, stages=3, width=8, features=4, dropout=0.0), 8),
    "cpm_batch": (lambda: cpm(5, stages=2, width=8, features=4, norm="batch", dropout=0.0), 8),
    "cpm_paper": (lambda: cpm_paper(5, stages=3, width=8, features=4), 8),
    "hourglass": (lambda: hourglass(5, stacks=2, width=16), 4),
    "parts": (lambda: HRNet(5, width=4, parts=True), 4),
    "classic": (lambda: transformer("classic"), 4),
    "simple": (lambda: transformer("simple"), 4),
}
STAGES = {"cpm": 3, "cpm_batch": 2, "cpm_paper": 3, "hourglass": 2}


def lively(model: nn.Module, seed: int = 0) -> nn.Module:
    """Weights and statistics under which the output depends on the input, as after training."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            deviation = (2 / module.weight[0].numel()) ** 0.5
            nn.init.normal_(module.weight, std=deviation, generator=generator)
            if module.bias is not None:
                nn.init.normal_(module.bias, std=0.1, generator=generator)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
            nn.init.uniform_(module.running_mean, -0.5, 0.5, generator=generator)
            nn.init.uniform_(module.running_var, 0.5, 1.5, generator=generator)
    return model


def pictures(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", PUBLISHED)
def test_as_many_parameters_as_published(name: str) -> None:
    build, count = PUBLISHED[name]
    with torch.device("meta"):
        model = build()
    assert sum(p.numel() for p in model.parameters()) == count
    if name in LAYERS:
        lines = [f"{key} {list(value.shape)}" for key, value in model.state_dict().items()]
        assert hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16] == LAYERS[name]


@pytest.mark.parametrize("name", TINY)
def test_the_answer_is_one_map_a_keypoint_and_training_sees_every_stage(name: str) -> None:
    build, stride = TINY[name]
    with torch.device("meta"):
        model = build()
        for height, width in ((96, 160), (128, 96)):
            images = torch.empty(2, 3, height, width)
            assert model.eval()(images).shape == (2, 5, height // stride, width // stride)
            if name not in STAGES:
                continue
            taught = model.train()(images)
            maps = 6 if name == "cpm_paper" else 5
            assert isinstance(taught, tuple)
            shapes = {tuple(one.shape) for one in taught}
            assert shapes == {(2, maps, height // stride, width // stride)}
            assert len(taught) == STAGES[name]


@pytest.mark.parametrize("name", STAGES)
def test_the_answer_is_the_last_stage(name: str) -> None:
    model = lively(TINY[name][0]()).eval()
    images = pictures(1, 3, 64, 64)
    with torch.no_grad():
        stages = model.stages(images)  # pyright: ignore[reportCallIssue]
        assert torch.equal(model(images), stages[-1][:, :5])
        assert not torch.allclose(stages[0], stages[-1])


@pytest.mark.parametrize("name", TINY)
def test_gradient_reaches_all_there_is_to_learn(name: str) -> None:
    model = lively(TINY[name][0]()).train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()  # else biases before it have nothing to learn
    found = model(pictures(2, 3, 64, 64))
    found = found if isinstance(found, tuple) else (found,)
    torch.stack([one.square().sum() for one in found]).sum().backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


@pytest.mark.parametrize("name", TINY)
def test_alone_or_in_a_batch_it_is_the_same(name: str) -> None:
    model = lively(TINY[name][0]()).eval()
    images = pictures(3, 3, 64, 96)
    with torch.no_grad():
        together = model(images)
        alone = torch.cat([model(image[None]) for image in images])
        assert model(images[:0]).shape == (0, *together.shape[1:])
    assert not torch.allclose(together[0], together[1], rtol=0.01)
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-4 * float(together.std()))


@pytest.mark.parametrize("name", TINY)
def test_fused_for_prediction_it_answers_the_same(name: str) -> None:
    model = lively(TINY[name][0]()).eval()
    images = pictures(1, 3, 64, 64)
    with torch.no_grad():
        before = model(images)
        after = fuse(model)(images)
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-4 * float(before.std()))


@given(st.integers(1, 60), st.integers(1, 60))
@settings(max_examples=6)
def test_cpm_takes_any_multiple_of_eight(columns: int, rows: int) -> None:
    with torch.device("meta"):
        images = torch.empty(1, 3, 8 * rows, 8 * columns)
        for build in (TINY["cpm"][0], TINY["cpm_paper"][0]):
            assert build().eval()(images).shape == (1, 5, rows, columns)


@pytest.mark.parametrize(
    "build, x, cell", [(cpm, 131, 16.0), (cpm_paper, 128, 16.0), (cpm, 135, 16.5)]
)
def test_a_cell_of_cpm_looks_at_its_pixel(build, x: int, cell: float) -> None:
    """A single bright pixel is answered about cell (x - 3) / 8, and x / 8 with padded pools."""
    model = build(1, stages=1, width=4, features=4, norm="none").eval()
    for parameter in model.parameters():
        nn.init.constant_(parameter, 0.01 if parameter.ndim > 1 else 0.0)
    images = torch.zeros(1, 3, 256, 256)
    images[..., 128, x] = 1e6
    with torch.no_grad():
        across = model(images)[0, 0].sum(0)
    centre = float((across * torch.arange(len(across))).sum() / across.sum())
    assert centre == pytest.approx(cell, abs=0.01 if cell == 16 else 0.5)


def test_a_norm_over_planes_is_torchs_at_its_own_size_and_fits_any_other() -> None:
    norm = PlaneNorm(12)
    images = pictures(2, 3, 12, 12)
    with torch.no_grad():
        norm.weight.copy_(torch.rand(12, 12))
        norm.bias.copy_(torch.rand(12, 12))
        theirs = nn.LayerNorm((12, 12))
        theirs.load_state_dict(norm.state_dict())
        torch.testing.assert_close(norm(images), theirs(images))
        norm.weight.fill_(2.0)
        norm.bias.fill_(0.5)
        wide = norm(pictures(1, 3, 9, 20))
    torch.testing.assert_close(wide.mean((-2, -1)), torch.full((1, 3), 0.5))
    torch.testing.assert_close(wide.std((-2, -1), correction=0), torch.full((1, 3), 2.0))


def test_places_are_as_stored_at_their_size_and_resampled_at_others() -> None:
    backbone = ViT(8, 1, 2, input_size=(64, 96), drop_path=0.0)
    stored = backbone.pos_embed[:, 1:] + backbone.pos_embed[:, :1]
    assert torch.equal(backbone.positions(6, 4), stored)
    ramp = torch.arange(4.0).repeat(6)[None, :, None].expand(1, 24, 8)
    with torch.no_grad():
        backbone.pos_embed[:, 1:] = ramp
        backbone.pos_embed[:, :1] = 10.0
    wide = backbone.positions(12, 8).detach().unflatten(1, (12, 8))[0, :, :, 0]
    # what grew along columns still does, at the same place of the picture, and not along rows
    torch.testing.assert_close(wide[0], wide[5])
    torch.testing.assert_close(wide[0, 3:5], 10 + torch.tensor([1.25, 1.75]), atol=0.05, rtol=0)


def test_branches_are_dropped_in_training_alone() -> None:
    backbone = ViT(8, 2, 2, input_size=(64, 64), drop_path=0.5)
    block = backbone.blocks[1]
    assert [b.dropped for b in backbone.blocks] == [0.0, 0.5]
    branch = torch.ones(200, 3, 8)
    torch.manual_seed(0)
    dropped = block.train()._drop(branch)
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert (dropped.amax((1, 2)) == dropped.amin((1, 2))).all()  # a whole picture's branch
    assert 60 < int((dropped[:, 0, 0] == 0).sum()) < 140
    assert torch.equal(block.eval()._drop(branch), branch)


def test_every_keypoint_has_a_head_of_its_own() -> None:
    model = lively(HRNet(3, width=4, parts=True)).eval()
    images = pictures(1, 3, 64, 64)
    with torch.no_grad():
        images /= model(images).abs().max()  # so that one more shows
        before = model(images)
        model.part_layers[1][2].bias.add_(1.0)
        after = model(images)
    assert torch.equal(after[:, ::2], before[:, ::2])
    torch.testing.assert_close(after[:, 1], before[:, 1] + 1.0)
    assert not torch.equal(after[:, 1], before[:, 1])


@pytest.mark.parametrize(
    "build, words",
    [
        (lambda: cpm(5, norm="layer"), "plane, batch, none"),  # pyright: ignore[reportArgumentType]
        (lambda: cpm(5, stages=0), "1 or more"),
        (lambda: hourglass(5, stacks=0), "1 or more"),
        (lambda: hourglass(5, width=10), "multiple of 4"),
        (lambda: vitpose(5, size="xl"), "s, b, l, h"),
        (lambda: vitpose(5, size="s", head="deep"), "classic, simple"),  # pyright: ignore[reportArgumentType]
        (lambda: vitpose(5, size="s", input_size=(100, 64)), "multiples of 16"),
    ],
)
def test_what_there_is_not_is_named(build, words: str) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=words):
        build()


@pytest.mark.parametrize(
    "name, size, words",
    [
        ("cpm", (100, 64), "multiples of 8"),
        ("hourglass", (66, 64), "multiples of 4"),
        ("hourglass", (60, 64), "64 or more"),
        ("classic", (72, 64), "multiples of 16"),
    ],
)
def test_pictures_of_other_sizes_are_refused(name: str, size: tuple[int, int], words: str) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=words):
        TINY[name][0]()(torch.empty(1, 3, size[1], size[0]))
