"""What training a Stable Diffusion 1.5 ControlNet takes of memory and computing, counted.

  python benchmarks/controlnet_memory.py

Networks are made on the meta device: nothing is computed and no weights are needed. Printed are
parameters, multiply-adds of a training step a picture, and memory by batch and settings, as
docs/controlnet.md gives them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from tetrapose.controlnet import memory
from tetrapose.controlnet.base import Base
from tetrapose.controlnet.settings import Settings

SIZE = (512, 512)
UNET = {
    "sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8,
    "block_out_channels": (320, 640, 1280, 1280), "in_channels": 4,
}  # fmt: skip
# numbers in the frozen parts of Stable Diffusion 1.5: VAE and text encoder as published
FROZEN = {"vae": 83_653_863, "text_encoder": 123_060_480}


def flops(base: Base, settings: Settings) -> tuple[float, float]:
    """Floating-point operations of ControlNet and UNet, forward, of one picture."""
    unet, control, _ = memory._networks(base, settings)
    width, height = SIZE
    latents = torch.zeros((1, 4, height // 8, width // 8), device="meta")
    steps = torch.zeros((1,), dtype=torch.long, device="meta")
    text = torch.zeros((1, memory.TEXT, 768), device="meta")
    pose = torch.zeros((1, 3, height, width), device="meta")
    with torch.no_grad(), FlopCounterMode(display=False) as first:
        down, middle = control(
            latents, steps, encoder_hidden_states=text, controlnet_cond=pose, return_dict=False
        )
    with torch.no_grad(), FlopCounterMode(display=False) as second:
        unet(
            latents, steps, encoder_hidden_states=text, down_block_additional_residuals=down,
            mid_block_additional_residual=middle, return_dict=False,
        )  # fmt: skip
    return float(first.get_total_flops()), float(second.get_total_flops())


def main() -> None:
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(UNET)
    count = sum(p.numel() for p in unet.parameters())
    configs = {
        "unet": dict(unet.config), "vae": {"block_out_channels": (128, 256, 512, 512)},
        "text_encoder": {}, "scheduler": {},
    }  # fmt: skip
    base = Base(Path("sd15"), configs, {"unet": count, **FROZEN})
    plain = Settings(base="sd15", precision="bfloat16", batch=4)
    print(f"UNet {count / 1e6:.1f} M")
    one, two = flops(base, plain)
    print(
        f"forward, one picture of 512 px: ControlNet {one / 1e12:.3f}, UNet {two / 1e12:.3f} TFLOP"
    )
    rows = [
        plain, replace(plain, batch=8), replace(plain, batch=16),
        replace(plain, checkpointing=True), replace(plain, checkpointing=True, batch=16),
        replace(plain, checkpointing=True, batch=32),
        replace(plain, optimizer="adamw8bit", checkpointing=True, batch=1, ema=0.0),
        replace(plain, lora=64, checkpointing=True, ema=0.0),
        replace(plain, precision="float32"),
    ]  # fmt: skip
    for settings in rows:
        guess = memory.estimate(base, settings, SIZE)
        print(
            f"batch {settings.batch:<3} {settings.precision:<9} {settings.optimizer:<10}"
            f"checkpointing {settings.checkpointing!s:<6} lora {settings.lora:<3}"
            f"learned {guess.learned / 1e6:6.1f} M  {guess.told()}",
            flush=True,
        )


if __name__ == "__main__":
    main()
