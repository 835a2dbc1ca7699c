"""From maps to points for a whole batch in torch: arg-max, quarter shift, DARK."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Decoder = Literal["argmax", "shift", "dark"]
DECODERS: tuple[Decoder, ...] = ("argmax", "shift", "dark")
FIXED_KERNELS = {3: (1, 2, 1), 5: (1, 4, 6, 4, 1), 7: (2, 7, 14, 18, 14, 7, 2)}


def find_peaks(maps: Tensor, decoder: Decoder, *, blur_kernel: int = 11) -> tuple[Tensor, Tensor]:
    """Maps (B, K, h, w), larger is likelier -> cells (B, K, 2) x, y and their values (B, K).

    ``argmax`` gives whole cells; ``shift`` moves a quarter cell towards the larger neighbour on
    each axis (Newell et al. 2016); ``dark`` takes the Taylor step of ``dark_refine``, which needs
    a peak above 0. Values that are not finite are read as 0.
    """
    maps = torch.nan_to_num(maps.float(), nan=0.0, posinf=0.0, neginf=0.0)
    b, k, _, w = maps.shape
    values, flat = maps.flatten(2).max(dim=-1) if b * k else (maps.new_zeros(b, k),) * 2
    cells = torch.stack([flat % w, torch.div(flat, w, rounding_mode="floor")], dim=-1).float()
    if decoder == "shift":
        return cells + 0.25 * _gradient(maps, cells).sign(), values
    if decoder == "dark":
        return dark_refine(maps, cells, blur_kernel=blur_kernel), values
    if decoder != "argmax":
        raise ValueError(f"decoder must be one of {', '.join(DECODERS)}, not {decoder!r}")
    return cells, values


def dark_refine(maps: Tensor, cells: Tensor, *, blur_kernel: int = 11) -> Tensor:
    """Sub-cell peaks: blur, logarithm, one Newton step from the arg-max.

    A Gaussian's logarithm is a parabola, so for it the step is exact. Peaks within one cell of
    the border, and those where the curvature does not describe a maximum, stay where they are; no
    step is longer than one blur radius. The blur sees zeros beyond the border, so that a step close
    to it falls short; five cells away this costs less than 0.05 px of a crop at stride 4.
    Source: Zhang et al., Distribution-Aware Coordinate Representation, CVPR 2020, eq. 7-9;
    constants as in its code (lib/core/inference.py): stencils over 1 and 2 cells, floor 1e-10.
    """
    if maps.numel() == 0:
        return cells
    logs = blur(maps, blur_kernel).clamp_min(1e-10).log()
    h, w = maps.shape[-2:]
    x, y = cells[..., 0].long(), cells[..., 1].long()
    inside = (x > 1) & (x < w - 2) & (y > 1) & (y < h - 2)
    padded = functional.pad(logs, (2, 2, 2, 2), mode="replicate").flatten(2)

    def at(dx: int, dy: int) -> Tensor:
        index = (y + 2 + dy) * (w + 4) + (x + 2 + dx)
        return padded.gather(-1, index[..., None])[..., 0].double()

    centre = at(0, 0)
    gx, gy = (at(1, 0) - at(-1, 0)) / 2, (at(0, 1) - at(0, -1)) / 2
    dxx = (at(2, 0) - 2 * centre + at(-2, 0)) / 4
    dyy = (at(0, 2) - 2 * centre + at(0, -2)) / 4
    dxy = (at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1)) / 4
    det = dxx * dyy - dxy * dxy
    usable = inside & (det > 1e-12) & (dxx < 0)
    safe = torch.where(usable, det, torch.ones_like(det))
    step = torch.stack([(dxy * gy - dyy * gx) / safe, (dxy * gx - dxx * gy) / safe], dim=-1)
    usable &= step.norm(dim=-1) <= (blur_kernel - 1) / 2
    return cells + torch.where(usable[..., None], step, torch.zeros_like(step)).float()


def blur(maps: Tensor, kernel: int) -> Tensor:
    """Gaussian blur of (B, K, h, w) that keeps each map's maximum; zero outside the map.

    Source: the kernels that OpenCV gives where no sigma is named, as DARK's code leaves it to it:
    fixed ones up to 7, then sigma = 0.3 ((kernel - 1) / 2 - 1) + 0.8.
    """
    at = torch.arange(kernel, device=maps.device, dtype=maps.dtype) - (kernel - 1) / 2
    weights = torch.exp(-(at**2) / (2 * (0.3 * ((kernel - 1) * 0.5 - 1) + 0.8) ** 2))
    if kernel in FIXED_KERNELS:
        weights = maps.new_tensor(FIXED_KERNELS[kernel])
    weights = weights / weights.sum()
    b, k, h, w = maps.shape
    flat = maps.reshape(b * k, 1, h, w)
    flat = functional.conv2d(flat, weights[None, None, None], padding=(0, kernel // 2))
    flat = functional.conv2d(flat, weights[None, None, :, None], padding=(kernel // 2, 0))
    blurred = flat.reshape(b, k, h, w)
    before, after = maps.amax((-2, -1), keepdim=True), blurred.amax((-2, -1), keepdim=True)
    return blurred * before / after.clamp_min(1e-12)


def _gradient(maps: Tensor, cells: Tensor) -> Tensor:
    """(B, K, 2) difference of the neighbours on each axis; 0 for peaks on the border."""
    h, w = maps.shape[-2:]
    x, y = cells[..., 0].long(), cells[..., 1].long()
    flat = maps.flatten(2)

    def at(px: Tensor, py: Tensor) -> Tensor:
        index = py.clamp(0, h - 1) * w + px.clamp(0, w - 1)
        return flat.gather(-1, index[..., None])[..., 0]

    dx = torch.where((x > 0) & (x < w - 1), at(x + 1, y) - at(x - 1, y), 0.0)
    dy = torch.where((y > 0) & (y < h - 1), at(x, y + 1) - at(x, y - 1), 0.0)
    return torch.stack([dx, dy], dim=-1)
