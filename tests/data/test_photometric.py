"""Changes of colour equal slow references that follow their words, draw for draw."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tetrapose.data.photometric import Blur, Colour, Cutout

CHANGES = [Colour(), Blur(chance=0.6), Cutout(), Cutout(chance=1.0, most=5, side=(0.3, 0.9))]


def pictures(count: int = 12, height: int = 40, width: int = 52) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(1))


def draws(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def uniform(g: torch.Generator, count: int, low: float, high: float, width: int = 1) -> Tensor:
    return low + (high - low) * torch.rand(count, width, 1, 1, generator=g)


def slow_colour(change: Colour, images: Tensor, g: torch.Generator) -> Tensor:
    n = len(images)
    gain = uniform(g, n, 1 - change.channels, 1 + change.channels, 3)
    images = images * gain * uniform(g, n, 1 - change.brightness, 1 + change.brightness)
    mean = images.mean((1, 2, 3), keepdim=True)
    images = mean + (images - mean) * uniform(g, n, 1 - change.contrast, 1 + change.contrast)
    grey = (images * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
    saturation = uniform(g, n, 1 - change.saturation, 1 + change.saturation)
    saturation = saturation * (uniform(g, n, 0, 1) >= change.grey_chance)
    return (grey + (images - grey) * saturation).clamp(0, 1)


def slow_blur(change: Blur, images: Tensor, g: torch.Generator) -> Tensor:
    n = len(images)
    once = uniform(g, n, 0, 1).flatten() < change.chance
    twice = torch.rand(n, generator=g) < 0.5
    row = torch.tensor([0.25, 0.5, 0.25])
    kernel = (row[:, None] * row).expand(3, 1, 3, 3)
    out = []
    for image, first, second in zip(images, once, twice, strict=True):
        for _ in range(int(first) + int(first & second)):
            padded = torch.nn.functional.pad(image[None], (1, 1, 1, 1), mode="replicate")
            image = torch.nn.functional.conv2d(padded, kernel, groups=3)[0]
        out.append(image)
    return torch.stack(out)


def slow_cutout(change: Cutout, images: Tensor, g: torch.Generator) -> Tensor:
    n, (height, width) = len(images), images.shape[-2:]
    down, across = torch.arange(height).view(1, 1, -1, 1), torch.arange(width).view(1, 1, 1, -1)
    for _ in range(change.most):
        half = uniform(g, n, *change.side) * max(height, width) / 2
        x, y, grey = uniform(g, n, 0, width), uniform(g, n, 0, height), uniform(g, n, 0, 1)
        inside = ((across - x).abs() < half) & ((down - y).abs() < half)
        images = torch.where(inside & (uniform(g, n, 0, 1) < change.chance), grey, images)
    return images


SLOW = {Colour: slow_colour, Blur: slow_blur, Cutout: slow_cutout}


@pytest.mark.parametrize("change", CHANGES, ids=repr)
def test_equals_the_slow_way(change) -> None:
    for seed in range(6):
        quick = change(pictures(), draws(seed))
        slow = SLOW[type(change)](change, pictures(), draws(seed))
        torch.testing.assert_close(quick, slow, rtol=0, atol=2e-6)


@pytest.mark.parametrize("change", CHANGES, ids=repr)
def test_what_is_given_stays_and_draws_repeat(change) -> None:
    images = pictures()
    before = images.clone()
    first = change(images, draws())
    assert torch.equal(images, before)
    assert torch.equal(first, change(images, draws()))
    assert not torch.equal(first, change(images, draws(4)))
    assert change(images[:0], draws()).shape == images[:0].shape
    assert 0 <= first.min() <= first.max() <= 1


@pytest.mark.parametrize("change", CHANGES, ids=repr)
def test_memory_order_does_not_matter(change) -> None:
    images = pictures()
    other = images.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(
        change(images, draws()), change(other, draws()).contiguous(), rtol=0, atol=2e-6
    )


def test_the_bounds_are_reached_and_kept() -> None:
    grey = torch.full((400, 3, 4, 4), 0.5)
    bright = Colour(brightness=0.3, contrast=0, saturation=0, channels=0, grey_chance=0)
    values = bright(grey, draws()).amax((1, 2, 3)) / 0.5
    assert 0.7 <= values.min() < 0.72
    assert 1.28 < values.max() <= 1.3001
    still = Colour(brightness=0, contrast=0, saturation=0, channels=0, grey_chance=0)
    torch.testing.assert_close(still(pictures(), draws()), pictures(), rtol=0, atol=1e-6)
    all_grey = Colour(grey_chance=1.0)(pictures(), draws())
    torch.testing.assert_close(all_grey[:, 0], all_grey[:, 2], rtol=0, atol=1e-6)
