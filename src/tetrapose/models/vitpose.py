"""ViTPose: a plain vision transformer and a small head.

The network of Xu et al. 2022, "ViTPose: Simple Vision Transformer Baselines for Human Pose
Estimation" (arXiv:2204.12484), with the parameter names of the authors' weights
(github.com/ViTAE-Transformer/ViTPose, Apache-2.0), so that those load as they stand. A ViTPose++
expert is the same network once its part of each block's last layer is joined to the shared part.
Backbones of S, B, L, H: 24, 86, 307 and 632 M parameters (ViTPose README).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from tetrapose.models.blocks import demand_multiple, start_small

Head = Literal["classic", "simple"]
PATCH = 16
MARGIN = 2  # of the picture before it is cut into patches
EPS = 1e-6
# channels, blocks, heads, and the share of branches dropped in training
# (configs/animal/.../ap10k of the authors' repository)
SIZES = {
    "s": (384, 12, 12, 0.3),
    "b": (768, 12, 12, 0.3),
    "l": (1024, 24, 16, 0.5),
    "h": (1280, 32, 16, 0.55),
}


def vitpose(
    num_keypoints: int,
    *,
    size: str = "b",
    head: Head = "classic",
    input_size: Sequence[int] = (192, 256),
    drop_path: float | None = None,
) -> nn.Module:
    """ViTPose of a size (s, b, l, h): (B, 3, H, W) -> (B, num_keypoints, H/4, W/4).

    H and W are multiples of 16. ``input_size`` (width, height) is what the position embeddings are
    stored for; at any other size they are resampled. ``head``: "classic" two transposed
    convolutions, "simple" bilinear upsampling and one convolution. ``drop_path`` None is the
    authors' share for that size.
    """
    if size not in SIZES:
        raise ValueError(f"vitpose has no size {size!r}; there are: {', '.join(SIZES)}")
    channels, depth, heads, share = SIZES[size]
    return ViTPose(
        num_keypoints,
        ViT(
            channels, depth, heads, input_size=tuple(input_size),
            drop_path=share if drop_path is None else drop_path,
        ),
        head,
    )  # fmt: skip


class ViTPose(nn.Module):
    """Backbone and head."""

    def __init__(self, num_keypoints: int, backbone: ViT, head: Head) -> None:
        super().__init__()
        if head not in ("classic", "simple"):
            raise ValueError(f"no head {head!r}; there are: classic, simple")
        make = Classic if head == "classic" else Simple
        self.backbone = backbone
        self.keypoint_head = make(backbone.channels, num_keypoints)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) normalised pictures -> (B, K, H/4, W/4)."""
        return self.keypoint_head(self.backbone(images))


class ViT(nn.Module):
    """Patches, position embeddings, blocks, a last norm: (B, 3, H, W) -> (B, C, H/16, W/16)."""

    def __init__(
        self, channels: int, depth: int, heads: int, *, input_size: Sequence[int], drop_path: float
    ) -> None:
        super().__init__()
        if len(input_size) != 2 or any(side < PATCH or side % PATCH for side in input_size):
            raise ValueError(f"input_size must be two multiples of {PATCH}, not {input_size!r}")
        self.channels = channels
        self.grid = input_size[1] // PATCH, input_size[0] // PATCH  # rows, columns
        self.patch_embed = Patches(channels)
        # the first stands for the class token of the pre-training and is added to all
        cells = self.grid[0] * self.grid[1]
        self.pos_embed = nn.Parameter(torch.zeros(1, cells + 1, channels))
        shares = [drop_path * i / max(depth - 1, 1) for i in range(depth)]
        self.blocks = nn.ModuleList(Block(channels, heads, share) for share in shares)
        self.last_norm = nn.LayerNorm(channels, eps=EPS)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Figure 2 (a) of the paper."""
        demand_multiple(images, PATCH)
        x = self.patch_embed.proj(images)
        rows, columns = (int(side) for side in x.shape[-2:])
        x = x.flatten(2).transpose(1, 2) + self.positions(rows, columns)
        for block in self.blocks:
            x = block(x)
        return self.last_norm(x).transpose(1, 2).unflatten(2, (rows, columns))

    def positions(self, rows: int, columns: int) -> Tensor:
        """Embeddings (1, rows x columns, C), resampled (bicubic) where the grid is another."""
        cells = self.pos_embed[:, 1:]
        if (rows, columns) != self.grid:
            plane = cells.transpose(1, 2).unflatten(2, self.grid)
            plane = functional.interpolate(plane, size=(rows, columns), mode="bicubic")
            cells = plane.flatten(2).transpose(1, 2)
        return cells + self.pos_embed[:, :1]


class Patches(nn.Module):
    """Each patch as a vector."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, channels, PATCH, stride=PATCH, padding=MARGIN)


class Block(nn.Module):
    """Attention, then two layers, each behind its norm and beside a shortcut."""

    def __init__(self, channels: int, heads: int, dropped: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=EPS)
        self.attn = Attention(channels, heads)
        self.norm2 = nn.LayerNorm(channels, eps=EPS)
        self.mlp = Layers(channels)
        self.dropped = dropped

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> the same shape."""
        x = x + self._drop(self.attn(self.norm1(x)))
        return x + self._drop(self.mlp(self.norm2(x)))

    def _drop(self, branch: Tensor) -> Tensor:
        """Stochastic depth (Huang et al. 2016): without the branch for a share of the pictures."""
        if not self.training or not self.dropped:
            return branch
        kept = torch.rand(len(branch), 1, 1, device=branch.device) >= self.dropped
        return branch * kept.to(branch.dtype) / (1 - self.dropped)


class Attention(nn.Module):
    """Every cell looks at every other, in each of ``heads`` ways."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> the same shape."""
        split = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(split[0], split[1], split[2])
        return self.proj(seen.transpose(1, 2).flatten(2))


class Layers(nn.Module):
    """Four times as wide, GELU, and back."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, 4 * channels)
        self.fc2 = nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> the same shape."""
        return self.fc2(functional.gelu(self.fc1(x)))


class Classic(nn.Module):
    """Two transposed convolutions that double the size, and a map a keypoint."""

    def __init__(self, channels: int, num_keypoints: int, width: int = 256) -> None:
        super().__init__()
        doubled = [layer for inputs in (channels, width) for layer in double(inputs, width)]
        self.deconv_layers = nn.Sequential(*doubled)
        self.final_layer = nn.Conv2d(width, num_keypoints, 1)
        start_small(self)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, K, 4 h, 4 w)."""
        return self.final_layer(self.deconv_layers(x))


class Simple(nn.Module):
    """ReLU, four times the size by bilinear upsampling, and a map a keypoint."""

    def __init__(self, channels: int, num_keypoints: int) -> None:
        super().__init__()
        self.final_layer = nn.Conv2d(channels, num_keypoints, 3, padding=1)
        start_small(self)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, K, 4 h, 4 w)."""
        wide = functional.interpolate(functional.relu(x), scale_factor=4.0, mode="bilinear")
        return self.final_layer(wide)


def double(inputs: int, outputs: int) -> list[nn.Module]:
    """A transposed convolution to twice the size, its norm and ReLU."""
    return [
        nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    ]
