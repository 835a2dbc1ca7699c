"""A model as a file of another program, its card beside it, written only if its points stay."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tetrapose import __version__
from tetrapose.errors import UserError
from tetrapose.export.quantising import to_int8
from tetrapose.inference.agreement import BOUND, Drift, crops_of, drawn_crops, measure
from tetrapose.inference.conversion import FORMS, convert
from tetrapose.inference.exported import PARTS, PRECISIONS, card_path, digest, is_exported
from tetrapose.inference.predictor import Predictor, load
from tetrapose.inference.runtimes import ONNXRUNTIME, OPENVINO, TORCH, version
from tetrapose.structures import Problem
from tetrapose.weights.files import replace_file

DRAWN = 48  # animals that an export is checked on where no pictures are given
LEARNED = 48  # others whose values tell int8 its ranges
BACKENDS = {"onnx": ONNXRUNTIME, "openvino": OPENVINO, "torch": TORCH}


class DriftError(UserError):
    """An export whose points moved too far; nothing of it is left."""


@dataclass(frozen=True)
class Written:
    """What was written: ``path`` and its ``files``, how far points moved, pictures left out."""

    path: Path
    files: tuple[Path, ...]
    drift: Drift
    pictures: int
    problems: tuple[Problem, ...]


def export(
    model: str | Path,
    out: str | Path,
    *,
    form: str,
    precision: str = "float32",
    pictures: Sequence[Path] = (),
    bound: float = BOUND,
) -> Written:
    """Write a model as "onnx", "openvino" or "torch" (torch.export), with its card beside it.

    The file is opened again and run beside torch on ``pictures``, each whole as one animal, or on
    drawn animals where none are given. If points move more than ``bound`` px of the network's input
    at the 99th percentile it is deleted: a DriftError says how far. "int8" learns its ranges on
    every other of the pictures and is checked on the rest. Raises UserError for wrong use, a
    missing package, and a folder that cannot be written; what lay at ``out`` then stays.
    """
    out = Path(out)
    _demand_usable(model, out, form, precision, bound)
    reference = load(model, flip=False, device="cpu", calibrated=False)
    crops, problems = _crops(reference, pictures)
    learned, checked = _shared_out(crops, reference, precision)
    files = _converted(reference, form, precision, learned)
    with _beside(out) as folder:
        part = Path(folder) / out.name
        for suffix, data in files.items():
            part.with_suffix(suffix).write_bytes(data)
        card = _card(reference, files, form, precision)
        _write_card(part, card)
        drift = measure(reference, _reopened(part, form), checked)
        if not drift.holds(bound):
            raise DriftError(
                f"{out}: deleted, since its points move too far: {drift} against torch, and"
                f" {bound:g} px was the bound; --precision float32 or a larger --bound"
            )
        card["export"]["check"] = {
            **drift.to_dict(),
            "bound": bound,
            "pictures": len(checked),
            "of": "the pictures given" if pictures else "drawn animals",
            "against": f"torch {version(TORCH)}, float32",
        }
        _write_card(part, card)
        written = _moved(part, out)
    return Written(out, written, drift, len(checked), tuple(problems))


def _demand_usable(model: str | Path, out: Path, form: str, precision: str, bound: float) -> None:
    """Find out before the long work, not after it."""
    if form not in FORMS:
        raise UserError(f"no form {form!r}; there are: {', '.join(FORMS)}")
    if precision not in PRECISIONS:
        raise UserError(f"no precision {precision!r}; there are: {', '.join(PRECISIONS)}")
    if form == "torch" and precision == "int8":
        raise UserError("int8 is made for onnx and openvino; torch.export takes float32 or float16")
    if out.suffix != FORMS[form]:
        raise UserError(f"{out}: a file for {form} ends in {FORMS[form]}")
    if not bound > 0:
        raise UserError(f"the bound must be above 0 px, not {bound:g}")
    if is_exported(model):
        raise UserError(f"{model}: is an exported file; export from the model it was made from")
    if out.is_dir():
        raise UserError(f"{out}: is a folder; name a file")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{out.parent}: cannot be made ({error.strerror or error})") from None
    if not os.access(out.parent, os.W_OK):
        raise UserError(f"{out.parent}: cannot be written to; choose another folder")


def _crops(
    reference: Predictor, pictures: Sequence[Path]
) -> tuple[np.ndarray | None, list[Problem]]:
    if not pictures:
        return None, []
    crops, problems = crops_of(pictures, reference.cutter())
    if not len(crops):
        raise UserError(f"not one of {len(pictures)} pictures can be used: {problems[0]}")
    return crops, problems


def _shared_out(
    crops: np.ndarray | None, reference: Predictor, precision: str
) -> tuple[np.ndarray, np.ndarray]:
    """Crops to learn ranges on and others to check on; for all but int8 every one is to check."""
    cutter = reference.cutter()
    if crops is None:
        checked = drawn_crops(cutter, DRAWN)
        if precision != "int8":
            return checked[:0], checked
        return drawn_crops(cutter, LEARNED, first=DRAWN), checked
    if precision != "int8":
        return crops[:0], crops
    if len(crops) < 2:
        raise UserError("int8 wants two pictures at least: to learn on and to be checked on")
    return crops[::2], crops[1::2]


def _converted(
    reference: Predictor, form: str, precision: str, learned: np.ndarray
) -> dict[str, bytes]:
    size = reference.codec.input_size
    if precision != "int8":
        return convert(reference.model, size, form, half=precision == "float16")
    plain = convert(reference.model, size, "onnx")[".onnx"]
    with torch.inference_mode():
        inputs = reference.normalised(learned).contiguous().numpy()
    return to_int8(plain, inputs, form)


def _card(
    reference: Predictor, files: dict[str, bytes], form: str, precision: str
) -> dict[str, Any]:
    card = json.loads(json.dumps(reference.card))
    main = files[FORMS[form]]
    made_with = {"tetrapose": __version__, "torch": version(TORCH)}
    if form != "torch":
        made_with[BACKENDS[form]] = version(BACKENDS[form])
    return {
        **card,
        "sha256": digest(main),
        "export": {
            "form": form,
            "precision": precision,
            "files": {suffix: digest(data) for suffix, data in files.items()},
            "from_sha256": card.get("sha256"),
            "made_with": made_with,
        },
    }


def _write_card(path: Path, card: dict[str, Any]) -> None:
    text = json.dumps(card, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    replace_file(card_path(path), text.encode())


def _reopened(part: Path, form: str) -> Predictor:
    """The file as a user opens it."""
    return load(part, flip=False, calibrated=False, backend=BACKENDS[form])


def _beside(out: Path) -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-")
    except OSError as error:
        raise UserError(f"{out.parent}: cannot be written to ({error.strerror})") from None


def _moved(part: Path, out: Path) -> tuple[Path, ...]:
    """Each file in its place, the card last: until then the old card refuses the new files."""
    try:
        for suffix in PARTS[out.suffix]:
            os.replace(part.with_suffix(suffix), out.with_suffix(suffix))
        os.replace(card_path(part), card_path(out))
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error.strerror})") from None
    return (*(out.with_suffix(suffix) for suffix in PARTS[out.suffix]), card_path(out))
