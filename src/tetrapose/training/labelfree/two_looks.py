"""Pseudo-labels weighed by how well two looks agree, point by point: this package's own method.

What it changes about FreeNet, at no more forwards a step:

- The teacher is an average of the network's weights, with no gradient of its own.
- It looks twice, at the weak view and at its mirror image. Maps are averaged, and the place is read
  between cells (DARK), where FreeNet's labels stand on whole cells, up to half a stride off.
- No share or threshold is set by hand for a body part: a point weighs
  exp(-(d / reach)^2 / 2) * min(1, c / c_k)^2, with d the cells between the two looks' places, c
  the confidence and c_k a running mean of the point's own confidence where it is labelled. Points
  whose maps are low even where they are right are not starved; sure but contradictory ones count
  little.
- The labelled pictures' unlabelled points are taught as well, from their own two looks: in a mix of
  sets these are what no label reaches, and their pictures are in the batch anyway.

Source of the parts: mean teacher (Tarvainen and Valpola 2017); DARK (Zhang et al. 2020); per-class
thresholds that follow a running confidence (FreeMatch, Wang et al. 2023), here per point and taken
where truth is known; the weighing is our own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from tetrapose.codecs.gaussian import draw_gaussians
from tetrapose.codecs.peaks import find_peaks
from tetrapose.training.labelfree import thresholds
from tetrapose.training.labelfree.freenet import point_weights, tell, usable
from tetrapose.training.labelfree.step import (
    Moment,
    Start,
    Turn,
    Views,
    demand_maps,
    labels,
    look,
    mean_square,
    pooled,
)
from tetrapose.training.labelfree.teacher import decay_at, follow, follower

MEMORY = 0.99  # of the running confidences


class Running(nn.Module):
    """The mean confidence of each point where it is labelled, and how often it was seen."""

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
    """One trained network, its average as a teacher of two looks; the average answers.

    ``reach`` in cells is the disagreement that still counts exp(-1/2); ``least`` the weight under
    which a pseudo-label is dropped; ``weight`` what pseudo-labels count beside labels; ``partial``
    teaches the labelled pictures' unlabelled points; ``mirror`` and ``adaptive`` switch the second
    look and the running confidences off.
    """

    needs_pool = True
    trained = ("network",)
    answer = "teacher"
    rates: Mapping[str, float] = {}

    def __init__(
        self,
        start: Start,
        *,
        reach: float = 1.0,
        least: float = 0.05,
        weight: float = 1.0,
        decay: float = 0.999,
        partial: bool = True,
        mirror: bool = True,
        adaptive: bool = True,
    ) -> None:
        self.networks = nn.ModuleDict(
            {"network": start.network, "teacher": follower(start.network)}
        )
        self.codec = demand_maps(start.codec)
        self.state = Running(len(start.skeleton))
        self.reach, self.least, self.weight, self.decay = reach, least, weight, decay
        self.partial, self.mirror, self.adaptive = partial, mirror, adaptive
        self.groups = thresholds.without(thresholds.groups_of(start.skeleton), start.taught)
        self.taught = torch.tensor(start.taught)
        self.flip = torch.as_tensor(start.skeleton.flip_indices)
        self.weights = point_weights(start.skeleton)

    def turns(self, labelled: Views, pool: Views | None, at: Moment) -> Iterator[Turn]:
        """One turn: L_s + L_u; then the average follows."""
        assert pool is not None
        network, teacher = self.networks["network"], self.networks["teacher"]
        target, shown = labels(self.codec, labelled)
        count = len(labelled)
        with torch.no_grad():
            cells, confidences, apart = self.looks(torch.cat([labelled.weak, pool.weak]))
        first = usable(confidences[:count], labelled, self.taught)
        second = usable(confidences[count:], pool, self.taught)
        confidences = torch.cat([first, second])
        self.state.add(pooled(first), pooled(shown))
        trust = self.trusted(confidences, apart)
        tell(at, second, trust[count:], self.groups)
        at.note("agreement/cells", apart[count:].mean())
        own = self.weights.to(shown.device)
        drawn = self._drawn(cells)
        output = look(network, torch.cat([labelled.strong, pool.strong]))
        pseudo = mean_square(output[count:], drawn[count:], trust[count:] * own)
        losses = {
            "labelled": mean_square(output[:count], target, shown * own),
            "pseudo": self.weight * pseudo,
        }
        if self.partial:
            open_points = trust[:count] * (shown == 0)
            guessed = mean_square(output[:count], drawn[:count], open_points * own)
            losses["partial"] = self.weight * guessed
        yield "network", losses
        follow(teacher, network, decay_at(at.step, self.decay))

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

    def trusted(self, confidences: Tensor, apart: Tensor) -> Tensor:
        """(B, K) weights in 0..1: agreement of the looks times confidence by the point's own."""
        agreed = torch.exp(-0.5 * (apart / self.reach) ** 2)
        usual = self.state.mean.clamp_min(thresholds.LEAST) if self.adaptive else 1.0
        weight = agreed * (confidences / usual).clamp(0, 1) ** 2
        return torch.where(weight >= self.least, weight, 0.0)

    def _drawn(self, cells: Tensor) -> Tensor:
        points = self.codec.cells.to_pixels(cells)
        whole = torch.ones_like(cells[..., 0])
        return draw_gaussians(points, whole, self.codec.cells, sigma=self.codec.sigma)[0]
