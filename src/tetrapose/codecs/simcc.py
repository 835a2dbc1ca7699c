"""SimCC: where is the point on x, and where on y, each as a class among bins finer than pixels.

A network puts out one row a keypoint: logits of the bins along x, then of those along y. It is a
heatmap network with a head of its own (``tetrapose.models.simcc``).

Source: Li et al., SimCC: a Simple Coordinate Classification Perspective for Human Pose Estimation,
ECCV 2022: bins of 1 / ``ratio`` pixel, equal label smoothing or (SimCC*) Gaussian labels,
Kullback-Leibler divergence on each axis, the likeliest bin. Sigma 6 bins at ratio 2 as in its code
and MMPose's configs for it; ``dark`` is the refinement that MMPose's SimCCLabel adds.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from tetrapose.codecs.checks import demand_bins, plain
from tetrapose.codecs.grids import Grid, Kind
from tetrapose.codecs.peaks import BOUNDS, blur_weights, finite

Smoothing = Literal["gaussian", "equal"]
LEAST = 1e-12  # of a label, so that it has a logarithm


@dataclass(frozen=True)
class SimCC:
    """Codec of bins along x and y.

    ``ratio`` is bins a pixel. ``smoothing`` of labels: "gaussian", of ``sigma`` bins, or "equal":
    the share ``spread`` of a label evenly over all other bins. ``unbiased`` False puts a Gaussian's
    centre on a whole bin, as published. ``beta`` multiplies logits before the softmax. ``decoder``:
    argmax, or dark, which steps on between bins. ``reach``, in sigmas, is how far from a point's
    bin the mass is counted that is its score on an axis. ``grid`` as in ``codecs.grids``.
    """

    num_keypoints: int
    input_size: tuple[int, int] = (192, 192)
    ratio: float = 2.0
    smoothing: Smoothing = "gaussian"
    sigma: float = 6.0
    spread: float = 0.1
    unbiased: bool = False
    beta: float = 1.0
    decoder: Literal["argmax", "dark"] = "argmax"
    reach: float = 2.0
    grid: Kind = "borders"

    def __post_init__(self) -> None:
        demand_bins(self)

    @property
    def bins(self) -> tuple[int, int]:
        """How many there are along x and along y."""
        return round(self.input_size[0] * self.ratio), round(self.input_size[1] * self.ratio)

    @property
    def cells(self) -> Grid:
        """Where the bins stand."""
        return Grid(self.grid, self.input_size, self.bins)

    @property
    def warp(self) -> Kind:
        """The warp by which crops are cut: ``geometry.crop_matrix``."""
        return self.grid

    @property
    def blur_kernel(self) -> int:
        """Of the Gaussian that goes with ``sigma``: odd. Source: MMPose's SimCCLabel."""
        kernel = int((self.sigma * 20 - 7) // 3)
        return max(kernel - (kernel % 2 == 0), 3)

    def encode(
        self, keypoints: Tensor, weights: Tensor, visibility: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Points (B, K, 2) in crop pixels -> logits (B, K, Wx + Wy) to a constant, weights (B, K).

        Zeros and weight 0 for points that are NaN or further from the crop than 3 sigma (Gaussian
        labels) or half a bin (equal ones).
        """
        bins = self.cells.to_cells(keypoints)
        nearest = bins.round()
        if not self.unbiased or self.smoothing == "equal":
            bins = nearest
        last = torch.tensor(self.bins, device=bins.device) - 1
        far = 3 * self.sigma if self.smoothing == "gaussian" else 0.5
        known = ((bins > -far) & (bins < last + far)).all(-1)  # NaN is nowhere
        bins = torch.where(known[..., None], bins, torch.zeros_like(bins))
        rows = [self._label(bins[..., axis, None], count) for axis, count in enumerate(self.bins)]
        logits = torch.cat(rows, dim=-1).clamp_min(LEAST).log() / self.beta
        return logits * known[..., None], weights.float() * known

    def loss(self, output: Tensor, target: Tensor, weights: Tensor) -> Tensor:
        """Kullback-Leibler divergence in nats, summed over the axes, mean over weighted points."""
        error = torch.zeros_like(weights, dtype=torch.float32)
        for given, wanted in zip(self._axes(output.float()), self._axes(target), strict=True):
            ours, theirs = (row.mul(self.beta).log_softmax(-1) for row in (given, wanted))
            error = error + (theirs.exp() * (theirs - ours)).sum(-1)
        return (error * weights).sum() / weights.sum().clamp_min(1e-6)

    def decode(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, K, Wx + Wy) -> points (B, K, 2) in crop pixels, scores (B, K) in 0..1.

        The score is the lesser of the axes' masses within ``reach`` sigmas of the likeliest bin.
        """
        output = finite(output.float(), high=50.0, low=-50.0)
        places, masses = [], []
        for row in self._axes(output):
            chances = row.mul(self.beta).softmax(-1)
            if chances.numel() == 0:
                best = torch.zeros(chances.shape[:2], dtype=torch.int64, device=output.device)
            else:
                best = chances.argmax(-1)
            masses.append(self._mass_near(chances, best))
            places.append(self._refined(chances, best) if self.decoder == "dark" else best.float())
        points = self.cells.to_pixels(torch.stack(places, dim=-1))
        return points, torch.minimum(*masses)

    def mirror(self, output: Tensor, flip_indices: Tensor) -> Tensor:
        """The perfect output for the mirrored crop: x turned, left and right exchanged."""
        x, y = self._axes(output)
        return torch.cat([self.cells.mirror(x), y], dim=-1)[:, flip_indices]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a card."""
        return plain("simcc", asdict(self))

    def _axes(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """(..., Wx) and (..., Wy)."""
        x, y = rows.split(self.bins, dim=-1)
        return x, y

    def _label(self, centre: Tensor, count: int) -> Tensor:
        """(B, K, count) of an axis, to a factor, for centres (B, K, 1) in bins."""
        away = torch.arange(count, device=centre.device) - centre
        if self.smoothing == "gaussian":
            return torch.exp(-(away**2) / (2 * self.sigma**2))
        rest = torch.full_like(away, self.spread / max(count - 1, 1))
        return torch.where(away == 0, 1 - self.spread, rest)

    def _mass_near(self, chances: Tensor, best: Tensor) -> Tensor:
        """(B, K) probability within ``reach`` sigmas, in shares of what a perfect row has there."""
        radius = self.reach * self.sigma
        offsets = torch.arange(-int(radius), int(radius) + 1, device=chances.device)
        near = best[..., None] + offsets
        there = (near >= 0) & (near < chances.shape[-1])
        mass = chances.gather(-1, near.clamp(0, chances.shape[-1] - 1)) * there
        if self.smoothing == "gaussian":
            most = float(torch.erf(torch.tensor(self.reach / 2**0.5)))
        else:
            most = 1 - self.spread
        return (mass.sum(-1) / most).clamp(0, 1)

    def _refined(self, chances: Tensor, best: Tensor) -> Tensor:
        """(B, K) bins after DARK's step along one axis; peaks within two bins of an end stay."""
        count, kernel = chances.shape[-1], self.blur_kernel
        weights = blur_weights(kernel).to(chances.device)
        reach = kernel // 2 + 2
        wide = functional.pad(chances.double(), (reach, reach))
        around = best[..., None] + torch.arange(2 * reach + 1, device=best.device)
        near = wide.gather(-1, around).unfold(-1, kernel, 1) @ weights  # five bins, blurred
        # where a value meets a bound it has to be in units of the row's own maximum
        low = (near.amin(-1) < BOUNDS[0]).any()
        if bool(low):
            spread = functional.pad(chances.double(), (kernel // 2, kernel // 2))
            top = (spread.unfold(-1, kernel, 1) @ weights).amax(-1).clamp_min(LEAST)
            near = near * (chances.double().amax(-1) / top)[..., None]
        logs = near.clamp(*BOUNDS).log()
        slope = (logs[..., 3] - logs[..., 1]) / 2
        bend = (logs[..., 4] - 2 * logs[..., 2] + logs[..., 0]) / 4
        usable = (best > 1) & (best < count - 2) & (bend < -1e-12)
        step = -slope / torch.where(usable, bend, 1.0)
        usable &= step.abs() <= (kernel - 1) / 2
        return best + torch.where(usable, step, 0.0).float()
