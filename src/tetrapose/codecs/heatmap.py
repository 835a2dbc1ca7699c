"""Gaussian heatmaps: one map a keypoint, peak 1 at the point, learned by squared error.

Source: Tompson et al. 2014 for the representation; sub-pixel centres from Zhang et al., CVPR 2020.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from tetrapose.codecs.checks import demand_grid
from tetrapose.codecs.gaussian import draw_gaussians
from tetrapose.codecs.peaks import Decoder, find_peaks


@dataclass(frozen=True)
class Heatmap:
    """Codec of Gaussian heatmaps.

    ``input_size`` is (width, height) in pixels, ``stride`` pixels a cell, ``sigma`` in cells.
    ``unbiased`` False rounds centres to whole cells, as most systems before DARK did.
    """

    num_keypoints: int
    input_size: tuple[int, int] = (192, 192)
    stride: int = 4
    sigma: float = 2.0
    unbiased: bool = True
    decoder: Decoder = "dark"
    blur_kernel: int = 11

    def __post_init__(self) -> None:
        demand_grid(self)

    @property
    def map_size(self) -> tuple[int, int]:
        """(width, height) of the maps in cells."""
        return self.input_size[0] // self.stride, self.input_size[1] // self.stride

    def encode(self, keypoints: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Points (B, K, 2) in crop pixels -> maps (B, K, h, w) and weights (B, K).

        A point that is NaN, or whose 3-sigma window misses the map, gets zeros and weight 0.
        """
        return draw_gaussians(
            keypoints, weights, self.map_size, stride=self.stride, sigma=self.sigma,
            whole_cells=not self.unbiased,
        )  # fmt: skip

    def loss(self, output: Tensor, target: Tensor, weights: Tensor) -> Tensor:
        """Squared error summed over a map, in units of a target's own energy, mean over points.

        1 is what a network reaches that puts out nothing; points of weight 0 do not count.
        """
        energy = torch.pi * self.sigma**2
        error = (output.float() - target).square().sum((-2, -1)) / energy
        return (error * weights).sum() / weights.sum().clamp_min(1e-6)

    def decode(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Maps (B, K, h, w) -> points (B, K, 2) in crop pixels and scores (B, K) in 0..1."""
        cells, values = find_peaks(output, self.decoder, blur_kernel=self.blur_kernel)
        return (cells + 0.5) * self.stride - 0.5, values.clamp(0, 1)

    def mirror(self, output: Tensor, flip_indices: Tensor) -> Tensor:
        """The perfect output for the mirrored crop: maps turned, left and right exchanged."""
        return output.flip(-1)[:, flip_indices]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a card."""
        return {"kind": "heatmap", **asdict(self), "input_size": list(self.input_size)}
