"""The loss of networks that are taught at several places, or a background beside the keypoints.

In training such a network puts out a tuple of outputs of one shape, the last of which is its
answer; at any other time the answer alone (``models.cpm``, ``models.hourglass``).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tetrapose.codecs import Codec
from tetrapose.errors import UserError

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
WITH_MAPS = ("heatmap", "signed")  # codecs of Gaussian maps, whose rest is background


def demand_background(model: nn.Module, codec: Codec) -> None:
    """Raise UserError where a network has a background map and the codec cannot teach it."""
    kind = codec.to_dict()["kind"]
    if getattr(model, "background", False) and kind not in WITH_MAPS:
        raise UserError(
            f"codec {kind!r} cannot teach the network's background map; "
            f"take codec={' or codec='.join(WITH_MAPS)}, or model.background=false"
        )


def supervised(
    loss: Loss, output: Tensor | tuple[Tensor, ...], target: Tensor, weights: Tensor
) -> Tensor:
    """The mean of ``loss`` over a network's outputs, each against the same target.

    Outputs with one map more than the target have the background in the last.
    Source: sum over stages in Wei et al. 2016 and Newell et al. 2016; the mean, so that losses of
    networks with more and fewer stages can be compared.
    """
    outputs = output if isinstance(output, tuple) else (output,)
    if outputs[0].shape[1] == target.shape[1] + 1:
        target, weights = with_background(target, weights)
    return torch.stack([loss(one, target, weights) for one in outputs]).mean()


def with_background(target: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Maps (B, K, h, w) and weights (B, K) with what no keypoint covers as one map more.

    It is 1 less the highest map (Wei et al. 2016). Unlabelled points may stand anywhere in it, so
    it weighs as much as the picture's points do on average.
    """
    rest = 1 - target.abs().amax(1, keepdim=True)
    return torch.cat((target, rest), 1), torch.cat((weights, weights.mean(1, keepdim=True)), 1)
