"""Networks that other programs compute: ONNX Runtime, OpenVINO and torch.export behind one call.

A network in these forms is bytes by suffix: ``.onnx``; ``.xml`` with its ``.bin``; ``.pt2``.
"""

from __future__ import annotations

import io
import os
import threading
import warnings
import zipfile
from collections.abc import Callable, Mapping
from importlib import metadata, util
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tetrapose.errors import UserError

TORCH, ONNXRUNTIME, OPENVINO = "torch", "onnxruntime", "openvino"
BACKENDS = (TORCH, ONNXRUNTIME, OPENVINO)
EXTRAS = {ONNXRUNTIME: "onnx", OPENVINO: "openvino"}
# what a file of each suffix is run by, the usual one first
SUFFIXES = {".onnx": (ONNXRUNTIME, OPENVINO), ".xml": (OPENVINO,), ".pt2": (TORCH,)}
HINTS = {"float32": "f32", "bfloat16": "bf16"}
# Entries of a .pt2 archive whose loading would run pickled code (torch/export/pt2_archive)
CODE = ("custom_obj", "opaque_obj", ".so", ".cpp")


class Runtime(nn.Module):
    """A network computed elsewhere, on the CPU: (B, 3, H, W) float32 -> its output, float32.

    Has no weights that torch knows of. One call at a time runs, whatever threads call.
    """

    def __init__(self, run: Callable[[Tensor], Tensor], *, backend: str, precision: str) -> None:
        super().__init__()
        self._run = run
        self._lock = threading.Lock()
        self.backend = backend
        self.precision = precision
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """The network's output."""
        with self._lock:
            return self._run(images.float().contiguous())


def installed(backend: str) -> bool:
    """Whether a backend's package is there, and can run in this process."""
    return util.find_spec(backend) is not None and not _crashes(backend)


def version(backend: str) -> str:
    """The installed version of a backend."""
    try:
        return metadata.version(backend)
    except metadata.PackageNotFoundError:
        return "unknown"


def demand_installed(backend: str) -> None:
    """UserError, with what to do, where a backend's package is not there or cannot run."""
    if _crashes(backend):
        raise UserError(
            "openvino crashes where tcmalloc is loaded before it: take it out of LD_PRELOAD, or"
            " choose another backend"
        )
    if not installed(backend):
        raise UserError(
            f"{backend} is not installed here: pip install 'tetrapose[{EXTRAS[backend]}]'"
        )


def _crashes(backend: str) -> bool:
    """OpenVINO 2026.4 frees what tcmalloc gave with another allocator, and the process ends."""
    return backend == OPENVINO and "tcmalloc" in os.environ.get("LD_PRELOAD", "")


def open_network(files: Mapping[str, bytes], backend: str, *, precision: str, name: str) -> Runtime:
    """The network in ``files``, bytes by suffix, ready to run on as many threads as torch has.

    ``precision`` is what it is said to compute in; "bfloat16" asks OpenVINO for it. ``name`` is
    for messages. Raises UserError for a missing package and for bytes that are no whole network.
    """
    openers = {ONNXRUNTIME: _onnxruntime, OPENVINO: _openvino, TORCH: _exported}
    if precision == "bfloat16" and backend != OPENVINO:
        raise UserError(f"{name}: {backend} runs it as it was made; bfloat16 is OpenVINO's here")
    if backend != TORCH:
        demand_installed(backend)
    try:
        run = openers[backend](files, precision)
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    except Exception as error:  # noqa: BLE001 each program has errors of its own, for damage too
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise UserError(f"{name}: {backend} cannot open it ({reason}); export it again") from None
    return Runtime(run, backend=backend, precision=precision)


def _onnxruntime(files: Mapping[str, bytes], precision: str) -> Callable[[Tensor], Tensor]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors; they are raised besides
    session = onnxruntime.InferenceSession(
        files[".onnx"], options, providers=["CPUExecutionProvider"]
    )
    (given,), (_,) = session.get_inputs(), session.get_outputs()

    def run(images: Tensor) -> Tensor:
        (output,) = session.run(None, {given.name: images.cpu().numpy()})
        return torch.from_numpy(np.asarray(output))

    return run


def _openvino(files: Mapping[str, bytes], precision: str) -> Callable[[Tensor], Tensor]:
    import openvino  # pyright: ignore[reportMissingImports]

    core = openvino.Core()
    if ".onnx" in files:
        model = core.read_model(io.BytesIO(files[".onnx"]))
    else:
        weights = openvino.Tensor(np.frombuffer(files[".bin"], dtype=np.uint8))
        model = core.read_model(files[".xml"], weights)
    settings: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": HINTS.get(precision, "f32"),  # its own choice may be bfloat16
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",
    }
    request = core.compile_model(model, "CPU", settings).create_infer_request()

    def run(images: Tensor) -> Tensor:
        # a copy: the next call writes where this one's output lies
        return torch.from_numpy(np.array(request.infer([images.cpu().numpy()])[0]))

    return run


def _exported(files: Mapping[str, bytes], precision: str) -> Callable[[Tensor], Tensor]:
    _refuse_code(files[".pt2"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's advice to itself
        module = torch.export.load(io.BytesIO(files[".pt2"])).module()

    def run(images: Tensor) -> Tensor:
        with torch.inference_mode():
            return module(images)

    return run


def _refuse_code(data: bytes) -> None:
    """Raise UserError for an archive that holds more than a graph and tensors."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name in archive.namelist():
            if any(mark in name.rsplit("/", 1)[-1] for mark in CODE):
                raise UserError(f"refused, since it holds code or pickled objects ({name})")
