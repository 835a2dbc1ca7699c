"""The finder's network: shapes, gradients, size, and the stages that it shares."""

from __future__ import annotations

import pytest
import torch

from tetrapose.models.efficientnet import efficientnet_lite
from tetrapose.models.finder import PRIOR, finder
from tetrapose.models.small import count_parameters

TINY = {"widths": (8, 8, 8)}


@pytest.mark.parametrize("size", [(32, 32), (64, 96)])
def test_a_map_a_level(size):
    maps = finder(3, **TINY).eval()(torch.zeros(2, 3, *size))
    assert [tuple(one.shape) for one in maps] == [
        (2, 8, size[0] // stride, size[1] // stride) for stride in (8, 16, 32)
    ]


def test_every_weight_has_a_gradient():
    torch.manual_seed(0)
    model = finder(2, **TINY)
    maps = model(torch.randn(2, 3, 64, 64))
    sum(one.square().sum() for one in maps).backward()
    still = [
        n
        for n, p in model.named_parameters()
        if p.requires_grad and (p.grad is None or not p.grad.any())
    ]
    # the stages' ReLU6 may be shut for a channel of so small a picture, never for a whole layer
    assert not still, still


def test_a_box_is_told_by_what_lies_in_it_alone():
    torch.manual_seed(1)
    kinds = finder(2, **TINY).eval().kinds
    levels = [torch.randn(2, c, 4 * s, 6 * s) for c, s in ((112, 2), (192, 1), (8, 1))]
    boxes = torch.tensor(
        [[40.0, 40.0, 90.0, 60.0], [-30.0, -9.0, 3.0, 5.0], [500.0, 500, 501, 501]]
    )
    image = torch.tensor([0, 1, 1])
    assert kinds(levels, boxes, image).eq(0).all()  # not fitted: all groups alike
    before = kinds.pooled(levels, boxes, image)
    assert before.shape == (3, 2 * (112 + 192 + 8))
    assert torch.allclose(before[1, :112], levels[0][1, :, 0, 0])
    assert torch.allclose(before[0, 224:416], levels[1][0, :, 1:2, 1:3].mean((-2, -1)))
    changed = [one.clone() for one in levels]
    for one, cell in zip(changed, (16, 32, 32), strict=True):
        inside = one[0, :, 32 // cell : 64 // cell, 32 // cell : 96 // cell].clone()
        one[0] = 0
        one[0, :, 32 // cell : 64 // cell, 32 // cell : 96 // cell] = inside
    assert torch.equal(kinds.pooled(changed, boxes, image), before)
    assert kinds.pooled(levels, boxes[:0], image[:0]).shape == (0, 624)


def test_it_starts_by_seeing_nothing():
    with torch.no_grad():
        maps = finder(2, **TINY).eval()(torch.rand(1, 3, 64, 64))
    for one in maps:
        assert float(one[:, 0].sigmoid().max()) < 3 * PRIOR


def test_it_ships_in_eight_megabytes():
    assert 2 * count_parameters(finder(5)) < 7.8e6


def test_sides_off_the_grid_are_refused():
    with pytest.raises(ValueError, match="32"):
        finder(1, **TINY)(torch.zeros(1, 3, 40, 64))
    with pytest.raises(ValueError, match="3 widths"):
        finder(1, widths=(8, 8))


def test_the_backbone_is_that_of_the_pose_network():
    pose = efficientnet_lite(20, variant=0).state_dict()
    own = {k: v for k, v in finder(5).state_dict().items() if k.startswith("backbone.")}
    assert own
    assert all(pose[name].shape == value.shape for name, value in own.items())
