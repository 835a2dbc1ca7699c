"""The animal finder: the small network's stages, and at strides 8, 16 and 32 where animals are.

Stem and stages are those of ``models.small`` under the same names, so that the finder can start
from a pose network's weights. A top-down path brings what the coarse stages know to the finer ones,
and each level has a head of its own: one map for the score, four for the box, one a group.
``codecs.boxes`` says what they mean.

Source: own design from known parts: residual blocks (He et al. 2016), a pyramid with lateral
connections (Lin et al. 2017), dense anchor-free prediction (Tian et al. 2019, FCOS).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from tetrapose.models.blocks import demand_multiple
from tetrapose.models.small import ConvBlock, Residual

STRIDES = (8, 16, 32)
PRIOR = 0.01  # of a score before anything is learnt (Lin et al. 2017, focal loss)


class Finder(nn.Module):
    """Stages at strides 4 to 32, a top-down path to stride 8, a head a level."""

    def __init__(
        self,
        num_groups: int,
        *,
        channels: Sequence[int],
        blocks: Sequence[int],
        widths: Sequence[int],
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
        self.context = Context(channels[-1], widths[-1])
        inner = zip(channels[1:-1], widths[:-1], strict=True)
        self.lateral = nn.ModuleList([nn.Conv2d(c, w, 1) for c, w in inner])
        self.down = nn.ModuleList(
            [nn.Conv2d(above, w, 1) for above, w in zip(widths[1:], widths[:-1], strict=True)]
        )
        self.merge = nn.ModuleList([ConvBlock(w, w) for w in widths[:-1]])
        self.heads = nn.ModuleList([Head(w, 5 + num_groups) for w in widths])

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) normalised -> for each stride (B, 5 + groups, H / stride, W / stride)."""
        demand_multiple(images, STRIDES[-1])
        x = self.stem(images)
        levels = []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        x = self.context(x)
        found = [x]
        for level, lateral, down, merge in zip(
            reversed(levels[1:-1]),
            reversed(self.lateral),
            reversed(self.down),
            reversed(self.merge),
            strict=True,
        ):
            above = functional.interpolate(down(x), scale_factor=2.0, mode="nearest")
            x = merge(lateral(level) + above)
            found.append(x)
        return [head(x) for head, x in zip(self.heads, reversed(found), strict=True)]


class Context(nn.Module):
    """Narrower, and each cell told of what lies around it and of the whole picture.

    An animal that fills the picture is larger than what a cell of the coarsest stage sees well.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.reduce = ConvBlock(inputs, outputs, kernel=1)
        self.whole = nn.Conv2d(outputs, outputs, 1)
        self.around = nn.MaxPool2d(5, stride=1, padding=2)
        self.mix = ConvBlock(2 * outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H, W)."""
        x = self.reduce(x)
        whole = self.whole(x.mean((-2, -1), keepdim=True))
        return self.mix(torch.cat([x + whole, self.around(x)], dim=1))


class Head(nn.Module):
    """Two convolutions, then score, box and groups; starts at a score of ``PRIOR`` everywhere."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.tower = nn.Sequential(ConvBlock(width, width), ConvBlock(width, width))
        self.out = nn.Conv2d(width, outputs, 1)
        nn.init.normal_(self.out.weight, std=0.01)
        assert self.out.bias is not None
        with torch.no_grad():
            self.out.bias.zero_()
            self.out.bias[0] = -math.log((1 - PRIOR) / PRIOR)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, outputs, H, W)."""
        return self.out(self.tower(x))


def finder(
    num_groups: int,
    *,
    channels: Sequence[int] = (48, 96, 192, 224),
    blocks: Sequence[int] = (1, 2, 3, 1),
    widths: Sequence[int] = (64, 80, 96),
) -> nn.Module:
    """The finder that ships; 3.8 M parameters, of which 2.2 M fit the default pose network.

    Three ``channels`` and ``blocks`` from stride 4 on and one for stride 32; ``widths`` of the
    levels at strides 8, 16 and 32.
    """
    if not len(channels) == len(blocks) == len(STRIDES) + 1 == len(widths) + 1:
        raise ValueError(
            f"a finder has {len(STRIDES) + 1} channels and blocks and {len(STRIDES)} widths"
        )
    return Finder(num_groups, channels=channels, blocks=blocks, widths=widths)
