"""MMPose 0.x and 1.x: ``backbone.*`` with ``keypoint_head.*`` or ``head.*``.

HRNet and ResNet carry the authors' names below these prefixes. ViTPose is written in two ways: as
in the authors' repository (``backbone.blocks``), and by MMPose 1.x through mmpretrain
(``backbone.layers``). Inputs are those of MMPose's configs: 256x256 for animals, 192x256 for
ViTPose.
Source: github.com/open-mmlab/mmpose (Apache-2.0), mmpose/models and configs/animal_2d_keypoint;
github.com/open-mmlab/mmpretrain (Apache-2.0), mmpretrain/models/backbones/vision_transformer.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tetrapose.weights.files import WeightsError
from tetrapose.weights.importers import transformer
from tetrapose.weights.importers.common import (
    WRAPPERS,
    Choice,
    Network,
    Tensors,
    below,
    some,
    unwrap,
)
from tetrapose.weights.importers.convolutional import network

HEADS = ("head.", "keypoint_head.")
SIMCC = ("head.mlp.0.g", "head.cls_x.weight")
LOSSES = ("loss_module", "loss.")


def read(content: Mapping[str, Any], path: Path, choice: Choice) -> Network:
    """The network of a checkpoint of theirs."""
    tensors = unwrap(content, path, (choice.part,) if choice.part else WRAPPERS)
    if any(name in tensors for name in SIMCC):
        raise WeightsError(
            f"{path}: RTMPose comes in by its ONNX file (tetrapose weights import rtmpose"
            " FILE.onnx), which MMDeploy and the model's page give"
        )
    backbone, head = below(tensors, "backbone."), _head(tensors, path)
    strange = [
        name for name in tensors if not name.startswith(("backbone.", *HEADS, "data_preprocessor."))
    ]
    if any(name.startswith("associate_") for name in strange):
        raise WeightsError(f"{path}: a ViTPose++ file; import it by vitpose with --expert")
    if strange:
        raise WeightsError(f"{path}: left over beside backbone and head: {some(strange)}")
    if "pos_embed" in backbone:
        return transformer.network(
            transformer.from_mmpretrain(backbone), head, path, choice=choice, size=(192, 256)
        )
    clash = backbone.keys() & head.keys()
    if clash:
        raise WeightsError(f"{path}: backbone and head both have {some(clash)}")
    return network({**backbone, **head}, path, size=(256, 256))


def _head(tensors: Tensors, path: Path) -> Tensors:
    for prefix in HEADS:
        found = below(tensors, prefix)
        if found:
            return {k: v for k, v in found.items() if not k.startswith(LOSSES)}
    raise WeightsError(
        f"{path}: has no head.* or keypoint_head.*; a backbone alone is no pose model"
    )
