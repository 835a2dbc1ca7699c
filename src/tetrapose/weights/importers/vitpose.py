"""ViTPose and ViTPose++ as the authors publish them: ``backbone.*`` and ``keypoint_head.*``.

A ViTPose++ file has six experts and six heads, of which ``--expert`` takes one of each; its parts
that tools/model_split.py wrote are plain ViTPose. Heads of sets with fewer keypoints have rows to
spare, which are cut.
Source: github.com/ViTAE-Transformer/ViTPose (Apache-2.0), tools/model_split.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
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

HEAD = "keypoint_head."
OTHERS = "associate_keypoint_heads."
OUT = "final_layer."


def read(content: Mapping[str, Any], path: Path, choice: Choice) -> Network:
    """The network of a file of theirs, of one expert where it has several."""
    tensors = unwrap(content, path, (choice.part,) if choice.part else WRAPPERS)
    strange = [n for n in tensors if not n.startswith(("backbone.", HEAD, OTHERS))]
    if strange:
        raise WeightsError(f"{path}: left over beside backbone and head: {some(strange)}")
    backbone, number = transformer.merge_expert(below(tensors, "backbone."), choice.expert, path)
    head = below(tensors, HEAD)
    if number > 0:
        head = _own_head(tensors, number, path)
    found = transformer.network(backbone, head, path, choice=choice, size=(192, 256))
    if number < 0:
        return found
    note = f"expert {number} ({transformer.EXPERTS[number]}) of a ViTPose++ file, with its own head"
    unused = [n for n in tensors if ".mlp.experts." in n and f".experts.{number}." not in n]
    unused += [n for n in tensors if n.startswith(OTHERS) and f"{OTHERS}{number - 1}." not in n]
    unused += [n for n in tensors if n.startswith(HEAD) and number > 0]
    return replace(found, left_out=(*found.left_out, *unused), notes=(note,))


def _own_head(tensors: Tensors, number: int, path: Path) -> Tensors:
    head = below(tensors, f"{OTHERS}{number - 1}.")
    if not head:
        raise WeightsError(
            f"{path}: has expert {number} ({transformer.EXPERTS[number]}) and not its head"
        )
    count = transformer.COUNTS[number]
    return {k: v[:count] if k.startswith(OUT) else v for k, v in head.items()}
