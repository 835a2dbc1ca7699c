"""SimCC's head around any heatmap network: each map read by two linear layers, one an axis.

Li et al. 2022, "SimCC: a Simple Coordinate Classification Perspective for Human Pose Estimation"
(arXiv:2107.03332): a keypoint's map, flattened, is taken by one layer to the bins along x and by
another to those along y; all keypoints share both. The layers' names are those of the authors'
code (github.com/leeyegy/SimCC, MIT). On maps of 48 x 48 and 384 + 384 bins they hold 1.8 M
parameters.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

TARGET = re.compile(r"(tetrapose\.models(?:\.[a-z]\w*)+)\.([a-z]\w*)")


def simcc(
    num_keypoints: int,
    *,
    network: Mapping[str, Any],
    input_size: Sequence[int] = (192, 192),
    ratio: float = 2.0,
    stride: int = 4,
) -> nn.Module:
    """The head on ``network``: (B, 3, H, W) -> (B, num_keypoints, Wx + Wy), for one input size.

    ``network`` is ``_target_``, the dotted name of a function of ``tetrapose.models``, with its
    arguments; its maps are the input over ``stride``. ``ratio`` is bins a pixel: those of the codec
    ``simcc``. Raises ValueError for a name outside ``tetrapose.models``.
    """
    width, height = (int(side) for side in input_size)
    arguments = {name: value for name, value in network.items() if not name.startswith("_")}
    inner = _builder(network.get("_target_"))(**{**arguments, "num_keypoints": num_keypoints})
    return SimCC(
        inner,
        map_size=(width // stride, height // stride),
        bins=(round(width * ratio), round(height * ratio)),
    )


class SimCC(nn.Module):
    """A network of maps of ``map_size`` (width, height) cells, and what reads them into bins."""

    def __init__(
        self, network: nn.Module, *, map_size: tuple[int, int], bins: tuple[int, int]
    ) -> None:
        super().__init__()
        self.network = network
        self.map_size = map_size
        cells = map_size[0] * map_size[1]
        self.mlp_head_x = nn.Linear(cells, bins[0])
        self.mlp_head_y = nn.Linear(cells, bins[1])

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, K, Wx + Wy) logits, those of x first."""
        maps = self.network(images)
        if not isinstance(maps, Tensor) or maps.shape[-2:] != self.map_size[::-1]:
            given = tuple(maps.shape[-2:]) if isinstance(maps, Tensor) else "several outputs"
            raise ValueError(
                f"SimCC's head is made for maps of {self.map_size[::-1]} cells (height, width), "
                f"not {given}"
            )
        flat = maps.flatten(2)
        return torch.cat([self.mlp_head_x(flat), self.mlp_head_y(flat)], dim=-1)


def _builder(name: Any) -> Any:
    """The function of that name: one written in a file of ``tetrapose.models``, and no other."""
    match = TARGET.fullmatch(name) if isinstance(name, str) else None
    if match is None:
        raise ValueError(f"network {name!r}: it must be a function of tetrapose.models")
    try:
        found = getattr(importlib.import_module(match[1]), match[2], None)
    except ModuleNotFoundError:
        found = None
    if not inspect.isfunction(found) or found.__module__ != match[1]:
        raise ValueError(f"network {name!r}: there is no such function")
    return found
