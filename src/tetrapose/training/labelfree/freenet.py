"""FreeNet: a base network that labels and an adaptation network that learns, joined by feedback.

Source: Zeng, Zhu et al., Towards Labeling-free Fine-grained Animal Pose Estimation, ACM MM 2024;
every formula after the released code (github.com/yzrs/FreeNet, ssl_utils.py and utils.py), since
the paper's text could not be had. One step, in its order:

1. base network, weak pool -> cells and confidences (no gradient)
2. adaptation network, strong labelled and strong pool:
   L_s(labels) + L_u(Gaussians at those cells, body-part-aware choice); it is stepped first
3. the adaptation network's labelled loss after that step; d = old - new
4. base network: L_s(weak labelled) + ramp * d * F, where F is the loss of its strong pool against
   its own highest cells, on points of middling confidence; it is stepped second

What the released code does besides, and ``released`` does again: weights of the points land on
others (``scrambled``); groups by its own lists; a forward of the adaptation network on weak
pictures for its running statistics alone; and d between losses under the statistics of two
different batches. Its strong views, targets on whole cells and half-body crops that look at hidden
labels are settings of the run (configs/method/freenet_as_released.yaml). Forwards whose result
nothing reads are left out: benchmarks/label_free.py has the released order for comparison.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from tetrapose.skeletons import Skeleton
from tetrapose.training.labelfree import feedback as back
from tetrapose.training.labelfree import thresholds
from tetrapose.training.labelfree.step import (
    Moment,
    Start,
    Turn,
    Views,
    demand_maps,
    drawn_at,
    everywhere,
    labels,
    look,
    mean_square,
    peaks,
    pooled,
)


@dataclass(frozen=True)
class Schedule:
    """Shares of a run: the kept share has fallen by ``down``, feedback ramps from ``begin`` on.

    Source: 9,000, 4,500 and 6,000 of 45,000 steps (README of FreeNet).
    """

    down: float = 0.2
    begin: float = 0.1
    complete: float = 6 / 45

    def steps(self, total: int) -> tuple[int, int, int]:
        """The three in steps of a run."""
        return (
            round(self.down * total),
            round(self.begin * total),
            max(round(self.complete * total), round(self.begin * total) + 1),
        )


class FreeNet:
    """Base and adaptation network, both trained by gradient; there is no average of weights.

    ``schedule`` is (down, begin, complete), see ``Schedule``. ``parts`` False keeps every point
    from a confidence of 0.2 on; ``feedback`` False trains the base network by labels alone.
    ``base_rate`` is the base network's learning rate over the adaptation network's (1e-5 and 1e-3
    there). Feedback comes every ``lazy`` steps, with as many times its weight: the same pull in the
    mean, for less (lazy regularisation, Karras et al., CVPR 2020); 1 is FreeNet's. ``fresh`` starts
    the adaptation network without what the base network has learnt, as FreeNet does: for long runs.
    """

    needs_pool = True
    keeps_shown = False
    trained = ("adaptation", "base")
    answer = "adaptation"

    def __init__(
        self,
        start: Start,
        *,
        schedule: tuple[float, float, float] = (0.2, 0.1, 6 / 45),
        parts: bool = True,
        feedback: bool = True,
        base_rate: float = 0.01,
        lazy: int = 2,
        fresh: bool = False,
        released: bool = False,
    ) -> None:
        adaptation = start.fresh if fresh else copy.deepcopy(start.network)
        self.networks = nn.ModuleDict({"adaptation": adaptation, "base": start.network})
        self.codec = demand_maps(start.codec)
        self.schedule = Schedule(*schedule)
        self.parts, self.feedback, self.released = parts, feedback, released
        self.lazy = max(int(lazy), 1)
        self.rates: Mapping[str, float] = {"base": base_rate}
        every = thresholds.groups_of(start.skeleton, released=released)
        self.groups = thresholds.without(every, start.taught)
        self.taught = torch.tensor(start.taught)
        self.weights = point_weights(start.skeleton)

    def turns(self, labelled: Views, pool: Views | None, at: Moment) -> Iterator[Turn]:
        """Two turns: the adaptation network's, then the base network's."""
        assert pool is not None
        down, begin, complete = self.schedule.steps(at.total)
        base, adaptation = self.networks["base"], self.networks["adaptation"]
        due = self.feedback and at.step % self.lazy == 0
        gain = self.lazy * back.ramp(at.step, begin, complete) if due else 0.0
        with torch.no_grad():
            if self.released:
                look(adaptation, torch.cat([labelled.weak, pool.weak]))
            cells, confidences = peaks(look(base, pool.weak))
        confidences = usable(confidences, pool, self.taught)
        kept = self.chosen(confidences, at, down)
        output, output_pool = self._both(adaptation, labelled, pool, apart=gain > 0)
        target, shown = labels(self.codec, labelled)
        weights = self.weighed(shown)
        supervised = mean_square(output, target, weights)
        pseudo = mean_square(output_pool, drawn_at(self.codec, cells), self.weighed(kept))
        yield "adaptation", {"labelled": supervised, "pseudo": pseudo}
        if gain == 0:
            own = mean_square(look(base, labelled.weak), target, weights)
            yield "base", {"labelled": own}
            return
        with torch.no_grad():
            after = mean_square(look(adaptation, labelled.strong), target, weights)
        helped = everywhere(back.signal(supervised, after))
        _, theirs = peaks(output_pool)
        middle = self._middling(confidences, usable(theirs, pool, self.taught))
        weak, strong = look(base, torch.cat([labelled.weak, pool.strong])).split(
            [len(labelled), len(pool)]
        )
        guess = drawn_at(self.codec, peaks(strong)[0])
        fed = mean_square(strong, guess, self.weighed(middle))
        at.note("feedback/d", helped)
        at.note("feedback/share", middle.float().mean())
        yield (
            "base",
            {
                "labelled": mean_square(weak, target, weights),
                "feedback": gain * helped * fed,
            },
        )

    def chosen(self, confidences: Tensor, at: Moment, down: int) -> Tensor:
        """(B, K) True for the pseudo-labels that the adaptation network learns from."""
        if self.parts:
            shares = thresholds.shares_at(at.step, down)
            everyone = pooled(confidences)
            kept = thresholds.part_aware(confidences, self.groups, shares, pool=everyone)
        else:
            kept = thresholds.fixed(confidences, thresholds.LEAST)
        tell(at, confidences, kept, self.groups)
        return kept

    def weighed(self, shown: Tensor) -> Tensor:
        """(B, K) the points' weights where ``shown``; as released, those of other points."""
        own = self.weights.to(shown.device)
        spread = scrambled(own, len(shown)) if self.released else own.expand(len(shown), -1)
        return spread * shown

    def _both(
        self, network: nn.Module, labelled: Views, pool: Views, *, apart: bool
    ) -> tuple[Tensor, Tensor]:
        """Maps of the strong labelled and the strong pool pictures.

        In one batch, or ``apart``: the labelled loss is to be compared with that after the step,
        which must be under batch statistics of the same pictures. As released it is not.
        """
        if apart and not self.released:
            return look(network, labelled.strong), look(network, pool.strong)
        both = look(network, torch.cat([labelled.strong, pool.strong]))
        return both[: len(labelled)], both[len(labelled) :]

    def _middling(self, base: Tensor, adaptation: Tensor) -> Tensor:
        known = self.taught.to(base.device)
        bad, good = back.cut_points(pooled(base)[:, known], pooled(adaptation)[:, known])
        return back.middling(base, bad, good) & known


def usable(confidences: Tensor, views: Views, taught: Tensor) -> Tensor:
    """(B, K) with 0 where nothing can be believed: NaN, untaught points, unreadable pictures."""
    known = views.readable[:, None] & taught.to(confidences.device)
    return torch.nan_to_num(confidences, nan=0.0, posinf=0.0, neginf=0.0) * known


def point_weights(skeleton: Skeleton) -> Tensor:
    """(K,) what each point counts in a loss: FreeNet's where the skeleton has them, else 1.

    Skeletons without a set of their own take the weights of their points' places: paws 1.5, the
    other points of limbs 1.2.
    """
    named = skeleton.weight_sets.get("freenet")
    if named is not None:
        return torch.tensor(named)
    limb = np.array([p.part in ("front", "back") for p in skeleton.keypoints])
    paw = np.array(["paw" in p.place for p in skeleton.keypoints])
    return torch.as_tensor(np.where(paw, 1.5, np.where(limb, 1.2, 1.0)), dtype=torch.float32)


def scrambled(weights: Tensor, batch: int) -> Tensor:
    """(B, K) the weights as the released loss lays them out: each repeated B times, then reshaped.

    What is meant is row after row of all weights; what comes out puts w[(bK + k) // B] at (b, k).
    Source: AvgImgMSELoss of FreeNet, train_utils/utils.py.
    """
    return weights.repeat_interleave(batch).view(batch, len(weights))


def tell(at: Moment, confidences: Tensor, kept: Tensor, groups: Mapping[str, np.ndarray]) -> None:
    """Confidence and kept share of each body part into the curves; a word where none is left."""
    for name, value in thresholds.per_group(confidences, groups).items():
        at.note(f"confidence/{name}", value)
    for name, value in thresholds.per_group(kept, groups).items():
        at.note(f"kept/{name}", value)
    if not bool((confidences > 0).any()):
        at.warn("none", "no confidence above 0 in the pool: this step learns from labels alone")
        return
    for name, rows in groups.items():
        if not bool(kept[:, torch.as_tensor(rows, device=kept.device)].any()):
            at.warn(
                f"part {name}",
                f"no point of {name} is confident enough: its labels alone teach it for now",
            )
