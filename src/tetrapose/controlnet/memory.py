"""How much memory a step takes: counted on networks without numbers, before any is loaded."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from tetrapose.controlnet.base import Base
from tetrapose.controlnet.conditions import given, nothing_told
from tetrapose.controlnet.settings import Settings

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
ADAM = {"adamw": 8, "adamw8bit": 2}  # bytes a learned number: two moments
TEXT = 77  # tokens of a caption
BESIDE = 1.0e9  # the driver's context and the libraries' workspaces; a rule of thumb


@dataclass(frozen=True)
class Estimate:
    """Bytes by what they are for; ``learned`` counts parameters."""

    learned: int
    frozen: float
    weights: float
    optimizer: float
    average: float
    activations: float
    beside: float = BESIDE

    @property
    def total(self) -> float:
        """All together."""
        return (
            self.frozen + self.weights + self.optimizer + self.average + self.activations
            + self.beside
        )  # fmt: skip

    @property
    def checkpoint(self) -> float:
        """Of ``last.ckpt`` on the disk."""
        return self.learned * 4.0 + self.optimizer + self.average

    def told(self) -> str:
        """In a line."""
        parts = {
            "base": self.frozen, "ControlNet and gradients": self.weights,
            "optimizer": self.optimizer, "average": self.average,
            "activations": self.activations, "beside": self.beside,
        }  # fmt: skip
        shown = ", ".join(f"{name} {value / 1e9:.1f}" for name, value in parts.items())
        return f"about {self.total / 1e9:.1f} GB ({shown})"


def estimate(base: Base, settings: Settings, size: tuple[int, int]) -> Estimate:
    """What a step on a batch of pictures of ``size`` (width, height) takes.

    Weights and optimizer are counted exactly; activations are all tensors that the backward pass
    keeps, found by a forward pass on the meta device with attention that keeps no matrix (as
    PyTorch's fused kernels). Allocators waste some beside.
    """
    wide = BYTES[settings.precision]
    unet, control, learned = _networks(base, settings)
    held = _held(unet, control, base, settings, size) * wide
    # the VAE's widest layer of one picture, which no gradient keeps: in, out and what is unfolded
    first = base.configs["vae"].get("block_out_channels", [128])[0]
    wide_vae = BYTES["float32"] if base.wide_vae else wide
    vae = 3.0 * first * math.prod(size) * wide_vae
    whole = sum(p.numel() for p in control.parameters())
    return Estimate(
        learned=learned,
        frozen=float(
            sum(base.parameters.values()) * wide + base.parameters["vae"] * (wide_vae - wide)
        ),
        weights=4.0 * whole + 4.0 * learned,
        optimizer=float(ADAM[settings.optimizer] * learned),
        average=4.0 * learned if settings.ema else 0.0,
        activations=max(held, vae),
    )


def available(device: str) -> float | None:
    """Free bytes of the device: of the GPU, or of the machine; None where it does not tell."""
    if device.startswith("cuda"):
        return float(torch.cuda.mem_get_info()[0])
    if not os.path.exists("/proc/meminfo"):  # not Linux
        return None
    with open("/proc/meminfo", encoding="ascii") as file:
        lines = dict(line.split(":", 1) for line in file)
    return float(lines["MemAvailable"].split()[0]) * 1024


def _networks(base: Base, settings: Settings) -> tuple[Any, Any, int]:
    """UNet and ControlNet on the meta device, and how many numbers learn."""
    from diffusers import ControlNetModel, UNet2DConditionModel

    from tetrapose.controlnet import networks

    with torch.device("meta"):
        unet: Any = UNet2DConditionModel.from_config(base.configs["unet"])
        unet.requires_grad_(False)
        control = ControlNetModel.from_unet(unet, load_weights_from_unet=False)
        learned = networks.prepare(control, settings)
    return unet, control, sum(p.numel() for p in learned.values())


def _held(unet: Any, control: Any, base: Base, settings: Settings, size: tuple[int, int]) -> float:
    """Numbers that the backward pass of a batch keeps."""
    batch, (width, height) = settings.batch, size
    tally = _Tally({id(p) for net in (unet, control) for p in net.parameters()})
    if settings.checkpointing:
        for net in (unet, control):
            net.train()
            net.enable_gradient_checkpointing(tally.checkpointed)
    latents = torch.zeros((batch, 4, height // base.factor, width // base.factor), device="meta")
    steps = torch.zeros((batch,), dtype=torch.long, device="meta")
    pose = torch.zeros((batch, 3, height, width), device="meta")
    more = given(nothing_told(base.configs["unet"], batch, TEXT, "meta"), size)
    with _fused(), saved_tensors_hooks(tally.hold, _same):
        down, middle = control(latents, steps, controlnet_cond=pose, return_dict=False, **more)
        unet(
            latents, steps, **more, down_block_additional_residuals=down,
            mid_block_additional_residual=middle, return_dict=False,
        )  # fmt: skip
    return tally.total + tally.most


class _Tally:
    """Counts tensors that are kept, each storage once, parameters never."""

    def __init__(self, parameters: set[int]) -> None:
        self.parameters = parameters
        self.seen: dict[int, Tensor] = {}  # held, so that no storage's place is used twice
        self.total = 0.0
        self.most = 0.0

    def hold(self, tensor: Tensor) -> Tensor:
        mark = tensor.untyped_storage()._cdata
        if id(tensor) not in self.parameters and mark not in self.seen:
            self.seen[mark] = tensor
            self.total += tensor.untyped_storage().nbytes() / tensor.element_size()
        return tensor

    def checkpointed(self, run: Any, *inputs: Any) -> Any:
        """A part that is computed again: inputs are kept, the rest of the largest for a while."""
        for one in inputs:
            if isinstance(one, Tensor):
                self.hold(one)
        inner = _Tally(self.parameters)
        with saved_tensors_hooks(inner.hold, _same):
            out = run(*inputs)
        self.most = max(self.most, inner.total)
        return out


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        out = torch.empty_like(query)
        context.save_for_backward(query, key, value, out)
        return out

    @staticmethod
    def backward(context: Any, *gradients: Any) -> Any:
        raise NotImplementedError("this is for counting alone")


@contextmanager
def _fused() -> Iterator[None]:
    """Attention that keeps its inputs and output, whatever the meta device would choose."""
    functional = torch.nn.functional
    kept = functional.scaled_dot_product_attention

    def attend(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Any:
        return _Attention.apply(query, key, value)

    functional.scaled_dot_product_attention = attend  # type: ignore[assignment]
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = kept


def _same(tensor: Tensor) -> Tensor:
    return tensor
