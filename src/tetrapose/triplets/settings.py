"""What a library is made with: every value on which the bytes of its shards depend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tetrapose.errors import UserError

STEPS_VERSION = 2  # of the steps: goes up when the same settings give other bytes
BUCKET = 64  # px in which sides of buckets are counted, as latent models ask for
WIDEST = 2.0  # ratio of a bucket's sides at most


@dataclass(frozen=True)
class Settings:
    """How triplets are made of pictures.

    ``size`` is the side in px; with ``buckets`` pictures keep about their aspect, and ``size``
    squared is about their area. Pictures whose shorter side is below ``least_side`` px or that hold
    over ``most_pixels`` are dropped. Two pictures repeat one another when their hashes differ in at
    most ``near`` of 64 bits (-1: exact copies alone count) and their small pictures correlate by
    ``like`` or more.

    Points that score ``threshold`` or more are found; an animal is drawn when ``least_share`` of
    its skeleton's points are found and inside the crop, and a picture kept when one is, or, with
    ``every``, when all are. ``skeleton`` names the one that labelled points are carried over to,
    "" leaves them on their own. ``model`` predicts where no points are labelled, in boxes that
    ``finder`` finds scoring ``least_score`` or more, except where boxes are labelled; two whose
    points come out ``same`` alike (OKS) are one animal; ``flip`` has crops looked at mirrored as
    well. With ``networks`` False, only labelled points are taken.

    ``style`` is the pose picture's. ``quality`` is the JPEG quality of the pictures (of overlays
    no more than 85), ``part`` the number of items of a shard, of the last ones fewer. ``captions``
    are the captioner's settings as plain values.

    Source of least_share: ControlNet's human pose set kept pictures with 30 % of points found
    (Zhang et al., Adding Conditional Control to Text-to-Image Diffusion Models, 2023). Of
    least_side: the bound of the animal set before this one.
    """

    size: int = 512
    buckets: bool = False
    least_side: int = 256
    most_pixels: int = 100_000_000
    near: int = 12
    like: float = 0.9
    threshold: float = 0.3
    least_share: float = 0.3
    every: bool = False
    skeleton: str = ""
    networks: bool = True
    model: str = "default"
    finder: str = "finder"
    least_score: float = 0.3
    same: float = 0.5
    flip: bool = True
    style: str = "animal_controlnet"
    quality: int = 95
    part: int = 500
    captions: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        bounds = {
            "size": (64, 2048), "least_side": (1, 4096), "most_pixels": (1, 178_000_000),
            "near": (-1, 24), "like": (0, 1), "threshold": (0, 1), "least_share": (0, 1),
            "least_score": (0.01, 0.99), "same": (0, 1), "quality": (1, 100), "part": (1, 100_000),
        }  # fmt: skip
        for name, (low, high) in bounds.items():
            if not low <= getattr(self, name) <= high:
                raise UserError(
                    f"{name.replace('_', ' ')} {getattr(self, name)}: it lies in {low}..{high}"
                )
        if self.size % 8:
            raise UserError(f"size {self.size}: a multiple of 8, as generators ask for")
        if self.buckets and self.size % BUCKET:
            raise UserError(f"size {self.size}: with buckets, a multiple of {BUCKET}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as they stand in ``library.json``."""
        return {**asdict(self), "captions": dict(self.captions)}
