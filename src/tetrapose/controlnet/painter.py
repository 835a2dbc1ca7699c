"""Pictures of posed animals: the one place where a pose becomes what the ControlNet is shown."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from tetrapose.controlnet import folder as files
from tetrapose.controlnet.base import XL, Base, find_base, find_controlnet
from tetrapose.controlnet.poses import Pose
from tetrapose.errors import UserError
from tetrapose.render.pose_picture import pose_picture

NEGATIVE = "low resolution, blurry, deformed, extra legs, missing legs, two heads, drawing, text"
TURNS = 2**32  # seeds wrap around here


@dataclass(frozen=True)
class How:
    """How a picture is painted. ``strength`` is the ControlNet's share, 1 all of it."""

    steps: int = 30
    guidance: float = 7.5
    strength: float = 1.0
    negative: str = NEGATIVE
    batch: int = 1

    def __post_init__(self) -> None:
        bounds = {"steps": (1, 1000), "guidance": (0, 100), "strength": (0, 4), "batch": (1, 256)}
        for name, (low, high) in bounds.items():
            if not low <= getattr(self, name) <= high:
                raise UserError(f"{name} {getattr(self, name)}: it lies in {low}..{high}")


class Posed(Protocol):
    """Animals in a picture of a size, as the studio has them."""

    @property
    def skeleton(self) -> Any: ...  # noqa: D102
    @property
    def size(self) -> tuple[int, int]: ...  # noqa: D102
    @property
    def instances(self) -> Any: ...  # noqa: D102
    @property
    def labels(self) -> tuple[str, ...]: ...  # noqa: D102


class Wish(Protocol):
    """What the studio asks for: ``count`` pictures, number i with the seed ``seed + i``."""

    @property
    def prompt(self) -> str: ...  # noqa: D102
    @property
    def posed(self) -> Posed: ...  # noqa: D102
    @property
    def count(self) -> int: ...  # noqa: D102
    @property
    def seed(self) -> int: ...  # noqa: D102


class Painter:
    """A base model with a ControlNet; fits the studio's seam (``generate``).

    ``style`` is the label of the pose pictures it learned, ``multiple`` what sides of pictures are
    multiples of, ``side`` the square root of the area it paints best.
    """

    def __init__(
        self, pipe: Any, *, style: str, title: str, multiple: int, side: int, how: How | None = None
    ) -> None:
        self.pipe, self.style, self.multiple, self.side = pipe, style, multiple, side
        self.how = how or How()
        self._title = title
        pipe.set_progress_bar_config(disable=True)

    @property
    def title(self) -> str:
        """What a page calls it."""
        return self._title

    def generate(self, wish: Wish) -> Iterator[np.ndarray]:
        """``wish.count`` pictures (H, W, 3) uint8 RGB of ``wish.posed.size``, one after another.

        Raises UserError for a pose that cannot be drawn and where memory does not suffice.
        """
        given = wish.posed
        pose = Pose(given.skeleton, given.size, given.instances, given.labels)
        seeds = [(wish.seed + number) % TURNS for number in range(wish.count)]
        shown = [self.drawn(pose)] * wish.count
        for pixels in self.paint([wish.prompt] * wish.count, shown, seeds):
            yield fitted(pixels, pose.size)

    def canvas(self, size: tuple[int, int]) -> tuple[int, int]:
        """The size (width, height) at which a picture of ``size`` is painted."""
        return canvas(size, self.side, self.multiple)

    def drawn(self, pose: Pose) -> np.ndarray:
        """The pose picture (H, W, 3) at the size that is painted, in the style that was learned."""
        size = self.canvas(pose.size)
        moved = pose.resized(size)
        return pose_picture(size, moved.instances, pose.skeleton, style=self.style)

    def paint(
        self, prompts: Sequence[str], poses: Sequence[np.ndarray], seeds: Sequence[int]
    ) -> Iterator[np.ndarray]:
        """Pictures (H, W, 3) uint8 RGB for pose pictures, in order; one seed gives one picture."""
        import torch

        for some in _alike(poses, self.how.batch):
            draws = [torch.Generator().manual_seed(int(seeds[i])) for i in some]
            shown = np.stack([poses[i] for i in some]).astype(np.float32) / 255
            try:
                latents = self.pipe(
                    prompt=[prompts[i] for i in some],
                    # SDXL learned zeros for no words, which is what it takes nothing for
                    negative_prompt=[self.how.negative] * len(some) if self.how.negative else None,
                    image=torch.from_numpy(shown).permute(0, 3, 1, 2),
                    height=shown.shape[1],
                    width=shown.shape[2],
                    num_inference_steps=self.how.steps,
                    guidance_scale=float(self.how.guidance),
                    controlnet_conditioning_scale=float(self.how.strength),
                    generator=draws,
                    output_type="latent",
                ).images
                made = decoded(self.pipe.vae, latents)
            except torch.OutOfMemoryError:
                raise UserError(
                    f"out of memory for {len(some)} pictures at once of"
                    f" {shown.shape[2]}x{shown.shape[1]}; give a smaller --batch or --size"
                ) from None
            for pixels in made:
                if not np.isfinite(pixels).all():
                    raise UserError("the network painted what is not finite; --precision float32")
                yield (pixels * 255).round().astype(np.uint8)


def load_painter(
    base: str | Path,
    controlnet: str | Path,
    *,
    style: str = "",
    how: How | None = None,
    device: str | None = None,
    precision: str = "",
) -> Painter:
    """A painter of folders: a pipeline, and a ControlNet as ``controlnet train`` leaves it.

    ``controlnet`` may be the run's folder. The style of its card is used; one without a card (made
    by others) needs ``style``. UserError for folders that lack something or do not belong together.
    """
    import torch
    from diffusers import ControlNetModel

    from tetrapose.controlnet.networks import open_base

    folder = Path(controlnet)
    if not (folder / "config.json").exists() and (folder / "controlnet").is_dir():
        folder = folder / "controlnet"
    found = find_base(base)
    find_controlnet(folder, found)
    card = files.read_card(folder)
    label = style or (card or {}).get("style", "")
    if not label:
        raise UserError(f"{folder}: has no card; --style tells how its pose pictures were drawn")
    if card is not None and style and style not in (label, card["style"]):
        raise UserError(f"{folder}: learned {card['style']}, not {style}")
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    dtype = getattr(torch, precision or ("float16" if where.type == "cuda" else "float32"))
    parts = open_base(found, device=where, dtype=dtype)
    control: Any = ControlNetModel.from_pretrained(
        str(folder), torch_dtype=dtype, use_safetensors=True
    )
    control.to(where)
    title = f"{folder.parent.name if folder.name == 'controlnet' else folder.name}"
    return painter_of(parts, control, found, style=label, title=title, how=how)


def painter_of(
    parts: dict[str, Any], control: Any, base: Base, *, style: str, title: str,
    how: How | None = None,
) -> Painter:  # fmt: skip
    """A painter of networks held already; ``parts`` as ``networks.open_base`` gives them."""
    from diffusers import (
        StableDiffusionControlNetPipeline,
        StableDiffusionXLControlNetPipeline,
        UniPCMultistepScheduler,
    )

    readers = parts["readers"]
    both: dict[str, Any] = {
        "vae": parts["vae"], "unet": parts["unet"], "controlnet": control,
        "scheduler": UniPCMultistepScheduler.from_config(parts["scheduler"].config),
        "text_encoder": readers.encoders[0], "tokenizer": readers.tokenizers[0],
        "feature_extractor": None,
    }  # fmt: skip
    if base.family == XL:
        pipe: Any = StableDiffusionXLControlNetPipeline(
            **both, text_encoder_2=readers.encoders[1], tokenizer_2=readers.tokenizers[1],
            force_zeros_for_empty_prompt=readers.silence, add_watermarker=False,
        )  # fmt: skip
    else:
        both["safety_checker"] = None
        pipe = StableDiffusionControlNetPipeline(**both, requires_safety_checker=False)
    return Painter(pipe, style=style, title=title, multiple=base.multiple, side=base.side, how=how)


def decoded(vae: Any, latents: Any) -> np.ndarray:
    """(B, H, W, 3) pictures from 0 to 1 of latents (B, C, h, w), in the VAE's own precision."""
    import torch

    with torch.no_grad():
        pixels = vae.decode(latents.to(vae.dtype) / vae.config.scaling_factor).sample
    return ((pixels / 2 + 0.5).clamp(0, 1)).permute(0, 2, 3, 1).float().cpu().numpy()


def canvas(size: tuple[int, int], side: int, multiple: int) -> tuple[int, int]:
    """Sides near those of ``size`` in shape and near ``side`` squared in area, as multiples."""
    width, height = size
    scale = side / math.sqrt(width * height)
    steps = [max(1, round(value * scale / multiple)) for value in (width, height)]
    return steps[0] * multiple, steps[1] * multiple


def fitted(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture (H, W, 3) brought to a size (width, height)."""
    if pixels.shape[1::-1] == size:
        return pixels
    smaller = size[0] * size[1] < pixels.shape[0] * pixels.shape[1]
    how = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return cv2.resize(pixels, size, interpolation=how)


def _alike(poses: Sequence[np.ndarray], most: int) -> Iterator[list[int]]:
    """Runs of neighbours of one shape, at most so many."""
    some: list[int] = []
    for number, pose in enumerate(poses):
        if some and (len(some) == most or pose.shape != poses[some[0]].shape):
            yield some
            some = []
        some.append(number)
    if some:
        yield some
