"""What training a ControlNet of Stable Diffusion 1.5 or SDXL takes of memory and computing.

  python benchmarks/controlnet_memory.py

Networks are made on the meta device: nothing is computed and no weights are needed. Printed are
parameters, multiply-adds of a training step a picture, and memory by batch and settings, as
docs/controlnet.md gives them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from tetrapose.controlnet import memory
from tetrapose.controlnet.base import Base
from tetrapose.controlnet.conditions import given, nothing_told
from tetrapose.controlnet.settings import Settings

UNET = {
    "sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8,
    "block_out_channels": (320, 640, 1280, 1280), "in_channels": 4,
}  # fmt: skip
UNET_XL = {
    "sample_size": 128, "cross_attention_dim": 2048, "attention_head_dim": (5, 10, 20),
    "block_out_channels": (320, 640, 1280), "in_channels": 4, "use_linear_projection": True,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10), "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 2816,
}  # fmt: skip
# numbers in the frozen parts of Stable Diffusion 1.5 and SDXL: VAE and text encoders as published
VAE, CLIP, OPEN_CLIP = 83_653_863, 123_060_480, 694_659_840


def flops(base: Base, settings: Settings, size: tuple[int, int]) -> tuple[float, float]:
    """Floating-point operations of ControlNet and UNet, forward, of one picture."""
    unet, control, _ = memory._networks(base, settings)
    width, height = size
    latents = torch.zeros((1, 4, height // 8, width // 8), device="meta")
    steps = torch.zeros((1,), dtype=torch.long, device="meta")
    pose = torch.zeros((1, 3, height, width), device="meta")
    more = given(nothing_told(base.configs["unet"], 1, memory.TEXT, "meta"), size)
    with torch.no_grad(), FlopCounterMode(display=False) as first:
        down, middle = control(latents, steps, controlnet_cond=pose, return_dict=False, **more)
    with torch.no_grad(), FlopCounterMode(display=False) as second:
        unet(
            latents, steps, down_block_additional_residuals=down,
            mid_block_additional_residual=middle, return_dict=False, **more,
        )  # fmt: skip
    return float(first.get_total_flops()), float(second.get_total_flops())


def base_of(name: str, config: dict[str, Any], frozen: dict[str, int]) -> Base:
    """A base of these settings, without weights."""
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(config)
    count = sum(p.numel() for p in unet.parameters())
    configs = {
        "unet": dict(unet.config), "vae": {"block_out_channels": (128, 256, 512, 512)},
        "text_encoder": {}, "scheduler": {},
    }  # fmt: skip
    print(f"\n{name}: UNet {count / 1e6:.1f} M")
    return Base(Path(name), configs, {"unet": count, **frozen})


def table(base: Base, rows: list[Settings], side: int) -> None:
    """Operations of one picture, and a line of memory for each of the settings."""
    size = (side, side)
    one, two = flops(base, rows[0], size)
    print(
        f"forward, one picture of {side} px: ControlNet {one / 1e12:.3f}, UNet {two / 1e12:.3f}"
        " TFLOP"
    )
    for settings in rows:
        guess = memory.estimate(base, settings, size)
        print(
            f"batch {settings.batch:<3} {settings.precision:<9} {settings.optimizer:<10}"
            f"checkpointing {settings.checkpointing!s:<6} lora {settings.lora:<3}"
            f"learned {guess.learned / 1e6:6.1f} M  checkpoint {guess.checkpoint / 1e9:.1f} GB "
            f" {guess.told()}",
            flush=True,
        )


def main() -> None:
    base = base_of("sd15", UNET, {"vae": VAE, "text_encoder": CLIP})
    plain = Settings(base="sd15", precision="bfloat16", batch=4)
    rows = [
        plain, replace(plain, batch=8), replace(plain, batch=16),
        replace(plain, checkpointing=True), replace(plain, checkpointing=True, batch=16),
        replace(plain, checkpointing=True, batch=32),
        replace(plain, optimizer="adamw8bit", checkpointing=True, batch=1, ema=0.0),
        replace(plain, lora=64, checkpointing=True, ema=0.0),
        replace(plain, precision="float32"),
    ]  # fmt: skip
    table(base, rows, 512)
    texts = {"text_encoder": CLIP, "text_encoder_2": OPEN_CLIP}
    base = base_of("sdxl", UNET_XL, {"vae": VAE, **texts})
    plain = replace(plain, base="sdxl", batch=1, checkpointing=True)
    rows = [
        replace(plain, checkpointing=False), plain, replace(plain, batch=4),
        replace(plain, batch=8), replace(plain, optimizer="adamw8bit", ema=0.0),
        replace(plain, lora=64, ema=0.0), replace(plain, lora=64, ema=0.0, batch=4),
    ]  # fmt: skip
    table(base, rows, 1024)


if __name__ == "__main__":
    main()
