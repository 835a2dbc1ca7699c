"""The small network: a residual pyramid for CPUs, trained from nothing on few pictures.

Dense 3x3 convolutions alone (depth-wise ones are bound by memory on a CPU), most of the depth at
strides 16 and 32 where a convolution is cheap and sees the whole animal, then a light top-down path
back to stride 4. Fully convolutional: any input whose sides are multiples of 32.

Source: own design from known parts: residual blocks (He et al. 2016), a pyramid with lateral
connections (Lin et al. 2017).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from tetrapose.models.blocks import ConvBlock, map_head, top_down, top_down_parts


class Residual(nn.Module):
    """Two 3x3 convolutions around which the input is carried; the first may halve the size."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1) -> None:
        super().__init__()
        self.first = ConvBlock(inputs, outputs, stride=stride)
        norm = nn.BatchNorm2d(outputs)
        self.second = nn.Sequential(nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), norm)
        self.carry = (
            nn.Identity()
            if stride == 1 and inputs == outputs
            else nn.Sequential(
                nn.AvgPool2d(2) if stride == 2 else nn.Identity(),
                nn.Conv2d(inputs, outputs, 1, bias=False),
                nn.BatchNorm2d(outputs),
            )
        )
        nn.init.zeros_(norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H / stride, W / stride)."""
        return functional.relu(self.carry(x) + self.second(self.first(x)))


class Small(nn.Module):
    """Bottom-up stages at strides 4 to 32, top-down path to stride 4, one map a keypoint."""

    def __init__(
        self, num_keypoints: int, *, channels: Sequence[int], blocks: Sequence[int], neck: int
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            ConvBlock(3, channels[0] // 2, stride=2),
            ConvBlock(channels[0] // 2, channels[0], stride=2),
        )
        stages, width = [], channels[0]
        for i, (outputs, depth) in enumerate(zip(channels, blocks, strict=True)):
            first = Residual(width, outputs, stride=1 if i == 0 else 2)
            rest = [Residual(outputs, outputs) for _ in range(depth - 1)]
            stages.append(nn.Sequential(first, *rest))
            width = outputs
        self.stages = nn.ModuleList(stages)
        widths = [max(neck >> (len(channels) - 1 - i), neck // 2) for i in range(len(channels))]
        self.lateral, self.merge = top_down_parts(channels, widths)
        self.head = map_head(widths[0], num_keypoints)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) normalised pictures -> (B, K, H / 4, W / 4)."""
        x = self.stem(x)
        levels = []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        return self.head(top_down(levels, self.lateral, self.merge))


def small(
    num_keypoints: int,
    *,
    channels: Sequence[int] = (48, 96, 192, 320),
    blocks: Sequence[int] = (1, 2, 3, 2),
    neck: int = 128,
) -> nn.Module:
    """The small network; about 5.8 M parameters and 0.8 GMACs at 192 x 192."""
    return Small(num_keypoints, channels=channels, blocks=blocks, neck=neck)


def count_parameters(model: torch.nn.Module) -> int:
    """Number of trainable values."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
