"""FreeNet's rules one by one, as mended and as released, and the order of its step."""

from __future__ import annotations

import math

import labelfree_parts as made
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tetrapose import skeletons
from tetrapose.training.labelfree import feedback, thresholds
from tetrapose.training.labelfree.freenet import (
    FreeNet,
    Schedule,
    point_weights,
    scrambled,
    usable,
)
from tetrapose.training.labelfree.step import (
    Moment,
    drawn_at,
    labels,
    look,
    mean_square,
    peaks,
)

UNION = skeletons.load("union24")


def names(rows: np.ndarray) -> set[str]:
    return {UNION.names[i] for i in rows}


def test_the_kept_share_falls_to_the_floors_where_the_source_says():
    shares = [thresholds.keep_share(step, 9000, 0.5) for step in range(0, 12000, 100)]
    assert shares[0] == 1
    assert shares[-1] == 0.5
    assert shares == sorted(shares, reverse=True)
    # the floors .65, .6 and .5 are met at .40, .44 and .5 of the way
    for floor, place in ((0.65, 0.40), (0.6, 0.44), (0.5, 0.5)):
        met = next(s for s in range(9001) if thresholds.keep_share(s, 9000, floor) <= floor)
        assert met / 9000 == pytest.approx(place, abs=0.005)
    assert thresholds.keep_share(0, 0, 0.5) == 0.5


def test_the_threshold_is_the_confidence_at_the_share():
    values = torch.tensor([0.3, 0.9, 0.5, 0.7])
    assert thresholds.share_threshold(values, 0.5) == pytest.approx(0.5)  # place 2 of .9 .7 .5 .3
    assert thresholds.share_threshold(values, 1.0) == pytest.approx(0.3)
    assert thresholds.share_threshold(values * 0.1, 1.0) == thresholds.LEAST
    assert thresholds.share_threshold(torch.tensor([]), 1.0) == thresholds.LEAST
    assert thresholds.share_threshold(torch.full((4,), torch.nan), 0.5) == thresholds.LEAST


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.floats(0.01, 1))
def test_no_share_keeps_more_than_it_says_but_for_ties(values: list[float], share: float):
    confidences = torch.tensor(values)
    threshold = thresholds.share_threshold(confidences, share)
    above = int((confidences > threshold).sum())
    assert above <= math.floor(len(values) * share)
    assert threshold >= thresholds.LEAST


def test_hard_parts_keep_a_larger_share():
    draw = torch.Generator().manual_seed(0)
    confidences = 0.3 + 0.6 * torch.rand(200, len(UNION), generator=draw)
    groups = thresholds.groups_of(UNION)
    late = thresholds.part_aware(confidences, groups, thresholds.shares_at(9000, 9000))
    for name, rows in groups.items():
        share = float(late[:, rows].float().mean())
        assert share == pytest.approx(thresholds.FLOORS[name], abs=0.01), name
    early = thresholds.part_aware(confidences, groups, thresholds.shares_at(0, 9000))
    assert early.all()


def test_thresholds_are_those_of_the_pool_of_all_processes():
    mine, others = torch.full((2, 2), 0.5), torch.full((6, 2), 0.9)
    groups = {"face": np.array([0, 1])}
    alone = thresholds.part_aware(mine, groups, {"face": 0.5})
    joined = thresholds.part_aware(mine, groups, {"face": 0.5}, pool=torch.cat([mine, others]))
    assert alone.all()
    assert not joined.any()


def test_groups_by_part_and_as_released():
    ours, theirs = thresholds.groups_of(UNION), thresholds.groups_of(UNION, released=True)
    for groups in (ours, theirs):
        every = np.concatenate(list(groups.values()))
        assert sorted(every.tolist()) == list(range(len(UNION)))
    assert {"left_ear", "chin"} < names(ours["face"])
    assert {"left_ear", "right_ear"} < names(theirs["front"])
    # the lists of FreeNet's ssl_utils.py for 24 points
    assert set(theirs["exclusive"].tolist()) == {3, 19, 20, 21, 22, 23}
    assert set(theirs["back"].tolist()) == {4, 11, 12, 13, 14, 15, 16}
    assert set(theirs["face"].tolist()) == {0, 1, 2}
    plain = skeletons.load("ap10k")
    for name, rows in thresholds.groups_of(plain).items():
        assert (rows == thresholds.groups_of(plain, released=True)[name]).all()


def test_a_group_of_points_that_nothing_taught_goes():
    groups = {"face": np.array([0, 1]), "front": np.array([2])}
    left = thresholds.without(groups, [True, False, False])
    assert list(left) == ["face"]
    assert left["face"].tolist() == [0]


def test_feedback_leaves_the_surest_and_the_least_sure_alone():
    base = torch.linspace(0.1, 1.0, 10)
    other = torch.linspace(0.05, 0.5, 10)
    bad, good = feedback.cut_points(base, other)
    assert good == pytest.approx(max(0.8, 0.4))
    assert bad == pytest.approx(min(0.2, 0.1))
    middle = feedback.middling(base, bad, good)
    assert middle.tolist() == [True] * 8 + [False] * 2
    assert not feedback.middling(
        torch.zeros(4), *feedback.cut_points(torch.zeros(4), base * 0)
    ).any()
    hole = torch.tensor([torch.nan, 0.5])
    assert feedback.middling(hole, 0.1, 0.9).tolist() == [False, True]
    assert feedback.cut_points(torch.tensor([]), base) == (0.0, 0.0)


def test_the_ramp_of_feedback():
    assert feedback.ramp(4499, 4500, 6000) == 0
    assert feedback.ramp(4500, 4500, 6000) == pytest.approx(2 / 1500)
    assert feedback.ramp(5999, 4500, 6000) == feedback.ramp(40000, 4500, 6000) == 2.0
    assert Schedule().steps(45000) == (9000, 4500, 6000)


def test_the_loss_is_the_formula_and_a_batch_of_batches():
    draw = torch.Generator().manual_seed(1)
    output, target = (torch.rand(4, 3, 5, 6, generator=draw) for _ in range(2))
    weights = torch.rand(4, 3, generator=draw)
    slow = sum(
        float(weights[b, k]) * float(((output[b, k] - target[b, k]) ** 2).mean())
        for b in range(4)
        for k in range(3)
    )
    assert float(mean_square(output, target, weights)) == pytest.approx(slow / 4, rel=1e-5)
    halves = [mean_square(output[s], target[s], weights[s]) for s in (slice(0, 2), slice(2, 4))]
    assert float(sum(halves) / 2) == pytest.approx(slow / 4, rel=1e-5)


def test_released_weights_land_on_other_points():
    weights = torch.tensor([1.0, 1.2, 1.5])
    # each repeated twice, then cut into rows of three
    assert scrambled(weights, 2).tolist() == [pytest.approx([1.0, 1.0, 1.2]),
                                              pytest.approx([1.2, 1.5, 1.5])]  # fmt: skip
    assert scrambled(weights, 1).tolist() == [pytest.approx(weights.tolist())]
    assert scrambled(weights, 4).sum() == pytest.approx(4 * 3.7)


def test_weights_of_points_by_name_and_by_place():
    named = dict(zip(skeletons.load("union21").names, point_weights(skeletons.load("union21")),
                     strict=True))  # fmt: skip
    assert float(named["left_back_paw"]) == 1.5
    assert float(named["nose"]) == 1
    plain = skeletons.load("quadruped")
    placed = dict(zip(plain.names, point_weights(plain).tolist(), strict=True))
    assert placed["left_front_paw"] == pytest.approx(1.5)
    assert placed["left_elbow"] == pytest.approx(1.2)
    assert placed["neck"] == 1


def test_pseudo_labels_stand_on_the_highest_cell_over_the_whole_map():
    codec = made.codec()
    maps = torch.zeros(1, made.K, 8, 8)
    maps[0, :, 2, 5] = 0.7
    cells, values = peaks(maps)
    assert cells[0, 0].tolist() == [5, 2]
    assert float(values[0, 0]) == pytest.approx(0.7)
    drawn = drawn_at(codec, cells)
    assert float(drawn[0, 0, 2, 5]) == pytest.approx(1.0)
    assert float(drawn[0, 0, 2, 0]) > 0  # no window
    assert float(drawn[0, 0, 2, 4]) == pytest.approx(math.exp(-0.5))


def turn(method: FreeNet, labelled, pool, at: Moment, *, rate: float = 0.0) -> list:
    """All turns of a step, networks moved down their gradients by ``rate``."""
    done = []
    for name, losses in method.turns(labelled, pool, at):
        done.append((name, {k: v.detach().clone() for k, v in losses.items()}))
        torch.stack(list(losses.values())).sum().backward()
        with torch.no_grad():
            for parameter in method.networks[name].parameters():
                if parameter.grad is not None:
                    parameter -= rate * parameter.grad
                    parameter.grad = None
    return done


def test_the_adaptation_network_goes_first_and_feedback_comes_late():
    method = FreeNet(made.start())
    labelled, pool = made.views(), made.views(4, seed=1, labelled=False)
    before = turn(method, labelled, pool, Moment(0, 1000))
    assert [name for name, _ in before] == ["adaptation", "base"]
    assert set(before[0][1]) == {"labelled", "pseudo"}
    assert set(before[1][1]) == {"labelled"}
    after = turn(method, labelled, pool, Moment(200, 1000))
    assert set(after[1][1]) == {"labelled", "feedback"}
    off = FreeNet(made.start(), feedback=False)
    assert set(turn(off, labelled, pool, Moment(999, 1000))[1][1]) == {"labelled"}


def test_lazy_feedback_comes_as_seldom_as_it_weighs_more():
    labelled, pool = made.views(), made.views(4, seed=1, labelled=False)

    def fed(lazy: int, step: int) -> float | None:
        method = FreeNet(made.start(norm=False), lazy=lazy)
        return turn(method, labelled, pool, Moment(step, 1000), rate=0.1)[1][1].get("feedback")

    assert fed(2, 201) is None
    always, seldom = fed(1, 200), fed(2, 200)
    assert float(seldom) == pytest.approx(2 * float(always), rel=1e-4)
    assert fed(1, 201) is not None


def test_feedback_is_the_fall_of_the_labelled_loss():
    """d, from the losses before and after a step of plain descent, taken by hand."""
    method = FreeNet(made.start(norm=False))
    labelled, pool = made.views(), made.views(4, seed=1, labelled=False)
    target, shown = labels(method.codec, labelled)
    weights = method.weighed(shown)
    at = Moment(200, 1000)

    def loss() -> float:
        with torch.no_grad():
            output = look(method.networks["adaptation"], labelled.strong)
            return float(mean_square(output, target, weights))

    old = loss()
    turn(method, labelled, pool, at, rate=0.5)
    new = loss()
    assert float(at.notes["feedback/d"]) == pytest.approx(old - new, rel=1e-3)
    assert old > new


def test_statistics_of_one_batch_mend_d_and_the_released_one_differs():
    """With no step between, old and new are one loss: as released they are not."""
    labelled, pool = made.views(), made.views(4, seed=1, labelled=False)
    found = {}
    for released in (False, True):
        method = FreeNet(made.start(), released=released)
        for module in method.networks.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        at = Moment(200, 1000)
        turn(method, labelled, pool, at, rate=0.0)
        found[released] = abs(float(at.notes["feedback/d"]))
    assert found[False] == pytest.approx(0, abs=1e-6)
    assert found[True] > 1e-4


def test_as_released_a_pseudo_label_weighs_what_another_point_should():
    labelled, pool = made.views(), made.views(4, seed=1, labelled=False)
    losses = []
    for released in (False, True):
        method = FreeNet(made.start(norm=False), released=released)
        losses.append(turn(method, labelled, pool, Moment(0, 1000))[0][1]["labelled"])
    assert not torch.isclose(losses[0], losses[1])
    # where all points weigh the same there is no difference
    even = []
    for released in (False, True):
        method = FreeNet(made.start(norm=False), released=released)
        method.weights = torch.ones(made.K)
        even.append(turn(method, labelled, pool, Moment(0, 1000))[0][1]["labelled"])
    assert torch.isclose(*even)


def test_a_fresh_adaptation_network_knows_nothing_of_the_base():
    begun = made.start()
    same, fresh = FreeNet(begun), FreeNet(made.start(), fresh=True)
    pair = zip(same.networks["base"].parameters(), same.networks["adaptation"].parameters(),
               strict=True)  # fmt: skip
    assert all(torch.equal(a, b) and a is not b for a, b in pair)
    pair = zip(fresh.networks["base"].parameters(), fresh.networks["adaptation"].parameters(),
               strict=True)  # fmt: skip
    assert not all(torch.equal(a, b) for a, b in pair)


def test_nothing_is_believed_of_untaught_points_unread_pictures_and_nan():
    pool = made.views(3, labelled=False)
    pool.readable[1] = False
    taught = torch.tensor([False] + [True] * (made.K - 1))
    confidences = torch.full((3, made.K), 0.9)
    confidences[2, 3] = torch.nan
    left = usable(confidences, pool, taught)
    assert left[:, 0].sum() == 0
    assert left[1].sum() == 0
    assert left[2, 3] == 0
    assert float(left[0, 1]) == pytest.approx(0.9)
