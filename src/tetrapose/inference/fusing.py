"""Batch norms taken into the convolutions before them, for networks that learn no more."""

from __future__ import annotations

import re

import torch
from torch import nn

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


@torch.no_grad()
def fuse(model: nn.Module) -> nn.Module:
    """The model itself, in evaluation mode, with fewer layers and the same outputs (to rounding).

    A batch norm is taken in where it directly follows a convolution in an ``nn.Sequential``, or is
    called bnN beside a convN, as the blocks of ``tetrapose.models`` name them; others stay.
    """
    model.eval()
    for module in list(model.modules()):
        for before, after in _pairs(module):
            _take_in(getattr(module, before), getattr(module, after))
            setattr(module, after, nn.Identity())
    return model


def _take_in(convolution: nn.Conv2d | nn.ConvTranspose2d, norm: nn.BatchNorm2d) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    axis = 1 if isinstance(convolution, nn.ConvTranspose2d) else 0  # of the output channels
    shape = [1, 1, 1, 1]
    shape[axis] = -1
    bias = 0.0 if convolution.bias is None else convolution.bias
    convolution.weight = nn.Parameter(convolution.weight * scale.reshape(shape))
    convolution.bias = nn.Parameter((bias - norm.running_mean) * scale + norm.bias)


def _pairs(module: nn.Module) -> list[tuple[str, str]]:
    """Names of each convolution and the batch norm that takes its output, among the children."""
    children = dict(module.named_children())
    names = list(children)
    if isinstance(module, nn.Sequential):
        pairs = list(zip(names, names[1:], strict=False))
    else:
        # a norm that stands before the convolution of its number acts before it (models.hourglass)
        pairs = [
            (name, f"bn{name[4:]}")
            for i, name in enumerate(names)
            if re.fullmatch(r"conv\d+", name) is not None and f"bn{name[4:]}" in names[i + 1 :]
        ]
    return [
        (one, two)
        for one, two in pairs
        if isinstance(children[one], CONVOLUTIONS)
        and (children[one].groups == 1 or isinstance(children[one], nn.Conv2d))
        and isinstance(children.get(two), nn.BatchNorm2d)
        and children[two].affine
        and children[two].track_running_stats
        and children[one].out_channels == children[two].num_features
    ]
