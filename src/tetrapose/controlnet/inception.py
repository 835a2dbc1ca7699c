"""Inception v3 as FID and KID are defined with, computed straight from its file of weights.

Source: Szegedy et al., Rethinking the Inception Architecture, 2016; of its use Heusel et al., 2017
(GANs Trained by a Two Time-Scale Update Rule).
The release of 2015 differs from later ones: averages leave the border's padding out, and the last
block takes a maximum where the paper averages. Widths come from the file; both known conversions of
it (torch-fidelity, pytorch-fid) name their weights alike.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from tetrapose.errors import UserError

SIDE, CLASSES = 299, 1008
EPSILON = 1e-3  # of its batch normalisation
MEAN, MOST, MOST_HALF = "mean", "most", "most/2"  # pooling over 3x3, the last at every other place

# Layers one after another; "/2" at every other place, "!" where the border is lost; a tuple forks.
STEM = (
    "Conv2d_1a_3x3/2", "Conv2d_2a_3x3!", "Conv2d_2b_3x3", MOST_HALF,
    "Conv2d_3b_1x1", "Conv2d_4a_3x3!", MOST_HALF,
)  # fmt: skip
_POOLED = (MEAN, "branch_pool")
_DOUBLE = ("branch3x3dbl_1", "branch3x3dbl_2")
A = (("branch1x1",), ("branch5x5_1", "branch5x5_2"), (*_DOUBLE, "branch3x3dbl_3"), _POOLED)
B = (("branch3x3/2",), (*_DOUBLE, "branch3x3dbl_3/2"), (MOST_HALF,))
C = (
    ("branch1x1",),
    tuple(f"branch7x7_{i}" for i in (1, 2, 3)),
    tuple(f"branch7x7dbl_{i}" for i in (1, 2, 3, 4, 5)),
    _POOLED,
)
D = (
    ("branch3x3_1", "branch3x3_2/2"),
    ("branch7x7x3_1", "branch7x7x3_2", "branch7x7x3_3", "branch7x7x3_4/2"),
    (MOST_HALF,),
)
E = (
    ("branch1x1",),
    ("branch3x3_1", ("branch3x3_2a", "branch3x3_2b")),
    (*_DOUBLE, ("branch3x3dbl_3a", "branch3x3dbl_3b")),
    _POOLED,
)
BLOCKS = {
    "Mixed_5b": A, "Mixed_5c": A, "Mixed_5d": A, "Mixed_6a": B, "Mixed_6b": C, "Mixed_6c": C,
    "Mixed_6d": C, "Mixed_6e": C, "Mixed_7a": D, "Mixed_7b": E,
    "Mixed_7c": (*E[:-1], (MOST, "branch_pool")),
}  # fmt: skip


def features(weights: Mapping[str, Tensor], pictures: Tensor) -> Tensor:
    """(B, D) of pictures (B, 3, 299, 299) from 0 to 255; D is 2048 with the published weights."""
    x = (pictures - 128) / 128
    for step in STEM:
        x = _layer(weights, "", step, x)
    for name, branches in BLOCKS.items():
        x = torch.cat([_branch(weights, f"{name}.", steps, x) for steps in branches], dim=1)
    return x.mean(dim=(2, 3))


def demand_inception(weights: Mapping[str, object], path: object) -> None:
    """UserError where a file holds other weights, those of torchvision's Inception too."""
    head = weights.get("fc.weight")
    layers = [*STEM, *(f"{name}.{step}" for name, block in BLOCKS.items() for step in _flat(block))]
    names = [
        f"{layer.rstrip('!').removesuffix('/2')}.{part}"
        for layer in layers
        if not layer.endswith((MEAN, MOST, MOST_HALF))
        for part in ("conv.weight", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var")
    ]
    lacks = [name for name in names if not isinstance(weights.get(name), Tensor)]
    if lacks:
        raise UserError(f"{path}: no weights of Inception v3 ({lacks[0]} is missing)")
    if not isinstance(head, Tensor) or len(head) != CLASSES:
        raise UserError(
            f"{path}: another Inception than FID is defined with (that of 2015 tells {CLASSES:,}"
            " classes apart; torchvision's is not it)"
        )


def _flat(steps: object) -> list[str]:
    if isinstance(steps, str):
        return [steps]
    assert isinstance(steps, tuple)
    return [name for step in steps for name in _flat(step)]


def _branch(
    weights: Mapping[str, Tensor], at: str, steps: tuple[str | tuple[str, ...], ...], x: Tensor
) -> Tensor:
    for step in steps:
        if isinstance(step, tuple):
            return torch.cat([_layer(weights, at, one, x) for one in step], dim=1)
        x = _layer(weights, at, step, x)
    return x


def _layer(weights: Mapping[str, Tensor], at: str, step: str, x: Tensor) -> Tensor:
    functional = torch.nn.functional
    if step == MEAN:
        return functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
    if step == MOST:
        return functional.max_pool2d(x, 3, stride=1, padding=1)
    if step == MOST_HALF:
        return functional.max_pool2d(x, 3, stride=2)
    name, half = at + step.rstrip("!").removesuffix("/2"), step.endswith("/2")
    kernel = weights[f"{name}.conv.weight"]
    border = (0, 0) if half or step.endswith("!") else tuple(n // 2 for n in kernel.shape[2:])
    x = functional.conv2d(x, kernel, stride=2 if half else 1, padding=border)
    scale, shift, mean, spread = (
        weights[f"{name}.bn.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
    )
    return functional.batch_norm(x, mean, spread, scale, shift, eps=EPSILON).relu()
