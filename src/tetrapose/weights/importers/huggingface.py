"""ViTPose and ViTPose++ as `transformers` writes them (model.safetensors, pytorch_model.bin).

The published ViTPose++ files (usyd-community/vitpose-plus-*) hold six experts and one head: that
of COCO's people; their conversion leaves the other heads behind. So an expert of another set comes
in as a backbone to start from (--backbone), or, where the head was trained anew with that expert,
with --own-head. The authors' files have all heads (import vitpose).
Source: github.com/huggingface/transformers (Apache-2.0), models/vitpose/modeling_vitpose.py,
models/vitpose_backbone/modeling_vitpose_backbone.py, models/vitpose/convert_vitpose_to_hf.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tetrapose.weights.files import WeightsError
from tetrapose.weights.importers import transformer
from tetrapose.weights.importers.common import WRAPPERS, Choice, Network, Tensors, some, unwrap

NAMES = (
    (r"backbone\.embeddings\.position_embeddings", "pos_embed"),
    (r"backbone\.embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"backbone\.encoder\.layer\.(\d+)\.layernorm_before\.", r"blocks.\1.norm1."),
    (r"backbone\.encoder\.layer\.(\d+)\.layernorm_after\.", r"blocks.\1.norm2."),
    (r"backbone\.encoder\.layer\.(\d+)\.attention\.output\.dense\.", r"blocks.\1.attn.proj."),
    (r"backbone\.encoder\.layer\.(\d+)\.mlp\.", r"blocks.\1.mlp."),
    (r"backbone\.layernorm\.", "last_norm."),
    (r"head\.deconv1\.", "head:deconv_layers.0."),
    (r"head\.batchnorm1\.", "head:deconv_layers.1."),
    (r"head\.deconv2\.", "head:deconv_layers.3."),
    (r"head\.batchnorm2\.", "head:deconv_layers.4."),
    (r"head\.conv\.", "head:final_layer."),
)
SPLIT = re.compile(
    r"backbone\.encoder\.layer\.(\d+)\.attention\.attention\.(query|key|value)\.(weight|bias)"
)


def read(content: Mapping[str, Any], path: Path, choice: Choice) -> Network:
    """The network of a file of theirs, of one expert where it has several."""
    tensors = unwrap(content, path, (choice.part,) if choice.part else WRAPPERS)
    if not any(name.startswith("backbone.encoder.layer.") for name in tensors):
        raise WeightsError(
            f"{path}: no ViTPose as transformers writes it; its tensors are {some(tensors, 4)}"
        )
    renamed = _renamed(tensors, path)
    head = {k.removeprefix("head:"): v for k, v in renamed.items() if k.startswith("head:")}
    backbone = {k: v for k, v in renamed.items() if not k.startswith("head:")}
    merged, number = transformer.merge_expert(backbone, choice.expert, path)
    if number > 0 and choice.head and not choice.own_head:
        name = transformer.EXPERTS[number]
        raise WeightsError(
            f"{path}: its one head is of COCO's people, not of {name}: take the backbone alone to"
            f" train from (--backbone), or the authors' file (import vitpose); --own-head if this"
            f" head was trained with {name}"
        )
    found = transformer.network(merged, head, path, choice=choice, size=(192, 256))
    if number < 0:
        return found
    unused = [n for n in tensors if ".mlp.experts." in n and f".experts.{number}." not in n]
    note = f"expert {number} ({transformer.EXPERTS[number]}) of a ViTPose++ file"
    return replace(found, left_out=(*found.left_out, *unused), notes=(note,))


def _renamed(tensors: Tensors, path: Path) -> dict[str, Tensor]:
    """The authors' names; those of the head start with ``head:``. Raises for any name left over."""
    renamed: dict[str, Tensor] = {}
    threes: dict[str, dict[str, Tensor]] = {}
    strange = []
    for name, value in tensors.items():
        split = SPLIT.fullmatch(name)
        if split:
            threes.setdefault(f"blocks.{split[1]}.attn.qkv.{split[3]}", {})[split[2]] = value
            continue
        for pattern, ours in NAMES:
            found, hits = re.subn(f"^{pattern}", ours, name)
            if hits:
                renamed[found] = value
                break
        else:
            strange.append(name)
    halves = [name for name, three in threes.items() if len(three) < 3]
    if strange or halves:
        raise WeightsError(
            f"{path}: left over in a ViTPose of transformers: {some(strange or halves)}"
        )
    for name, three in threes.items():
        renamed[name] = torch.cat([three["query"], three["key"], three["value"]])
    return renamed
