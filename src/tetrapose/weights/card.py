"""A model as two files: NAME.safetensors holds the tensors, NAME.json the card that explains them.

The card is enough to use the model: no YAML, no configuration. It holds

    format         version of this layout
    architecture   {"builder": "tetrapose.models.small:small", "arguments": {...}}
    skeleton       Skeleton.to_dict()
    codec          Codec.to_dict()
    normalisation  {"mean": [r, g, b], "std": [r, g, b]} of RGB in 0..1
    crop           {"padding": 1.25, ...}
    training       what it learned from and how
    scores         figures with their protocol
    code_version   of tetrapose when it was saved
    sha256         of the tensors file

and can name no code but a function of ``tetrapose.models``.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save as to_bytes
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from tetrapose import __version__, codecs, skeletons
from tetrapose.codecs import Codec
from tetrapose.skeletons import Skeleton
from tetrapose.weights.files import (
    SUFFIX,
    WeightsError,
    available,
    load_checkpoint,
    locate,
    parse_tensors,
    read_bytes,
    replace_file,
)

__all__ = [
    "Loaded", "WeightsError", "available", "describe", "load", "load_checkpoint", "read", "save",
]  # fmt: skip

FORMAT = 1
BUILDER = re.compile(r"(tetrapose\.models(?:\.[a-z]\w*)+):([a-z]\w*)")
KINDS = {
    "format": int, "architecture": dict, "skeleton": dict, "codec": dict, "normalisation": dict,
    "crop": dict, "training": dict, "scores": dict, "code_version": str, "sha256": str,
}  # fmt: skip


@dataclass(frozen=True)
class Loaded:
    """A model in evaluation mode with what its card says of its input and output."""

    model: nn.Module
    codec: Codec
    skeleton: Skeleton
    card: dict[str, Any]


def describe(
    builder: str,
    arguments: Mapping[str, Any],
    *,
    skeleton: Skeleton,
    codec: Codec,
    normalisation: Mapping[str, Any],
    crop: Mapping[str, Any],
    training: Mapping[str, Any] | None = None,
    scores: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A card for ``save``; ``builder`` is "tetrapose.models.FILE:FUNCTION".

    ``arguments`` are the builder's; the number of keypoints is the skeleton's and may be left out.
    """
    return {
        "architecture": {"builder": builder, "arguments": dict(arguments)},
        "skeleton": skeleton.to_dict(),
        "codec": codec.to_dict(),
        "normalisation": dict(normalisation),
        "crop": dict(crop),
        "training": dict(training or {}),
        "scores": dict(scores or {}),
    }


def save(
    path: str | Path,
    model: nn.Module,
    card: Mapping[str, Any],
    *,
    dtype: torch.dtype = torch.float16,
) -> dict[str, Any]:
    """Write the tensors and, beside them, the card with its format, code version and sha256.

    Matrices and kernels are stored as ``dtype``, vectors (biases, normalisation statistics) as they
    are: they weigh nothing and some overflow in half precision. What is written is checked to load
    again. Returns the card as written; raises WeightsError before anything is written.
    """
    path = Path(path)
    if path.suffix != SUFFIX:
        raise WeightsError(f"{path}: a model's file ends in {SUFFIX}")
    tensors = {name: stored(value, dtype) for name, value in model.state_dict().items()}
    broken = [name for name, value in tensors.items() if not value.isfinite().all()]
    if broken:
        raise WeightsError(f"{path}: not saved, since weights are not finite: {_some(broken)}")
    data = to_bytes(tensors)
    written = {
        **plain(card),
        "format": FORMAT,
        "code_version": __version__,
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    _assemble(written, parse_tensors(data, path), path)
    text = json.dumps(written, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    replace_file(path, data)
    replace_file(path.with_suffix(".json"), text.encode())
    return written


def load(
    name_or_path: str | Path,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Loaded:
    """The model of a shipped name or of a .safetensors file with its card beside it.

    Everything is checked before the first weight is set: the card whole, the file the one that the
    card was written for, every tensor present with its shape and none left over, one keypoint count
    throughout. ``dtype`` is that of the model's weights in memory. Raises WeightsError.
    """
    path = locate(name_or_path)
    card = read(path)
    data = read_bytes(path)
    if hashlib.sha256(data).hexdigest() != card["sha256"]:
        parse_tensors(data, path)  # a file cut short says so itself
        raise WeightsError(
            f"{path}: is not the file that {path.stem}.json was written for (sha256 differs);"
            " fetch both again"
        )
    model, codec, skeleton = _assemble(card, parse_tensors(data, path), path)
    return Loaded(model.to(device=device, dtype=dtype).eval(), codec, skeleton, card)


def read(name_or_path: str | Path) -> dict[str, Any]:
    """The card alone, whole and of a format that this version knows."""
    path = locate(name_or_path).with_suffix(".json")
    if not path.is_file():
        raise WeightsError(f"{path.with_suffix(SUFFIX)}: its card {path.name} is not beside it")
    return read_card(path)


def read_card(path: Path) -> dict[str, Any]:
    """The card in a file, whole and of a format that this version knows."""
    try:
        card = json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: not a model card, since it is no JSON ({error})") from None
    _demand_whole(card, path)
    return card


def _demand_whole(card: Any, path: Path) -> None:
    if not isinstance(card, dict):
        raise WeightsError(f"{path}: not a model card, since it is no JSON object")
    if card.get("kind") == "backbone":
        raise WeightsError(
            f"{path.with_suffix(SUFFIX)}: a backbone to start training from (checkpoint_path=...),"
            " which does not predict"
        )
    missing = [key for key in KINDS if key not in card]
    if missing:
        raise WeightsError(f"{path}: not a model card, since it lacks {', '.join(missing)}")
    wrong = [key for key, kind in KINDS.items() if not isinstance(card[key], kind)]
    faults = [f"{key} must be a {KINDS[key].__name__}" for key in wrong]
    if "format" not in wrong and card["format"] != FORMAT:
        raise WeightsError(
            f"{path}: a card of format {card['format']}, and this tetrapose {__version__} reads"
            f" format {FORMAT}"
        )
    for key in ("mean", "std"):
        values = card["normalisation"].get(key) if "normalisation" not in wrong else None
        if values is None or not three_numbers(values):
            faults.append(f"normalisation.{key} must be three finite numbers")
        elif key == "std" and min(values) <= 0:
            faults.append("normalisation.std must be above 0")
    if faults:
        raise WeightsError(f"{path}: {'; '.join(faults)}")


def _assemble(
    card: dict[str, Any], tensors: dict[str, Tensor], path: Path
) -> tuple[nn.Module, Codec, Skeleton]:
    """The card's parts, with the tensors set as the model's float32 weights."""
    beside = path.with_suffix(".json")
    _demand_whole(card, beside)
    codec, skeleton = meaning(card, beside)
    model = _build(card["architecture"], len(skeleton), beside)
    demand_match(model.state_dict(), tensors, path)
    weights = {
        name: value.float() if value.is_floating_point() else value
        for name, value in tensors.items()
    }
    model.load_state_dict(weights, assign=True)
    return model, codec, skeleton


def meaning(card: Mapping[str, Any], path: Path) -> tuple[Codec, Skeleton]:
    """What a card says of the network's output; ``path`` is for the message of a WeightsError."""
    try:
        skeleton = skeletons.from_dict(card["skeleton"])
        codec = codecs.from_dict(card["codec"])
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise WeightsError(f"{path}: {type(error).__name__.lower()}: {error}") from None
    if codec.num_keypoints != len(skeleton):
        raise WeightsError(
            f"{path}: the codec has {codec.num_keypoints} keypoints, the skeleton"
            f" {skeleton.name!r} {len(skeleton)}"
        )
    return codec, skeleton


def _build(architecture: dict[str, Any], num_keypoints: int, path: Path) -> nn.Module:
    """The network that a card describes, giving as many maps as there are keypoints."""
    arguments = architecture.get("arguments")
    given = arguments.get("num_keypoints") if isinstance(arguments, dict) else None
    if given not in (None, num_keypoints):
        raise WeightsError(
            f"{path}: the network gives {given} keypoints, the skeleton has {num_keypoints}"
        )
    return build_network(architecture, path, num_keypoints=num_keypoints)


def build_network(architecture: dict[str, Any], path: Path, **fixed: Any) -> nn.Module:
    """The network, its weights without memory: a card cannot ask for more than its file holds.

    ``fixed`` arguments hold whatever the card at ``path`` says of them. Raises WeightsError.
    """
    builder = _find_builder(architecture.get("builder"), path)
    arguments = architecture.get("arguments")
    if not isinstance(arguments, dict):
        raise WeightsError(f"{path}: architecture.arguments must be a dict")
    try:
        with torch.device("meta"), _Unfilled():
            model = builder(**{**arguments, **fixed})
    except Exception as error:  # noqa: BLE001 whatever a builder makes of a stranger's arguments
        text = " ".join(str(error).split())
        raise WeightsError(f"{path}: {architecture['builder']} cannot be built: {text}") from None
    if not isinstance(model, nn.Module):
        raise WeightsError(f"{path}: {architecture['builder']} does not build a network")
    kept = {name for name, _ in model.named_buffers()} - set(model.state_dict())
    if kept:
        raise TypeError(f"{architecture['builder']} keeps state outside its weights: {_some(kept)}")
    return model


class _Unfilled(TorchFunctionMode):
    """Leaves out the drawing of first weights, which have no memory here and are replaced anyway.

    On the meta device a draw computes nothing, yet torch imports its compiler and sympy for it:
    more than a second of processor time before the first answer.
    """

    DRAWS = frozenset(
        {"normal_", "uniform_", "trunc_normal_", "kaiming_normal_", "kaiming_uniform_",
         "xavier_normal_", "xavier_uniform_", "orthogonal_", "sparse_", "dirac_", "eye_",
         "exponential_", "log_normal_", "random_", "bernoulli_"}
    )  # fmt: skip

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        """The call itself, or, for a draw, the tensor as it is."""
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in self.DRAWS:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def _find_builder(name: Any, path: Path) -> Callable[..., Any]:
    """The function that a card names: one written in a file of ``tetrapose.models``, no other."""
    match = BUILDER.fullmatch(name) if isinstance(name, str) else None
    if match is None:
        raise WeightsError(
            f"{path}: the builder {name!r} is refused; it must be a function of tetrapose.models,"
            ' as in "tetrapose.models.small:small"'
        )
    try:
        builder = getattr(importlib.import_module(match[1]), match[2], None)
    except ModuleNotFoundError:
        builder = None
    if not inspect.isfunction(builder) or builder.__module__ != match[1]:
        raise WeightsError(f"{path}: tetrapose {__version__} has no network {name}")
    return builder


def demand_match(
    wanted: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
    path: Path,
    *,
    what: str = "the card's network",
) -> None:
    """Raise WeightsError unless the tensors of a file are those of its network, called ``what``."""
    faults = []
    missing, left_over = sorted(wanted.keys() - given.keys()), sorted(given.keys() - wanted.keys())
    if missing:
        faults.append(f"missing {_some(missing)}")
    if left_over:
        faults.append(f"left over {_some(left_over)}")
    both = wanted.keys() & given.keys()
    shapes = [
        f"{name} {list(given[name].shape)} where {list(wanted[name].shape)} is due"
        for name in both
        if given[name].shape != wanted[name].shape
    ]
    if shapes:
        faults.append(f"of another shape {_some(shapes)}")
    kinds = [n for n in both if given[n].is_floating_point() != wanted[n].is_floating_point()]
    if kinds:
        faults.append(f"of another kind of number {_some(kinds)}")
    if faults:
        raise WeightsError(f"{path}: the tensors are not {what}: {'; '.join(faults)}")


def stored(value: Tensor, dtype: torch.dtype) -> Tensor:
    """A tensor as it is written: matrices and kernels as ``dtype`` unless that overflows."""
    value = value.detach().cpu().contiguous()
    if not value.is_floating_point() or value.ndim < 2:
        return value.clone()
    small = value.to(dtype)
    return small if small.isfinite().all() else value.clone()


def three_numbers(values: Any) -> bool:
    """Whether it is a list of three finite numbers."""
    return (
        isinstance(values, list)
        and len(values) == 3
        and all(isinstance(v, (int, float)) and math.isfinite(v) for v in values)
    )


def plain(value: Any) -> Any:
    """Values as JSON has them: numpy's made Python's, tuples lists, what is not finite null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return value.as_posix()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _some(names: Iterable[str], most: int = 3) -> str:
    names = sorted(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
