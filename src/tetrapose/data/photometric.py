"""Changes of colour for a whole batch on the device: (B, 3, H, W) float 0..1 in and out.

Each is a frozen dataclass called as ``change(images, generator)``; the generator lives on the CPU
so that draws are the same on every device, and every picture draws its own numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional


def _uniform(
    images: Tensor, generator: Generator, low: float, high: float, width: int = 1
) -> Tensor:
    drawn = torch.rand(len(images), width, 1, 1, generator=generator)
    return (low + (high - low) * drawn).to(images.device)


def _chosen(images: Tensor, generator: Generator, chance: float) -> Tensor:
    return (torch.rand(len(images), 1, 1, 1, generator=generator) < chance).to(images.device)


@dataclass(frozen=True)
class Colour:
    """Brightness, contrast, saturation and a gain per channel, each within 1 +- its bound."""

    brightness: float = 0.3
    contrast: float = 0.3
    saturation: float = 0.3
    channels: float = 0.08
    grey_chance: float = 0.05

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """The changed pictures."""
        gain = _uniform(images, generator, 1 - self.channels, 1 + self.channels, 3)
        gain = gain * _uniform(images, generator, 1 - self.brightness, 1 + self.brightness)
        images = images * gain
        mean = images.mean((1, 2, 3), keepdim=True)
        contrast = _uniform(images, generator, 1 - self.contrast, 1 + self.contrast)
        images = mean + (images - mean) * contrast
        luma = torch.tensor([0.299, 0.587, 0.114], device=images.device).view(1, 3, 1, 1)
        grey = (images * luma).sum(1, keepdim=True)
        saturation = _uniform(images, generator, 1 - self.saturation, 1 + self.saturation)
        saturation = saturation * ~_chosen(images, generator, self.grey_chance)
        return (grey + (images - grey) * saturation).clamp(0, 1)


@dataclass(frozen=True)
class Blur:
    """A 3x3 or 5x5 binomial blur for a share of the pictures: bad focus and small originals."""

    chance: float = 0.15

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """The changed pictures."""
        rows = _chosen(images, generator, self.chance).flatten()
        twice = torch.rand(len(images), generator=generator).to(images.device) < 0.5
        if not rows.any():
            return images
        images = images.clone()
        images[rows] = _binomial(images[rows])
        again = rows & twice
        if again.any():
            images[again] = _binomial(images[again])
        return images


@dataclass(frozen=True)
class Cutout:
    """Squares of one grey laid over the picture, so that no point hangs on one spot alone."""

    chance: float = 0.4
    most: int = 3
    side: tuple[float, float] = (0.06, 0.2)

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """The changed pictures."""
        height, width = images.shape[-2:]
        down = torch.arange(height, device=images.device).view(1, 1, height, 1)
        across = torch.arange(width, device=images.device).view(1, 1, 1, width)
        for _ in range(self.most):
            half = _uniform(images, generator, *self.side) * max(height, width) / 2
            x = _uniform(images, generator, 0, width)
            y = _uniform(images, generator, 0, height)
            grey = _uniform(images, generator, 0, 1)
            inside = ((across - x).abs() < half) & ((down - y).abs() < half)
            inside &= _chosen(images, generator, self.chance)
            images = torch.where(inside, grey, images)
        return images


def _binomial(images: Tensor) -> Tensor:
    row = torch.tensor([0.25, 0.5, 0.25], device=images.device, dtype=images.dtype)
    kernel = (row[:, None] * row[None]).expand(3, 1, 3, 3)
    padded = functional.pad(images, (1, 1, 1, 1), mode="replicate")
    return functional.conv2d(padded, kernel, groups=3)
