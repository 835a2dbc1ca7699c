"""The animal finder: an EfficientNet-Lite, and at strides 8, 16 and 32 where animals are.

The backbone is that of ``models.efficientnet`` under the same names, without its last stage, so
that the finder starts from ImageNet or from a pose network's weights. A top-down path brings what
the coarse stages know to the finer ones, and each level has a head of its own: one map for the
score, four for the box, one a group. ``codecs.boxes`` says what they mean. What group an animal is
of is read a second time, and better, from all that the coarse stages hold inside its box (Kinds).

Source: own design from known parts: EfficientNet-Lite (Tan and Le 2019), a pyramid with lateral
connections (Lin et al. 2017), dense anchor-free prediction (Tian et al. 2019, FCOS).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from tetrapose.models.blocks import ConvBlock
from tetrapose.models.efficientnet import EfficientNetLite

STRIDES = (8, 16, 32)
COARSE = (16, 32, 32)  # of the levels that tell the group
PRIOR = 0.01  # of a score before anything is learnt (Lin et al. 2017, focal loss)


class Finder(nn.Module):
    """Backbone, context at stride 32, a top-down path to stride 8, a head a level."""

    def __init__(self, num_groups: int, *, variant: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.backbone = EfficientNetLite(variant, last=5)
        channels = self.backbone.channels[1:]
        self.context = Context(channels[-1], widths[-1])
        inner = zip(channels[:-1], widths[:-1], strict=True)
        self.lateral = nn.ModuleList([nn.Conv2d(c, w, 1) for c, w in inner])
        self.down = nn.ModuleList(
            [nn.Conv2d(above, w, 1) for above, w in zip(widths[1:], widths[:-1], strict=True)]
        )
        self.merge = nn.ModuleList([ConvBlock(w, w) for w in widths[:-1]])
        self.heads = nn.ModuleList([Head(w, 5 + num_groups) for w in widths])
        self.kinds = Kinds([channels[-2], channels[-1], widths[-1]], num_groups)
        self.kinds.requires_grad_(False)  # it is fitted when all else is done

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) normalised -> for each stride (B, 5 + groups, H / stride, W / stride)."""
        return self.look(images)[0]

    def look(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """The maps of ``forward``, and what ``kinds`` reads: (B, C, h, w) at strides 16, 32, 32."""
        levels = self.backbone(images)[1:]
        x = self.context(levels[-1])
        coarse = [levels[-2], levels[-1], x]
        found = [x]
        for level, lateral, down, merge in zip(
            reversed(levels[:-1]),
            reversed(self.lateral),
            reversed(self.down),
            reversed(self.merge),
            strict=True,
        ):
            above = functional.interpolate(down(x), scale_factor=2.0, mode="nearest")
            x = merge(lateral(level) + above)
            found.append(x)
        maps = [head(x) for head, x in zip(self.heads, reversed(found), strict=True)]
        return maps, coarse


class Kinds(nn.Module):
    """The groups of boxes: means and maxima of coarse levels inside each, and one linear layer.

    A cell sees a part of an animal, and parts of cows and sheep look alike. Zero until it is fitted
    (``training.kinds``): then all groups are as likely, and none is told.
    """

    def __init__(self, channels: Sequence[int], num_groups: int) -> None:
        super().__init__()
        self.out = nn.Linear(2 * sum(channels), num_groups)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, levels: Sequence[Tensor], boxes: Tensor, image: Tensor) -> Tensor:
        """``Finder.look``'s levels, boxes (N, 4) in input pixels, their rows (N,) -> (N, G)."""
        return self.out(self.pooled(levels, boxes, image))

    @staticmethod
    def pooled(levels: Sequence[Tensor], boxes: Tensor, image: Tensor) -> Tensor:
        """(N, 2 * channels) float32: of every cell that a box touches, at least one."""
        rows = []
        for box, number in zip(boxes.tolist(), image.tolist(), strict=True):
            parts = []
            for level, stride in zip(levels, COARSE, strict=True):
                height, width = level.shape[-2:]
                x1, x2 = cells(box[0], box[2], stride, width)
                y1, y2 = cells(box[1], box[3], stride, height)
                inside = level[number, :, y1:y2, x1:x2].float()
                parts += [inside.mean((-2, -1)), inside.amax((-2, -1))]
            rows.append(torch.cat(parts))
        if not rows:
            return levels[0].new_zeros((0, 2 * sum(level.shape[1] for level in levels)))
        return torch.stack(rows)


def cells(low: float, high: float, stride: int, count: int) -> tuple[int, int]:
    """First and past-the-last of the ``count`` cells along a side that low..high touches."""
    first = min(max(math.floor((low + 0.5) / stride), 0), count - 1)
    return first, min(max(math.ceil((high + 0.5) / stride), first + 1), count)


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


def finder(num_groups: int, *, variant: int = 0, widths: Sequence[int] = (64, 80, 96)) -> nn.Module:
    """The finder that ships; 3.0 M parameters. ``widths`` of the levels at strides 8, 16, 32."""
    if len(widths) != len(STRIDES):
        raise ValueError(f"a finder has {len(STRIDES)} widths, not {len(widths)}")
    return Finder(num_groups, variant=variant, widths=widths)
