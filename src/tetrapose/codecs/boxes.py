"""Boxes as dense maps: at each cell of each level a score, a box and the odds of groups.

A level's map (5 + G, h, w) holds at cell (i, j): a score's logit; the box's centre, off the cell's
own in strides, and the logarithms of its width and height in units of ``BASE`` strides; a logit a
group. Any box can be said so, one that is smaller than a cell too, and what is said is read back
exactly. Which cells a box falls to is a matter of its size and place alone.

Source: FCOS (Tian et al. 2019) for levels by size and centre sampling; generalised focal loss (Li
et al. 2020) for a score that is learnt as the predicted box's own IoU; GIoU (Rezatofighi et al.
2019); centre and log size as in YOLOX (Ge et al. 2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from tetrapose import geometry

BASE = 4.0  # strides: about the side of the boxes that a level has to find
WIDEST = 6.0  # of a logarithm put out, so that no side becomes infinite
OVERLAP = 1.25  # sizes up to this factor beyond a level's bounds are still the level's


class Targets(NamedTuple):
    """What a perfect network would put out at all A cells of all levels, finest first.

    boxes (B, A, 4) x1 y1 x2 y2 in input pixels, NaN where a cell has none; groups (B, A), -1 for
    unknown; weights (B, A) of the score: 0 where nobody knows.
    """

    boxes: Tensor
    groups: Tensor
    weights: Tensor

    @property
    def positive(self) -> Tensor:
        """(B, A) bool, cells that have a box."""
        return self.boxes[..., 0].isfinite()


@dataclass(frozen=True)
class Found:
    """Boxes of one picture, best first: boxes (N, 4), scores (N,) in 0..1, odds (N, G)."""

    boxes: np.ndarray
    scores: np.ndarray
    odds: np.ndarray


@dataclass(frozen=True)
class Boxes:
    """Codec of boxes; pictures may have any size whose sides are multiples of the last stride.

    ``bounds`` are the longer sides in input pixels at which one level ends and the next begins. A
    box falls to the cells within ``reach`` strides of its centre that lie inside it, and to the
    cell that holds its centre. ``least``, ``overlap`` (IoU) and ``most`` rule what ``decode`` gives
    out.
    """

    groups: tuple[str, ...] = ()
    strides: tuple[int, ...] = (8, 16, 32)
    bounds: tuple[float, ...] = (64.0, 160.0)
    reach: float = 1.5
    box_weight: float = 2.0
    group_weight: float = 0.3
    least: float = 0.05
    overlap: float = 0.6
    most: int = 100

    def __post_init__(self) -> None:
        for name in ("groups", "strides", "bounds"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if len(self.bounds) != len(self.strides) - 1 or list(self.bounds) != sorted(self.bounds):
            raise ValueError(f"{len(self.strides)} levels have {len(self.strides) - 1} bounds")
        if not (0 < self.least < 1 and 0 < self.overlap < 1 and self.most > 0 and self.reach > 0):
            raise ValueError("least and overlap lie in 0..1, most and reach above 0")

    def encode(
        self, boxes: Tensor, groups: Tensor, regions: Tensor, shapes: Sequence[tuple[int, int]]
    ) -> Targets:
        """Boxes (B, M, 4) in input pixels, NaN rows for none, with groups (B, M), -1 for unknown.

        ``regions`` (B, R, 5) x1 y1 x2 y2 and a weight: cells in one that have no box count that
        much, 0 for crowds and doubtful animals; NaN rows for none. ``shapes`` (h, w) of the maps.
        """
        cells, strides, low, high = self._cells(shapes, boxes.device)
        count = len(boxes), len(cells)
        weights = self._weights(cells, regions, count)
        if boxes.shape[1] == 0:
            own = boxes.new_full((*count, 4), torch.nan)
            return Targets(own, groups.new_full(count, -1), weights)
        there = boxes.isfinite().all(-1)
        safe = torch.where(there[..., None], boxes, torch.zeros_like(boxes))
        centres = (safe[..., :2] + safe[..., 2:]) / 2
        sides = safe[..., 2:] - safe[..., :2]
        there = there & (sides > 0).all(-1)
        longer = sides.amax(-1)
        s = strides[None, :, None, None]
        reach = torch.minimum((sides / 2)[:, None], self.reach * s).clamp_min(0)
        reach = torch.maximum(reach, s / 2)
        away = (cells[None, :, None] - centres[:, None]).abs() / reach  # (B, A, M, 2)
        away = away.amax(-1)
        fits = (longer[:, None] > low[None, :, None] / OVERLAP) & (
            longer[:, None] <= high[None, :, None] * OVERLAP
        )
        takes = (away <= 1) & fits & there[:, None]
        # of several boxes that claim a cell the one it lies nearest to, the smaller among equals
        rank = away + 1e-7 * longer[:, None]
        rank = torch.where(takes, rank, torch.full_like(rank, torch.inf))
        best, chosen = rank.min(-1)
        positive = best.isfinite()
        own = torch.gather(safe, 1, chosen[..., None].expand(-1, -1, 4))
        own = torch.where(positive[..., None], own, torch.full_like(own, torch.nan))
        kind = torch.where(positive, torch.gather(groups, 1, chosen), -1)
        return Targets(own, kind, torch.where(positive, torch.ones_like(weights), weights))

    def loss(self, outputs: Sequence[Tensor], targets: Targets) -> Tensor:
        """Score, box and group losses, each a sum over cells by the number of cells with a box."""
        scores, boxes, kinds = self._read(outputs)
        positive = targets.positive
        count = positive.sum().clamp_min(1).float()
        wanted = torch.zeros_like(scores)
        total = scores.new_zeros(())
        if positive.any():
            truth, guess = targets.boxes[positive], boxes[positive]
            iou, giou = overlaps(guess, truth)
            wanted[positive] = iou.detach().clamp(0, 1)
            total = total + self.box_weight * (1 - giou).sum() / count
            known = positive & (targets.groups >= 0)
            if self.groups and known.any():
                kind = functional.cross_entropy(
                    kinds[known], targets.groups[known], reduction="sum"
                )
                total = total + self.group_weight * kind / count
        entropy = functional.binary_cross_entropy_with_logits(scores, wanted, reduction="none")
        focus = (scores.sigmoid() - wanted).square()
        return total + (focus * entropy * targets.weights).sum() / count

    def decode(self, outputs: Sequence[Tensor]) -> list[Found]:
        """Boxes of each picture of a batch, in input pixels, overlapping ones taken out."""
        with torch.no_grad():
            scores, boxes, kinds = self._read(outputs)
            scores = torch.nan_to_num(scores, nan=-torch.inf).sigmoid()
            boxes = torch.nan_to_num(boxes, nan=0.0, posinf=1e6, neginf=-1e6)
            odds = torch.nan_to_num(kinds).softmax(-1)
        out = []
        for value, box, kind in zip(scores, boxes, odds, strict=True):
            top = torch.argsort(value, descending=True, stable=True)[: 5 * self.most]
            top = top[value[top] >= self.least]
            found = Found(*(v[top].double().cpu().numpy() for v in (box, value, kind)))
            out.append(take(found, suppress(found.boxes, found.scores, self.overlap)[: self.most]))
        return out

    def perfect(self, targets: Targets, shapes: Sequence[tuple[int, int]]) -> list[Tensor]:
        """Maps from which ``decode`` reads the targets back: the inverse of what it does."""
        cells, strides, _, _ = self._cells(shapes, targets.boxes.device)
        positive = targets.positive
        boxes = torch.where(positive[..., None], targets.boxes, torch.zeros_like(targets.boxes))
        s = strides[None, :, None]
        centres = ((boxes[..., :2] + boxes[..., 2:]) / 2 - cells) / s
        sides = ((boxes[..., 2:] - boxes[..., :2]) / (BASE * s)).clamp_min(1e-6).log()
        shape = torch.cat([centres, sides], dim=-1) * positive[..., None]
        score = torch.where(positive, 12.0, -12.0)[..., None].to(boxes)
        kinds = torch.zeros(*positive.shape, len(self.groups), device=boxes.device)
        if self.groups:
            kinds.scatter_(-1, targets.groups.clamp_min(0)[..., None], 12.0)
            kinds = kinds * (targets.groups >= 0)[..., None]
        flat = torch.cat([score, shape, kinds.to(boxes)], dim=-1)
        parts = flat.split([h * w for h, w in shapes], dim=1)
        return [
            part.transpose(1, 2).reshape(len(flat), -1, h, w)
            for part, (h, w) in zip(parts, shapes, strict=True)
        ]

    def mirror(self, outputs: Sequence[Tensor]) -> list[Tensor]:
        """The perfect output for the mirrored picture."""
        turned = [one.flip(-1).clone() for one in outputs]
        for one in turned:
            one[:, 1] = -one[:, 1]
        return turned

    def shapes(self, size: tuple[int, int]) -> list[tuple[int, int]]:
        """(h, w) of each level's map for an input of ``size`` (width, height)."""
        if size[0] % self.strides[-1] or size[1] % self.strides[-1]:
            raise ValueError(f"sides of {size} must be multiples of {self.strides[-1]}")
        return [(size[1] // s, size[0] // s) for s in self.strides]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a card."""
        plain = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        return {"kind": "boxes", **plain}

    def _read(self, outputs: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Score logits (B, A), boxes (B, A, 4) in input pixels, group logits (B, A, G)."""
        shapes = [(one.shape[-2], one.shape[-1]) for one in outputs]
        cells, strides, _, _ = self._cells(shapes, outputs[0].device)
        flat = torch.cat([one.float().flatten(2).transpose(1, 2) for one in outputs], dim=1)
        s = strides[None, :, None]
        centres = cells + flat[..., 1:3] * s
        half = flat[..., 3:5].clamp(-WIDEST, WIDEST).exp() * (BASE / 2) * s
        return flat[..., 0], torch.cat([centres - half, centres + half], dim=-1), flat[..., 5:]

    def _cells(
        self, shapes: Sequence[tuple[int, int]], device: torch.device
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of all cells: centres (A, 2) in input pixels, stride, least and largest longer side."""
        edges = (0.0, *self.bounds, float("inf"))
        parts = []
        for (h, w), stride, low, high in zip(
            shapes, self.strides, edges[:-1], edges[1:], strict=True
        ):
            y, x = torch.meshgrid(
                torch.arange(h, device=device), torch.arange(w, device=device), indexing="ij"
            )
            at = (torch.stack([x, y], dim=-1).reshape(-1, 2).float() + 0.5) * stride - 0.5
            rest = at.new_tensor([float(stride), low, high]).expand(len(at), 3)
            parts.append(torch.cat([at, rest], dim=1))
        every = torch.cat(parts)
        return every[:, :2], every[:, 2], every[:, 3], every[:, 4]

    def _weights(self, cells: Tensor, regions: Tensor, count: tuple[int, int]) -> Tensor:
        """(B, A) the least weight of the regions that hold a cell, 1 where there is none."""
        weights = torch.ones(count, device=cells.device)
        if regions.shape[1] == 0:
            return weights
        at = cells[None, :, None]
        low, high = regions[:, None, :, :2], regions[:, None, :, 2:4]
        inside = ((at >= low) & (at <= high)).all(-1)  # NaN holds nothing
        told = torch.where(inside, regions[:, None, :, 4], torch.ones_like(inside, dtype=at.dtype))
        return torch.minimum(weights, told.amin(-1))


def overlaps(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and GIoU (N,) of boxes row by row (N, 4)."""
    low, high = torch.maximum(a[:, :2], b[:, :2]), torch.minimum(a[:, 2:], b[:, 2:])
    inter = (high - low).clamp_min(0).prod(-1)
    areas = [(one[:, 2:] - one[:, :2]).clamp_min(0).prod(-1) for one in (a, b)]
    union = (areas[0] + areas[1] - inter).clamp_min(1e-6)
    hull = torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])
    hull = hull.clamp_min(0).prod(-1).clamp_min(1e-6)
    iou = inter / union
    return iou, iou - (hull - union) / hull


def suppress(boxes: np.ndarray, scores: np.ndarray, overlap: float) -> np.ndarray:
    """Rows (n,), best score first, of which no two overlap by an IoU above ``overlap``.

    The best is kept and what overlaps it goes, then the best of the rest; among equal scores the
    earlier row. Non-maximum suppression, in NumPy since torchvision's does not load everywhere.
    """
    order = np.argsort(-scores, kind="stable")
    above = geometry.box_iou(boxes[order], boxes[order]) > overlap
    gone = np.zeros(len(order), dtype=bool)
    kept = []
    for row in range(len(order)):
        if not gone[row]:
            kept.append(row)
            gone |= above[row]
    return order[kept]


def take(found: Found, rows: np.ndarray) -> Found:
    """Some rows of what was found."""
    return Found(found.boxes[rows], found.scores[rows], found.odds[rows])
