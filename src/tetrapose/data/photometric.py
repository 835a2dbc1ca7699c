"""Changes of colour for a whole batch on the device: (B, 3, H, W) float 0..1 in and out.

Each is a frozen dataclass called as ``change(images, generator)``; the generator lives on the CPU
so that draws are the same on every device, and every picture draws its own numbers. Each passes
over the batch once or twice, which is what counts on a CPU; what it was given stays as it was.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional

LUMA = (0.299, 0.587, 0.114)  # Source: ITU-R BT.601


def _uniform(count: int, generator: Generator, low: float, high: float, width: int = 1) -> Tensor:
    """(B, width) on the CPU."""
    return low + (high - low) * torch.rand(count, width, 1, 1, generator=generator)[..., 0, 0]


def _chosen(count: int, generator: Generator, chance: float) -> Tensor:
    """(B,) True with this chance."""
    return torch.rand(count, 1, 1, 1, generator=generator).flatten() < chance


@dataclass(frozen=True)
class Colour:
    """Brightness, contrast, saturation and a gain per channel, each within 1 +- its bound.

    All of them are one affine map of a picture's colours, (3, 3) and (3,), since the mean that
    contrast turns about follows from the channels' own means.
    """

    brightness: float = 0.3
    contrast: float = 0.3
    saturation: float = 0.3
    channels: float = 0.08
    grey_chance: float = 0.05

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """The changed pictures."""
        count, device = len(images), images.device
        gain = _uniform(count, generator, 1 - self.channels, 1 + self.channels, 3)
        gain = gain * _uniform(count, generator, 1 - self.brightness, 1 + self.brightness)
        contrast = _uniform(count, generator, 1 - self.contrast, 1 + self.contrast)
        saturation = _uniform(count, generator, 1 - self.saturation, 1 + self.saturation)
        saturation = saturation * ~_chosen(count, generator, self.grey_chance)[:, None]
        # out = s y + (1 - s) luma . y  with  y = c gain x + (1 - c) mean of gain x
        mixed = saturation[..., None] * torch.eye(3)
        mixed = mixed + (1 - saturation)[..., None] * torch.tensor(LUMA)
        matrix = (mixed * (contrast * gain)[:, None]).to(device)
        mean = (images.mean((2, 3)) * gain.to(device)).mean(1, keepdim=True)
        offset = ((1 - contrast).to(device) * mean)[..., None].expand(-1, 3, 1)
        flat = images.flatten(2)
        return torch.baddbmm(offset, matrix, flat).clamp_(0, 1).view(images.shape)


@dataclass(frozen=True)
class Blur:
    """A 3x3 or 5x5 binomial blur for a share of the pictures: bad focus and small originals."""

    chance: float = 0.15

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """The changed pictures."""
        count = len(images)
        once = _chosen(count, generator, self.chance)
        twice = once & (torch.rand(count, generator=generator) < 0.5)
        if not once.any():
            return images
        images = images.clone()
        for rows in (once.nonzero().flatten(), twice.nonzero().flatten()):
            if len(rows):
                rows = rows.to(images.device)
                images[rows] = _binomial(images[rows])
        return images


@dataclass(frozen=True)
class Cutout:
    """Squares of one grey laid over the picture, so that no point hangs on one spot alone."""

    chance: float = 0.4
    most: int = 3
    side: tuple[float, float] = (0.06, 0.2)

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """The changed pictures."""
        count, (height, width) = len(images), images.shape[-2:]
        images = images.clone()
        for _ in range(self.most):
            half = _uniform(count, generator, *self.side) * max(height, width) / 2
            x = _uniform(count, generator, 0, width)
            y = _uniform(count, generator, 0, height)
            grey = _uniform(count, generator, 0, 1)
            laid = _chosen(count, generator, self.chance)
            squares = torch.cat([x, y, half, grey], dim=1).tolist()
            for row in laid.nonzero().flatten().tolist():
                across, down, reach, value = squares[row]
                columns, rows = _within(across, reach), _within(down, reach)
                images[row, :, rows, columns] = value
        return images


def _within(middle: float, reach: float) -> slice:
    """The pixels less than ``reach`` from ``middle``; a slice ends at the picture's end itself."""
    return slice(max(math.floor(middle - reach) + 1, 0), max(math.ceil(middle + reach), 0))


def _binomial(images: Tensor) -> Tensor:
    """Blurred by (1, 2, 1) / 4 along both axes, borders repeated; means of neighbours, twice."""
    images = functional.pad(images, (1, 1, 1, 1), mode="replicate")
    for _ in range(2):
        images = torch.lerp(images[..., :-1], images[..., 1:], 0.5)
        images = torch.lerp(images[..., :-1, :], images[..., 1:, :], 0.5)
    return images
