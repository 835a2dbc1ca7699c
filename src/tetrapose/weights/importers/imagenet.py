"""Backbones trained on ImageNet, out of torchvision's and timm's files: a start, no pose model.

torchvision: resnet18, 50, 101, 152. timm: the same, HRNet (hrnet_w18, w32, w48 and others) and the
plain vision transformers of 16-pixel patches (vit_small has 6 heads where ViTPose-S has 12, so of
these only base, large and huge are the same network). What classifies is left out.
Source: github.com/pytorch/vision (BSD-3-Clause), torchvision/models/resnet.py;
github.com/huggingface/pytorch-image-models (Apache-2.0), timm/models/{resnet,hrnet,
vision_transformer}.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from tetrapose.weights.files import WeightsError
from tetrapose.weights.importers import convolutional, transformer
from tetrapose.weights.importers.common import (
    WRAPPERS,
    Choice,
    Network,
    Tensors,
    some,
    unwrap,
)

CLASSIFIES = re.compile(
    r"(fc|head|classifier|final_layer|incre_modules|downsamp_modules|fc_norm)\."
)


def read(content: Mapping[str, Any], path: Path, choice: Choice) -> Network:
    """The backbone of a file of either; its head stays to be trained."""
    tensors = unwrap(
        content, path, (choice.part,) if choice.part else ("state_dict_ema", *WRAPPERS)
    )
    left = tuple(name for name in tensors if CLASSIFIES.match(name))
    kept = {name: value for name, value in tensors.items() if name not in left}
    found = _vit(kept, path, choice) if "pos_embed" in kept else _convolutional(kept, path)
    known = [name for name in left if not name.endswith("num_batches_tracked")]
    return replace(found, left_out=(*found.left_out, *known), num_keypoints=None)


def _convolutional(tensors: Tensors, path: Path) -> Network:
    if any(name.startswith("part_layers.") for name in tensors):
        raise WeightsError(f"{path}: a pose network; import it by its own kind")
    # a head of no keypoints, so that the network is recognised as any other
    stem = tensors.get("conv1.weight")
    if stem is None:
        raise WeightsError(f"{path}: no ResNet, HRNet or ViT; its tensors are {some(tensors, 4)}")
    found = convolutional.network({**tensors, "final_layer.weight": torch.empty(0, 1, 1, 1)}, path)
    kept = {k: v for k, v in found.tensors.items() if k != "final_layer.weight"}
    return replace(found, tensors=kept)


def _vit(tensors: Tensors, path: Path, choice: Choice) -> Network:
    renamed = {re.sub(r"^norm\.", "last_norm.", name): v for name, v in tensors.items()}
    places = renamed["pos_embed"]
    side = round((places.shape[1] - 1) ** 0.5)
    if places.ndim != 3 or side * side + 1 != places.shape[1] or "cls_token" not in renamed:
        raise WeightsError(f"{path}: not a plain ViT with a class token and a square grid")
    size = choice.size or (192, 256)
    renamed["pos_embed"] = transformer.resample(places, size)
    alone = replace(choice, head=False, size=size)
    found = transformer.network(renamed, {}, path, choice=alone, size=size)
    if found.arguments["size"] == "s":
        raise WeightsError(f"{path}: vit_small has 6 heads and ViTPose-S 12; another network")
    note = f"position embeddings resampled from {side}x{side} to {size[0] // 16}x{size[1] // 16}"
    return replace(found, notes=(note,))
