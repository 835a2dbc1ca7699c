"""The denoising loss of a batch and of what is held out, by the latest weights or averaged ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from tetrapose.controlnet import losses, networks
from tetrapose.controlnet.conditions import given
from tetrapose.controlnet.loader import Batch, batch_of
from tetrapose.controlnet.stream import Position

if TYPE_CHECKING:
    from tetrapose.controlnet.training import Session

LEVELS = 4  # noise levels at which held-out triplets are scored


def objective(
    session: Session, batch: Batch, draw: torch.Generator, timesteps: Tensor | None = None
) -> Tensor:
    """The loss of a batch at drawn noise, and at drawn timesteps unless (B,) are given."""
    net, settings = session.net, session.settings
    keep = torch.is_grad_enabled() and bool(batch.rows[0] >= 0)  # rows of the stock, no others
    moments = session.cache.moments(net, batch, keep=keep)
    shape = (len(moments), moments.shape[1] // 2, *moments.shape[2:])
    spread, noise = torch.randn(2, *shape, generator=draw).to(net.device)
    if timesteps is None:
        timesteps = torch.randint(0, len(net.alphas), (len(moments),), generator=draw)
    timesteps = timesteps.to(net.device)
    latents = net.latents(moments, spread)
    alpha = net.alphas.to(net.device)[timesteps].float()
    mixed = alpha[:, None, None, None]
    noisy = mixed.sqrt() * latents + (1 - mixed).sqrt() * noise
    told = session.cache.read(net, batch, keep=keep)
    more = given(told, (batch.pictures.shape[3], batch.pictures.shape[2]))
    pose = batch.poses.to(net.device).float() / 255
    # a lone process that only looks must not wait for the others, as the wrapped one would
    control = session.control if torch.is_grad_enabled() else net.control
    with session.accelerator.autocast():
        down, middle = control(noisy, timesteps, controlnet_cond=pose, return_dict=False, **more)
        predicted = net.unet(
            noisy.to(net.dtype), timesteps, **more,
            down_block_additional_residuals=[one.to(net.dtype) for one in down],
            mid_block_additional_residual=middle.to(net.dtype), return_dict=False,
        )[0]  # fmt: skip
    ratio = losses.signal_to_noise(net.alphas, timesteps)
    weights = losses.min_snr_weights(ratio, settings.min_snr, net.prediction)
    target = losses.target_of(latents, noise, alpha, net.prediction)
    return losses.weighted(predicted, target, weights)


def blank() -> Batch:
    """A black picture without a caption, of no stock."""
    side = 64
    empty = torch.zeros((1, 3, side, side), dtype=torch.uint8)
    return Batch(empty, empty, ("",), (-1,), ("",), Position(), ())


def held_out_loss(session: Session) -> float:
    """Mean loss of the held-out triplets at fixed noise and fixed noise levels."""
    total = 0.0
    with averaged(session), torch.no_grad():
        for row in range(len(session.shown)):
            for level in range(LEVELS):
                draw = torch.Generator().manual_seed(row * LEVELS + level)
                at = (2 * level + 1) * len(session.net.alphas) // (2 * LEVELS)
                batch = batch_of(session.shown, np.array([row]))
                total += float(objective(session, batch, draw, torch.tensor([at])))
    return total / (len(session.shown) * LEVELS)


class averaged:
    """The averaged weights in place of the latest ones, for a while; nothing without averages."""

    def __init__(self, session: Session) -> None:
        self.control, self.average = session.net.control, session.state.average
        self.kept: dict[str, Tensor] = {}

    def __enter__(self) -> None:
        if self.average and not self.kept:
            now = networks.learned(self.control)
            self.kept = {name: p.detach().clone() for name, p in now.items()}
            networks.put(self.control, self.average)
        self.control.eval()

    def __exit__(self, *_: Any) -> None:
        if self.kept:
            networks.put(self.control, self.kept)
        self.control.train()
