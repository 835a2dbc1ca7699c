"""Where is the point, as one probability over all cells: logits learned by cross-entropy.

A target is never drowned by its empty surroundings, and the score, the mass near the peak, is a
probability; six epochs of either codec told no clear winner in accuracy (docs/results.md).
Source: the heatmap as a softmax is in Nibali et al., DSNT (arXiv 1801.07372); cross-entropy against
a Gaussian target is the plain maximum-likelihood form of it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from tetrapose.codecs.checks import demand_grid, grid_of, plain
from tetrapose.codecs.gaussian import draw_gaussians
from tetrapose.codecs.grids import Grid, Kind
from tetrapose.codecs.peaks import Decoder, find_peaks, finite, windows


@dataclass(frozen=True)
class Distribution:
    """Codec of a softmax over cells; fields as in ``Heatmap``.

    ``reach``, in sigmas, is the radius of the disc whose mass is the score. ``outside`` is the
    weight of points known to lie outside the crop, which teach "nowhere": an even spread, so that
    a network shown half an animal learns to score the other half low.
    """

    num_keypoints: int
    input_size: tuple[int, int] = (192, 192)
    stride: int = 4
    sigma: float = 1.5
    decoder: Decoder = "dark"
    blur_kernel: int = 7
    reach: float = 2.0
    outside: float = 0.0

    def __post_init__(self) -> None:
        demand_grid(self)
        if not isinstance(self.reach, int | float) or not 0 < self.reach < float("inf"):
            raise ValueError(f"reach must be a number above 0, not {self.reach!r}")
        if not isinstance(self.outside, int | float) or not 0 <= self.outside <= 1:
            raise ValueError(f"outside must be a number in 0..1, not {self.outside!r}")

    @property
    def map_size(self) -> tuple[int, int]:
        """(width, height) of the maps in cells."""
        return self.cells.map_size

    @property
    def cells(self) -> Grid:
        """Where the cells stand."""
        return grid_of(self)

    @property
    def warp(self) -> Kind:
        """The warp by which crops are cut: ``geometry.crop_matrix``."""
        return "borders"

    def encode(
        self, keypoints: Tensor, weights: Tensor, visibility: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Points (B, K, 2) in crop pixels -> logits (B, K, h, w) to a constant, weights (B, K).

        A point that is NaN gets zeros and weight 0; one outside the crop has no cell, so it gets
        zeros (an even spread) and the share ``outside`` of its weight.
        """
        maps, inner = draw_gaussians(keypoints, weights, self.cells, sigma=self.sigma)
        size = torch.tensor(self.input_size, device=keypoints.device)
        inside = ((keypoints > -0.5) & (keypoints < size - 0.5)).all(-1)
        known = torch.isfinite(keypoints).all(-1)
        outer = weights.float() * self.outside * (known & ~inside)
        logits = maps.clamp_min(1e-12).log() * ((inner > 0) & inside)[..., None, None]
        return logits, inner * inside + outer

    def loss(self, output: Tensor, target: Tensor, weights: Tensor) -> Tensor:
        """Kullback-Leibler divergence from target to output in nats, mean over weighted points."""
        wanted = target.flatten(2).log_softmax(-1)
        given = output.float().flatten(2).log_softmax(-1)
        error = (wanted.exp() * (wanted - given)).sum(-1)
        return (error * weights).sum() / weights.sum().clamp_min(1e-6)

    def decode(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, K, h, w) -> points (B, K, 2) in crop pixels, the mass near each in 0..1."""
        output = finite(output.float(), high=50.0, low=-50.0)
        chances = output.flatten(2).softmax(-1).reshape(output.shape)
        cells, _ = find_peaks(chances, self.decoder, blur_kernel=self.blur_kernel)
        return self.cells.to_pixels(cells), self._mass_near(chances, cells)

    def mirror(self, output: Tensor, flip_indices: Tensor) -> Tensor:
        """The perfect output for the mirrored crop: maps turned, left and right exchanged."""
        return output.flip(-1)[:, flip_indices]

    def _mass_near(self, chances: Tensor, cells: Tensor) -> Tensor:
        """(B, K) probability within ``reach`` sigmas of the decoded point."""
        if chances.numel() == 0:
            return chances.new_zeros(chances.shape[:2])
        radius = self.reach * self.sigma
        reach = min(int(radius + 0.5), max(chances.shape[-2:]))  # in cells, from the nearest one
        part, corner = windows(chances, (cells + 0.5).floor(), reach)
        offsets = torch.arange(2 * reach + 1, device=cells.device)
        across, down = (corner[..., i, None] + offsets - cells[..., i, None] for i in (0, 1))
        near = down[..., :, None] ** 2 + across[..., None, :] ** 2 <= radius**2
        mass = (part * near).sum((-2, -1))
        # even a perfect output spreads like the target: its share in the disc is the most there is
        most = 1 - torch.exp(torch.tensor(-(self.reach**2) / 2))
        return (mass / most).clamp(0, 1)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a card."""
        return plain("distribution", asdict(self))
