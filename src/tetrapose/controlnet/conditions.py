"""What the networks are told beside a noisy picture: its words and, for SDXL, sizes and a summary.

Stable Diffusion 1.5 and 2.1 read one text encoder's last layer. SDXL reads the layers before the
last of two encoders side by side, and is told the second one's summary of the whole caption and six
numbers: the size that the picture once had, where it was cut out, and the size that is wanted.
Source: Podell et al., SDXL, 2023.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

SIZES = 6  # numbers that SDXL is told of sizes and places


@dataclass(frozen=True)
class Told:
    """Captions as networks read them: ``words`` (B, L, D), and SDXL's ``summary`` (B, P)."""

    words: Tensor
    summary: Tensor | None = None


@dataclass(frozen=True)
class Readers:
    """Text encoders with their tokenizers: one of Stable Diffusion 1.5 and 2.1, two of SDXL.

    With ``silence`` a caption that was left out is told as zeros, as SDXL learned it.
    """

    tokenizers: tuple[Any, ...]
    encoders: tuple[Any, ...]
    silence: bool = False

    @property
    def length(self) -> int:
        """Tokens of a caption: L of ``Told``."""
        most = self.encoders[0].config.max_position_embeddings
        return min(self.tokenizers[0].model_max_length, most)

    def read(self, captions: Sequence[str]) -> Told:
        """What is told of these captions, on the encoders' device."""
        with torch.no_grad():
            if len(self.encoders) == 1:
                return Told(self.encoders[0](self._ids(0, captions))[0])
            first, second = (
                encoder(self._ids(number, captions), output_hidden_states=True)
                for number, encoder in enumerate(self.encoders)
            )
            words = torch.cat([first.hidden_states[-2], second.hidden_states[-2]], dim=-1)
            summary = second.text_embeds
        if self.silence:
            spoken = torch.tensor([bool(text) for text in captions], device=words.device)
            words = words * spoken[:, None, None]
            summary = summary * spoken[:, None]
        return Told(words, summary)

    def _ids(self, number: int, captions: Sequence[str]) -> Tensor:
        ids = self.tokenizers[number](
            list(captions), padding="max_length", truncation=True, return_tensors="pt",
            max_length=self.length,
        ).input_ids  # fmt: skip
        return ids.to(self.encoders[number].device)


def given(told: Told, size: tuple[int, int]) -> dict[str, Any]:
    """Arguments of a UNet or ControlNet for pictures of ``size`` (width, height), shown whole."""
    if told.summary is None:
        return {"encoder_hidden_states": told.words}
    width, height = size
    numbers = torch.tensor([[height, width, 0, 0, height, width]], device=told.words.device)
    more = {"text_embeds": told.summary, "time_ids": numbers.float().repeat(len(told.words), 1)}
    return {"encoder_hidden_states": told.words, "added_cond_kwargs": more}


def summary_width(unet: dict[str, Any]) -> int:
    """P of the summary that a UNet with this config is told, 0 for none."""
    whole = unet.get("projection_class_embeddings_input_dim") or 0
    return whole - SIZES * (unet.get("addition_time_embed_dim") or 0) if whole else 0


def nothing_told(unet: dict[str, Any], count: int, length: int, device: str) -> Told:
    """Zeros in the shapes that a UNet with this config is told, for ``count`` captions."""
    wide = summary_width(unet)
    words = torch.zeros((count, length, unet["cross_attention_dim"]), device=device)
    return Told(words, torch.zeros((count, wide), device=device) if wide else None)
