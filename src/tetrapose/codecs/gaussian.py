"""Gaussian targets for a whole batch, drawn on the device."""

from __future__ import annotations

import torch
from torch import Tensor


def draw_gaussians(
    keypoints: Tensor,
    weights: Tensor,
    map_size: tuple[int, int],
    *,
    stride: int,
    sigma: float,
    whole_cells: bool = False,
) -> tuple[Tensor, Tensor]:
    """Points (B, K, 2) in crop pixels -> maps (B, K, h, w) of peak 1 and weights (B, K).

    Zeros and weight 0 for points that are NaN or whose 3-sigma window does not touch the map.
    """
    width, height = map_size
    cells = (keypoints.float() + 0.5) / stride - 0.5
    if whole_cells:
        cells = (cells + 0.5).floor()
    known = torch.isfinite(cells).all(-1)
    cells = torch.where(known[..., None], cells, torch.zeros_like(cells))
    x, y = cells[..., 0], cells[..., 1]
    reach = 3 * sigma
    known &= (x > -reach) & (x < width - 1 + reach) & (y > -reach) & (y < height - 1 + reach)
    across = torch.arange(width, device=cells.device) - x[..., None]
    down = torch.arange(height, device=cells.device) - y[..., None]
    row = torch.exp(-(across**2) / (2 * sigma**2))
    column = torch.exp(-(down**2) / (2 * sigma**2))
    maps = column[..., :, None] * row[..., None, :] * known[..., None, None]
    return maps, weights.float() * known
