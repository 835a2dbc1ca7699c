"""Gaussian targets for a whole batch, drawn on the device, and the squared error against them."""

from __future__ import annotations

import torch
from torch import Tensor

from tetrapose.codecs.grids import Grid


def draw_gaussians(
    keypoints: Tensor,
    weights: Tensor,
    grid: Grid,
    *,
    sigma: float,
    whole_cells: bool = False,
    window: bool = False,
) -> tuple[Tensor, Tensor]:
    """Points (B, K, 2) in crop pixels -> maps (B, K, h, w) of peak 1 and weights (B, K).

    Zeros and weight 0 for points that are NaN or whose 3-sigma window does not touch the map. With
    ``whole_cells`` a peak stands on the nearest cell, not on the point. With ``window`` cells
    further than 3 sigma, on either axis, from the nearest cell are 0.
    Source: whole cells in a window: SimpleBaseline and HRNet (lib/dataset/JointsDataset.py); points
    over the whole map: DARK; points in a window: UDP.
    """
    width, height = grid.map_size
    cells = grid.to_cells(keypoints)
    nearest = (cells + 0.5).floor()
    if whole_cells:
        cells = nearest
    known = torch.isfinite(cells).all(-1)
    cells = torch.where(known[..., None], cells, torch.zeros_like(cells))
    x, y = cells[..., 0], cells[..., 1]
    reach = 3 * sigma
    known &= (x > -reach) & (x < width - 1 + reach) & (y > -reach) & (y < height - 1 + reach)
    across = torch.arange(width, device=cells.device) - x[..., None]
    down = torch.arange(height, device=cells.device) - y[..., None]
    row = torch.exp(-(across**2) / (2 * sigma**2))
    column = torch.exp(-(down**2) / (2 * sigma**2))
    if window:
        left, top = (
            torch.arange(side, device=cells.device) - nearest[..., axis, None]
            for axis, side in enumerate(grid.map_size)
        )
        row, column = row * (left.abs() <= reach), column * (top.abs() <= reach)
    maps = column[..., :, None] * row[..., None, :] * known[..., None, None]
    return maps, weights.float() * known


def squared_error(output: Tensor, target: Tensor, weights: Tensor, sigma: float) -> Tensor:
    """Squared error summed over a map, in units of a target's own energy, mean over points.

    1 is what a network reaches that puts out nothing; points of weight 0 do not count.
    """
    energy = torch.pi * sigma**2
    error = (output.float() - target).square().sum((-2, -1)) / energy
    return (error * weights).sum() / weights.sum().clamp_min(1e-6)
