"""Teachers, baselines' settings and figures, each against a plain reckoning."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import labelfree_parts as made
import numpy as np
import pytest
import torch
from torch import nn

from tetrapose.codecs import Distribution
from tetrapose.errors import UserError
from tetrapose.models.hourglass import hourglass
from tetrapose.training.labelfree.baselines import PseudoLabels, Supervised
from tetrapose.training.labelfree.figures import figures, flat
from tetrapose.training.labelfree.freenet import FreeNet
from tetrapose.training.labelfree.step import Moment, Start, look, mean_square, peaks
from tetrapose.training.labelfree.teacher import decay_at, follow, follower
from tetrapose.training.labelfree.two_looks import TwoLooks


def test_a_follower_averages_weights_and_statistics_alike():
    network = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2))
    teacher = follower(network)
    assert not any(p.requires_grad for p in teacher.parameters())
    with torch.no_grad():
        network[0].weight.add_(1.0)
        network[1].running_mean.add_(2.0)
        network[1].num_batches_tracked.add_(5)
    before = teacher[0].weight.clone()
    follow(teacher, network, 0.75)
    assert torch.allclose(teacher[0].weight, before + 0.25)
    assert torch.allclose(teacher[1].running_mean, torch.full((2,), 0.5))
    assert int(teacher[1].num_batches_tracked) == 5


def test_the_average_is_even_at_first():
    values, mean = [3.0, 5.0, 10.0], 0.0
    for step, value in enumerate(values):
        mean += (1 - decay_at(step)) * (value - mean)
    assert mean == pytest.approx(6.0)
    assert decay_at(10**6) == 0.999


def test_the_pools_loss_grows_as_each_method_says():
    start = made.start
    even = PseudoLabels(start(), ramp=1.0)
    assert even.grown(Moment(50, 100)) == pytest.approx(0.5)
    rise = PseudoLabels(start(), teacher="average", ramp=0.2)
    assert rise.grown(Moment(0, 100)) == pytest.approx(math.exp(-5))
    assert rise.grown(Moment(20, 100)) == rise.grown(Moment(90, 100)) == 1.0
    assert PseudoLabels(start()).grown(Moment(0, 100)) == 1.0
    with pytest.raises(UserError, match="choose self, average or frozen"):
        PseudoLabels(start(), teacher="oracle")  # pyright: ignore[reportArgumentType]


def test_only_points_above_the_threshold_are_learnt():
    """The pool's loss, by hand, where the network's maps are known."""
    method = PseudoLabels(made.start(norm=False), threshold=0.4)
    maps = torch.zeros(2, made.K, 8, 8)
    maps[:, 0, 3, 3], maps[:, 1, 3, 3] = 0.9, 0.3
    network = method.networks["network"]
    network.forward = lambda pictures: maps[:1].repeat(len(pictures), 1, 1, 1).requires_grad_()
    labelled, pool = made.views(2), made.views(2, seed=1, labelled=False)
    ((_, losses),) = method.turns(labelled, pool, Moment(0, 10))
    cells, _ = peaks(maps)
    kept = torch.zeros(2, made.K)
    kept[:, 0] = method.weights[0]
    from tetrapose.training.labelfree.step import drawn_at

    due = mean_square(maps, drawn_at(method.codec, cells), kept)
    assert float(losses["pseudo"].detach()) == pytest.approx(float(due))


@pytest.mark.parametrize("make", [FreeNet, PseudoLabels, TwoLooks])
def test_a_picture_that_could_not_be_read_teaches_nothing(make):
    pool = made.views(4, seed=1, labelled=False)
    unread = replace(pool, readable=torch.zeros(4, dtype=torch.bool))
    method = make(made.start(norm=False))
    with torch.no_grad():  # sure of everything, so that only this can stop it
        for network in method.networks.values():
            network[-1].bias.fill_(1.0)
    seen = []
    for views in (pool, unread):
        _, losses = next(iter(method.turns(made.views(2), views, Moment(0, 100))))
        seen.append(float(losses["pseudo"].detach()))
    assert seen[0] > 0
    assert seen[1] == 0


def test_methods_want_heatmaps_and_a_network_of_one_output():
    codec = Distribution(made.K, (made.SIZE, made.SIZE))
    begun = made.start()
    with pytest.raises(UserError, match="take codec=heatmap"):
        Supervised(Start(begun.network, begun.fresh, codec, made.SKELETON, begun.taught))
    stacked = hourglass(made.K, stacks=2, width=16).train()
    with pytest.raises(UserError, match="taught at several places"):
        look(stacked, torch.rand(2, 3, 64, 64))


def test_figures_by_hand(tmp_path: Path):
    truth = made.dots(tmp_path, 4)
    points = truth.keypoints.astype(np.float64).copy()
    # the length is the root of 1600: 40, so that 0.05, 0.1 and 0.2 are 2, 4 and 8 px
    points[:, 0, 0] += 3.0
    points[:2, 5, 1] += 6.0
    points[0, 9] = np.nan
    shown = np.ones((4, made.K), dtype=bool)
    shown[:, 5] = False
    found = figures(truth, shown, points, np.ones((4, made.K)))
    total = 4 * made.K
    assert found["counts"] == {"overall": total, "labelled": total - 4, "unlabelled": 4}
    assert found["pck"]["0.05"]["overall"] == pytest.approx((total - 4 - 2 - 1) / total)
    assert found["pck"]["0.1"]["overall"] == pytest.approx((total - 2 - 1) / total)
    assert found["pck"]["0.2"]["overall"] == pytest.approx((total - 1) / total)
    assert found["pck"]["0.1"]["unlabelled"] == pytest.approx(0.5)
    assert found["points"][made.SKELETON.names[5]]["0.1"] == pytest.approx(0.5)
    assert found["unlabelled_points"][made.SKELETON.names[0]] is None
    assert found["parts"]["head"]["0.05"]["overall"] == pytest.approx(8 / 12)
    every = flat(found)
    assert every["pck_0.1_unlabelled"] == pytest.approx(0.5)
    assert "AP" in every
    nothing = figures(truth, np.ones_like(shown), points, np.ones((4, made.K)))
    assert nothing["pck"]["0.1"]["unlabelled"] is None
    assert "pck_0.1_unlabelled" not in flat(nothing)
