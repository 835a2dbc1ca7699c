"""The folder of a Stable Diffusion pipeline, looked at before it is loaded: which parts, how big.

Nothing is fetched. A name is looked up among what the Hugging Face tools have fetched before.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tetrapose.errors import UserError

NEEDED = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
WEIGHTS = ("unet", "vae", "text_encoder")
NAMES = {
    "unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"
}  # fmt: skip
XL = "text_time"  # how a UNet of SDXL takes its second text and its sizes
LARGEST_HEADER = 100_000_000


@dataclass(frozen=True)
class Base:
    """A pipeline's folder with what its small files say: configs by part, parameters by part."""

    folder: Path
    configs: dict[str, dict[str, Any]]
    parameters: dict[str, int]

    @property
    def prediction(self) -> str:
        """ "epsilon" or "v_prediction"."""
        return str(self.configs["scheduler"].get("prediction_type", "epsilon"))

    @property
    def factor(self) -> int:
        """Pixels that a latent cell stands for, along each side."""
        return 2 ** (len(self.configs["vae"].get("block_out_channels", [0])) - 1)

    @property
    def multiple(self) -> int:
        """What sides of pictures must be multiples of, for halving in the UNet to come out even."""
        return self.factor * 2 ** (len(self.configs["unet"]["block_out_channels"]) - 1)

    @property
    def side(self) -> int:
        """Side in pixels of the pictures it was made for."""
        return int(self.configs["unet"].get("sample_size") or 64) * self.factor


def find_base(name: str | Path) -> Base:
    """The pipeline in a folder, or of a name that was fetched before; UserError for what lacks."""
    folder = _folder(name)
    missing = [f"{part}/" for part in NEEDED if not (folder / part).is_dir()]
    if missing:
        raise UserError(
            f"{folder}: lacks {', '.join(missing)}; the base is a diffusers pipeline's folder with"
            f" {', '.join(NEEDED)}"
        )
    names = {"scheduler": "scheduler_config.json"}
    configs = {
        part: _json(folder / part / names.get(part, "config.json"))
        for part in ("unet", "vae", "text_encoder", "scheduler")
    }
    if configs["unet"].get("addition_embed_type") == XL or (folder / "text_encoder_2").is_dir():
        raise UserError(
            f"{folder}: an SDXL pipeline; ControlNets are trained on Stable Diffusion 1.5 and 2.1"
            " here, SDXL is not supported"
        )
    if int(configs["unet"].get("in_channels", 4)) != 4:
        raise UserError(
            f"{folder}: its UNet takes masks or pictures (inpainting); give the plain one"
        )
    blocks = len(configs["vae"].get("block_out_channels", ()))
    if blocks != 4:
        raise UserError(f"{folder}: its VAE has {blocks} levels; ControlNets here go with 4")
    if not list((folder / "tokenizer").glob("*.json")):
        raise UserError(f"{folder / 'tokenizer'}: no vocabulary; fetch the folder again")
    parameters = {part: count_parameters(folder / part, NAMES[part]) for part in WEIGHTS}
    return Base(folder, configs, parameters)


def find_controlnet(path: str | Path, base: Base) -> dict[str, Any]:
    """The config of a ControlNet's folder that fits the base; UserError where it does not."""
    folder = Path(path)
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder}: no ControlNet ({folder / 'config.json'} is missing)")
    config = _json(folder / "config.json")
    count_parameters(folder, NAMES["unet"])
    for name in ("cross_attention_dim", "block_out_channels"):
        mine, due = config.get(name), base.configs["unet"].get(name)
        if mine != due:
            raise UserError(
                f"{folder}: was made for another base ({name} {mine}, the base's UNet has {due})"
            )
    return config


def count_parameters(folder: Path, stem: str) -> int:
    """Numbers in the safetensors files of a part, from their headers; UserError where damaged."""
    files = sorted(folder.glob(f"{stem}.safetensors")) or sorted(
        folder.glob(f"{stem}-0*.safetensors")
    )
    if not files:
        half = sorted(folder.glob(f"{stem}.fp16.safetensors"))
        pickles = sorted(folder.glob("*.bin"))
        why = "no safetensors file"
        if half:
            why = f"only {half[0].name}; rename it to {stem}.safetensors"
        elif pickles:
            why = f"only {pickles[0].name}, a pickle, which is not opened; fetch safetensors"
        raise UserError(f"{folder}: weights are missing ({why})")
    return sum(_numbers(path) for path in files)


def _numbers(path: Path) -> int:
    try:
        with open(path, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > LARGEST_HEADER:
                raise ValueError("no header")
            header = json.loads(file.read(length))
        tensors = [entry for name, entry in header.items() if name != "__metadata__"]
        due = 8 + length + max((entry["data_offsets"][1] for entry in tensors), default=0)
        if path.stat().st_size != due:
            raise ValueError(f"{path.stat().st_size:,} bytes where {due:,} are due")
        return sum(math.prod(entry["shape"]) for entry in tensors)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (ValueError, KeyError, TypeError, struct.error, AttributeError) as error:
        raise UserError(f"{path}: not a whole safetensors file ({error}); fetch it again") from None


def _folder(name: str | Path) -> Path:
    path = Path(name)
    if path.is_dir():
        return path
    text = str(name)
    if path.exists() or text.count("/") != 1 or text.startswith((".", "/", "~")):
        raise UserError(f"base {text}: no such folder")
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
    except ImportError:
        raise UserError(f"base {text}: no such folder") from None
    try:
        return Path(snapshot_download(text, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError, OSError, ValueError):
        raise UserError(
            f"base {text}: neither a folder nor fetched before; fetch it by hand (hf download"
            f" {text}; a gated model asks for hf auth login and its terms first)"
        ) from None


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); fetch the folder again") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: no settings of a network; fetch the folder again")
    return content
