"""SimpleBaseline: a ResNet and three transposed convolutions, no more.

The network of Xiao et al. 2018, "Simple Baselines for Human Pose Estimation and Tracking"
(arXiv:1804.06208), with the parameter names of the authors' weights
(github.com/leoxiaobin/deep-high-resolution-net.pytorch, MIT), so that those load as they stand.
At 17 keypoints: depth 50 has 34.0 M parameters, 101 53.0 M, 152 68.6 M.
"""

from __future__ import annotations

from torch import Tensor, nn

from tetrapose.models.blocks import Basic, Bottleneck, conv, demand_multiple, layer, start_small

RESNETS = {
    18: (Basic, (2, 2, 2, 2)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}
HEAD_WIDTH = 256


def simple_baseline(num_keypoints: int, depth: int = 50) -> nn.Module:
    """SimpleBaseline on a ResNet of that depth: (B, 3, H, W) -> (B, num_keypoints, H/4, W/4)."""
    if depth not in RESNETS:
        depths = ", ".join(map(str, RESNETS))
        raise ValueError(f"simple_baseline has no depth {depth!r}; there are: {depths}")
    return SimpleBaseline(num_keypoints, depth)


class SimpleBaseline(nn.Module):
    """The whole network; H and W are multiples of 32."""

    def __init__(self, num_keypoints: int, depth: int) -> None:
        super().__init__()
        block, counts = RESNETS[depth]
        wide = block.expansion
        self.conv1 = conv(3, 64, kernel=7, stride=2)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = layer(block, 64, 64, blocks=counts[0])
        self.layer2 = layer(block, 64 * wide, 128, blocks=counts[1], stride=2)
        self.layer3 = layer(block, 128 * wide, 256, blocks=counts[2], stride=2)
        self.layer4 = layer(block, 256 * wide, 512, blocks=counts[3], stride=2)
        self.deconv_layers = nn.Sequential(
            *double(512 * wide), *double(HEAD_WIDTH), *double(HEAD_WIDTH)
        )
        self.final_layer = nn.Conv2d(HEAD_WIDTH, num_keypoints, 1)
        start_small(self)

    def forward(self, images: Tensor) -> Tensor:
        """Figure 1 (c) of the paper: down to 1/32, up to 1/4."""
        demand_multiple(images, 32)
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.final_layer(self.deconv_layers(x))


def double(in_channels: int) -> list[nn.Module]:
    """A transposed convolution to twice the size and the head's width."""
    return [
        nn.ConvTranspose2d(in_channels, HEAD_WIDTH, 4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(HEAD_WIDTH),
        nn.ReLU(inplace=True),
    ]
