"""Gaussian heatmaps: one map a keypoint, peak 1 at the point, learned by squared error.

The choices that published systems differ in are fields; docs/codecs.md says which make which:
peaks on whole cells or on the point, over the whole map or in a window, where cells stand over
pixels, and how a peak is read.

Source: Tompson et al. 2014 for the representation; whole cells and quarter shift from Xiao et al.,
ECCV 2018; sub-pixel centres from Zhang et al., CVPR 2020; ``grid`` centres from Huang et al., CVPR
2020.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from tetrapose.codecs.checks import demand_grid, grid_of, plain
from tetrapose.codecs.gaussian import draw_gaussians, squared_error
from tetrapose.codecs.grids import Grid, Kind
from tetrapose.codecs.peaks import Decoder, find_peaks


@dataclass(frozen=True)
class Heatmap:
    """Codec of Gaussian heatmaps.

    ``input_size`` is (width, height) in pixels, ``stride`` pixels a cell, ``sigma`` in cells.
    ``unbiased`` False rounds centres to whole cells, as most systems before DARK did; ``window``
    draws within 3 sigma alone. ``grid`` says where cells stand (``codecs.grids``).
    """

    num_keypoints: int
    input_size: tuple[int, int] = (192, 192)
    stride: int = 4
    sigma: float = 2.0
    unbiased: bool = True
    decoder: Decoder = "dark"
    blur_kernel: int = 11
    grid: Kind = "borders"
    window: bool = False

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
        return self.grid

    def encode(
        self, keypoints: Tensor, weights: Tensor, visibility: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Points (B, K, 2) in crop pixels -> maps (B, K, h, w) and weights (B, K).

        A point that is NaN, or whose 3-sigma window misses the map, gets zeros and weight 0.
        """
        return draw_gaussians(
            keypoints, weights, self.cells, sigma=self.sigma, whole_cells=not self.unbiased,
            window=self.window,
        )  # fmt: skip

    def loss(self, output: Tensor, target: Tensor, weights: Tensor) -> Tensor:
        """Squared error over a map by a target's own energy, mean over weighted points."""
        return squared_error(output, target, weights, self.sigma)

    def decode(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Maps (B, K, h, w) -> points (B, K, 2) in crop pixels and scores (B, K) in 0..1."""
        cells, values = find_peaks(output, self.decoder, blur_kernel=self.blur_kernel)
        return self.cells.to_pixels(cells), values.clamp(0, 1)

    def mirror(self, output: Tensor, flip_indices: Tensor) -> Tensor:
        """The perfect output for the mirrored crop: maps turned, left and right exchanged."""
        return self.cells.mirror(output)[:, flip_indices]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a card."""
        return plain("heatmap", asdict(self))
