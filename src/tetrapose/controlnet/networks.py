"""The networks of a run: the frozen base, the ControlNet that learns, and what is kept of it."""

from __future__ import annotations

import copy
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tetrapose.controlnet.base import XL, Base
from tetrapose.controlnet.conditions import Readers
from tetrapose.controlnet.settings import Settings
from tetrapose.errors import UserError
from tetrapose.triplets.library import told

LEARNED = (
    "to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "conv1", "conv2", "time_emb_proj",
)  # fmt: skip  # layers that low-rank additions are made to
WHOLE = ("controlnet_cond_embedding", "controlnet_down_blocks", "controlnet_mid_block")
"""Layers that learn whole beside low-rank additions: what the pose picture comes in through and
the residuals go out by. Fresh ones are zero, and no addition before them could learn at all."""


@dataclass
class Networks:
    """What takes part in a step; only ``control`` learns."""

    readers: Readers
    vae: Any
    unet: Any
    control: Any
    alphas: Tensor
    prediction: str
    device: torch.device
    dtype: torch.dtype

    def moments(self, pictures: Tensor) -> Tensor:
        """(B, 2C, h, w) mean and log variance of the latents of pictures (B, 3, H, W) uint8."""
        scaled = pictures.to(self.device).to(self.vae.dtype) / 127.5 - 1
        with torch.no_grad():
            return self.vae.encode(scaled).latent_dist.parameters

    def latents(self, moments: Tensor, noise: Tensor) -> Tensor:
        """(B, C, h, w) drawn latents of ``moments`` with noise of their shape."""
        mean, spread = moments.float().chunk(2, dim=1)
        # as diffusers' DiagonalGaussianDistribution bounds the logarithm
        drawn = mean + torch.exp(0.5 * spread.clamp(-30.0, 20.0)) * noise
        return drawn * self.vae.config.scaling_factor


def open_base(base: Base, *, device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """The frozen parts of a pipeline by name, on the device; SDXL's VAE stays in float32."""
    from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel

    _hush()
    where = str(base.folder)
    how: dict[str, Any] = {"torch_dtype": dtype, "use_safetensors": True}
    vae = {**how, "torch_dtype": torch.float32} if base.wide_vae else how
    try:
        parts: dict[str, Any] = {
            "readers": _readers(base, dtype),
            "vae": AutoencoderKL.from_pretrained(where, subfolder="vae", **vae),
            "unet": UNet2DConditionModel.from_pretrained(where, subfolder="unet", **how),
            "scheduler": DDPMScheduler.from_pretrained(where, subfolder="scheduler"),
        }
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        line = " ".join(str(error).split())[:160]
        raise UserError(f"{where}: cannot be loaded ({line}); fetch the folder again") from None
    for net in (*parts["readers"].encoders, parts["vae"], parts["unet"]):
        net.requires_grad_(False).eval().to(device)
    parts["vae"].enable_slicing()  # a picture at a time: eight of 1024 px would take 13 GB
    return parts


def _readers(base: Base, dtype: torch.dtype) -> Readers:
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    how: dict[str, Any] = {"dtype": dtype, "use_safetensors": True}
    kinds: dict[str, Any] = {"": CLIPTextModel}
    if base.family == XL:
        kinds["_2"] = CLIPTextModelWithProjection
    return Readers(
        tuple(CLIPTokenizer.from_pretrained(str(base.folder / f"tokenizer{end}")) for end in kinds),
        tuple(
            kind.from_pretrained(str(base.folder / f"text_encoder{end}"), **how)
            for end, kind in kinds.items()
        ),
        base.silence,
    )


def _hush() -> None:
    """No bars of loading, no notes on captions longer than a text encoder reads."""
    import diffusers
    import transformers

    for one in (diffusers.utils.logging, transformers.utils.logging):
        one.set_verbosity_error()
        one.disable_progress_bar()


def open_networks(settings: Settings, base: Base, device: torch.device) -> Networks:
    """Everything that a run needs; equal seeds give equal first weights."""
    dtype = getattr(torch, settings.precision)
    parts = open_base(base, device=device, dtype=dtype)
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        control = _control(settings, parts["unet"])
    if settings.checkpointing:
        control.enable_gradient_checkpointing()
        parts["unet"].enable_gradient_checkpointing()
        parts["unet"].train()  # diffusers checkpoints in this mode alone; it has no dropout
    return Networks(
        readers=parts["readers"],
        vae=parts["vae"],
        unet=parts["unet"],
        control=control.to(device).train(),
        alphas=parts["scheduler"].alphas_cumprod,
        prediction=base.prediction,
        device=device,
        dtype=dtype,
    )


def _control(settings: Settings, unet: Any) -> Any:
    from diffusers import ControlNetModel

    if settings.start == "unet":
        control = ControlNetModel.from_unet(unet)
    else:
        control = ControlNetModel.from_pretrained(
            settings.start, torch_dtype=torch.float32, use_safetensors=True
        )
    prepare(control, settings)
    return control


def prepare(control: Any, settings: Settings) -> dict[str, nn.Parameter]:
    """Say what learns, low-rank additions made where asked for; those parameters by name."""
    control.requires_grad_(True)
    if settings.lora:
        from peft import LoraConfig

        control.add_adapter(
            LoraConfig(r=settings.lora, lora_alpha=settings.lora, target_modules=list(LEARNED))
        )
        for name, parameter in control.named_parameters():
            parameter.requires_grad_("lora_" in name or name.startswith(WHOLE))
    return learned(control)


def learned(control: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that learn, by name."""
    return {name: p for name, p in control.named_parameters() if p.requires_grad}


def put(control: nn.Module, values: dict[str, Tensor]) -> None:
    """Set the parameters that learn, in place; ValueError where names or shapes are others."""
    mine = learned(control)
    if mine.keys() != values.keys():
        raise ValueError("not the weights of this run")
    with torch.no_grad():
        for name, parameter in mine.items():
            parameter.copy_(values[name])


def save(control: Any, folder: Path) -> None:
    """Write a ControlNet as diffusers reads it, low-rank additions added in; whole or not."""
    plain = control
    if getattr(control, "peft_config", None):
        plain = copy.deepcopy(control).to("cpu")
        plain.fuse_lora()
        plain.unload_lora()
    part = folder.with_name(f".{folder.name}.part")
    old = folder.with_name(f".{folder.name}.old")
    with told(folder):
        shutil.rmtree(part, ignore_errors=True)
        plain.save_pretrained(str(part), safe_serialization=True)
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            folder.rename(old)
        part.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
