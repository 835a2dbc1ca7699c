"""RTMPose as MMDeploy exports it: one ONNX graph with the outputs ``simcc_x`` and ``simcc_y``.

The graph is kept whole, as bytes in our safetensors file, and run by onnxruntime; there is no
network of ours behind it, so it predicts and cannot be trained on. Its bins stand as in MMPose's
SimCCLabel: two a pixel, the first on the first pixel. MMPose's score, the raw value of the bin, is
replaced by the mass about it.
Source: github.com/open-mmlab/mmpose (Apache-2.0), configs/animal_2d_keypoint/rtmpose/ap10k,
mmpose/codecs/simcc_label.py; github.com/open-mmlab/mmdeploy (Apache-2.0), its rewritten RTMCCHead.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from tetrapose.models.onnx_graph import input_size, output_shapes
from tetrapose.weights.files import WeightsError, read_bytes
from tetrapose.weights.importers.common import Choice, Network

BUILDER = "tetrapose.models.onnx_graph:onnx_graph"
SIGMA = 5.66  # bins, at an input of 256x256 (rtmpose-m_8xb64-210e_ap10k-256x256.py)
BETA = 10.0  # of its loss, KLDiscretLoss; the logits are multiplied by it there


def read(content: Mapping[str, Any], path: Path, choice: Choice) -> Network:
    """The graph of a file of theirs."""
    if path.suffix != ".onnx":
        raise WeightsError(f"{path}: RTMPose comes in by its ONNX file, which ends in .onnx")
    if not path.is_file():
        raise WeightsError(f"{path}: no such file")
    data = read_bytes(path)
    try:
        fixed = input_size(data)
        size = fixed or choice.size
        shapes = output_shapes(data, size) if size else []
    except ModuleNotFoundError:
        raise WeightsError(
            f"{path}: ONNX files want onnxruntime: pip install onnxruntime"
        ) from None
    except Exception as error:  # noqa: BLE001 whatever the runtime makes of a stranger's file
        text = " ".join(str(error).split())[:120]
        raise WeightsError(f"{path}: onnxruntime cannot run it on pictures ({text})") from None
    if size is None:
        raise WeightsError(f"{path}: its graph takes pictures of any size; say --size WxH")
    if choice.size not in (None, size):
        told = f"{choice.size[0]}x{choice.size[1]}"
        raise WeightsError(f"{path}: its graph takes {size[0]}x{size[1]} pixels, not {told}")
    if len(shapes) != 2 or any(len(shape) != 3 or shape[0] != 1 for shape in shapes):
        raise WeightsError(
            f"{path}: no SimCC network, which gives bins along x and along y of each point; for one"
            f" picture its outputs have the shapes {', '.join(map(str, shapes))}"
        )
    (_, count, across), (_, also, down) = shapes
    ratio = across / size[0]
    if count != also or down != ratio * size[1]:
        raise WeightsError(
            f"{path}: {count} x {across} and {also} x {down} bins do not fit an input of"
            f" {size[0]}x{size[1]}"
        )
    codec = {"kind": "simcc", "ratio": ratio, "sigma": SIGMA, "beta": BETA, "grid": "origin"}
    graph = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    return Network(
        BUILDER, {"size": len(data)}, {"graph": graph}, count, codec=codec, size=size,
        notes=("the ONNX graph itself, run by onnxruntime; it cannot be trained on",),
    )  # fmt: skip
