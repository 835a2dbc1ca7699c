"""DeepLabCut 3 (PyTorch), HRNet top-down: SuperAnimal-Quadruped and models trained with it.

``model`` holds timm's HRNet as ``backbone.model.*`` and the maps' layer as
``heads.bodypart.heatmap_head``: a transposed 1x1 convolution (SuperAnimal), which is a convolution
with its first two axes exchanged, or a plain one (``final_conv``). A cell's centre is stride x
(cell + 1/2) from the crop's border, which is our grid. Boxes are taken without padding. Their width
parameter 17 makes Gaussians of deviation 2 x 17 / 3 = 11.3 pixels, 2.83 cells.
Source: github.com/DeepLabCut/DeepLabCut (LGPL-3.0; names and figures only): models/heads/
simple_head.py, models/target_generators/heatmap_targets.py, models/predictors/single_predictor.py,
modelzoo/model_configs/hrnet_w32.yaml, apis/utils.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tetrapose.weights.files import WeightsError
from tetrapose.weights.importers.common import Choice, Network, Tensors, below, some, unwrap
from tetrapose.weights.importers.convolutional import network

BACKBONE, HEAD = "backbone.model.", "heads.bodypart."
MAPS, REFINES = f"{HEAD}heatmap_head.", f"{HEAD}locref_head."
TRANSPOSED, PLAIN = "deconv_layers.0.", "final_conv."


def read(content: Mapping[str, Any], path: Path, choice: Choice) -> Network:
    """The network of a snapshot of theirs."""
    tensors = unwrap(content, path, (choice.part or "model", "state_dict"))
    strange = [name for name in tensors if not name.startswith((BACKBONE, MAPS, REFINES))]
    if strange:
        raise WeightsError(f"{path}: not a top-down HRNet of DeepLabCut 3; it has {some(strange)}")
    backbone = below(tensors, BACKBONE)
    if "stage4.0.branches.0.0.conv1.weight" not in backbone:
        raise WeightsError(f"{path}: its backbone is no HRNet; of DeepLabCut only HRNet comes in")
    notes = ["points between cells by DARK, where DeepLabCut gives whole cells"]
    refines = [name for name in tensors if name.startswith(REFINES)]
    if refines:
        notes.append("its location refinement is left out; DARK takes its place")
    found = network(
        {**backbone, **_head(below(tensors, MAPS), path)},
        path,
        codec={"sigma": 2.83, "unbiased": True, "decoder": "dark", "grid": "borders"},
        size=(256, 256),
        padding=1.0,
        notes=tuple(notes),
    )
    left = tuple(f"{BACKBONE}{name}" for name in found.left_out)
    return replace(found, left_out=(*left, *refines))


def _head(maps: Tensors, path: Path) -> dict[str, Any]:
    for prefix, turned in ((PLAIN, False), (TRANSPOSED, True)):
        weight, bias = maps.get(f"{prefix}weight"), maps.get(f"{prefix}bias")
        if weight is None or bias is None:
            continue
        if weight.ndim != 4 or len(maps) != 2 or tuple(weight.shape[2:]) != (1, 1):
            break
        exchanged = weight.transpose(0, 1).contiguous() if turned else weight
        return {"final_layer.weight": exchanged, "final_layer.bias": bias}
    raise WeightsError(
        f"{path}: the head is not one 1x1 layer, which is what comes in; it has {some(maps, 6)}"
    )
