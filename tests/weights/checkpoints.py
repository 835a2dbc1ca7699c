"""Miniature checkpoints under the names that other systems write, from a small network of ours.

The names are those of the repositories that each function names; benchmarks/parity/importers.py
compares them with what the systems themselves write.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tetrapose import skeletons
from tetrapose.models import vitpose as vit
from tetrapose.models.hrnet import hrnet
from tetrapose.models.simple_baseline import simple_baseline
from tetrapose.weights.importers import Imported, Meaning, import_file
from tetrapose.weights.importers.common import Choice

State = dict[str, Tensor]


def scrambled(model: nn.Module, seed: int = 0) -> nn.Module:
    """The network with weights and statistics that make every layer count."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in model.state_dict().items():
        if not value.is_floating_point():
            continue
        if name.endswith("running_var") or (value.ndim == 1 and name.endswith("weight")):
            value.uniform_(0.5, 1.5, generator=generator)
        elif value.ndim < 2:
            value.uniform_(-0.2, 0.2, generator=generator)
        else:
            bound = (3 / value[0].numel()) ** 0.5
            value.uniform_(-bound, bound, generator=generator)
    return model.eval()


def small_hrnet(keypoints: int = 17, *, parts: bool = False, width: int = 4) -> nn.Module:
    return scrambled(hrnet(keypoints, width=width, parts=parts))


def small_resnet(keypoints: int = 17) -> nn.Module:
    return scrambled(simple_baseline(keypoints, depth=18))


def state(model: nn.Module) -> State:
    return {name: value.clone() for name, value in model.state_dict().items()}


def save(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def prefixed(tensors: State, prefix: str) -> State:
    return {f"{prefix}{name}": value for name, value in tensors.items()}


def as_mmpose(tensors: State, head: str = "keypoint_head.") -> dict[str, Any]:
    """open-mmlab/mmpose: TopDown (0.x, keypoint_head) and TopdownPoseEstimator (1.x, head)."""
    heads = ("final_layer.", "deconv_layers.")
    return {
        "meta": {"mmpose_version": "0.18.0", "epoch": 210},
        "state_dict": {
            (head if name.startswith(heads) else "backbone.") + name: value
            for name, value in tensors.items()
        },
    }


def as_deeplabcut(tensors: State, width: int = 4) -> dict[str, Any]:
    """DeepLabCut 3: PoseModel over timm's features, whose last unit keeps all its outputs."""
    backbone = {n: v for n, v in tensors.items() if not n.startswith("final_layer.")}
    for target, scale in ((1, 2), (2, 4), (3, 8)):
        backbone[f"stage4.2.fuse_layers.{target}.0.0.0.weight"] = torch.zeros(width * scale, 1)
    head = {
        "deconv_layers.0.weight": tensors["final_layer.weight"].transpose(0, 1).contiguous(),
        "deconv_layers.0.bias": tensors["final_layer.bias"],
    }
    return {
        "model": {
            **prefixed(backbone, "backbone.model."),
            **prefixed(head, "heads.bodypart.heatmap_head."),
        },
        "metadata": {"epoch": 200, "metrics": {"test/mAP": 80.1}},
    }


def small_vitpose(keypoints: int = 17, head: str = "classic") -> nn.Module:
    """A ViTPose of the size that ``tiny_sizes`` has put among the known ones."""
    return scrambled(vit.vitpose(keypoints, size="tiny", head=head, input_size=(48, 64)))  # type: ignore[arg-type]


def as_vitpose_plus(tensors: State, experts: int = 6, own: int = 4, spare: int = 0) -> State:
    """ViTAE-Transformer/ViTPose, vit_moe.py: the last ``own`` rows of fc2 are expert 3's.

    Heads: keypoint_head is expert 0's, associate_keypoint_heads.N that of expert N + 1.
    """
    result, generator = {}, torch.Generator().manual_seed(5)
    for name, value in tensors.items():
        if ".mlp.fc2." in name:
            result[name] = value[:-own]
            for expert in range(experts):
                rows = (
                    value[-own:]
                    if expert == 3
                    else torch.randn(value[-own:].shape, generator=generator)
                )
                result[name.replace(".fc2.", f".experts.{expert}.")] = rows
        elif name.startswith("keypoint_head."):
            short = name.removeprefix("keypoint_head.")
            result[name] = torch.zeros_like(value)
            for other in range(experts - 1):
                rows = value if other == 2 else torch.zeros_like(value)
                if spare and short.startswith("final_layer."):
                    rows = torch.cat([rows, rows.new_ones(spare, *rows.shape[1:])])
                result[f"associate_keypoint_heads.{other}.{short}"] = rows
        else:
            result[name] = value
    result["backbone.cls_token"] = torch.zeros(1, 1, tensors["backbone.pos_embed"].shape[2])
    return result


def as_transformers(tensors: State) -> State:
    """huggingface/transformers: VitPoseForPoseEstimation."""
    pairs = (
        ("backbone.pos_embed", "backbone.embeddings.position_embeddings"),
        ("backbone.patch_embed.proj", "backbone.embeddings.patch_embeddings.projection"),
        ("backbone.last_norm", "backbone.layernorm"),
        ("backbone.blocks.", "backbone.encoder.layer."),
        (".norm1.", ".layernorm_before."),
        (".norm2.", ".layernorm_after."),
        (".attn.proj.", ".attention.output.dense."),
        ("keypoint_head.deconv_layers.0.", "head.deconv1."),
        ("keypoint_head.deconv_layers.1.", "head.batchnorm1."),
        ("keypoint_head.deconv_layers.3.", "head.deconv2."),
        ("keypoint_head.deconv_layers.4.", "head.batchnorm2."),
        ("keypoint_head.final_layer.", "head.conv."),
    )
    result = {}
    for name, value in tensors.items():
        for ours, theirs in pairs:
            name = name.replace(ours, theirs)
        if ".attn.qkv." in name:
            for part, rows in zip(("query", "key", "value"), value.chunk(3), strict=True):
                result[name.replace(".attn.qkv.", f".attention.attention.{part}.")] = rows.clone()
        else:
            result[name] = value
    return result


def as_mmpretrain(tensors: State) -> State:
    """open-mmlab/mmpretrain VisionTransformer without a class token, and MMPose 1.x' head."""
    pairs = (
        ("backbone.patch_embed.proj.", "backbone.patch_embed.projection."),
        ("backbone.last_norm.", "backbone.ln1."),
        ("backbone.blocks.", "backbone.layers."),
        (".norm1.", ".ln1."),
        (".norm2.", ".ln2."),
        (".mlp.fc1.", ".ffn.layers.0.0."),
        (".mlp.fc2.", ".ffn.layers.1."),
        ("keypoint_head.", "head."),
    )
    result = {}
    for name, value in tensors.items():
        for ours, theirs in pairs:
            name = name.replace(ours, theirs)
        result[name] = value
    places = tensors["backbone.pos_embed"]
    result["backbone.pos_embed"] = places[:, 1:] + places[:, :1]
    return result


def bring(kind: str, path: Path, *, meaning: Meaning | None = None, **choice: Any) -> Imported:
    """The file imported beside itself."""
    return import_file(
        kind, path, path.parent / "out.safetensors",
        choice=Choice(**choice), meaning=meaning or Meaning(skeleton=skeletons.load("ap10k")),
    )  # fmt: skip


def own_head(plus: State, state: State) -> State:
    """A file of experts whose one head is the fourth's."""
    kept = {n: v for n, v in plus.items() if not n.startswith("associate") and "cls_token" not in n}
    return {**kept, **{n: v for n, v in state.items() if n.startswith("keypoint_head.")}}
