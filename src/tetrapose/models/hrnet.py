"""HRNet for poses: four resolutions side by side, mixed again and again, read at the finest.

Layer for layer the network of Sun et al. 2019, "Deep High-Resolution Representation Learning for
Human Pose Estimation" (arXiv:1902.09212), with the parameter names of the authors' weights
(github.com/leoxiaobin/deep-high-resolution-net.pytorch, MIT), so that those load as they stand.
At 17 keypoints W32 has 28.5 M parameters, W48 63.6 M. ``parts`` gives each keypoint a head of its
own, as in Li and Lee 2023, "ScarceNet" (arXiv:2303.15023), with the names of
github.com/chaneyddtt/ScarceNet (lib/models/pose_hrnet_part.py).
"""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor, nn

from tetrapose.models.blocks import Basic, Bottleneck, conv, demand_multiple, layer, start_small

BLOCKS = 4  # residual blocks of a branch within one exchange unit


def hrnet_w18(num_keypoints: int, *, parts: bool = False) -> nn.Module:
    """HRNet with 18, 36, 72, 144 channels: (B, 3, H, W) -> (B, num_keypoints, H/4, W/4)."""
    return HRNet(num_keypoints, width=18, parts=parts)


def hrnet_w32(num_keypoints: int, *, parts: bool = False) -> nn.Module:
    """HRNet with 32, 64, 128, 256 channels: (B, 3, H, W) -> (B, num_keypoints, H/4, W/4)."""
    return HRNet(num_keypoints, width=32, parts=parts)


def hrnet_w48(num_keypoints: int, *, parts: bool = False) -> nn.Module:
    """HRNet with 48, 96, 192, 384 channels: (B, 3, H, W) -> (B, num_keypoints, H/4, W/4)."""
    return HRNet(num_keypoints, width=48, parts=parts)


def hrnet(num_keypoints: int, *, width: int = 32, parts: bool = False) -> nn.Module:
    """HRNet of any width, twice, four and eight times it in the coarser branches."""
    if not isinstance(width, int) or isinstance(width, bool) or width < 1:
        raise ValueError(f"width must be a whole number above 0, not {width!r}")
    return HRNet(num_keypoints, width=width, parts=parts)


class HRNet(nn.Module):
    """The whole network; H and W are multiples of 32."""

    def __init__(self, num_keypoints: int, width: int, *, parts: bool = False) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width, 8 * width]
        self.conv1 = conv(3, 64, kernel=3, stride=2)
        self.bn1 = nn.BatchNorm2d(64)
        self.conv2 = conv(64, 64, kernel=3, stride=2)
        self.bn2 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = layer(Bottleneck, 64, 64, blocks=4)
        self.transition1 = transition([256], widths[:2])
        self.stage2 = stage(widths[:2], units=1)
        self.transition2 = transition(widths[:2], widths[:3])
        self.stage3 = stage(widths[:3], units=4)
        self.transition3 = transition(widths[:3], widths)
        self.stage4 = stage(widths, units=3, outputs=1)
        if parts:
            self.part_layers = nn.ModuleList(part_head(width) for _ in range(num_keypoints))
        else:
            self.final_layer = nn.Conv2d(width, num_keypoints, 1)
        start_small(self)

    def forward(self, images: Tensor) -> Tensor:
        """Figure 1 of the paper, from left to right."""
        demand_multiple(images, 32)
        x = self.relu(self.bn1(self.conv1(images)))
        x = self.relu(self.bn2(self.conv2(x)))
        x = self.layer1(x)
        branches = self.stage2(open_branch(self.transition1, [x]))
        branches = self.stage3(open_branch(self.transition2, branches))
        branches = self.stage4(open_branch(self.transition3, branches))
        if hasattr(self, "part_layers"):
            return torch.cat([head(branches[0]) for head in self.part_layers], dim=1)
        return self.final_layer(branches[0])


def part_head(width: int) -> nn.Sequential:
    """The layers that ScarceNet gives one keypoint: (B, width, h, w) -> (B, 1, h, w)."""
    block = Bottleneck(width, width)
    return nn.Sequential(
        nn.Conv2d(width, width, 1), block, nn.Conv2d(width * block.expansion, 1, 1)
    )


class Exchange(nn.Module):
    """Each branch through its own blocks, then every output a sum over all branches (figure 3).

    Takes branches from fine to coarse and gives the ``outputs`` finest of them, mixed.
    """

    def __init__(self, widths: list[int], outputs: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(layer(Basic, w, w, blocks=BLOCKS) for w in widths)
        self.fuse_layers = nn.ModuleList(Fuse(widths, target) for target in range(outputs))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, branches: list[Tensor]) -> list[Tensor]:
        """Deepen each branch, then mix them at each output's size."""
        deep = [blocks(x) for blocks, x in zip(self.branches, branches, strict=True)]
        return [self.relu(fuse(deep)) for fuse in self.fuse_layers]


class Fuse(nn.ModuleList):
    """All branches brought to the width and size of branch ``target``, and added."""

    def __init__(self, widths: list[int], target: int) -> None:
        super().__init__(resample(widths, source, target) for source in range(len(widths)))

    def forward(self, branches: list[Tensor]) -> Tensor:
        """The sum, from the finest branch on."""
        return reduce(torch.add, [fit(x) for fit, x in zip(self, branches, strict=True)])


def stage(widths: list[int], *, units: int, outputs: int | None = None) -> nn.Sequential:
    """Exchange units in a row; the last one gives ``outputs`` branches, or all of them."""
    counts = [len(widths)] * (units - 1) + [outputs or len(widths)]
    return nn.Sequential(*(Exchange(widths, count) for count in counts))


def transition(before: list[int], after: list[int]) -> nn.ModuleList:
    """What fits each branch to its new width, and last what opens a branch of half the size."""
    fits = [
        nn.Identity() if old == new else nn.Sequential(*conv_bn(old, new), nn.ReLU(inplace=True))
        for old, new in zip(before, after, strict=False)
    ]
    halve = nn.Sequential(*conv_bn(before[-1], after[-1], stride=2), nn.ReLU(inplace=True))
    return nn.ModuleList([*fits, nn.Sequential(halve)])


def open_branch(fits: nn.ModuleList, branches: list[Tensor]) -> list[Tensor]:
    """The branches at their new widths and one more, made from the coarsest."""
    return [fit(x) for fit, x in zip(fits, [*branches, branches[-1]], strict=True)]


def resample(widths: list[int], source: int, target: int) -> nn.Module:
    """Branch ``source`` brought to the width and size of branch ``target``.

    Coarser: 1x1 convolution, then nearest neighbours. Finer: one strided 3x3 convolution a halving,
    of which only the last changes the width and has no ReLU.
    """
    if source == target:
        return nn.Identity()
    if source > target:
        nearest = nn.Upsample(scale_factor=2 ** (source - target), mode="nearest")
        return nn.Sequential(*conv_bn(widths[source], widths[target], kernel=1), nearest)
    halve = [
        nn.Sequential(*conv_bn(widths[source], widths[source], stride=2), nn.ReLU(inplace=True))
        for _ in range(target - source - 1)
    ]
    last = nn.Sequential(*conv_bn(widths[source], widths[target], stride=2))
    return nn.Sequential(*halve, last)


def conv_bn(before: int, after: int, *, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    """A convolution and its normalisation."""
    return [conv(before, after, kernel=kernel, stride=stride), nn.BatchNorm2d(after)]
