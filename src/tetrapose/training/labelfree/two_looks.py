"""Pseudo-labels weighed by how often their like is right, which labels tell: this package's own.

What it changes about FreeNet, at fewer forwards a step:

- The teacher is an average of the network's weights, with no gradient of its own.
- It looks twice, at the weak view and at its mirror image. Maps are averaged, and the place is read
  between cells (DARK), where FreeNet's labels stand on whole cells, up to half a stride off.
- No share or threshold is set by hand for a body part. A guess has a likeness
  s = exp(-(d / reach)^2 / 2) * min(1, c / c_k), with d the cells between the two looks' places, c
  the confidence and c_k the running confidence of that point where it is labelled. How often
  guesses of such an s are right is counted on the labelled pictures, for each body part in ten
  bins of s; with P the share that is, a guess weighs max(0, 2 P - 1): what is as often wrong as
  right teaches nothing. So pseudo-labels come in by themselves as the network gets better.
- The labelled pictures' unlabelled points are taught as well, from their own two looks: in a mix of
  sets these are what no label reaches, and their pictures are in the batch anyway.
- The network sees the strong view turned, scaled and mirrored once more, so that it cannot answer
  as the teacher did for the teacher's reasons: what is easy to see teaches what is hard to.
- No guess replaces a label that is known: where the pool is all training pictures, as in FreeNet's
  levels, its animals keep what they show, and guesses teach the other points alone.

Source of the parts: mean teacher (Tarvainen and Valpola 2017); DARK (Zhang et al. 2020); per-class
thresholds that follow a running confidence (FreeMatch, Wang et al. 2023), here per point and taken
where truth is known; an easy view that teaches a hard one (Xie et al., ICCV 2021: An Empirical
Study of the Collapsing Problem in Semi-Supervised 2D Human Pose Estimation); counting what is
right, and the weight by it, are our own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tetrapose.codecs.gaussian import draw_gaussians
from tetrapose.codecs.peaks import find_peaks
from tetrapose.training.labelfree import thresholds
from tetrapose.training.labelfree.freenet import point_weights, tell, usable
from tetrapose.training.labelfree.moves import Moves, carried, exchanged, moved_views
from tetrapose.training.labelfree.step import (
    Moment,
    Start,
    Turn,
    Views,
    demand_maps,
    joined,
    look,
    mean_square,
    pooled,
)
from tetrapose.training.labelfree.teacher import decay_at, follow, follower

MEMORY = 0.99  # of the running confidences and counts
BINS = 10
RIGHT = 1.0  # sigmas within which a guess is right
MOVES = 9  # what draws a step's moves apart from its other drawn things
DOUBT = 4.0  # guesses that count as wrong in every bin before any is seen


class Record(nn.Module):
    """What labels have told of guesses: each point's confidence, each part's share that is right.

    ``mean`` (K,) running confidences where points are labelled, ``seen`` (K,) how often; ``right``
    and ``made`` (G, BINS) fading counts of guesses, by group and likeness.
    """

    mean: Tensor
    seen: Tensor
    right: Tensor
    made: Tensor
    group: Tensor

    def __init__(self, groups: Mapping[str, np.ndarray], count: int) -> None:
        super().__init__()
        group = torch.zeros(count, dtype=torch.long)
        for number, rows in enumerate(groups.values()):
            group[torch.as_tensor(rows)] = number
        self.register_buffer("mean", torch.full((count,), 0.5))
        self.register_buffer("seen", torch.zeros(count))
        self.register_buffer("right", torch.zeros(max(len(groups), 1), BINS))
        self.register_buffer("made", torch.zeros(max(len(groups), 1), BINS))
        self.register_buffer("group", group)

    @torch.no_grad()
    def add(self, confidences: Tensor, shown: Tensor) -> None:
        """Confidences (M, K) where ``shown`` (M, K) is above 0; the first sight counts fully."""
        here = (shown > 0) & torch.isfinite(confidences)
        count = here.sum(0)
        value = torch.where(here, confidences, 0.0).sum(0) / count.clamp_min(1)
        pace = torch.where(self.seen == 0, 1.0, 1 - MEMORY)
        self.mean.copy_(torch.where(count > 0, self.mean.lerp(value, pace), self.mean))
        self.seen.add_(count)

    @torch.no_grad()
    def judge(self, likeness: Tensor, correct: Tensor, shown: Tensor) -> None:
        """Count guesses of ``likeness`` (M, K) that are ``correct`` (M, K), where ``shown``."""
        here = shown > 0
        place = (self.group * BINS + binned(likeness))[here]
        size = self.made.numel()
        made = torch.bincount(place, minlength=size).view_as(self.made)
        right = torch.bincount(place[correct[here]], minlength=size).view_as(self.made)
        self.made.mul_(MEMORY).add_(made)
        self.right.mul_(MEMORY).add_(right)

    def trust(self, likeness: Tensor) -> Tensor:
        """(B, K) max(0, 2 P - 1) of guesses of that likeness."""
        share = self.right / (self.made + DOUBT)
        found = share.flatten()[self.group * BINS + binned(likeness)]
        return (2 * found - 1).clamp_min(0) * (likeness > 0)


def binned(likeness: Tensor) -> Tensor:
    """0 to BINS - 1 for 0 to 1."""
    return (likeness * BINS).long().clamp(0, BINS - 1)


@dataclass(frozen=True)
class _Lesson:
    """What the network sees and is to say: maps (B, K, h, w) with weights (B, K)."""

    pictures: Tensor
    target: Tensor
    shown: Tensor
    guess: Tensor
    trust: Tensor


class TwoLooks:
    """One trained network, its average as a teacher of two looks; the average answers.

    ``reach`` in cells is the disagreement at which likeness has fallen to exp(-1/2); ``weight``
    what pseudo-labels count beside labels; the average reaches back over a share ``memory`` of the
    run, 1,000 steps at most. ``moves`` turns, scales and mirrors the strong views, labelled ones
    too, before the network sees them; None leaves them where the teacher looks. ``partial`` teaches
    the labelled pictures' unlabelled points; ``mirror`` and ``counted`` switch the second look and
    the counting off: likeness squared is then the weight.
    """

    needs_pool = True
    keeps_shown = True
    trained = ("network",)
    answer = "teacher"
    rates: Mapping[str, float] = {}

    def __init__(
        self,
        start: Start,
        *,
        reach: float = 1.0,
        weight: float = 1.0,
        memory: float = 0.05,
        partial: bool = True,
        mirror: bool = True,
        counted: bool = True,
        moves: Moves | Mapping[str, Any] | None = None,
    ) -> None:
        self.networks = nn.ModuleDict(
            {"network": start.network, "teacher": follower(start.network)}
        )
        self.codec = demand_maps(start.codec)
        self.groups = thresholds.without(thresholds.groups_of(start.skeleton), start.taught)
        self.state = Record(self.groups, len(start.skeleton))
        self.reach, self.weight, self.memory = reach, weight, memory
        self.partial, self.mirror, self.counted = partial, mirror, counted
        self.moves = Moves(**moves) if isinstance(moves, Mapping) else moves
        self.taught = torch.tensor(start.taught)
        self.flip = torch.as_tensor(start.skeleton.flip_indices)
        self.weights = point_weights(start.skeleton)

    def turns(self, labelled: Views, pool: Views | None, at: Moment) -> Iterator[Turn]:
        """One turn: L_s + L_u; then the average follows."""
        assert pool is not None
        network, teacher = self.networks["network"], self.networks["teacher"]
        both, count = joined(labelled, pool), len(labelled)
        shown = both.weights * torch.isfinite(both.keypoints).all(-1)
        with torch.no_grad():
            cells, confidences, apart = self.looks(both.weak)
            confidences = usable(confidences, both, self.taught)
            trust = self.trust(cells, confidences, apart, both.keypoints, shown)
        tell(at, confidences[count:], trust[count:], self.groups)
        at.note("agreement/cells", apart[count:].mean())
        if not self.partial:
            trust = trust * (torch.arange(len(both), device=trust.device) >= count)[:, None]
        seen = self._moved(both, shown, cells, trust * (shown == 0), at)
        output = look(network, seen.pictures)
        own = self.weights.to(shown.device)
        # over the labelled batch's size, whatever labels the pool shows beside it
        share = len(both) / count
        known = mean_square(output, seen.target, seen.shown * own)
        guessed = mean_square(output, seen.guess, seen.trust * own)
        yield "network", {"labelled": share * known, "pseudo": share * self.weight * guessed}
        window = min(max(self.memory * at.total, 10.0), 1000.0)
        follow(teacher, network, decay_at(at.step, 1 - 1 / window))

    def trust(
        self, cells: Tensor, confidences: Tensor, apart: Tensor, points: Tensor, shown: Tensor
    ) -> Tensor:
        """(B, K) what guesses are worth, after the labels of this batch have told of theirs."""
        everyone = pooled(shown)
        self.state.add(pooled(confidences), everyone)
        likeness = self.likeness(confidences, apart)
        if not self.counted:
            return likeness**2
        judged = pooled(self.correct(cells, points).float()) > 0
        self.state.judge(pooled(likeness), judged, everyone)
        return self.state.trust(likeness)

    def _moved(
        self, both: Views, shown: Tensor, cells: Tensor, trust: Tensor, at: Moment
    ) -> _Lesson:
        """The strong views, turned and scaled anew, with labels and guesses where they then lie."""
        pictures, points, guess = both.strong, both.keypoints, self.codec.cells.to_pixels(cells)
        visibility = both.visibility
        if self.moves is not None:
            device = pictures.device
            key = (at.seed, MOVES, at.step)
            drawn, turned = self.moves.draw(both.index.tolist(), key, self.codec.input_size)
            matrices = torch.as_tensor(drawn, dtype=torch.float32, device=device)
            mirrored = torch.as_tensor(turned, device=device)
            pictures = moved_views(pictures, matrices)
            points, guess = (carried(p, matrices, mirrored, self.flip) for p in (points, guess))
            shown, trust, visibility = (
                exchanged(values, mirrored, self.flip) for values in (shown, trust, visibility)
            )
        target, shown = self.codec.encode(points, shown, visibility)
        drawn_guess, trust = draw_gaussians(guess, trust, self.codec.cells, sigma=self.codec.sigma)
        return _Lesson(pictures, target, shown, drawn_guess, trust)

    def looks(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Cells (B, K, 2) and values (B, K) of the teacher's mean map; cells between its looks."""
        teacher, kernel = self.networks["teacher"], self.codec.blur_kernel
        if not self.mirror:
            cells, values = find_peaks(look(teacher, pictures), "dark", blur_kernel=kernel)
            return cells, values, torch.zeros_like(values)
        plain, turned = look(teacher, torch.cat([pictures, pictures.flip(-1)])).chunk(2)
        turned = self.codec.mirror(turned, self.flip.to(plain.device))
        cells, values = find_peaks((plain + turned) / 2, "dark", blur_kernel=kernel)
        one, _ = find_peaks(plain, "argmax")
        other, _ = find_peaks(turned, "argmax")
        return cells, values, (one - other).norm(dim=-1)

    def likeness(self, confidences: Tensor, apart: Tensor) -> Tensor:
        """(B, K) in 0..1: agreement of the looks times confidence by the point's usual one."""
        agreed = torch.exp(-0.5 * (apart / self.reach) ** 2)
        usual = self.state.mean.clamp_min(thresholds.LEAST)
        return agreed * (confidences / usual).clamp(0, 1)

    def correct(self, cells: Tensor, points: Tensor) -> Tensor:
        """(B, K) True where a guess lies within ``RIGHT`` sigmas of its label, in crop pixels."""
        truth = self.codec.cells.to_cells(points)
        return (cells - truth).norm(dim=-1) <= RIGHT * self.codec.sigma  # NaN is not
