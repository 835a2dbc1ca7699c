"""Backbones as two files, as models are: tensors to start a training from, and their card.

``checkpoint_path=FILE.safetensors`` takes what fits by name. The card holds format, kind
("backbone"), architecture, normalisation, training, code_version and sha256.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as to_bytes
from torch import Tensor

from tetrapose import __version__
from tetrapose.weights import card as cards
from tetrapose.weights.files import (
    WeightsError,
    locate,
    parse_tensors,
    read_bytes,
    replace_file,
)

FORMAT = 1
KIND = "backbone"
# what stands behind the backbones of our networks, and is left to be trained
HEADS = (
    "final_layer.", "deconv_layers.", "keypoint_head.", "part_layers.", "lateral.", "merge.",
    "head.",
)  # fmt: skip


def save(
    path: Path,
    tensors: Mapping[str, Tensor],
    *,
    builder: str,
    arguments: Mapping[str, Any],
    normalisation: Mapping[str, Any],
    training: Mapping[str, Any],
    dtype: torch.dtype = torch.float32,
) -> dict[str, Any]:
    """Write all of a builder's network but its head, and the card; gives the card as written.

    Raises WeightsError, before anything is written, for tensors that are not those of the network's
    backbone, and for values that are not finite.
    """
    architecture = {"builder": builder, "arguments": dict(arguments)}
    whole = cards.build_network(architecture, path, num_keypoints=1).state_dict()
    part = {name: value for name, value in whole.items() if not name.startswith(HEADS)}
    cards.demand_match(part, tensors, path, what=f"the backbone of {builder}")
    kept = {name: cards.stored(value, dtype) for name, value in tensors.items()}
    broken = [name for name, value in kept.items() if not value.isfinite().all()]
    if broken:
        raise WeightsError(f"{path}: not saved, since weights are not finite: {broken[0]}")
    data = to_bytes(kept)
    written = {
        "format": FORMAT,
        "kind": KIND,
        "architecture": architecture,
        "normalisation": cards.plain(normalisation),
        "training": cards.plain(training),
        "code_version": __version__,
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    text = json.dumps(written, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    replace_file(path, data)
    replace_file(path.with_suffix(".json"), text.encode())
    return written


def is_backbone(name_or_path: str | Path) -> bool:
    """Whether the card of a fetched name's or a path's file says that it is a backbone."""
    try:
        card = read(name_or_path)
    except (ValueError, RecursionError):  # no such file, another kind of file, no card
        return False
    return isinstance(card, dict) and card.get("kind") == KIND


def read(name_or_path: str | Path) -> dict[str, Any]:
    """The card of a backbone."""
    return json.loads(read_bytes(locate(name_or_path).with_suffix(".json")))


def load(name_or_path: str | Path) -> dict[str, Tensor]:
    """The tensors of a backbone's file, whole and the ones its card was written for, as float32."""
    path = locate(name_or_path)
    data = read_bytes(path)
    card = read(path)
    if hashlib.sha256(data).hexdigest() != card.get("sha256"):
        parse_tensors(data, path)  # a file cut short says so itself
        raise WeightsError(
            f"{path}: is not the file that {path.stem}.json was written for (sha256 differs);"
            " import it again"
        )
    tensors = parse_tensors(data, path)
    return {n: v.float() if v.is_floating_point() else v for n, v in tensors.items()}
