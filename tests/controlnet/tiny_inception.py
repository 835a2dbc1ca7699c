"""Random weights for Inception, in the names and shapes of the published file or narrower."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

ONE, WIDE, TALL = (1, 1), (1, 7), (7, 1)


def shapes() -> dict[str, tuple[int, int, tuple[int, int]]]:
    """Widths in and out and the kernel of every convolution of the published network."""
    out = {
        "Conv2d_1a_3x3": (3, 32, (3, 3)), "Conv2d_2a_3x3": (32, 32, (3, 3)),
        "Conv2d_2b_3x3": (32, 64, (3, 3)), "Conv2d_3b_1x1": (64, 80, ONE),
        "Conv2d_4a_3x3": (80, 192, (3, 3)),
    }  # fmt: skip
    for name, wide, pooled in (("5b", 192, 32), ("5c", 256, 64), ("5d", 288, 64)):
        out |= _named(name, {
            "1x1": (wide, 64, ONE), "5x5_1": (wide, 48, ONE), "5x5_2": (48, 64, (5, 5)),
            "3x3dbl_1": (wide, 64, ONE), "3x3dbl_2": (64, 96, (3, 3)),
            "3x3dbl_3": (96, 96, (3, 3)), "_pool": (wide, pooled, ONE),
        })  # fmt: skip
    out |= _named("6a", {
        "3x3": (288, 384, (3, 3)), "3x3dbl_1": (288, 64, ONE), "3x3dbl_2": (64, 96, (3, 3)),
        "3x3dbl_3": (96, 96, (3, 3)),
    })  # fmt: skip
    for name, inner in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
        out |= _named(name, {
            "1x1": (768, 192, ONE), "7x7_1": (768, inner, ONE), "7x7_2": (inner, inner, WIDE),
            "7x7_3": (inner, 192, TALL), "7x7dbl_1": (768, inner, ONE),
            "7x7dbl_2": (inner, inner, TALL), "7x7dbl_3": (inner, inner, WIDE),
            "7x7dbl_4": (inner, inner, TALL), "7x7dbl_5": (inner, 192, WIDE),
            "_pool": (768, 192, ONE),
        })  # fmt: skip
    out |= _named("7a", {
        "3x3_1": (768, 192, ONE), "3x3_2": (192, 320, (3, 3)), "7x7x3_1": (768, 192, ONE),
        "7x7x3_2": (192, 192, WIDE), "7x7x3_3": (192, 192, TALL), "7x7x3_4": (192, 192, (3, 3)),
    })  # fmt: skip
    for name, wide in (("7b", 1280), ("7c", 2048)):
        out |= _named(name, {
            "1x1": (wide, 320, ONE), "3x3_1": (wide, 384, ONE), "3x3_2a": (384, 384, (1, 3)),
            "3x3_2b": (384, 384, (3, 1)), "3x3dbl_1": (wide, 448, ONE),
            "3x3dbl_2": (448, 384, (3, 3)), "3x3dbl_3a": (384, 384, (1, 3)),
            "3x3dbl_3b": (384, 384, (3, 1)), "_pool": (wide, 192, ONE),
        })  # fmt: skip
    return out


def weights(seed: int, share: int = 16) -> dict[str, Tensor]:
    """Everything in the file; widths divided by ``share``."""
    draw = torch.Generator().manual_seed(seed)
    out: dict[str, Tensor] = {}
    for name, (before, after, kernel) in shapes().items():
        before, after = before if before == 3 else before // share, after // share
        spread = (2 / (before * kernel[0] * kernel[1])) ** 0.5
        out[f"{name}.conv.weight"] = torch.randn(after, before, *kernel, generator=draw) * spread
        out[f"{name}.bn.weight"] = torch.rand(after, generator=draw) + 0.5
        for part in ("bias", "running_mean"):
            out[f"{name}.bn.{part}"] = torch.randn(after, generator=draw) * 0.2
        out[f"{name}.bn.running_var"] = torch.rand(after, generator=draw) + 0.5
    out["fc.weight"] = torch.zeros(1008, 2048 // share)
    out["fc.bias"] = torch.zeros(1008)
    return out


def write(path: Path, seed: int = 0) -> Path:
    """A narrow network's file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(weights(seed), path)
    return path


def _named(block: str, layers: dict[str, tuple]) -> dict[str, tuple]:
    return {f"Mixed_{block}.branch{name}": shape for name, shape in layers.items()}
