"""What a model's scores mean, as its card holds it: ``calibration``, beside the weights.

    means      what a calibrated score is
    maps       {"flip": {...}, "single": {...}}: with the mirror image looked at too, and without
    fitted_on  sets, animals and labelled points that the maps were fitted on
    held_out   errors before and after, each animal by a map that was fitted without its picture

A card without it is whole; then scores are as the codec gives them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tetrapose.evaluation.calibration import Calibration, from_dict
from tetrapose.weights.card import Loaded, read
from tetrapose.weights.files import WeightsError, locate, read_bytes, replace_file

MEANS = (
    "the share of labelled points nearer to their label than 0.1 of the square root of the box area"
)


def of(loaded: Loaded, *, flip: bool) -> Calibration | None:
    """The map of a loaded model's scores, with or without flip test; None where its card has none.

    Raises WeightsError for a calibration that cannot be used.
    """
    held = loaded.card.get("calibration")
    if held is None:
        return None
    maps = held.get("maps") if isinstance(held, Mapping) else None
    if not isinstance(maps, Mapping) or not {"flip", "single"} <= maps.keys():
        raise WeightsError("the card's calibration must hold maps: flip and single")
    try:
        return from_dict(maps["flip" if flip else "single"], len(loaded.skeleton))
    except ValueError as error:
        raise WeightsError(f"the card's {error}; fit it again: tetrapose calibrate") from None


def store(name_or_path: str | Path, calibration: Mapping[str, Any]) -> Path:
    """Put a calibration on a model's card, in place of one that stands there; the card's path.

    The weights, and so their sha256, are untouched. Raises WeightsError.
    """
    path = locate(name_or_path).with_suffix(".json")
    read(name_or_path)  # a card that is not whole is not written to
    card = json.loads(read_bytes(path))
    card["calibration"] = dict(calibration)
    text = json.dumps(card, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        replace_file(path, text.encode())
    except OSError as error:
        raise WeightsError(f"{path}: cannot be written ({error.strerror})") from None
    return path
