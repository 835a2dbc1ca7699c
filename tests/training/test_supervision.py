"""Losses of networks that are taught at several places, and of a background map."""

from __future__ import annotations

import pytest
import torch

from tetrapose import skeletons
from tetrapose.codecs.distribution import Distribution
from tetrapose.codecs.heatmap import Heatmap
from tetrapose.errors import UserError
from tetrapose.models.cpm import cpm_paper
from tetrapose.models.hrnet import HRNet
from tetrapose.training.start import _heads_by_keypoint
from tetrapose.training.supervision import demand_background, supervised, with_background

CODEC = Heatmap(num_keypoints=3, input_size=(64, 64), stride=8, sigma=1.5)
POINTS = torch.tensor([[[20.0, 12.0], [40.0, 40.0], [float("nan")] * 2]])


def encoded() -> tuple[torch.Tensor, torch.Tensor]:
    return CODEC.encode(POINTS, torch.ones(1, 3))


def test_every_output_counts_alike() -> None:
    target, weights = encoded()
    generator = torch.Generator().manual_seed(0)
    outputs = tuple(torch.rand(target.shape, generator=generator) for _ in range(3))
    alone = [float(CODEC.loss(one, target, weights)) for one in outputs]
    assert float(supervised(CODEC.loss, outputs, target, weights)) == pytest.approx(sum(alone) / 3)
    single = float(supervised(CODEC.loss, outputs[0], target, weights))
    assert single == pytest.approx(alone[0])


def test_a_background_is_what_no_point_covers() -> None:
    target, weights = encoded()
    wide, known = with_background(target, weights)
    assert wide.shape == (1, 4, 8, 8)
    assert torch.equal(wide[:, :3], target)
    torch.testing.assert_close(wide[:, 3] + target.amax(1), torch.ones(1, 8, 8))
    assert known.tolist() == [[1.0, 1.0, 0.0, pytest.approx(2 / 3)]]
    hidden, _ = with_background(-target, weights)  # valleys cover as peaks do
    assert torch.equal(hidden[:, 3], wide[:, 3])


def test_a_perfect_background_costs_nothing_and_a_wrong_one_does() -> None:
    target, weights = encoded()
    wide, _ = with_background(target, weights)
    assert float(supervised(CODEC.loss, (wide, wide), target, weights)) == 0.0
    wrong = wide.clone()
    wrong[:, 3] = 0
    assert float(supervised(CODEC.loss, (wide, wrong), target, weights)) > 0.3


def test_a_background_wants_a_codec_that_teaches_it() -> None:
    with torch.device("meta"):
        model = cpm_paper(3, stages=2, width=8, features=4)
        plain = cpm_paper(3, stages=2, width=8, features=4, background=False)
    demand_background(model, CODEC)
    other = Distribution(num_keypoints=3, input_size=(64, 64), stride=8)
    demand_background(plain, other)
    with pytest.raises(UserError, match="codec=heatmap or codec=signed") as caught:
        demand_background(model, other)
    assert "\n" not in str(caught.value)


def test_heads_of_keypoints_go_by_name() -> None:
    theirs, ours = skeletons.load("ap10k"), skeletons.load("animal_pose")
    state = dict(HRNet(len(theirs), width=4, parts=True).state_dict())
    moved = _heads_by_keypoint(state, theirs, ours)
    for a, b in (("left_eye", "left_eye"), ("root_of_tail", "tailbase")):
        given = state[f"part_layers.{theirs.names.index(a)}.2.weight"]
        assert moved[f"part_layers.{ours.names.index(b)}.2.weight"] is given
    neck = theirs.names.index("neck")  # Animal-Pose has none
    assert not any(value is state[f"part_layers.{neck}.2.weight"] for value in moved.values())
    ear = ours.names.index("left_ear")  # AP-10K has none
    assert f"part_layers.{ear}.2.weight" not in moved
    assert moved["conv1.weight"] is state["conv1.weight"]
    assert _heads_by_keypoint(state, None, ours) is state
