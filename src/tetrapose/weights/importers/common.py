"""What the importers share: tensors out of their wrappings, and what is made of them.

A checkpoint is read as tensors and plain values only. Nothing is guessed from its file name.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tetrapose.weights.files import (
    SUFFIX,
    WeightsError,
    load_checkpoint,
    parse_tensors,
    read_bytes,
)

Tensors = Mapping[str, Tensor]
MEAN = (0.485, 0.456, 0.406)  # of ImageNet, RGB in 0..1, as all of these systems use them
STD = (0.229, 0.224, 0.225)
# what a checkpoint may call its one network
WRAPPERS = ("state_dict", "model", "model_state_dict")


@dataclass(frozen=True)
class Choice:
    """What a checkpoint of several networks leaves open.

    ``part`` is the network's key in the file (teacher, student, state_dict); ``expert`` that of a
    ViTPose++ file; ``own_head`` says that its one head belongs to that expert; ``head`` False takes
    the backbone alone; ``size`` (width, height) is the input's, where it was told.
    """

    part: str | None = None
    expert: str | None = None
    own_head: bool = False
    head: bool = True
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Network:
    """What an importer read: tensors under the names of a network of ours, and what they mean.

    ``codec`` are the fields of a codec beside size and number of keypoints; ``size`` (width,
    height) that of the input; ``padding`` that of boxes. ``num_keypoints`` None is a backbone that
    has no head. ``left_out`` names tensors of the file that the network has no use for; ``notes``
    are lines for whoever imports it.
    """

    builder: str
    arguments: dict[str, Any]
    tensors: dict[str, Tensor]
    num_keypoints: int | None
    codec: dict[str, Any] = field(default_factory=dict)
    size: tuple[int, int] = (256, 256)
    padding: float = 1.25
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def open_checkpoint(path: Path) -> dict[str, Any]:
    """A file's content: names and tensors, or, in a pickle, plain values that wrap them."""
    if path.suffix == SUFFIX:
        return dict(parse_tensors(read_bytes(path), path))
    return load_checkpoint(path)


def unwrap(content: Mapping[str, Any], path: Path, keys: Collection[str] = WRAPPERS) -> Tensors:
    """The tensors of the first of ``keys`` that the file has, or those that stand bare in it.

    ``module.`` (DataParallel) is taken off. Raises WeightsError where there are none.
    """
    for key in keys:
        inner = content.get(key)
        if isinstance(inner, Mapping) and any(isinstance(v, Tensor) for v in inner.values()):
            return bare(inner)
    found = bare(content)
    if not found:
        inside = ", ".join(sorted(map(str, content))[:6]) or "nothing"
        raise WeightsError(f"{path}: holds no weights by name; there is: {inside}")
    return found


def bare(state: Mapping[Any, Any]) -> dict[str, Tensor]:
    """The tensors alone, without the ``module.`` that DataParallel puts before every name."""
    tensors = {str(k): v for k, v in state.items() if isinstance(v, Tensor)}
    while tensors and all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    return tensors


def below(tensors: Tensors, prefix: str) -> dict[str, Tensor]:
    """The tensors whose names start with ``prefix``, without it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def count_batches(tensors: Tensors) -> dict[str, Tensor]:
    """The tensors, and a 0 for every batch norm that counts no batches (before torch 0.4.1)."""
    norms = [name.removesuffix("running_var") for name in tensors if name.endswith("running_var")]
    return {**{f"{norm}num_batches_tracked": torch.tensor(0) for norm in norms}, **tensors}


def depth_of(tensors: Tensors, prefix: str) -> int:
    """How many numbered children ``prefix`` has: "layer1." counts layer1.0, layer1.1, ..."""
    numbers = {
        name.removeprefix(prefix).split(".")[0] for name in tensors if name.startswith(prefix)
    }
    return len({n for n in numbers if n.isdigit()})


def some(names: Collection[str], most: int = 3) -> str:
    """A few of many names for one line."""
    ordered = sorted(names)
    more = f" and {len(ordered) - most} more" if len(ordered) > most else ""
    return ", ".join(ordered[:most]) + more
