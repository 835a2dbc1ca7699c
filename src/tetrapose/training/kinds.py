"""The last step of a finder's training: which group the animal in a box is of.

The network is done by then and stands still; one linear layer over what its coarse stages hold
inside each labelled box (``models.finder.Kinds``) is fitted to the end. That takes one look at each
picture.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from tetrapose.data.whole import PictureBatch, PictureSet, WholeDataset, collate
from tetrapose.errors import UserError
from tetrapose.training.module import MEAN, STD

DECAY = 0.01  # of standardised weights; 0.001 and 0.1 told held-out boxes a point or two worse
BATCH = 8
STEPS = 150


@dataclass(frozen=True)
class Fitted:
    """How many boxes were learnt from, and the share of them told right in the end."""

    boxes: int
    right: float


@torch.no_grad()
def box_features(
    model: nn.Module, data: PictureSet, side: int, *, workers: int = 0
) -> tuple[Tensor, Tensor]:
    """(N, C) what the network holds inside the boxes of a known group, and their groups (N,)."""
    device = next(model.parameters()).device
    mean, std = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (MEAN, STD))
    found: Any = model
    features, groups = [], []
    dataset = WholeDataset(data, side=side)
    numbers = [(0, row) for row in range(len(dataset))]
    batches = DataLoader(
        dataset, batch_size=BATCH, sampler=numbers, collate_fn=collate, num_workers=workers
    )
    batch: PictureBatch
    for batch in batches:
        pictures = (batch["image"].to(device).float() / 255 - mean) / std
        _, levels = found.look(pictures.contiguous(memory_format=torch.channels_last))
        there = (batch["groups"] >= 0) & batch["boxes"].isfinite().all(-1)
        there &= batch["readable"][:, None]
        image, _ = there.nonzero(as_tuple=True)
        features.append(found.kinds.pooled(levels, batch["boxes"][there].to(device), image).cpu())
        groups.append(batch["groups"][there])
    return torch.cat(features), torch.cat(groups)


def fit_kinds(model: nn.Module, data: PictureSet, side: int, *, workers: int = 0) -> Fitted:
    """Fit ``model.kinds`` on the boxes of a set, seen whole on canvases of ``side``, in place.

    Cross-entropy, rare groups weighing more by the square root of how rare they are, so that none
    is never told. Raises UserError where no box's group is known.
    """
    model.eval()
    features, groups = box_features(model, data, side, workers=workers)
    if not len(groups):
        raise UserError("no box's group is known: name a set in dataset.kinds that has some")
    layer: Any = model.kinds.out  # type: ignore[union-attr]
    weight, bias, right = fitted(features, groups, layer.out_features)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
    print(f"groups: {len(groups):,} boxes, {right:.3f} of them told right", file=sys.stderr)
    return Fitted(len(groups), right)


def fitted(features: Tensor, groups: Tensor, count: int) -> tuple[Tensor, Tensor, float]:
    """Weight (G, C) and bias (G,) of the layer, and the share of rows it tells right."""
    middle, spread = features.mean(0), features.std(0, unbiased=False).clamp_min(1e-6)
    x = (features - middle) / spread
    seen = torch.bincount(groups, minlength=count).float()
    rarity = torch.where(seen > 0, (seen.mean() / seen.clamp_min(1)).sqrt(), 0.0)
    weight = torch.zeros(count, x.shape[1], requires_grad=True)
    bias = torch.zeros(count, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=STEPS)

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = functional.cross_entropy(x @ weight.T + bias, groups, weight=rarity)
        value = value + DECAY * weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    with torch.no_grad():
        right = ((x @ weight.T + bias).argmax(1) == groups).float().mean().item()
        plain = weight / spread
        return plain.detach(), (bias - plain @ middle).detach(), right
