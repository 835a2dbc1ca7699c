"""Networks in 8-bit whole numbers: ranges are read off pictures, nothing is trained.

ONNX Runtime's own tool does it (weights of each output channel by their own scale); OpenVINO reads
what it wrote and runs it in its own 8-bit kernels. Both are permissive, and neither brings more
packages.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tetrapose.errors import UserError
from tetrapose.inference.conversion import openvino_bytes
from tetrapose.inference.runtimes import ONNXRUNTIME, OPENVINO, demand_installed


def to_int8(network: bytes, inputs: np.ndarray, form: str, *, batch: int = 8) -> dict[str, bytes]:
    """Bytes by suffix of an ONNX network in int8, as "onnx" or "openvino".

    ``inputs`` (N, 3, H, W) float32, normalised, show it what values it meets. Raises UserError
    where a package is missing.
    """
    demand_installed(ONNXRUNTIME)
    if form == "openvino":
        demand_installed(OPENVINO)
    try:
        from onnxruntime.quantization import (
            CalibrationDataReader,
            QuantFormat,
            QuantType,
            quantize_static,
        )
    except ImportError:
        raise UserError("onnx is not installed here: pip install 'tetrapose[onnx]'") from None

    class Reader(CalibrationDataReader):
        """Hands out batches until there are no more."""

        def __init__(self) -> None:
            self.rest = iter(np.split(inputs, range(batch, len(inputs), batch)))

        def get_next(self) -> Any:
            """The next batch by the name of the input, None at the end."""
            part = next(self.rest, None)
            return None if part is None else {"images": part}

    with tempfile.TemporaryDirectory() as folder, _quiet():
        plain, small = Path(folder) / "plain.onnx", Path(folder) / "small.onnx"
        plain.write_bytes(network)
        quantize_static(
            plain,
            small,
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        data = small.read_bytes()
        if form == "onnx":
            return {".onnx": data}
        import openvino  # pyright: ignore[reportMissingImports]

        return openvino_bytes(openvino.Core().read_model(small), half=False)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the tool's advice on the root logger."""
    before = logging.root.level
    logging.root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logging.root.setLevel(before)
