"""What label-free methods are measured against, under the same trainer, views and loss."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from tetrapose.errors import UserError
from tetrapose.training.labelfree import thresholds
from tetrapose.training.labelfree.freenet import point_weights, tell, usable
from tetrapose.training.labelfree.step import (
    Moment,
    Start,
    Turn,
    Views,
    demand_maps,
    drawn_at,
    labels,
    look,
    mean_square,
    peaks,
    pooled,
)
from tetrapose.training.labelfree.teacher import decay_at, follow, follower

Teacher = Literal["self", "average", "frozen"]


class Supervised:
    """The labels alone, on strong or weak views: what every other method has to beat.

    Strong ones by default, so that augmentation is no method's private advantage.
    """

    needs_pool = False
    keeps_shown = False
    trained = ("network",)
    answer = "network"
    rates: Mapping[str, float] = {}

    def __init__(self, start: Start, *, strong: bool = True) -> None:
        self.networks = nn.ModuleDict({"network": start.network})
        self.codec = demand_maps(start.codec)
        self.strong = strong
        self.weights = point_weights(start.skeleton)

    def turns(self, labelled: Views, pool: Views | None, at: Moment) -> Iterator[Turn]:
        """One turn: L_s."""
        pictures = labelled.strong if self.strong else labelled.weak
        target, shown = labels(self.codec, labelled)
        output = look(self.networks["network"], pictures)
        weights = shown * self.weights.to(shown.device)
        yield "network", {"labelled": mean_square(output, target, weights)}


class PseudoLabels:
    """One trained network and a teacher that labels the pool's weak views for its strong ones.

    ``teacher``: the network itself (FixMatch, UDA), an exponential ``average`` of its weights (mean
    teacher), or a ``frozen`` copy of the start (plain pseudo-labels, made as they are needed).
    ``soft`` learns the teacher's maps as they are, else Gaussians at their highest cells.
    ``threshold`` is the least confidence; ``parts`` chooses by FreeNet's shares of body parts
    instead: FreeNet with one network. ``ramp`` is the share of the run over which the pool's loss
    grows from 0, evenly, or as exp(-5 (1 - t)^2) for the average. ``mirrored`` shows the network
    the mirrored strong view.

    Source: Sohn et al., FixMatch, NeurIPS 2020; Xie et al., UDA, NeurIPS 2020, with the settings of
    FreeNet's first commit (confidence above 0.4, mirrored strong views, weight growing with the
    step); Tarvainen and Valpola, NeurIPS 2017; Lee, ICML workshop 2013.
    """

    needs_pool = True
    keeps_shown = False
    trained = ("network",)
    answer = "network"
    rates: Mapping[str, float] = {}

    def __init__(
        self,
        start: Start,
        *,
        teacher: Teacher = "self",
        soft: bool = False,
        threshold: float = 0.4,
        parts: bool = False,
        ramp: float = 0.0,
        mirrored: bool = False,
        decay: float = 0.999,
    ) -> None:
        if teacher not in ("self", "average", "frozen"):
            raise UserError(f"teacher {teacher!r}: choose self, average or frozen")
        networks = {"network": start.network}
        if teacher != "self":
            networks["teacher"] = follower(start.network)
        self.networks = nn.ModuleDict(networks)
        self.codec = demand_maps(start.codec)
        self.teacher, self.soft, self.threshold, self.parts = teacher, soft, threshold, parts
        self.ramp, self.mirrored, self.decay = ramp, mirrored, decay
        self.groups = thresholds.without(thresholds.groups_of(start.skeleton), start.taught)
        self.taught = torch.tensor(start.taught)
        self.flip = torch.as_tensor(start.skeleton.flip_indices)
        self.weights = point_weights(start.skeleton)
        if teacher == "average":
            self.answer = "teacher"

    def turns(self, labelled: Views, pool: Views | None, at: Moment) -> Iterator[Turn]:
        """One turn: L_s + ramp L_u; then the average follows."""
        assert pool is not None
        network = self.networks["network"]
        with torch.no_grad():
            guess = look(self.networks["teacher" if "teacher" in self.networks else "network"],
                         pool.weak)  # fmt: skip
            cells, confidences = peaks(guess)
        confidences = usable(confidences, pool, self.taught)
        kept = self._kept(confidences, at)
        wanted = torch.nan_to_num(guess) if self.soft else drawn_at(self.codec, cells)
        strong = pool.strong.flip(-1) if self.mirrored else pool.strong
        both = look(network, torch.cat([labelled.strong, strong]))
        output, output_pool = both[: len(labelled)], both[len(labelled) :]
        if self.mirrored:
            output_pool = self.codec.mirror(output_pool, self.flip.to(both.device))
        target, shown = labels(self.codec, labelled)
        own = self.weights.to(shown.device)
        yield (
            "network",
            {
                "labelled": mean_square(output, target, shown * own),
                "pseudo": self.grown(at) * mean_square(output_pool, wanted, kept * own),
            },
        )
        if self.teacher == "average":
            follow(self.networks["teacher"], network, decay_at(at.step, self.decay))

    def grown(self, at: Moment) -> float:
        """What the pool's loss counts at a step."""
        if self.ramp <= 0:
            return 1.0
        done = min(at.step / max(self.ramp * at.total, 1.0), 1.0)
        return math.exp(-5 * (1 - done) ** 2) if self.teacher == "average" else done

    def _kept(self, confidences: Tensor, at: Moment) -> Tensor:
        if self.parts:
            shares = thresholds.shares_at(at.step, round(0.2 * at.total))
            kept = thresholds.part_aware(confidences, self.groups, shares, pool=pooled(confidences))
        else:
            kept = thresholds.fixed(confidences, self.threshold)
            if self.threshold <= 0:
                kept = kept & self.taught.to(kept.device)
        tell(at, confidences, kept, self.groups)
        return kept
