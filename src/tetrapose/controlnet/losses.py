"""What a denoiser is asked for and how much each noise level counts; averaged weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from tetrapose.errors import UserError

PREDICTIONS = ("epsilon", "v_prediction")


def signal_to_noise(alphas_cumprod: Tensor, timesteps: Tensor) -> Tensor:
    """(B,) alpha / (1 - alpha) at the timesteps (B,); alphas_cumprod (T,)."""
    alpha = alphas_cumprod.to(timesteps.device)[timesteps].double()
    return alpha / (1 - alpha)


def min_snr_weights(ratio: Tensor, gamma: float, prediction: str) -> Tensor:
    """(B,) weights of the squared error at signal-to-noise ratios (B,); ones for gamma 0.

    min(ratio, gamma) / ratio where noise is predicted, over ratio + 1 where velocity is: both
    weigh the error of the picture itself by min(ratio, gamma).
    Source: Hang et al., Efficient Diffusion Training via Min-SNR Weighting, 2023, sec. 3.4.
    """
    _demand_known(prediction)
    if gamma <= 0:
        return torch.ones_like(ratio)
    capped = ratio.clamp(max=gamma)
    return capped / (ratio if prediction == "epsilon" else ratio + 1)


def target_of(latents: Tensor, noise: Tensor, alpha: Tensor, prediction: str) -> Tensor:
    """What is to be predicted, (B, C, h, w), at cumulative alphas (B,): the noise or the velocity.

    Source of the velocity: Salimans and Ho, Progressive Distillation, 2022.
    """
    _demand_known(prediction)
    if prediction == "epsilon":
        return noise
    alpha = alpha.to(latents.dtype)[:, None, None, None]
    return alpha.sqrt() * noise - (1 - alpha).sqrt() * latents


def weighted(predicted: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Mean over a batch of the squared error (B, C, h, w), each picture by its weight (B,)."""
    error = (predicted.float() - target.float()).square().mean(dim=(1, 2, 3))
    return (error * weights.to(error)).mean()


def average_into(average: Mapping[str, Tensor], now: Mapping[str, Tensor], decay: float, step: int
) -> None:  # fmt: skip
    """Move averaged weights towards those of now, in place; the first steps count for more."""
    decay = min(decay, (1 + step) / (10 + step))
    with torch.no_grad():
        for name, value in average.items():
            value.lerp_(now[name].to(value), 1 - decay)


def _demand_known(prediction: str) -> None:
    if prediction not in PREDICTIONS:
        raise UserError(
            f"the base model predicts {prediction!r}; known are {', '.join(PREDICTIONS)}"
        )
