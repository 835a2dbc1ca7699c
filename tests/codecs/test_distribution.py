"""What the distribution says of points that the crop cuts off."""

from __future__ import annotations

import pytest
import torch

from tetrapose.codecs import Distribution


def test_points_cut_off_teach_nowhere() -> None:
    """Weight ``outside`` and an even target for a known point beyond the crop, nothing for NaN."""
    codec = Distribution(3, (64, 64), outside=0.25)
    points = torch.tensor([[[30.0, 20.0], [90.0, 20.0], [float("nan"), 5.0]]])
    target, weights = codec.encode(points, torch.ones(1, 3))
    assert weights.tolist() == [[1.0, 0.25, 0.0]]
    even = torch.zeros(1, 3, 16, 16)
    assert not target[0, 1:].any()
    alone = torch.tensor([[0.0, 0.25, 0.0]])
    assert codec.loss(even, target, alone).item() == pytest.approx(0.0, abs=1e-6)
    peaked = even.clone()
    peaked[0, 1, 4, 4] = 20.0
    assert codec.loss(peaked, target, alone) > 5
