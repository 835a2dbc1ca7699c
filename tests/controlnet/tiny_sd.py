"""Stable Diffusion and SDXL in miniature: random networks of some hundred thousand numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from tetrapose import skeletons
from tetrapose.synth.folder import write
from tetrapose.triplets.build import build
from tetrapose.triplets.settings import Settings

WIDTHS = (16, 32)
STYLE = "animal_controlnet-v1"


def base(folder: Path, *, prediction: str = "epsilon") -> Path:
    """A pipeline's folder as diffusers lays it down; 8 pixels a latent cell, as in real ones."""
    from transformers import CLIPTextModel

    torch.manual_seed(0)
    tokenizer(folder / "tokenizer")
    CLIPTextModel(_reads(16)).save_pretrained(folder / "text_encoder")
    _paints(folder, prediction, {"cross_attention_dim": 16, "attention_head_dim": 4})
    return folder


def base_xl(folder: Path) -> Path:
    """SDXL in miniature: two text encoders, the second with a projection; sizes are told too."""
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(1)
    tokenizer(folder / "tokenizer")
    tokenizer(folder / "tokenizer_2")
    CLIPTextModel(_reads(12, layers=2)).save_pretrained(folder / "text_encoder")
    second = CLIPTextModelWithProjection(_reads(20, layers=2, projection_dim=24))
    second.save_pretrained(folder / "text_encoder_2")
    told = {
        "addition_embed_type": "text_time", "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 6 * 8 + 24, "cross_attention_dim": 12 + 20,
        "attention_head_dim": (2, 4), "transformer_layers_per_block": (1, 2),
    }  # fmt: skip
    _paints(folder, "epsilon", told)
    index = {
        "_class_name": "StableDiffusionXLPipeline", "force_zeros_for_empty_prompt": True,
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
    }  # fmt: skip
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def _reads(width: int, layers: int = 1, **more: Any) -> Any:
    from transformers import CLIPTextConfig

    return CLIPTextConfig(
        vocab_size=516, hidden_size=width, intermediate_size=32, num_hidden_layers=layers,
        num_attention_heads=2, max_position_embeddings=16, bos_token_id=512, eos_token_id=513,
        pad_token_id=513, **more,
    )  # fmt: skip


def _paints(folder: Path, prediction: str, told: dict[str, Any]) -> None:
    from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel

    AutoencoderKL(
        block_out_channels=(8, 8, 8, 8), norm_num_groups=4, layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
    ).save_pretrained(folder / "vae")  # fmt: skip
    UNet2DConditionModel(
        sample_size=8, block_out_channels=WIDTHS, norm_num_groups=4, layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), **told,
    ).save_pretrained(folder / "unet")  # fmt: skip
    DDPMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
        prediction_type=prediction,
    ).save_pretrained(folder / "scheduler")  # fmt: skip


def tokenizer(folder: Path) -> Path:
    """CLIP's way of cutting words, with single bytes for a vocabulary."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in kept]
    letters = [chr(byte) for byte in kept] + [chr(256 + i) for i in range(len(rest))]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({w: i for i, w in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    told = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 16}
    (folder / "tokenizer_config.json").write_text(json.dumps(told))
    return folder


def clip(folder: Path) -> Path:
    """A CLIP model with random weights, as transformers keeps it."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    text = {**shape, "num_attention_heads": 2, "vocab_size": 516, "max_position_embeddings": 16}
    text |= {"bos_token_id": 512, "eos_token_id": 513, "pad_token_id": 513}
    seen = {**shape, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}
    config = CLIPConfig(text_config=text, vision_config=seen, projection_dim=8)
    CLIPModel(config).save_pretrained(folder)
    tokenizer(folder)
    side = {"height": 32, "width": 32}
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=side).save_pretrained(folder)
    return folder


def library(folder: Path, count: int = 12, *, part: int = 4, size: int = 64, seed: int = 5) -> Path:
    """Triplets of the menagerie's animals, labels taken."""
    write(folder / "drawn", count, seed=seed, size=(96, 96), animals=(1, 1))
    settings = Settings(
        size=size, least_side=32, part=part, networks=False, near=-1,
        captions={"mix": {"template": 1.0}},
    )  # fmt: skip
    build([f"menagerie:{folder / 'drawn'}"], folder / "lib", settings)
    return folder / "lib"


def pose_json(path: Path, size: tuple[int, int] = (64, 64)) -> Path:
    """A pose in the form of a triplet's points."""
    count = len(skeletons.load("animal_pose"))
    places = np.random.default_rng(3).uniform(8, 56, (count, 2)).round(1).tolist()
    animal = {
        "species": "dog", "bbox": [4, 4, 60, 60], "keypoints": [[x, y, 2] for x, y in places],
    }  # fmt: skip
    content = {"skeleton": "animal_pose", "size": list(size), "animals": [animal]}
    path.write_text(json.dumps(content))
    return path


def photo(path: Path, seed: int = 0) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def pixels(path: Path) -> np.ndarray:
    """A picture's pixels, its file closed."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))
