"""A crop seen again, turned, scaled and mirrored on the device, and the way back of its points."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from tetrapose import geometry


@dataclass(frozen=True)
class Moves:
    """How a moved view differs from its crop.

    Sizes N(1, scale) cut at once, turns N(0, rotation) degrees cut at twice for a share ``chance``,
    mirrored for a share ``mirror``.
    Source: the agreement view: sf_aggre 0.1, rf_aggre 20, turned in 0.6 of cases, half mirrored.
    """

    scale: float = 0.1
    rotation: float = 20.0
    chance: float = 0.6
    mirror: float = 0.5

    def draw(
        self, rows: list[int], key: tuple[int, ...], size: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Matrices (B, 2, 3) from crops of ``size`` to their moved views, and (B,) mirrored or not.

        By (key, row) alone: the same whatever else is in the batch.
        """
        centre, side = (np.array(size) - 1) / 2, np.array(size, dtype=float)
        matrices, mirrored = [], []
        for row in rows:
            rng = np.random.default_rng((*key, int(row)))
            factor = 1 + np.clip(rng.normal() * self.scale, -self.scale, self.scale)
            turn = np.clip(rng.normal() * self.rotation, -2 * self.rotation, 2 * self.rotation)
            turn = float(turn) if rng.random() < self.chance else 0.0
            mirror = bool(rng.random() < self.mirror)
            mirrored.append(mirror)
            matrices.append(
                geometry.crop_matrix(centre, side * factor, size, rotation=turn, mirror=mirror)
            )
        return np.array(matrices).reshape(-1, 2, 3), np.array(mirrored, dtype=bool)


def transformed(matrices: Tensor, points: Tensor) -> Tensor:
    """Matrices (B, 2, 3) on points (B, K, 2); NaN stays NaN."""
    return points @ matrices[..., :2].transpose(-1, -2) + matrices[..., None, :, 2]


def inverse(matrices: Tensor) -> Tensor:
    """Inverse of affine matrices (B, 2, 3)."""
    linear = torch.linalg.inv(matrices[..., :2])
    return torch.cat([linear, -(linear @ matrices[..., 2:])], dim=-1)


def carried_back(points: Tensor, matrices: Tensor, mirrored: Tensor, flip: Tensor) -> Tensor:
    """Points (B, K, 2) said of moved views, in their crops; of mirrored ones, sides exchanged."""
    return exchanged(transformed(inverse(matrices), points), mirrored, flip)


def exchanged(values: Tensor, mirrored: Tensor, flip: Tensor) -> Tensor:
    """What belongs to points, (B, K, ...), with left and right exchanged where mirrored (B,)."""
    other = values[:, flip.to(values.device)]
    return torch.where(mirrored.view(-1, *[1] * (values.ndim - 1)), other, values)


def moved_views(pictures: Tensor, matrices: Tensor) -> Tensor:
    """Pictures (B, C, H, W) warped by matrices (B, 2, 3) of pixels; bilinear, 0 outside."""
    height, width = pictures.shape[-2:]
    size = torch.tensor([width, height], device=pictures.device, dtype=torch.float32)
    down, across = torch.meshgrid(
        torch.arange(height, device=pictures.device), torch.arange(width, device=pictures.device),
        indexing="ij",
    )  # fmt: skip
    at = torch.stack([across, down], dim=-1).float().view(1, -1, 2)
    source = transformed(inverse(matrices), at.expand(len(pictures), -1, -1))
    grid = ((2 * source + 1) / size - 1).view(-1, height, width, 2)
    return functional.grid_sample(pictures, grid, padding_mode="zeros", align_corners=False)


@contextmanager
def at_rest(network: nn.Module) -> Iterator[None]:
    """The network in evaluation mode, each part back in its own afterwards."""
    were = [(part, part.training) for part in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for part, training in were:
            part.training = training
