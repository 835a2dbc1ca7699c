"""Files that hold weights: which ship, where they lie, how bytes become tensors and never code.

A safetensors file is numbers and names only. A torch file is a pickle, which can run anything, so
it is read with ``weights_only=True`` and in no other way.
"""

from __future__ import annotations

import os
import pickle
import re
import warnings
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor

from tetrapose.errors import UserError

SUFFIX = ".safetensors"
FINDER = "finder"  # its file lies among the models and is none: see weights.finder
PICKLES = (".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".bin", ".tar")


class WeightsError(UserError):
    """Weights that cannot be used; the message names the file and says why."""


def shipped_folder() -> Path:
    """Where the models of this package lie."""
    return Path(str(resources.files("tetrapose.weights")))


def fetched_folder() -> Path:
    """Where fetched models lie: tetrapose/weights in the user's cache ($XDG_CACHE_HOME)."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    root = Path(base) if Path(base).is_absolute() else Path.home() / ".cache"
    return root / "tetrapose" / "weights"


def available() -> tuple[str, ...]:
    """Names of the pose models that ship, sorted."""
    files = [f for f in shipped_folder().glob(f"*{SUFFIX}") if f.stem != FINDER]
    return tuple(sorted(f.stem for f in files if f.with_suffix(".json").exists()))


def locate(name_or_path: str | Path) -> Path:
    """The safetensors file of a shipped or fetched model's name, or of a path; its card beside it.

    Raises WeightsError for a file of another kind and for a name that there is not.
    """
    text, path = str(name_or_path), Path(name_or_path)
    if text in available():
        return shipped_folder() / f"{text}{SUFFIX}"
    fetched = fetched_folder() / f"{text}{SUFFIX}"
    if re.fullmatch(r"[a-z]\w*", text) and fetched.is_file() and not path.exists():
        return fetched
    if path.suffix == ".json" and path.with_suffix(SUFFIX).exists():
        return path.with_suffix(SUFFIX)
    if path.suffix in PICKLES:
        raise WeightsError(
            f"{path}: a model is a {SUFFIX} file with its card beside it; pickles are not opened"
        )
    if path.suffix == SUFFIX and path.is_file():
        return path
    if path.suffix == SUFFIX:
        raise WeightsError(f"{path}: no such file")
    if path.exists():
        raise WeightsError(f"{path}: a model is a {SUFFIX} file, or one of: {_names()}")
    near = get_close_matches(text, available(), n=1)
    hint = f"; did you mean {near[0]}?" if near else f"; there are: {_names()}"
    raise WeightsError(f"no model {text!r}{hint}, or give the path of a {SUFFIX} file")


def read_bytes(path: Path) -> bytes:
    """A file's bytes, read once, so that what is checked is what is used."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from None
    if not data:
        raise WeightsError(f"{path}: the file is empty")
    return data


def parse_tensors(data: bytes, path: Path) -> dict[str, Tensor]:
    """Tensors by name from the bytes of a safetensors file; ``path`` is for the message."""
    try:
        return safetensors.load(data)
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise WeightsError(
            f"{path}: not a whole safetensors file ({_line(error)}); fetch or save it again"
        ) from None


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """What a torch file holds (a training checkpoint, published weights), tensors on the CPU.

    Only tensors and plain values are read. A file that would run code is refused with a
    WeightsError that names the code; so is one that is empty, cut off or no torch file.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise WeightsError(f"{path}: the file is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # advice about pickle protocols; what counts is raised
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(_refusal(path, str(error))) from None
    except Exception as error:  # noqa: BLE001 damaged pickles raise anything at all
        raise WeightsError(f"{path}: not a whole torch file ({_line(error)})") from None
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise WeightsError(f"{path}: holds a {kind}, where weights by name are wanted")
    return content


def replace_file(path: Path, data: bytes) -> None:
    """Write beside ``path`` and move it there at once, so that no half file is ever seen."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(data)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _refusal(path: Path, message: str) -> str:
    code = re.search(r"(?:GLOBAL|class|function) ([\w.]+)", message)
    if code is None:
        return f"{path}: not a torch file of tensors and plain values; it was not opened further"
    return (
        f"{path}: refused, since it asks to run {code.group(1)}; only tensors and plain values are"
        " read, and nothing of it was run"
    )


def _names() -> str:
    return ", ".join(available()) or "none in this installation"


def _line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 120 else text[:117] + "..."
