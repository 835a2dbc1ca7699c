"""Stacked Hourglass: down to a few cells and up again, several times over, supervised each time.

The network of Newell et al. 2016, "Stacked Hourglass Networks for Human Pose Estimation"
(arXiv:1603.06937), in the form that the DARK paper trained: one residual a level, layer for layer
and under the parameter names of its weights (github.com/ilovepose/DarkPose, file hourglass.py,
Apache-2.0, after github.com/bearpaw/pytorch-pose). At 17 keypoints 2, 4 and 8 stacks have 6.7, 13.0
and 25.6 M parameters (their README says 25.1 M of the last; their code builds as many as this).
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from tetrapose.models.blocks import demand_multiple

DEPTH = 4  # halvings within an hourglass
STRIDE = 4


def hourglass(num_keypoints: int, *, stacks: int = 8, width: int = 256) -> nn.Module:
    """That many stacks: (B, 3, H, W) -> (B, num_keypoints, H/4, W/4), a tuple of all in training.

    H and W are multiples of 4 and at least 64.
    """
    if stacks < 1:
        raise ValueError(f"stacks must be 1 or more, not {stacks!r}")
    if width % 4:
        raise ValueError(f"width must be a multiple of 4, not {width!r}")
    return StackedHourglass(num_keypoints, stacks, width)


class StackedHourglass(nn.Module):
    """The whole network; in training the tuple of every stack's maps, else the last one's."""

    def __init__(self, num_keypoints: int, stacks: int, width: int) -> None:
        super().__init__()
        narrow = width // 4
        self.conv1 = nn.Conv2d(3, narrow, 7, stride=2, padding=3)
        self.bn1 = nn.BatchNorm2d(narrow)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = nn.Sequential(Residual(narrow, 2 * narrow))
        self.layer2 = nn.Sequential(Residual(2 * narrow, width))
        self.layer3 = nn.Sequential(Residual(width, width))
        self.maxpool = nn.MaxPool2d(2, stride=2)
        self.hg = nn.ModuleList(Hourglass(width) for _ in range(stacks))
        self.res = nn.ModuleList(nn.Sequential(Residual(width, width)) for _ in range(stacks))
        self.fc = nn.ModuleList(linear(width) for _ in range(stacks))
        self.score = nn.ModuleList(nn.Conv2d(width, num_keypoints, 1) for _ in range(stacks))
        again = range(stacks - 1)
        self.fc_ = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in again)
        self.score_ = nn.ModuleList(nn.Conv2d(num_keypoints, width, 1) for _ in again)

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """The last stack's maps, or in training every stack's."""
        outputs = self.stages(images)
        return outputs if self.training else outputs[-1]

    def stages(self, images: Tensor) -> tuple[Tensor, ...]:
        """Every stack's maps: what a stack saw and found is added to what the next one sees."""
        demand_multiple(images, STRIDE)
        least = STRIDE * 2**DEPTH
        if min(images.shape[-2:]) < least:
            height, width = images.shape[-2:]
            raise ValueError(f"the picture's sides must be {least} or more, not {width}x{height}")
        x = self.layer1(self.relu(self.bn1(self.conv1(images))))
        x = self.layer3(self.layer2(self.maxpool(x)))
        outputs: list[Tensor] = []
        for i, (hourglass, residual, line, score) in enumerate(
            zip(self.hg, self.res, self.fc, self.score, strict=True)
        ):
            seen = line(residual(hourglass(x)))
            outputs.append(score(seen))
            if i < len(self.fc_):
                x = x + self.fc_[i](seen) + self.score_[i](outputs[-1])
        return tuple(outputs)


class Hourglass(nn.Module):
    """Down by halves and back up, with a branch beside it at each size (figure 3 of the paper)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        # from coarse to fine: beside, before, behind; at the coarsest also between
        self.hg = nn.ModuleList(
            nn.ModuleList(
                nn.Sequential(Residual(width, width)) for _ in range(4 if level == 0 else 3)
            )
            for level in range(DEPTH)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, H, W) -> the same shape."""
        return self._level(DEPTH - 1, x)

    def _level(self, level: int, x: Tensor) -> Tensor:
        parts = self.hg[level]
        beside, before, behind = parts[0], parts[1], parts[2]  # pyright: ignore[reportIndexIssue]
        low = before(functional.max_pool2d(x, 2))
        low = self._level(level - 1, low) if level else parts[3](low)  # pyright: ignore[reportIndexIssue]
        # a side that is odd loses its last cell on the way down and gets it back here
        up = functional.interpolate(behind(low), size=x.shape[-2:], mode="nearest")
        return beside(x) + up


class Residual(nn.Module):
    """1x1, 3x3, 1x1, each behind its norm and ReLU, beside a shortcut; half as wide within."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        width = outputs // 2
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, width, 1)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.bn3 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1)
        self.relu = nn.ReLU(inplace=True)
        same = inputs == outputs
        self.downsample = nn.Identity() if same else nn.Sequential(nn.Conv2d(inputs, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H, W)."""
        y = self.conv1(self.relu(self.bn1(x)))
        y = self.conv2(self.relu(self.bn2(y)))
        y = self.conv3(self.relu(self.bn3(y)))
        return y + self.downsample(x)


def linear(width: int) -> nn.Sequential:
    """A 1x1 convolution with its norm and ReLU."""
    return nn.Sequential(nn.Conv2d(width, width, 1), nn.BatchNorm2d(width), nn.ReLU(inplace=True))
