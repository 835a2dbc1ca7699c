"""An exported model: NAME.onnx, NAME.xml with NAME.bin, or NAME.pt2, each beside its card.

The card is NAME.onnx.json (NAME.xml.json, NAME.pt2.json): that of the model it was made from, and

    sha256   of NAME.onnx, NAME.xml or NAME.pt2
    export   {"form": "onnx", "precision": "float32", "files": {".onnx": sha256, ...},
              "from_sha256": ..., "made_with": {...}, "check": how far points moved}
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tetrapose.errors import UserError
from tetrapose.inference.runtimes import SUFFIXES, installed, open_network
from tetrapose.weights import card as weights
from tetrapose.weights.files import WeightsError, read_bytes

PARTS = {".onnx": (".onnx",), ".xml": (".xml", ".bin"), ".pt2": (".pt2",)}
PRECISIONS = ("float32", "float16", "int8")
FOREIGN = ", and a file of MMPose's RTMPose comes in by: tetrapose weights import rtmpose"


@dataclass(frozen=True)
class Exported:
    """A file read whole and checked against its card; ``files`` are its bytes by suffix."""

    path: Path
    files: dict[str, bytes]
    card: dict[str, Any]
    precision: str

    def open(self, backend: str = "auto", precision: str = "float32") -> weights.Loaded:
        """The network, run by ``backend``, with what the card says. Raises UserError.

        ``precision`` "bfloat16" is for OpenVINO and files of float32.
        """
        computed = self.precision
        if precision not in ("float32", computed):
            if precision != "bfloat16" or computed != "float32":
                raise UserError(f"{self.path}: is in {computed} and does not run in {precision}")
            computed = precision
        codec, skeleton = weights.meaning(self.card, card_path(self.path))
        runtime = open_network(
            self.files, _backend_for(self.path, backend), precision=computed, name=str(self.path)
        )
        return weights.Loaded(runtime, codec, skeleton, self.card)


def is_exported(model: object) -> bool:
    """Whether a model's name is that of an exported file."""
    return isinstance(model, str | Path) and Path(model).suffix in SUFFIXES


def card_path(path: Path) -> Path:
    """Where an exported file's card lies: the other forms of one model may lie beside it."""
    return path.with_name(f"{path.name}.json")


def read(name: str | Path) -> Exported:
    """An exported model with its card; WeightsError for what is missing, cut short or changed."""
    path = Path(name)
    if not path.is_file():
        raise WeightsError(f"{path}: no such file")
    beside = card_path(path)
    if not beside.is_file():
        raise WeightsError(
            f"{path}: its card {beside.name} is not beside it; tetrapose export writes both"
            f"{FOREIGN if path.suffix == '.onnx' else ''}"
        )
    card = weights.read_card(beside)
    told = card.get("export")
    wanted = told.get("files") if isinstance(told, dict) else None
    if not isinstance(told, dict) or not isinstance(wanted, dict):
        raise WeightsError(f"{beside}: not the card of an exported model, since it lacks export")
    if told.get("precision") not in PRECISIONS:
        raise WeightsError(f"{beside}: export.precision must be one of {', '.join(PRECISIONS)}")
    files = {}
    for suffix in PARTS[path.suffix]:
        part = path.with_suffix(suffix)
        if not part.is_file():
            raise WeightsError(f"{part}: no such file, and {path.name} needs it")
        files[suffix] = read_bytes(part)
        if digest(files[suffix]) != wanted.get(suffix):
            raise WeightsError(
                f"{part}: is not the file that {beside.name} was written for (sha256 differs, cut"
                " short or changed?); export it again"
            )
    return Exported(path, files, card, told["precision"])


def load(name: str | Path, *, backend: str, precision: str) -> weights.Loaded:
    """The model in an exported file, opened by ``backend`` or, for "auto", by the usual one."""
    return read(name).open(backend, precision)


def digest(data: bytes) -> str:
    """Hexadecimal SHA-256."""
    return hashlib.sha256(data).hexdigest()


def _backend_for(path: Path, backend: str) -> str:
    usual = SUFFIXES[path.suffix]
    if backend == "auto":
        return next((one for one in usual if installed(one)), usual[0])
    if backend not in usual:
        raise UserError(f"{path}: runs on {' or '.join(usual)}, not on {backend}")
    return backend
