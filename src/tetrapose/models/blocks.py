"""Residual blocks shared by the published networks, under the names their weights carry.

Source: He et al. 2016, "Deep Residual Learning for Image Recognition", figure 5; the names of the
parameters are those of github.com/leoxiaobin/deep-high-resolution-net.pytorch (MIT).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional


class Basic(nn.Module):
    """Two 3x3 convolutions beside a shortcut: (B, in, H, W) -> (B, width, H/stride, W/stride)."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = conv(in_channels, width, kernel=3, stride=stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv(width, width, kernel=3)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut(in_channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """The block's figure."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu(y + self.downsample(x))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 beside a shortcut: (B, in, H, W) -> (B, 4 width, H/stride, W/stride).

    The stride sits on the 3x3 convolution, as in the published pose networks.
    """

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int = 1) -> None:
        super().__init__()
        out_channels = width * self.expansion
        self.conv1 = conv(in_channels, width, kernel=1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv(width, width, kernel=3, stride=stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = conv(width, out_channels, kernel=1)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """The block's figure."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu(y + self.downsample(x))


def conv(in_channels: int, out_channels: int, *, kernel: int, stride: int = 1) -> nn.Conv2d:
    """A convolution that keeps the size at stride 1; the bias is left to the BatchNorm after it."""
    return nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False)


def shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """What stands beside a block: nothing, or a 1x1 convolution where the shape changes."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return nn.Sequential(
        conv(in_channels, out_channels, kernel=1, stride=stride), nn.BatchNorm2d(out_channels)
    )


def layer(
    block: type[Basic] | type[Bottleneck],
    in_channels: int,
    width: int,
    *,
    blocks: int,
    stride: int = 1,
) -> nn.Sequential:
    """``blocks`` blocks in a row, the first of which changes channels and size."""
    out_channels = width * block.expansion
    first = block(in_channels, width, stride)
    return nn.Sequential(first, *(block(out_channels, width) for _ in range(1, blocks)))


def start_small(model: nn.Module) -> None:
    """Draw every (transposed) convolution from a normal of deviation 0.001; its bias starts at 0.

    Source: the authors' training of HRNet and SimpleBaseline without pre-trained weights.
    """
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(module.weight, std=0.001)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def demand_multiple(images: Tensor, of: int) -> None:
    """Raise ValueError unless both sides divide by ``of``: else cells would miss their pixels."""
    height, width = images.shape[-2:]
    if height % of or width % of:
        raise ValueError(f"the picture's sides must be multiples of {of}, not {width}x{height}")


class ConvBlock(nn.Sequential):
    """3x3 (or 1x1) convolution, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


def top_down_parts(
    channels: Sequence[int], widths: Sequence[int]
) -> tuple[nn.ModuleList, nn.ModuleList]:
    """What ``top_down`` wants for levels of ``channels``, brought to ``widths`` on the way."""
    lateral = [nn.Conv2d(c, w, 1) for c, w in zip(channels, widths, strict=True)]
    merge = [ConvBlock(w, widths[max(i - 1, 0)]) for i, w in enumerate(widths)]
    return nn.ModuleList(lateral), nn.ModuleList(merge)


def top_down(levels: Sequence[Tensor], lateral: nn.ModuleList, merge: nn.ModuleList) -> Tensor:
    """Levels from fine to coarse, each half the last's size -> one at the finest's size.

    From the coarsest on: a lateral 1x1 convolution, what came from below, doubled by nearest
    neighbours, added, and a 3x3 convolution (Lin et al. 2017, feature pyramid).
    """
    up = None
    for level, side, mix in zip(reversed(levels), reversed(lateral), reversed(merge), strict=True):
        x = side(level)
        if up is not None:
            x = x + functional.interpolate(up, scale_factor=2.0, mode="nearest")
        up = mix(x)
    assert up is not None
    return up


def map_head(width: int, num_keypoints: int) -> nn.Conv2d:
    """A map a keypoint, all but even at the start."""
    head = nn.Conv2d(width, num_keypoints, 1)
    nn.init.normal_(head.weight, std=0.01)
    assert head.bias is not None
    nn.init.zeros_(head.bias)
    return head
