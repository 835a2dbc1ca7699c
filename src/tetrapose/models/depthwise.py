"""Depthwise convolutions that train at the speed at which they run.

PyTorch 2.13 hands their gradients to oneDNN's reference code on a CPU wherever no kernel of its own
fits: in bfloat16 a stride of two or a filter of 5x5 then costs 20 to 100 times its forward pass.
Both gradients are convolutions themselves, so they are written here as ones that have kernels: the
input's as the forward pass with turned filters, the filters' in tiles of 3x3.
``benchmarks/depthwise.py`` measures both sides; equal to PyTorch's own but for rounding (tests).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

TILE = 3  # the side of the filters whose gradient has a kernel


class Depthwise(nn.Conv2d):
    """A filter of its own for each channel, odd in size, stride 1 or 2, no bias."""

    def __init__(self, channels: int, kernel: int, stride: int = 1) -> None:
        if kernel not in (3, 5) or stride not in (1, 2):
            raise ValueError(f"no {kernel}x{kernel} filter of stride {stride} here: 3, 5; 1, 2")
        super().__init__(
            channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False
        )

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H / stride, W / stride)."""
        if not (self.training and torch.is_grad_enabled() and input.device.type == "cpu"):
            return super().forward(input)
        weight = self.weight
        if torch.is_autocast_enabled("cpu"):
            kind = torch.get_autocast_dtype("cpu")
            input, weight = input.to(kind), weight.to(kind)
        return _Filter.apply(input, weight, self.stride[0])  # pyright: ignore[reportReturnType]


class _Filter(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return _convolve(x, weight, stride)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (grad,) = grads
        x, weight = ctx.saved_tensors
        wants_input, wants_weight, _ = ctx.needs_input_grad
        to_input = _to_input(grad, x, weight, ctx.stride) if wants_input else None
        to_weight = _to_weight(grad, x, weight, ctx.stride) if wants_weight else None
        return to_input, to_weight, None


def _convolve(x: Tensor, weight: Tensor, stride: int = 1) -> Tensor:
    return functional.conv2d(x, weight, None, stride, weight.shape[-1] // 2, groups=len(weight))


def _to_input(grad: Tensor, x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """The output's gradient at its places among the inputs, filtered with the turned filters."""
    if stride > 1:
        spread = torch.zeros_like(x)
        spread[:, :, ::stride, ::stride] = grad
        grad = spread
    return _convolve(grad, weight.flip(-1, -2).contiguous())


def _to_weight(grad: Tensor, x: Tensor, weight: Tensor, stride: int) -> Tensor:
    side = weight.shape[-1]
    if side == TILE:
        return _tile(grad, x, weight, stride, padding=1)
    pad = side // 2
    height, width = ((n - 1) * stride + TILE for n in grad.shape[-2:])
    wide = functional.pad(x, (pad, pad, pad, pad))
    gradient = torch.empty_like(weight)
    for top in (0, side - TILE):
        for left in (0, side - TILE):
            window = wide[:, :, top : top + height, left : left + width]
            part = _tile(grad, window, weight[:, :, :TILE, :TILE], stride, padding=0)
            gradient[:, :, top : top + TILE, left : left + TILE] = part
    return gradient


def _tile(grad: Tensor, x: Tensor, weight: Tensor, stride: int, *, padding: int) -> Tensor:
    """PyTorch's own gradient of 3x3 filters."""
    x = x.contiguous(memory_format=torch.channels_last)
    return torch.ops.aten.convolution_backward(
        grad,
        x,
        weight.contiguous(),
        None,
        [stride, stride],
        [padding, padding],
        [1, 1],
        False,
        [0, 0],
        len(weight),
        [False, True, False],
    )[1]
