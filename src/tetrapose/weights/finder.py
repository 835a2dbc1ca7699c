"""A finder as two files, as pose models are: tensors, and a card that explains them.

The card holds format, kind ("finder"), architecture, codec (``codecs.boxes.Boxes.to_dict``),
normalisation, input {"side": 320}, training, scores, code_version and sha256.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as to_bytes
from torch import nn

from tetrapose import __version__
from tetrapose.codecs.boxes import Boxes
from tetrapose.models.finder import STRIDES
from tetrapose.weights import card as cards
from tetrapose.weights.files import (
    FINDER,
    SUFFIX,
    WeightsError,
    parse_tensors,
    read_bytes,
    replace_file,
    shipped_folder,
)

FORMAT = 1
KINDS = {
    "format": int, "kind": str, "architecture": dict, "codec": dict, "normalisation": dict,
    "input": dict, "training": dict, "scores": dict, "code_version": str, "sha256": str,
}  # fmt: skip


@dataclass(frozen=True)
class LoadedFinder:
    """A finder's network in evaluation mode; ``side`` is that of its input in pixels."""

    model: nn.Module
    codec: Boxes
    side: int
    card: dict[str, Any]


def shipped() -> Path | None:
    """The finder of this installation, or None where there is none."""
    path = shipped_folder() / f"{FINDER}{SUFFIX}"
    return path if path.is_file() and path.with_suffix(".json").is_file() else None


def save(path: str | Path, model: nn.Module, card: Mapping[str, Any]) -> dict[str, Any]:
    """Write the tensors (kernels in half precision) and the card; returns the card as written.

    ``card`` has architecture, codec, normalisation, input and, where known, training and scores.
    What is written is checked to load again. Raises WeightsError before anything is written.
    """
    path = Path(path)
    if path.suffix != SUFFIX:
        raise WeightsError(f"{path}: a model's file ends in {SUFFIX}")
    tensors = {n: cards.stored(v, torch.float16) for n, v in model.state_dict().items()}
    broken = [name for name, value in tensors.items() if not value.isfinite().all()]
    if broken:
        raise WeightsError(f"{path}: not saved, since weights are not finite: {broken[0]}")
    data = to_bytes(tensors)
    written = {
        "training": {},
        "scores": {},
        **cards.plain(card),
        "kind": "finder",
        "format": FORMAT,
        "code_version": __version__,
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    _assemble(written, data, path)
    text = json.dumps(written, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    replace_file(path, data)
    replace_file(path.with_suffix(".json"), text.encode())
    return written


def load(name_or_path: str | Path) -> LoadedFinder:
    """The finder that ships ("finder") or that of a .safetensors file with its card beside it.

    Raises WeightsError where there is none, or file and card do not belong together.
    """
    path = _locate(name_or_path)
    beside = path.with_suffix(".json")
    if not beside.is_file():
        raise WeightsError(f"{path}: its card {beside.name} is not beside it")
    try:
        card = json.loads(read_bytes(beside))
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{beside}: not a model card, since it is no JSON ({error})") from None
    data = read_bytes(path)
    _demand_whole(card, beside)
    if hashlib.sha256(data).hexdigest() != card["sha256"]:
        parse_tensors(data, path)  # a file cut short says so itself
        raise WeightsError(
            f"{path}: is not the file that {beside.name} was written for (sha256 differs);"
            " fetch both again"
        )
    return _assemble(card, data, path)


def _locate(name_or_path: str | Path) -> Path:
    path = Path(name_or_path)
    if str(name_or_path) == FINDER and not path.exists():
        found = shipped()
        if found is None:
            raise WeightsError(
                "no finder ships with this installation; name a file made by tetrapose train"
                " experiment=finder, or give boxes"
            )
        return found
    if path.suffix == ".json":
        path = path.with_suffix(SUFFIX)
    if path.suffix != SUFFIX:
        raise WeightsError(f"{path}: a finder is a {SUFFIX} file, or {FINDER!r}")
    if not path.is_file():
        raise WeightsError(f"{path}: no such file")
    return path


def _demand_whole(card: Any, path: Path) -> None:
    if not isinstance(card, dict):
        raise WeightsError(f"{path}: not a model card, since it is no JSON object")
    if card.get("kind") != "finder":
        what = "a pose model's card" if "skeleton" in card else "no finder's card"
        raise WeightsError(f"{path}: {what}, where a finder is wanted")
    missing = [key for key in KINDS if key not in card]
    if missing:
        raise WeightsError(f"{path}: not a finder's card, since it lacks {', '.join(missing)}")
    faults = [f"{k} must be a {t.__name__}" for k, t in KINDS.items() if not isinstance(card[k], t)]
    if not faults and card["format"] != FORMAT:
        faults.append(f"format {card['format']}, and this tetrapose reads format {FORMAT}")
    if not faults:
        side = card["input"].get("side")
        if type(side) is not int or side < 32 or side % 32 or side > 4096:
            faults.append("input.side must be a multiple of 32 from 32 to 4096")
        faults += [
            f"normalisation.{key} must be three finite numbers"
            for key in ("mean", "std")
            if not cards.three_numbers(card["normalisation"].get(key))
        ]
    if not faults and min(card["normalisation"]["std"]) <= 0:
        faults.append("normalisation.std must be above 0")
    if faults:
        raise WeightsError(f"{path}: {'; '.join(faults)}")


def _assemble(card: dict[str, Any], data: bytes, path: Path) -> LoadedFinder:
    beside = path.with_suffix(".json")
    _demand_whole(card, beside)
    values = dict(card["codec"])
    try:
        if values.pop("kind", None) != "boxes":
            raise ValueError("its kind must be boxes")
        codec = Boxes(**values)
        if codec.strides != STRIDES:
            raise ValueError(f"strides {codec.strides}, where finders have {STRIDES}")
    except (TypeError, ValueError) as error:
        raise WeightsError(f"{beside}: codec: {error}") from None
    model = cards.build_network(card["architecture"], beside, num_groups=len(codec.groups))
    tensors = parse_tensors(data, path)
    cards.demand_match(model.state_dict(), tensors, path)
    full = {n: v.float() if v.is_floating_point() else v for n, v in tensors.items()}
    model.load_state_dict(full, assign=True)
    return LoadedFinder(model.eval(), codec, int(card["input"]["side"]), card)
