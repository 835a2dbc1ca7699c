"""Strong views: a few changes of colour, drawn for each picture by itself, laid over the weak view.

Pictures (B, 3, H, W) float 0..1. Draws go by (seed, set, step, row) alone, so that they are the
same whatever else is in the batch and however many processes share it. Geometry stays as it is.

Source of the pool and its released form: FreeNet, train_utils/augmentation.py
(color_augment_pool_test): two operations drawn with replacement from eleven, each with a chance of
its own from U(0.2, 0.8), always at magnitude 10 of 10. At that magnitude its solarise inverts the
picture and its posterise does nothing, and four factors are all but 1; so here magnitudes are drawn
(as FixMatch's are, Sohn et al. 2020, appendix D), and ``released`` gives the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

LUMA = (0.299, 0.587, 0.114)  # Source: ITU-R BT.601
OPERATIONS = (
    "autocontrast", "brightness", "colour", "contrast", "sharpness", "equalise", "identity",
    "posterise", "solarise", "cutout", "blur",
)  # fmt: skip


@dataclass(frozen=True)
class Strong:
    """``count`` operations a picture, each with a chance drawn between the bounds of ``chance``.

    ``released`` takes magnitudes as FreeNet's code has them. With ``count`` 0 a strong view is the
    weak one.
    """

    count: int = 2
    chance: tuple[float, float] = (0.2, 0.8)
    released: bool = False

    def __call__(self, pictures: Tensor, rows: Sequence[int], key: tuple[int, ...]) -> Tensor:
        """The strong views; ``rows`` (B,) are the pictures' numbers in their set."""
        out = pictures.clone()
        for _, name, chosen, draws in self.plan(rows, key):
            index = torch.as_tensor(chosen, device=pictures.device)
            changed = apply(out[index], name, draws, released=self.released)
            out[index] = changed.clamp(0, 1)
        return out

    def plan(
        self, rows: Sequence[int], key: tuple[int, ...]
    ) -> list[tuple[int, str, list[int], np.ndarray]]:
        """(slot, operation, places in the batch, draws (n, 24) in 0..1) in the order of working."""
        choice, applied, draws = [], [], []
        for row in rows:
            rng = np.random.default_rng((*key, int(row)))
            choice.append(rng.integers(0, len(OPERATIONS), self.count))
            applied.append(rng.random(self.count) < rng.uniform(*self.chance, self.count))
            draws.append(rng.random((self.count, 24)))
        made = []
        for slot in range(self.count):
            for number, name in enumerate(OPERATIONS):
                here = [i for i in range(len(rows)) if choice[i][slot] == number]
                here = [i for i in here if applied[i][slot] and name != "identity"]
                if here:
                    made.append((slot, name, here, np.stack([draws[i][slot] for i in here])))
        return made


def apply(pictures: Tensor, name: str, draws: np.ndarray, *, released: bool = False) -> Tensor:
    """One operation on (n, 3, H, W) by draws (n, 24) in 0..1; not clamped."""
    if name == "cutout":
        return cutout(pictures, draws, side=(0.05, 0.05) if released else (0.05, 0.2))
    first = pictures.new_tensor(draws[:, 0]).view(-1, 1, 1, 1)
    if released:
        fixed = {"posterise": 8.0, "solarise": 0.0, "blur": 3.0}
        value = torch.full_like(first, fixed.get(name, 0.95))
        return CHANGES[name](pictures, value)
    low, high = {"posterise": (4.0, 8.0), "solarise": (0.5, 1.0), "blur": (0.3, 2.0)}.get(
        name, (0.4, 1.6)
    )
    value = low + (high - low) * first
    return CHANGES[name](pictures, value.floor() if name == "posterise" else value)


def autocontrast(pictures: Tensor, _: Tensor) -> Tensor:
    """Each channel stretched to 0..1; an even channel stays."""
    low, high = pictures.amin((2, 3), keepdim=True), pictures.amax((2, 3), keepdim=True)
    width = high - low
    stretched = (pictures - low) / width.clamp_min(1e-6)
    return torch.where(width > 1e-6, stretched, pictures)


def brightness(pictures: Tensor, factor: Tensor) -> Tensor:
    """Times ``factor``."""
    return pictures * factor


def colour(pictures: Tensor, factor: Tensor) -> Tensor:
    """Away from (above 1) or towards (below) the picture's grey."""
    grey = (pictures * pictures.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
    return grey + factor * (pictures - grey)


def contrast(pictures: Tensor, factor: Tensor) -> Tensor:
    """Away from or towards the mean of the picture's grey."""
    grey = (pictures * pictures.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
    mean = grey.mean((2, 3), keepdim=True)
    return mean + factor * (pictures - mean)


def sharpness(pictures: Tensor, factor: Tensor) -> Tensor:
    """Away from or towards a 3 x 3 mean that counts the middle five times, as Pillow's does."""
    padded = functional.pad(pictures, (1, 1, 1, 1), mode="replicate")
    soft = (9 * functional.avg_pool2d(padded, 3, stride=1) + 4 * pictures) / 13
    return soft + factor * (pictures - soft)


def equalise(pictures: Tensor, _: Tensor) -> Tensor:
    """Each channel's 256 grey values spread so that each is as frequent as the next."""
    n, c, h, w = pictures.shape
    values = (pictures * 255).round().long().clamp(0, 255).view(n * c, h * w)
    shift = 256 * torch.arange(n * c, device=values.device)[:, None]
    counts = torch.bincount((values + shift).flatten(), minlength=256 * n * c).view(n * c, 256)
    below = counts.cumsum(1)
    least = counts.gather(1, values.amin(1, keepdim=True))
    table = (below - least).clamp_min(0) / (h * w - least).clamp_min(1)
    out = table.gather(1, values).to(pictures.dtype).view(pictures.shape)
    even = (least == h * w).view(n, c, 1, 1)
    return torch.where(even, pictures, out)


def posterise(pictures: Tensor, bits: Tensor) -> Tensor:
    """Only the highest ``bits`` of 8 are kept."""
    step = 2 ** (8 - bits)
    return ((pictures * 255).round() / step).floor() * step / 255


def solarise(pictures: Tensor, threshold: Tensor) -> Tensor:
    """Values from ``threshold`` on are inverted; at 0 the whole picture is."""
    return torch.where(pictures >= threshold, 1 - pictures, pictures)


def blur(pictures: Tensor, radius: Tensor) -> Tensor:
    """Gaussian of deviation ``radius`` in pixels."""
    reach = max(1, int(np.ceil(2.5 * float(radius.max()))))
    reach = min(reach, min(pictures.shape[-2:]) - 1)
    at = torch.arange(-reach, reach + 1, device=pictures.device, dtype=pictures.dtype)
    line = torch.exp(-(at**2) / (2 * radius.view(-1, 1) ** 2))
    line = (line / line.sum(1, keepdim=True)).repeat_interleave(3, 0)
    n, c, h, w = pictures.shape
    flat = functional.pad(pictures.reshape(1, n * c, h, w), (reach,) * 4, mode="reflect")
    flat = functional.conv2d(flat, line[:, None, None], groups=n * c)
    return functional.conv2d(flat, line[:, None, :, None], groups=n * c).view(n, c, h, w)


def cutout(pictures: Tensor, draws: np.ndarray, *, side: tuple[float, float]) -> Tensor:
    """One to five squares of grey 128, ``side`` in shares of the short side."""
    out = pictures.clone()
    height, width = pictures.shape[-2:]
    for picture, drawn in zip(out, draws, strict=True):
        for x, y, s in drawn[1 : 1 + 3 * (1 + int(drawn[0] * 5))].reshape(-1, 3):
            length = max(1, round((side[0] + (side[1] - side[0]) * s) * min(height, width)))
            left, top = int(x * width) - length // 2, int(y * height) - length // 2
            picture[:, max(top, 0) : top + length, max(left, 0) : left + length] = 128 / 255
    return out


CHANGES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "autocontrast": autocontrast, "brightness": brightness, "colour": colour,
    "contrast": contrast, "sharpness": sharpness, "equalise": equalise, "posterise": posterise,
    "solarise": solarise, "blur": blur,
}  # fmt: skip
