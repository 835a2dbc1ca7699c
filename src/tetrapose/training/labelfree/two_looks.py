"""Pseudo-labels of two looks that agree: this package's own.

What it changes about FreeNet, at fewer forwards a step:

- The teacher is the network as it started and does not learn (``patience`` lets it follow): what
  it says wrongly, the network does not get to confirm. An average of the network answers.
- It looks twice, at the weak view and at its mirror image, and the mean of both maps is taught as
  it is: a Gaussian at its peak, as FreeNet draws, claims more than the teacher knows, and stands on
  a whole cell, up to half a stride off.
- No share or threshold is set by hand for a body part. A guess has a likeness
  s = exp(-(d / reach)^2 / 2) * min(1, c / c_k), with d the cells between the two looks' peaks, c
  the confidence and c_k the running confidence of that point where it is labelled; it weighs s^2.
- The labelled pictures' unlabelled points are taught as well, from their own two looks: in a mix of
  sets these are what no label reaches, and their pictures are in the batch anyway.
- No guess replaces a label that is known: where the pool is all training pictures, as in FreeNet's
  levels, its animals keep what they show, and guesses teach the other points alone.

Source of the parts: mean teacher (Tarvainen and Valpola 2017); soft targets (Hinton et al. 2015);
per-class thresholds that follow a running confidence (FreeMatch, Wang et al. 2023), here per point
and taken where truth is known; an easy view that teaches a hard one (Xie et al., ICCV 2021: An
Empirical Study of the Collapsing Problem in Semi-Supervised 2D Human Pose Estimation).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from tetrapose.codecs.peaks import find_peaks, finite
from tetrapose.training.labelfree import thresholds
from tetrapose.training.labelfree.freenet import point_weights, tell, usable
from tetrapose.training.labelfree.step import (
    Moment,
    Start,
    Turn,
    Views,
    demand_maps,
    joined,
    labels,
    look,
    mean_square,
    pooled,
)
from tetrapose.training.labelfree.teacher import decay_at, follow, follower

MEMORY = 0.99  # of the running confidences


class Record(nn.Module):
    """Each point's running confidence where it is labelled.

    ``mean`` (K,) the confidences and ``seen`` (K,) of how many.
    """

    mean: Tensor
    seen: Tensor

    def __init__(self, count: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.full((count,), 0.5))
        self.register_buffer("seen", torch.zeros(count))

    @torch.no_grad()
    def add(self, confidences: Tensor, shown: Tensor) -> None:
        """Confidences (M, K) where ``shown`` (M, K) is above 0; the first sight counts fully."""
        here = (shown > 0) & torch.isfinite(confidences)
        count = here.sum(0)
        value = torch.where(here, confidences, 0.0).sum(0) / count.clamp_min(1)
        pace = torch.where(self.seen == 0, 1.0, 1 - MEMORY)
        self.mean.copy_(torch.where(count > 0, self.mean.lerp(value, pace), self.mean))
        self.seen.add_(count)


class TwoLooks:
    """A teacher of two looks, one trained network, and an average of it that answers.

    ``reach`` in cells is the disagreement at which likeness has fallen to exp(-1/2); ``weight``
    what pseudo-labels count beside labels; the average reaches back over a share ``memory`` of the
    run, 1,000 steps at most, and the teacher follows it over a share ``patience`` (0: never).
    ``partial`` teaches the labelled pictures' unlabelled points.
    """

    needs_pool = True
    keeps_shown = True
    trained = ("network",)
    answer = "average"
    rates: Mapping[str, float] = {}

    def __init__(
        self,
        start: Start,
        *,
        reach: float = 1.0,
        weight: float = 1.0,
        memory: float = 0.05,
        patience: float = 0.0,
        partial: bool = True,
    ) -> None:
        self.networks = nn.ModuleDict(
            {
                "network": start.network,
                "teacher": follower(start.network),
                "average": follower(start.network),
            }
        )
        self.codec = demand_maps(start.codec)
        self.groups = thresholds.without(thresholds.groups_of(start.skeleton), start.taught)
        self.state = Record(len(start.skeleton))
        self.reach, self.weight = reach, weight
        self.memory, self.patience = memory, patience
        self.partial = partial
        self.taught = torch.tensor(start.taught)
        self.flip = torch.as_tensor(start.skeleton.flip_indices)
        self.weights = point_weights(start.skeleton)

    def turns(self, labelled: Views, pool: Views | None, at: Moment) -> Iterator[Turn]:
        """One turn: L_s + L_u; then the average follows."""
        assert pool is not None
        network, average = self.networks["network"], self.networks["average"]
        both, count = joined(labelled, pool), len(labelled)
        shown = both.weights * torch.isfinite(both.keypoints).all(-1)
        with torch.no_grad():
            guess, confidences, apart = self.looks(both.weak)
            confidences = usable(confidences, both, self.taught)
            self.state.add(pooled(confidences), pooled(shown))
            trust = self.likeness(confidences, apart) ** 2
        tell(at, confidences[count:], trust[count:], self.groups)
        at.note("agreement/cells", apart[count:].mean())
        trust = trust * (shown == 0)
        if not self.partial:
            trust = trust * (torch.arange(len(both), device=trust.device) >= count)[:, None]
        target, known = labels(self.codec, both)
        own = self.weights.to(shown.device)
        output = look(network, both.strong)
        # over the labelled batch's size, whatever labels the pool shows beside it
        share = len(both) / count
        right = mean_square(output, target, known * own)
        guessed = mean_square(output, guess, trust * own)
        yield "network", {"labelled": share * right, "pseudo": share * self.weight * guessed}
        window = min(max(self.memory * at.total, 10.0), 1000.0)
        follow(average, network, decay_at(at.step, 1 - 1 / window))
        if self.patience > 0:
            follow(self.networks["teacher"], average, 1 - 1 / (self.patience * at.total))

    def looks(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The teacher's mean maps (B, K, h, w), their highest values (B, K); cells between."""
        plain, turned = look(
            self.networks["teacher"], torch.cat([pictures, pictures.flip(-1)])
        ).chunk(2)
        turned = self.codec.mirror(turned, self.flip.to(plain.device))
        mean = finite((plain + turned) / 2, high=0.0, low=0.0)  # a weight of 0 does not undo NaN
        _, values = find_peaks(mean, "argmax")
        one, _ = find_peaks(plain, "argmax")
        other, _ = find_peaks(turned, "argmax")
        return mean, values, (one - other).norm(dim=-1)

    def likeness(self, confidences: Tensor, apart: Tensor) -> Tensor:
        """(B, K) in 0..1: agreement of the looks times confidence by the point's usual one."""
        agreed = torch.exp(-0.5 * (apart / self.reach) ** 2)
        usual = self.state.mean.clamp_min(thresholds.LEAST)
        return agreed * (confidences / usual).clamp(0, 1)
