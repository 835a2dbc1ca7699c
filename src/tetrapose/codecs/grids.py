"""Where the cells of a map stand over the pixels of a crop, and which crop that asks for.

Three conventions. The first is this package's; the others are those of published weights:

    borders  cell = (x + 0.5) w / W - 0.5        borders of the map on borders of the crop
    centres  cell = x (w - 1) / (W - 1)          outermost cells on outermost pixels
    origin   cell = x w / W                      first cell on first pixel

for a crop W pixels and a map w cells wide. Each wants crops cut by the warp of its own name
(``geometry.crop_matrix``): a network sees pixels and cells shifted alike, in training and after.

Source: centres: Huang et al., The Devil is in the Details: Delving into Unbiased Data Processing,
CVPR 2020, section 3; origin: the code of SimpleBaseline and HRNet (lib/core/inference.py), followed
by MMPose's MSRAHeatmap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Kind = Literal["borders", "centres", "origin"]
KINDS: tuple[Kind, ...] = ("borders", "centres", "origin")
Size = tuple[int, int]


@dataclass(frozen=True)
class Grid:
    """Cells over pixels: sizes are (width, height), of the crop in pixels, of the map in cells."""

    kind: Kind
    input_size: Size
    map_size: Size

    def to_cells(self, points: Tensor) -> Tensor:
        """Crop pixels (..., 2) -> cells (..., 2)."""
        step = self._step(points)
        if self.kind == "borders":
            return (points.float() + 0.5) / step - 0.5
        return points.float() / step

    def to_pixels(self, cells: Tensor) -> Tensor:
        """Cells (..., 2) -> crop pixels (..., 2); inverse of ``to_cells``."""
        step = self._step(cells)
        if self.kind == "borders":
            return (cells + 0.5) * step - 0.5
        return cells * step

    def mirror(self, maps: Tensor) -> Tensor:
        """Maps (..., w), turned: what a perfect network puts out for the mirrored crop.

        Under ``origin`` a turned map is (1 - w / W) cells beside its own place. It moves the whole
        cells of that: one to the right for heatmaps, as their systems do in the flip test, which
        leaves a fraction of a cell (1 / stride); bins finer than pixels meet exactly.
        """
        turned = maps.flip(-1)
        if self.kind != "origin":
            return turned
        shift = round(1 - self.map_size[0] / self.input_size[0])
        if shift > 0:
            return torch.cat([turned[..., :1]] * shift + [turned[..., :-shift]], dim=-1)
        return torch.cat([turned[..., -shift:]] + [turned[..., -1:]] * -shift, dim=-1)

    def _step(self, like: Tensor) -> Tensor:
        less = 1 if self.kind == "centres" else 0
        steps = [
            (pixels - less) / (cells - less)
            for pixels, cells in zip(self.input_size, self.map_size, strict=True)
        ]
        return torch.tensor(steps, device=like.device)
