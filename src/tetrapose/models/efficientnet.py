"""EfficientNet-Lite under a light top-down path: few parameters, ImageNet weights to start from.

The Lite form of EfficientNet (Tan and Le 2019, arXiv:1905.11946) has no squeeze-and-excitation and
ReLU6 for swish: it runs and quantises well on a CPU. Blocks and multipliers are those of the
authors' release (github.com/tensorflow/tpu, models/official/efficientnet/lite, Apache-2.0); strided
convolutions are padded on both sides alike, which moves the grid by a pixel and changes no weight.
The path back to stride 4 is that of ``models.small``. Any input whose sides are multiples of 32.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from tetrapose.models.blocks import demand_multiple, map_head, top_down, top_down_parts
from tetrapose.models.depthwise import Depthwise

# expansion, channels, blocks, stride, kernel of each stage of the B0 form (table 1 of the paper)
STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
LEVELS = (1, 2, 4, 6)  # the last stage at strides 4, 8, 16 and 32
MULTIPLIERS = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2), 3: (1.2, 1.4), 4: (1.4, 1.8)}
EPS = 1e-3  # of the batch norms the released weights were trained with


class Unit(nn.Sequential):
    """Convolution and batch norm, and ReLU6 where ``active``."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        kernel: int = 1,
        stride: int = 1,
        depthwise: bool = False,
        active: bool = True,
    ) -> None:
        filters = (
            Depthwise(inputs, kernel, stride)
            if depthwise
            else nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        )
        layers: list[nn.Module] = [filters, nn.BatchNorm2d(outputs, eps=EPS)]
        super().__init__(*layers, *([nn.ReLU6(inplace=True)] if active else []))


class Inverted(nn.Module):
    """Widened, filtered a channel at a time, narrowed; carried around where the shape stays."""

    def __init__(self, inputs: int, outputs: int, *, expand: int, stride: int, kernel: int) -> None:
        super().__init__()
        wide = inputs * expand
        self.expand = Unit(inputs, wide) if expand > 1 else nn.Identity()
        self.depthwise = Unit(wide, wide, kernel=kernel, stride=stride, depthwise=True)
        self.project = Unit(wide, outputs, active=False)
        self.carried = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H / stride, W / stride)."""
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.carried else y


class EfficientNetLite(nn.Module):
    """The stages without their classifier: a tensor each at strides 4, 8, 16 and 32.

    ``last`` is the last stage built, 6 or 5 counted from 0: the last two are equally coarse.
    """

    def __init__(self, variant: int, *, last: int = 6) -> None:
        super().__init__()
        if variant not in MULTIPLIERS or last not in (5, 6):
            raise ValueError(
                f"there are variants 0 to 4, up to stage 5 or 6, not {variant} up to {last}"
            )
        self.stem = Unit(3, 32, kernel=3, stride=2)
        stages, width = [], 32
        for i, (expand, _, _, stride, kernel) in enumerate(STAGES[: last + 1]):
            outputs, count = scaled(variant, i)
            first = Inverted(width, outputs, expand=expand, stride=stride, kernel=kernel)
            rest = [
                Inverted(outputs, outputs, expand=expand, stride=1, kernel=kernel)
                for _ in range(count - 1)
            ]
            stages.append(nn.Sequential(first, *rest))
            width = outputs
        self.stages = nn.ModuleList(stages)
        self.levels = (*LEVELS[:-1], last)
        self.channels = [scaled(variant, i)[0] for i in self.levels]

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) normalised -> levels from fine to coarse."""
        demand_multiple(images, 32)
        x, levels = self.stem(images), []
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i in self.levels:
                levels.append(x)
        return levels


class EfficientNetLitePose(nn.Module):
    """Backbone, top-down path, one map a keypoint."""

    def __init__(self, num_keypoints: int, *, variant: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.backbone = EfficientNetLite(variant)
        self.lateral, self.merge = top_down_parts(self.backbone.channels, widths)
        self.head = map_head(widths[0], num_keypoints)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) normalised pictures -> (B, K, H / 4, W / 4)."""
        return self.head(top_down(self.backbone(images), self.lateral, self.merge))


def scaled(variant: int, stage: int) -> tuple[int, int]:
    """Channels (to a multiple of 8, at most a tenth below) and blocks of a stage."""
    wider, deeper = MULTIPLIERS[variant]
    _, channels, count, _, _ = STAGES[stage]
    width = max(8, int(channels * wider + 4) // 8 * 8)
    width += 8 if width < 0.9 * channels * wider else 0
    edge = stage in (0, len(STAGES) - 1)
    return width, count if edge else math.ceil(count * deeper)


def efficientnet_lite(
    num_keypoints: int, *, variant: int = 2, widths: tuple[int, ...] = (64, 96, 128, 192)
) -> nn.Module:
    """Variants 0 to 4; ``widths`` of the path at strides 4, 8, 16 and 32."""
    return EfficientNetLitePose(num_keypoints, variant=variant, widths=tuple(widths))
