"""Convolutional Pose Machines: large filters, stage after stage on the maps of the one before.

``cpm`` is the cat system's form, layer for layer and under its parameter names
(github.com/TechNumber/pytorch_animal_pose_estimation, models/conv_pose_machines.py): GELU, a
normalisation over whole planes, dropout, seven outputs; 40,205,052 parameters at its 16 keypoints.
``cpm_paper`` is that of Wei et al. 2016 (arXiv:1602.00134): ReLU, six outputs, and a background
map beside those of the keypoints. Both put out maps at an eighth of any picture whose sides are
multiples of 8.

Their own pools cut the border off (368 pixels become 45 cells, 8 pixels apart, the first at pixel
7). Here the picture gets 4 pixels of border on each side, so that 360 pixels become those same 45
cells and cell i lies at pixel 8 i + 3, half a pixel from where a codec has it.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from tetrapose.models.blocks import demand_multiple

Norm = Literal["plane", "batch", "none"]
STRIDE = 8
PLANE = 368  # side of the cat system's pictures, whose planes its norms are made for
BORDER = 4


def cpm(
    num_keypoints: int,
    *,
    stages: int = 7,
    width: int = 128,
    features: int = 64,
    norm: Norm = "plane",
    dropout: float = 0.3,
) -> nn.Module:
    """The cat system's: (B, 3, H, W) -> (B, num_keypoints, H/8, W/8), a tuple of all in training.

    ``norm``: "plane" over each channel's plane where a stage begins (as there), "batch" after every
    convolution, or "none". ``dropout`` acts on the features and on the later stages' maps.
    """
    return CPM(
        num_keypoints, stages=stages, width=width, features=features, norm=norm, dropout=dropout
    )


def cpm_paper(
    num_keypoints: int,
    *,
    stages: int = 6,
    width: int = 128,
    features: int = 32,
    norm: Norm = "none",
    background: bool = True,
) -> nn.Module:
    """The paper's: (B, 3, H, W) -> (B, num_keypoints, H/8, W/8).

    In training a tuple of the stages' outputs, each with the background as one map more. The pools
    are padded as in MMPose's form of this network (which adds ``norm="batch"``), so its weights
    fit.
    """
    return CPM(
        num_keypoints, stages=stages, width=width, features=features, norm=norm,
        background=background, rectified=True,
    )  # fmt: skip


class CPM(nn.Module):
    """All stages; in training the tuple of their outputs, else the last one's keypoint maps."""

    def __init__(
        self,
        num_keypoints: int,
        *,
        stages: int,
        width: int,
        features: int,
        norm: Norm,
        dropout: float = 0.0,
        background: bool = False,
        rectified: bool = False,
    ) -> None:
        super().__init__()
        if norm not in ("plane", "batch", "none"):
            raise ValueError(f"no norm {norm!r}; there are: plane, batch, none")
        if stages < 1:
            raise ValueError(f"stages must be 1 or more, not {stages!r}")
        self.num_keypoints, self.background = num_keypoints, background
        self.padded_pools = rectified
        maps = num_keypoints + background
        style = Style(norm, rectified, dropout)
        self.init_stage = First(maps, width, style)
        self.img_feat = Features(width, style)
        self.subsequent_stages_list = nn.ModuleList(
            Later(maps, width, features, style) for _ in range(stages - 1)
        )

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """The last stage's maps, or in training every stage's with the background."""
        outputs = self.stages(images)
        return outputs if self.training else outputs[-1][:, : self.num_keypoints]

    def stages(self, images: Tensor) -> tuple[Tensor, ...]:
        """Every stage's maps, the background last where there is one."""
        demand_multiple(images, STRIDE)
        if not self.padded_pools:
            images = functional.pad(images, (BORDER, BORDER, BORDER, BORDER))
        outputs = [self.init_stage(images)]
        seen = self.img_feat(images)
        for stage in self.subsequent_stages_list:
            outputs.append(stage(outputs[-1], seen))
        return tuple(outputs)


class Style:
    """How the blocks of one network differ from the other's."""

    def __init__(self, norm: Norm, rectified: bool, dropout: float) -> None:
        self.norm, self.rectified, self.dropout = norm, rectified, dropout

    def entrance(self, side: int) -> nn.Module:
        """What stands before the convolutions of a stage."""
        return PlaneNorm(side) if self.norm == "plane" else nn.Identity()

    def drop(self) -> nn.Module:
        """What stands behind them."""
        return nn.Dropout(self.dropout) if self.dropout else nn.Identity()


class Block(nn.Module):
    """A convolution, then batch norm, activation and halving where they are wanted."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, style: Style | None, *, halve: bool = False
    ) -> None:
        super().__init__()
        batch = style is not None and style.norm == "batch"
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=not batch)
        self.bn = nn.BatchNorm2d(outputs) if batch else nn.Identity()
        self.act = nn.Identity()
        self.pool = nn.Identity()
        if style is not None:
            self.act = nn.ReLU(inplace=True) if style.rectified else nn.GELU()
            if halve:
                self.pool = nn.MaxPool2d(3, stride=2, padding=int(style.rectified))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H, W), or about half of H and W."""
        return self.pool(self.act(self.bn(self.conv(x))))


class Features(nn.Module):
    """What a stage sees of the picture: three convolutions, each halving."""

    def __init__(self, width: int, style: Style) -> None:
        super().__init__()
        self.norm = style.entrance(PLANE)
        self.blocks = nn.ModuleList(
            Block(inputs, width, 9, style, halve=True) for inputs in (3, width, width)
        )
        self.drop = style.drop()

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, width, H/8, W/8)."""
        x = self.norm(images)
        for block in self.blocks:
            x = block(x)
        return self.drop(x)


class First(nn.Module):
    """The first stage: maps from the picture alone, through features of its own."""

    def __init__(self, maps: int, width: int, style: Style) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            Features(width, style),
            Block(width, width // 4, 5, style),
            Block(width // 4, 4 * width, 9, style),
            Block(4 * width, 4 * width, 1, style),
            Block(4 * width, maps, 1, None),
        )

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, maps, H/8, W/8)."""
        return self.blocks(images)


class Later(nn.Module):
    """A later stage: the maps so far beside the picture's features, seen through wide filters."""

    def __init__(self, maps: int, width: int, features: int, style: Style) -> None:
        super().__init__()
        self.conv_1 = Block(width, features, 5, style)
        self.norm = style.entrance(PLANE // STRIDE - 1)
        self.blocks = nn.Sequential(
            Block(maps + features, width, 11, style),
            Block(width, width, 11, style),
            Block(width, width, 11, style),
            Block(width, width, 1, style),
            Block(width, maps, 1, None),
        )
        self.drop = style.drop()

    def forward(self, maps: Tensor, seen: Tensor) -> Tensor:
        """The stage before's maps and the features -> maps of the same shape."""
        x = torch.cat((maps, self.conv_1(seen)), 1)
        return self.drop(self.blocks(self.norm(x)))


class PlaneNorm(nn.Module):
    """Each channel by its mean and deviation over the plane, then a weight and a bias a cell.

    nn.LayerNorm over (side, side), for planes of any size: weight and bias are stretched over the
    plane at hand.
    """

    def __init__(self, side: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(side, side))
        self.bias = nn.Parameter(torch.zeros(side, side))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        size = [int(side) for side in x.shape[-2:]]
        weight, bias = self.weight, self.bias
        if size != list(weight.shape):
            both = torch.stack((weight, bias))[None]
            weight, bias = functional.interpolate(both, size, mode="bilinear")[0]
        return functional.layer_norm(x, size, weight, bias)
