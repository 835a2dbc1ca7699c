"""What a ControlNet is trained with: every value on which its weights depend, and a few beside."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from tetrapose.errors import UserError

OPTIMIZERS = ("adamw", "adamw8bit")
PRECISIONS = ("float32", "bfloat16", "float16")
SCHEDULES = ("constant", "cosine")
# what may differ when a run goes on: how long, how it is shown and how fast it reads
FREE = ("steps", "every", "look", "look_steps", "guidance", "workers", "patience", "most_back")


@dataclass(frozen=True)
class Settings:
    """The rules of a run.

    ``base`` is the folder or name of a Stable Diffusion 1.5, 2.1 or SDXL pipeline; ``start`` "unet"
    (from scratch: a copy of its encoder) or the folder of a ControlNet to go on from. With ``lora``
    above 0 only low-rank additions of that rank are learned, besides the layers through which the
    pose picture comes in and the residuals go out.

    ``batch`` triplets a process and pass, ``accumulate`` passes a step. ``lr`` is reached after
    ``warmup`` steps, then ``schedule``. ``min_snr`` is gamma, 0 off; ``ema`` the decay of the
    averaged weights, 0 off; ``drop`` the share of captions left out; ``clip`` the largest norm of
    the gradient. ``checkpointing`` trades a third of the speed for memory. ``skeleton`` and
    ``style`` are those expected of the triplets, "" any.

    A checkpoint is written ``every`` so many steps; pictures are made every ``look`` steps of
    ``shown`` triplets that are held out. ``patience`` steps in a row that are not finite lead back
    to the last checkpoint, more than ``most_back`` such ways back without a new one end the run.

    Source of lr, and of 50 % dropped captions as the other end of ``drop``: Zhang et al., Adding
    Conditional Control to Text-to-Image Diffusion Models, 2023 (lr 1e-5). Of min_snr 5: Hang et
    al., Efficient Diffusion Training via Min-SNR Weighting Strategy, 2023.
    """

    base: str
    start: str = "unet"
    lora: int = 0
    steps: int = 50_000
    batch: int = 4
    accumulate: int = 1
    lr: float = 1e-5
    warmup: int = 500
    schedule: str = "constant"
    weight_decay: float = 1e-2
    clip: float = 1.0
    min_snr: float = 5.0
    ema: float = 0.9999
    drop: float = 0.1
    optimizer: str = "adamw"
    precision: str = "float32"
    checkpointing: bool = False
    cache: bool = False
    skeleton: str = ""
    style: str = ""
    seed: int = 0
    window: int = 16
    every: int = 1000
    look: int = 1000
    shown: int = 4
    look_steps: int = 30
    guidance: float = 7.5
    workers: int = 2
    patience: int = 10
    most_back: int = 3

    def __post_init__(self) -> None:
        bounds = {
            "lora": (0, 1024), "steps": (1, 10**8), "batch": (1, 4096), "accumulate": (1, 4096),
            "lr": (0, 1), "warmup": (0, 10**6), "weight_decay": (0, 1), "clip": (1e-6, 1e6),
            "min_snr": (0, 1000), "ema": (0, 0.999999), "drop": (0, 1), "window": (1, 10**6),
            "every": (1, 10**8), "look": (1, 10**8), "shown": (0, 64), "look_steps": (1, 1000),
            "guidance": (0, 100), "workers": (0, 64), "patience": (1, 10**6),
            "most_back": (0, 1000), "seed": (0, 2**32 - 1),
        }  # fmt: skip
        for name, (low, high) in bounds.items():
            if not low <= getattr(self, name) <= high:
                raise UserError(f"{name.replace('_', '-')} {getattr(self, name)}: {low}..{high}")
        for name, known in (
            ("optimizer", OPTIMIZERS), ("precision", PRECISIONS), ("schedule", SCHEDULES)
        ):  # fmt: skip
            if getattr(self, name) not in known:
                raise UserError(f"{name} {getattr(self, name)!r}: it is one of {', '.join(known)}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def fixed(self) -> dict[str, Any]:
        """What must not change when a run goes on."""
        # a cosine ends at the last step: another number of steps is another schedule
        free = [name for name in FREE if name != "steps" or self.schedule == "constant"]
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in free}


def rate(settings: Settings, step: int) -> float:
    """The learning rate of a step, counted from 0."""
    import math

    if step < settings.warmup:
        return settings.lr * (step + 1) / settings.warmup
    if settings.schedule == "constant":
        return settings.lr
    done = (step - settings.warmup) / max(settings.steps - settings.warmup, 1)
    return settings.lr * (1 + math.cos(math.pi * min(done, 1.0))) / 2
