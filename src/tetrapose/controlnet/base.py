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

from tetrapose.controlnet.conditions import summary_width
from tetrapose.errors import UserError

SD, XL = "Stable Diffusion", "SDXL"
NEEDED = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
SECOND = ("text_encoder_2", "tokenizer_2")  # that SDXL has beside them
DIFFUSERS = "diffusion_pytorch_model"  # how the files of networks that are not of text begin
LARGEST_HEADER = 100_000_000


@dataclass(frozen=True)
class Base:
    """A pipeline's folder with what its small files say: configs by part, parameters by part."""

    folder: Path
    configs: dict[str, dict[str, Any]]
    parameters: dict[str, int]

    @property
    def family(self) -> str:
        """``SD`` (1.5 and 2.1) or ``XL``."""
        return family_of(self.configs["unet"], self.folder)

    @property
    def wide_vae(self) -> bool:
        """Whether the VAE overflows half precision and stays in float32, as SDXL's does."""
        return self.family == XL and bool(self.configs["vae"].get("force_upcast", True))

    @property
    def silence(self) -> bool:
        """Whether a caption that is left out is told as zeros."""
        return self.family == XL and bool(
            self.configs.get("index", {}).get("force_zeros_for_empty_prompt", True)
        )

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
    _demand_parts(folder, NEEDED)
    unet = _json(folder / "unet" / "config.json")
    texts, words = ["text_encoder"], ["tokenizer"]
    if family_of(unet, folder) == XL:
        _demand_parts(folder, (*NEEDED, *SECOND))
        texts, words = [*texts, SECOND[0]], [*words, SECOND[1]]
    configs = {part: _json(folder / part / "config.json") for part in ("vae", *texts)}
    configs |= {"unet": unet, "scheduler": _json(folder / "scheduler" / "scheduler_config.json")}
    if (folder / "model_index.json").exists():
        configs["index"] = _json(folder / "model_index.json")
    if int(unet.get("in_channels", 4)) != 4:
        raise UserError(
            f"{folder}: its UNet takes masks or pictures (inpainting); give the plain one"
        )
    blocks = len(configs["vae"].get("block_out_channels", ()))
    if blocks != 4:
        raise UserError(f"{folder}: its VAE has {blocks} levels; ControlNets here go with 4")
    if configs["vae"].get("latents_mean") is not None:
        raise UserError(f"{folder}: its VAE shifts latents, which is not supported; give SDXL 1.0")
    for part in words:
        if not list((folder / part).glob("*.json")):
            raise UserError(f"{folder / part}: no vocabulary; fetch the folder again")
    _demand_texts_fit(folder, configs, texts)
    stems = {"unet": DIFFUSERS, "vae": DIFFUSERS} | dict.fromkeys(texts, "model")
    parameters = {part: count_parameters(folder / part, stem) for part, stem in stems.items()}
    return Base(folder, configs, parameters)


def family_of(unet: dict[str, Any], folder: Path) -> str:
    """``SD`` or ``XL`` by what a UNet is told beside words; UserError for any other."""
    kind = unet.get("addition_embed_type")
    if kind not in (None, "text_time"):
        raise UserError(
            f"{folder}: its UNet is told {kind!r}; bases are Stable Diffusion 1.5, 2.1 and SDXL"
        )
    return XL if kind else SD


def _demand_parts(folder: Path, parts: tuple[str, ...]) -> None:
    missing = [f"{part}/" for part in parts if not (folder / part).is_dir()]
    if missing:
        raise UserError(
            f"{folder}: lacks {', '.join(missing)}; the base is a diffusers pipeline's folder with"
            f" {', '.join(parts)}"
        )


def _demand_texts_fit(folder: Path, configs: dict[str, dict[str, Any]], texts: list[str]) -> None:
    """UserError where the UNet was made for other text encoders, as the refiner of SDXL is."""
    unet = configs["unet"]
    wide = sum(int(configs[name].get("hidden_size", 0)) for name in texts)
    pairs: list[tuple[Any, Any]] = [(wide, unet.get("cross_attention_dim"))]
    if len(texts) == 2:
        pairs.append((configs[texts[1]].get("projection_dim"), summary_width(unet)))
    for mine, due in pairs:
        if mine != due:
            raise UserError(
                f"{folder}: its text encoders give {mine} numbers where its UNet reads {due}; give"
                " a whole base pipeline (no refiner), or fetch the folder again"
            )


def find_controlnet(path: str | Path, base: Base) -> dict[str, Any]:
    """The config of a ControlNet's folder that fits the base; UserError where it does not."""
    folder = Path(path)
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder}: no ControlNet ({folder / 'config.json'} is missing)")
    config = _json(folder / "config.json")
    count_parameters(folder, DIFFUSERS)
    for name in ("cross_attention_dim", "block_out_channels", "addition_embed_type"):
        mine, due = config.get(name), base.configs["unet"].get(name)
        if mine != due:
            raise UserError(
                f"{folder}: was made for another base ({name} {mine}, the base's UNet has {due})"
            )
    kind = str(config.get("_class_name", "ControlNetModel"))
    if kind != "ControlNetModel":
        raise UserError(f"{folder}: holds a {kind}, where a ControlNetModel is due")
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
