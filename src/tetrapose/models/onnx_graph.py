"""A network that is an ONNX graph: kept as bytes among the weights, run by onnxruntime on the CPU.

For networks that are only had exported (RTMPose). It computes in float32 and has nothing to train;
several outputs are joined along their last axis, as SimCC's codec reads x and y.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def onnx_graph(num_keypoints: int, *, size: int) -> nn.Module:
    """The graph of ``size`` bytes: (B, 3, H, W) -> its outputs, (B, num_keypoints, ...), joined."""
    return OnnxGraph(num_keypoints, size)


class OnnxGraph(nn.Module):
    """The bytes; the session is opened at the first picture and is no part of a copy."""

    graph: Tensor
    backend = "onnxruntime"  # what computes it, whatever else computes other networks

    def __init__(self, num_keypoints: int, size: int) -> None:
        super().__init__()
        self.num_keypoints = num_keypoints
        self.register_buffer("graph", torch.zeros(size, dtype=torch.uint8))
        self._session: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_session": None}

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Normalised pictures through the graph, one by one where its batch is fixed at 1."""
        if self._session is None:
            self._session = open_graph(self.graph.cpu().numpy().tobytes())
        entry = self._session.get_inputs()[0]
        batch = entry.shape[0] if isinstance(entry.shape[0], int) else len(images)
        rows = images.detach().cpu().float()
        if len(rows) % max(batch, 1):
            raise ValueError(f"this graph takes {batch} pictures at a time, not {len(rows)}")
        outputs = [
            torch.cat([torch.from_numpy(o) for o in self._session.run(None, {entry.name: few})], -1)
            for few in (part.numpy() for part in rows.split(max(batch, 1)))
        ]
        joined = torch.cat(outputs) if outputs else torch.zeros(0, self.num_keypoints, 0)
        return joined.to(images.device)


def open_graph(data: bytes) -> Any:
    """An onnxruntime session on as many threads as torch has; raises whatever onnxruntime does."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # what is wrong is raised
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def input_size(data: bytes) -> tuple[int, int] | None:
    """The (width, height) that a graph of one input takes, None where that is free.

    Raises ValueError for a graph that takes no (B, 3, H, W), and whatever onnxruntime does.
    """
    entries = open_graph(data).get_inputs()
    shape = entries[0].shape if len(entries) == 1 else []
    if len(shape) != 4 or shape[1] != 3 and isinstance(shape[1], int):
        told = ", ".join(f"{entry.name} {entry.shape}" for entry in entries)
        raise ValueError(f"its inputs are {told}, where one (B, 3, H, W) is due")
    fixed = all(isinstance(side, int) for side in shape[2:])
    return (shape[3], shape[2]) if fixed else None


def output_shapes(data: bytes, size: tuple[int, int]) -> list[tuple[int, ...]]:
    """Shapes of the outputs for one black picture of ``size``: what a graph says of them may be
    names, so it is run."""
    session = open_graph(data)
    picture = torch.zeros(1, 3, size[1], size[0]).numpy()
    return [tuple(o.shape) for o in session.run(None, {session.get_inputs()[0].name: picture})]
