"""Signed heatmaps: a hidden point is a valley where a visible one is a hill.

A network so taught says of each point where it is and whether it can be seen. The size of a map's
value is decoded as ever, its sign at the peak is the visibility.

Source: the cat pose system whose row this project keeps (a Gaussian of 1.5 cells, sub-pixel,
negated for hidden points; decoded there by the arg-max of the absolute map, without visibility);
that the sign is read back is this package's.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from tetrapose.codecs.checks import demand_grid, grid_of, plain
from tetrapose.codecs.gaussian import draw_gaussians, squared_error
from tetrapose.codecs.grids import Grid, Kind
from tetrapose.codecs.peaks import Decoder, find_peaks, finite

HIDDEN, VISIBLE = 1, 2  # as in COCO


@dataclass(frozen=True)
class Signed:
    """Codec of signed heatmaps; fields as in ``Heatmap``."""

    num_keypoints: int
    input_size: tuple[int, int] = (192, 192)
    stride: int = 4
    sigma: float = 1.5
    decoder: Decoder = "dark"
    blur_kernel: int = 7

    def __post_init__(self) -> None:
        demand_grid(self)

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
        """Points (B, K, 2) in crop pixels -> maps (B, K, h, w) and weights (B, K).

        ``visibility`` (B, K) as in COCO: where it is 1 the map is negative. Without it every point
        counts as visible. Zeros and weight 0 as in ``Heatmap``.
        """
        maps, kept = draw_gaussians(keypoints, weights, self.cells, sigma=self.sigma)
        if visibility is not None:
            maps = torch.where((visibility == HIDDEN)[..., None, None], -maps, maps)
        return maps, kept

    def loss(self, output: Tensor, target: Tensor, weights: Tensor) -> Tensor:
        """Squared error over a map by a target's own energy, mean over weighted points."""
        return squared_error(output, target, weights, self.sigma)

    def decode(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Maps (B, K, h, w) -> points (B, K, 2) in crop pixels and scores (B, K) in 0..1."""
        output = finite(output.float(), high=0.0, low=0.0)
        upright = output * self._signs(output)[..., None, None]
        cells, values = find_peaks(upright, self.decoder, blur_kernel=self.blur_kernel)
        return self.cells.to_pixels(cells), values.clamp(0, 1)

    def visibility(self, output: Tensor) -> Tensor:
        """Maps (B, K, h, w) -> (B, K) uint8: 2 for points seen, 1 for hidden ones."""
        signs = self._signs(finite(output.float(), high=0.0, low=0.0))
        return torch.where(signs < 0, HIDDEN, VISIBLE).to(torch.uint8)

    def mirror(self, output: Tensor, flip_indices: Tensor) -> Tensor:
        """The perfect output for the mirrored crop: maps turned, left and right exchanged."""
        return self.cells.mirror(output)[:, flip_indices]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a card."""
        return plain("signed", asdict(self))

    def _signs(self, output: Tensor) -> Tensor:
        """(B, K) -1 where a map's valley is deeper than its hill is high, else 1."""
        if output.numel() == 0:
            return output.new_ones(output.shape[:2])
        valley = -output.amin((-2, -1)) > output.amax((-2, -1))
        return torch.where(valley, -1.0, 1.0)
