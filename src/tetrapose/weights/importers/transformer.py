"""ViTPose under the authors' names, as every importer of it ends up with.

Source of the names: github.com/ViTAE-Transformer/ViTPose (Apache-2.0), mmpose/models/backbones/
vit_moe.py and tools/model_split.py; of mmpretrain's: github.com/open-mmlab/mmpretrain (Apache-2.0),
mmpretrain/models/backbones/vision_transformer.py.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from tetrapose.models.vitpose import PATCH, SIZES
from tetrapose.weights.files import WeightsError
from tetrapose.weights.importers.common import Choice, Network, Tensors, count_batches, depth_of

BUILDER = "tetrapose.models.vitpose:vitpose"
# unbiased: cells and crops as in UDP, peaks read by DARK's step
CODEC = {
    "kind": "heatmap", "sigma": 2.0, "window": True, "decoder": "dark_udp", "grid": "centres",
}  # fmt: skip
EXPERTS = ("coco", "aic", "mpii", "ap10k", "apt36k", "wholebody")  # in the order of ViTPose++
COUNTS = (17, 14, 16, 17, 17, 133)  # of their keypoints
COMMON_SIZES = ((192, 256), (256, 256), (288, 384), (224, 224), (256, 192))
FROM_MMPRETRAIN = (
    (r"^layers\.(\d+)\.ln1\.", r"blocks.\1.norm1."),
    (r"^layers\.(\d+)\.ln2\.", r"blocks.\1.norm2."),
    (r"^layers\.(\d+)\.ffn\.layers\.0\.0\.", r"blocks.\1.mlp.fc1."),
    (r"^layers\.(\d+)\.ffn\.layers\.1\.", r"blocks.\1.mlp.fc2."),
    (r"^layers\.(\d+)\.", r"blocks.\1."),
    (r"^ln1\.", "last_norm."),
    (r"^patch_embed\.projection\.", "patch_embed.proj."),
)


def network(
    backbone: Tensors, head: Tensors, path: Path, *, choice: Choice, size: tuple[int, int]
) -> Network:
    """ViTPose of these tensors, named within the backbone and within the head.

    ``size`` is that of the input where neither the choice nor the position embeddings say another.
    Without a head in the choice it is the backbone alone. Raises WeightsError for another network.
    """
    letter = _letter(backbone, path)
    side = choice.size or _size(backbone, size, path)
    tensors = {f"backbone.{k}": v for k, v in backbone.items() if k != "cls_token"}
    left = tuple(f"backbone.{k}" for k in backbone if k == "cls_token")
    arguments = {"size": letter, "input_size": list(side)}
    if not choice.head:
        return Network(BUILDER, arguments, tensors, None, size=side, left_out=left)
    weight = head.get("final_layer.weight")
    if weight is None or weight.ndim != 4:
        raise WeightsError(f"{path}: has no head that gives a map a keypoint (final_layer.weight)")
    tensors |= {f"keypoint_head.{k}": v for k, v in count_batches(head).items()}
    classic = "deconv_layers.0.weight" in head
    return Network(
        BUILDER, {**arguments, "head": "classic" if classic else "simple"}, tensors, len(weight),
        codec=CODEC, size=side, left_out=left,
    )  # fmt: skip


def merge_expert(
    backbone: Tensors, expert: str | None, path: Path
) -> tuple[dict[str, Tensor], int]:
    """A ViTPose++ backbone with one expert's rows joined to the shared ones, and its number.

    The last layer of each block gives the shared channels first, the expert's after them. -1 is a
    backbone without experts, which is given back as it is. Raises WeightsError for an expert that
    is not told or not there.
    """
    there = depth_of(backbone, "blocks.0.mlp.experts.")
    if there == 0:
        if expert is not None:
            raise WeightsError(
                f"{path}: has no experts: a plain ViTPose; import it without --expert"
            )
        return dict(backbone), -1
    names = EXPERTS[:there]
    if expert is None:
        raise WeightsError(f"{path}: a ViTPose++ file; choose an expert: {', '.join(names)}")
    if expert not in names and expert not in map(str, range(there)):
        raise WeightsError(f"{path}: no expert {expert!r}; there are: {', '.join(names)}")
    number = names.index(expert) if expert in names else int(expert)
    merged = {k: v for k, v in backbone.items() if ".mlp.experts." not in k}
    for name, shared in merged.items():
        match = re.fullmatch(r"(blocks\.\d+\.mlp)\.fc2\.(weight|bias)", name)
        if match:
            own = backbone.get(f"{match[1]}.experts.{number}.{match[2]}")
            if own is None or own.shape[1:] != shared.shape[1:]:
                raise WeightsError(f"{path}: expert {number} lacks its part of {name}")
            merged[name] = torch.cat([shared, own])
    return merged, number


def from_mmpretrain(backbone: Tensors) -> dict[str, Tensor]:
    """mmpretrain's names made the authors'; those that are theirs already stay.

    Its position embeddings have no row for the class token, which is then zeros.
    """
    if "ln1.weight" not in backbone:
        return dict(backbone)
    renamed = {}
    for name, value in backbone.items():
        for pattern, ours in FROM_MMPRETRAIN:
            name, hits = re.subn(pattern, ours, name)
            if hits:
                break
        renamed[name] = value
    places = renamed["pos_embed"]
    if "cls_token" not in backbone:
        renamed["pos_embed"] = torch.cat([torch.zeros_like(places[:, :1]), places], dim=1)
    return renamed


def resample(places: Tensor, size: tuple[int, int]) -> Tensor:
    """Position embeddings (1, 1 + n x n, C) for an input of ``size`` (width, height) in pixels."""
    side = round((places.shape[1] - 1) ** 0.5)
    plane = places[:, 1:].float().transpose(1, 2).unflatten(2, (side, side))
    rows, columns = size[1] // PATCH, size[0] // PATCH
    plane = functional.interpolate(plane, size=(rows, columns), mode="bicubic", align_corners=False)
    return torch.cat([places[:, :1].float(), plane.flatten(2).transpose(1, 2)], dim=1)


def _letter(backbone: Tensors, path: Path) -> str:
    places = backbone.get("pos_embed")
    if places is None or places.ndim != 3:
        raise WeightsError(f"{path}: no ViTPose, since it has no position embeddings (pos_embed)")
    shape = places.shape[2], depth_of(backbone, "blocks.")
    for letter, (channels, depth, _, _) in SIZES.items():
        if (channels, depth) == shape:
            return letter
    known = ", ".join(f"{c} channels in {d}" for c, d, _, _ in SIZES.values())
    raise WeightsError(
        f"{path}: a transformer of {shape[0]} channels in {shape[1]} blocks; ViTPose has {known}"
    )


def _size(backbone: Tensors, usual: tuple[int, int], path: Path) -> tuple[int, int]:
    cells = backbone["pos_embed"].shape[1] - 1
    for side in (usual, *COMMON_SIZES):
        if (side[0] // PATCH) * (side[1] // PATCH) == cells:
            return side
    raise WeightsError(
        f"{path}: made for pictures of {cells} patches of {PATCH}x{PATCH} pixels; say --size WxH"
    )
