"""Detectors of others behind the finder's interface: RT-DETR v2 and D-FINE through transformers.

Both are Apache-2.0, weights and code. Trained on COCO they know ten kinds of animals; of all else
that they see nothing is kept. Nothing is fetched: weights lie in a folder or in the local cache.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tetrapose.codecs.boxes import suppress
from tetrapose.data.coco_animals import KINDS
from tetrapose.data.groups import group_of
from tetrapose.errors import UserError
from tetrapose.inference.cutting import Picture
from tetrapose.inference.finder import Seen, grid, merged, open_picture

KNOWN = {"rtdetr": "PekingU/rtdetr_v2_r18vd", "dfine": "ustc-community/dfine-small-coco"}
FAMILIES = ("rt_detr_v2", "d_fine", "rt_detr")
SIDE = 640  # input pixels of both
OVERLAP = 0.7  # IoU: one animal taken for two kinds is told twice


@dataclass(frozen=True, eq=False)
class Detector:
    """A detector of transformers with its own preprocessing; ``kinds`` of its labels by number.

    ``tiles`` 2 or more looks again in overlapping squares, so many along the longer side.
    """

    model: Any
    processor: Any
    kinds: dict[int, str]
    name: str
    least: float = 0.3
    tiles: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def protocol(self) -> dict[str, Any]:
        """Which detector, and how it looks."""
        return {"finder": self.name, "tiles": self.tiles, "least_score": self.least}

    def find(self, image: Picture) -> Seen:
        """The animals of a picture; UserError for one that cannot be read."""
        pixels, size = open_picture(image, SIDE * self.tiles)
        scale = np.array([size[0] / pixels.shape[1], size[1] / pixels.shape[0]] * 2)
        first = self._look(pixels, [(0, 0, pixels.shape[1], pixels.shape[0])], scale, size)
        if self.tiles < 2:
            return first
        have = (pixels.shape[1], pixels.shape[0])
        parts = [tuple(int(v) for v in np.round(one + 0.5)) for one in grid(have, self.tiles)]
        return merged(first, self._look(pixels, parts, scale, size), self.least)

    @torch.inference_mode()
    def _look(
        self,
        pixels: np.ndarray,
        parts: Sequence[tuple[int, ...]],
        scale: np.ndarray,
        size: tuple[int, int],
    ) -> Seen:
        boxes, scores, kinds = [np.zeros((0, 4))], [np.zeros(0)], []
        height, width = pixels.shape[:2]
        for left, top, right, bottom in parts:
            right, bottom = min(right, width), min(bottom, height)
            part = np.ascontiguousarray(pixels[top:bottom, left:right])
            inputs = self.processor(images=part, return_tensors="pt").to(self.device)
            found = self.processor.post_process_object_detection(
                self.model(**inputs), threshold=self.least, target_sizes=[part.shape[:2]]
            )[0]
            corners, values = found["boxes"].double().cpu().numpy(), found["scores"].cpu().numpy()
            labels = found["labels"].tolist()
            inner = np.array([left > 0, top > 0, right < width, bottom < height])
            edges = np.array([2, 2, right - left - 2, bottom - top - 2])
            near = np.column_stack([corners[:, :2] <= edges[:2], corners[:, 2:] >= edges[2:]])
            keep = np.array([label in self.kinds for label in labels], dtype=bool)
            keep &= ~(near.reshape(-1, 4) & inner).any(axis=1)
            # theirs begin at a pixel's edge, ours at its centre
            boxes.append((corners[keep] + [left, top, left, top]) * scale - 0.5)
            scores.append(values[keep].astype(np.float64))
            kinds += [self.kinds[label] for label, k in zip(labels, keep, strict=True) if k]
        every = np.clip(np.concatenate(boxes), -0.5, np.tile(np.array(size) - 0.5, 2))
        values = np.concatenate(scores)
        rows = suppress(every, values, OVERLAP)
        groups = tuple(group_of(kinds[row]) or kinds[row] for row in rows)
        return Seen(every[rows], values[rows], groups, size)


def load_detector(
    name: str | Path, *, least: float, tiles: int | None, device: torch.device
) -> Detector:
    """The detector of ``KNOWN`` names or of a folder; UserError says what is missing."""
    try:
        from transformers import (  # pyright: ignore[reportMissingImports]
            AutoConfig,
            AutoImageProcessor,
            AutoModelForObjectDetection,
        )
    except ImportError:
        raise UserError(
            f"--finder {name}: wants the package transformers; pip install 'tetrapose[detectors]'"
        ) from None
    source = KNOWN.get(str(name), str(name))
    if not 0 < least < 1:
        raise UserError(f"the least score must lie in 0..1, not {least:g}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            config = AutoConfig.from_pretrained(source, local_files_only=True)
            if config.model_type not in FAMILIES:
                raise UserError(
                    f"{name}: a model of the kind {config.model_type}; due is RT-DETR or D-FINE"
                )
            processor = AutoImageProcessor.from_pretrained(source, local_files_only=True)
            model = AutoModelForObjectDetection.from_pretrained(
                source, local_files_only=True, use_safetensors=True
            )
    except (OSError, ValueError, ImportError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(_missing(name, source, error)) from None
    kinds = {int(k): str(v) for k, v in model.config.id2label.items() if str(v) in KINDS}
    if not kinds:
        raise UserError(f"{name}: none of its labels is an animal of COCO's ({', '.join(KINDS)})")
    return Detector(model.eval().to(device), processor, kinds, source, least, tiles or 1, device)


def _missing(name: str | Path, source: str, error: Exception) -> str:
    if Path(source).is_dir():
        return f"{source}: cannot be loaded ({' '.join(str(error).split())[:160]})"
    return (
        f"--finder {name}: the weights of {source} are not on this machine; where there is a"
        f" network run: hf download {source} --local-dir DIR; copy DIR here, and give --finder DIR"
    )
