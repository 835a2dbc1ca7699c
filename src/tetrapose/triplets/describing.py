"""Pictures put into words by any image-to-text model of transformers, many at a time.

Captioning models (BLIP, BLIP-2, GIT, vision encoder and decoder) are given the picture, and the
prompt as the beginning of the text where there is one; models that are talked to (SmolVLM, LLaVA,
Qwen-VL and the like) are asked by their own chat template. Weights come from a folder, or from a
Hugging Face repository that transformers fetches; code that lies beside weights is not run, and
only safetensors are read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tetrapose.errors import UserError
from tetrapose.triplets.captions import CaptionSettings

ASKED = "Describe the animal and what is around it in one sentence."


@dataclass(frozen=True, eq=False)
class ImageToText:
    """An open model; ``version`` names the very weights."""

    model: Any
    processor: Any
    tokenizer: Any
    name: str
    version: str
    prompt: str
    most_tokens: int
    talks: bool

    def describe(self, pictures: Sequence[np.ndarray]) -> list[str]:
        """One text for each picture (H, W, 3) uint8 RGB, greedily and so always the same."""
        import torch

        if not len(pictures):
            return []
        images = _images(pictures)
        given = self._inputs(images)
        given = {
            key: value.to(self.model.device, self.model.dtype) if value.is_floating_point()
            else value.to(self.model.device)
            for key, value in given.items()
        }  # fmt: skip
        with torch.inference_mode():
            out = self.model.generate(**given, max_new_tokens=self.most_tokens, do_sample=False)
        if self.talks:
            out = out[:, given["input_ids"].shape[1] :]
        texts = self.tokenizer.batch_decode(out, skip_special_tokens=True)
        return [text.strip() for text in texts]

    def _inputs(self, images: list[Any]) -> dict[str, Any]:
        if self.talks:
            asked = [{"type": "image"}, {"type": "text", "text": self.prompt or ASKED}]
            text = self.processor.apply_chat_template(
                [{"role": "user", "content": asked}], add_generation_prompt=True
            )
            return dict(
                self.processor(
                    images=[[image] for image in images], text=[text] * len(images),
                    return_tensors="pt", padding=True,
                )
            )  # fmt: skip
        if self.prompt and hasattr(self.processor, "tokenizer"):
            return dict(
                self.processor(
                    images=images, text=[self.prompt] * len(images), return_tensors="pt",
                    padding=True,
                )
            )  # fmt: skip
        pixels = getattr(self.processor, "image_processor", self.processor)
        return {"pixel_values": pixels(images=images, return_tensors="pt")["pixel_values"]}


def open_describer(settings: CaptionSettings, *, device: str = "cpu") -> ImageToText:
    """The image-to-text model that the settings name.

    Raises UserError where transformers is missing, the model is none of that kind, or its weights
    are not there.
    """
    try:
        import transformers
        from transformers import AutoModelForImageTextToText, AutoProcessor, AutoTokenizer
    except ImportError:
        raise UserError(
            "captions by a model want transformers: pip install 'tetrapose[captions]'"
        ) from None
    where = settings.model
    quiet = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    try:
        processor = AutoProcessor.from_pretrained(where)
        tokenizer = getattr(processor, "tokenizer", None)
        if tokenizer is None:
            tokenizer = (
                processor if hasattr(processor, "batch_decode")
                else AutoTokenizer.from_pretrained(where)
            )  # fmt: skip
        if not hasattr(processor, "image_processor") and processor is tokenizer:
            processor = transformers.AutoImageProcessor.from_pretrained(where)
        model = AutoModelForImageTextToText.from_pretrained(where, use_safetensors=True)
    except Exception as error:  # noqa: BLE001 the library raises what its parts raise
        told = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(
            f"captions: {where!r} does not open as an image-to-text model ({told}); name a folder"
            " or a repository of one, with safetensors weights"
        ) from None
    finally:
        transformers.logging.set_verbosity(quiet)
    talks = bool(getattr(processor, "chat_template", None))
    if talks:
        tokenizer.padding_side = "left"  # what is generated begins where the question ends
    return ImageToText(
        model=model.eval().to(device),  # pyright: ignore[reportArgumentType]  # its stub
        processor=processor, tokenizer=tokenizer,
        name=Path(where).name if Path(where).exists() else where,
        version=digest(model), prompt=settings.prompt, most_tokens=settings.most_tokens,
        talks=talks,
    )  # fmt: skip


def digest(model: Any) -> str:
    """Twelve characters that change with any of a model's weights: of every tensor's name and sum.

    Sums in float64 instead of all bytes: a large model is named in seconds.
    """
    import torch

    seen = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        values = tensor.double() if tensor.is_floating_point() else tensor.long()
        weighed = float(values.sum()), float((values * values).sum().to(torch.float64))
        seen.update(f"{name} {tuple(tensor.shape)} {weighed[0]:.9g} {weighed[1]:.9g}".encode())
    return seen.hexdigest()[:12]


def _images(pictures: Sequence[np.ndarray]) -> list[Any]:
    from PIL import Image

    return [Image.fromarray(picture) for picture in pictures]
