"""Which program computes a model's network, and the network converted for it at its first use.

``auto`` is a rule, and what it chose stands in the protocol. On a CPU: the first of ``ORDER`` that
is installed and whose points, in float32, lie within ``BOUND`` px of torch's at the 99th percentile
on ``CHECKED`` drawn animals. On a GPU: float16, compiled, under the same condition. Else torch.
``ORDER`` is that of the speeds in docs/deploy.md.
"""

from __future__ import annotations

import copy
import hashlib
import json
import platform
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tetrapose.errors import UserError
from tetrapose.inference import cache
from tetrapose.inference.agreement import BOUND, Drift, drawn_crops, measure
from tetrapose.inference.conversion import convert
from tetrapose.inference.exported import is_exported
from tetrapose.inference.runtimes import (
    BACKENDS,
    ONNXRUNTIME,
    OPENVINO,
    TORCH,
    demand_installed,
    installed,
    open_network,
    version,
)

if TYPE_CHECKING:
    from tetrapose.inference.predictor import Predictor

AUTO = "auto"
ORDER = (ONNXRUNTIME, OPENVINO)
FORMS = {OPENVINO: "openvino", ONNXRUNTIME: "onnx"}
CHECKED = 16  # drawn animals
# Fewer pictures than this are done by torch before another program is ready: conversion, its check
# and the start cost what about so many pictures cost (docs/deploy.md).
FEW = 150
SLACK = 4.0  # times the difference noted at conversion that the same network may show later
LEAST = 1e-4  # of the largest output: below it points move by nothing that matters
Compiler = Callable[[nn.Module], Callable[[Tensor], Tensor]]


def settled(name: str, model: object, pictures: int | None) -> str:
    """``auto`` for much work (``pictures`` None is much), torch for little; any other name itself.

    An exported file needs no conversion, so for it ``auto`` stays. Raises UserError for a name that
    there is not.
    """
    demand_known(name)
    few = pictures is not None and pictures < FEW
    if name == AUTO and few and not is_exported(model):
        return TORCH
    return name


def demand_known(name: str) -> None:
    """UserError for a backend that there is not."""
    if name not in (AUTO, *BACKENDS):
        raise UserError(f"no backend {name!r}; there are: {', '.join((AUTO, *BACKENDS))}")


def on_backend(predictor: Predictor, name: str, precision: str) -> Predictor:
    """The same predictor, its network (torch, float32) computed by backend ``name``.

    ``precision`` is "float32", or "bfloat16" for OpenVINO. The network is converted at the first
    use, checked, and kept for the next (``cache``). Raises UserError where the backend is not
    installed, does not hold what it must, or cannot be kept.
    """
    demand_known(name)
    if name == TORCH:
        return predictor
    own = getattr(predictor.model, "backend", None)
    if own is not None and name in (AUTO, own):
        return predictor
    if own is not None:
        raise UserError(f"this model is an ONNX graph, which {own} runs, not {name}")
    if name == AUTO:
        return _fastest(predictor)
    if predictor.device.type != "cpu":
        raise UserError(f"backend {name} computes on the CPU here, not on {predictor.device}")
    if precision not in ("float32", "bfloat16") or (name == ONNXRUNTIME and precision != "float32"):
        raise UserError(f"backend {name} does not compute in {precision} here")
    made, drift = _converted(predictor, name, precision)
    if precision == "float32" and not drift.holds():
        raise UserError(f"backend {name} does not hold {BOUND} px here: points move {drift}")
    return replace(made, note=f"points move by {drift} against torch")


def _fastest(predictor: Predictor) -> Predictor:
    if predictor.device.type != "cpu":
        return on_gpu(predictor)
    told = []
    for name in ORDER:
        if not installed(name):
            told.append(f"{name} is not installed")
            continue
        try:
            return on_backend(predictor, name, "float32")
        except UserError as error:
            told.append(str(error))
    return replace(predictor, note=f"auto: {'; '.join(told)}")


def _converted(predictor: Predictor, name: str, precision: str) -> tuple[Predictor, Drift]:
    """From the cache where it holds a fitting one, else anew."""
    demand_installed(name)
    key = _key(predictor, name, precision)
    entry = cache.find(key)
    if entry is not None:
        try:
            return _opened(predictor, entry, name, precision)
        except (UserError, ValueError, TypeError, KeyError):
            cache.forget(key)  # whatever is off, the weights are at hand
    files = convert(predictor.model, predictor.codec.input_size, FORMS[name])
    made = _with(predictor, open_network(files, name, precision=precision, name=name))
    drift = measure(predictor, made, drawn_crops(predictor.cutter(), CHECKED))
    notes = {"drift": drift.to_dict(), "probe": _probe(predictor, made)}
    cache.keep(key, cache.Entry(files, notes))
    return made, drift


def _opened(
    predictor: Predictor, entry: cache.Entry, name: str, precision: str
) -> tuple[Predictor, Drift]:
    """A kept network, opened, and seen to give once more what it gave when it was checked."""
    made = _with(
        predictor, open_network(entry.files, name, precision=precision, name=str(cache.folder()))
    )
    drift = Drift(**entry.notes["drift"])
    if not _probe(predictor, made) <= SLACK * float(entry.notes["probe"]) + LEAST:
        raise UserError(f"{cache.folder()}: a kept network is another one now")
    return made, drift


def _with(predictor: Predictor, runtime: nn.Module) -> Predictor:
    return replace(predictor, model=runtime)


@torch.inference_mode()
def _probe(one: Predictor, two: Predictor) -> float:
    """The largest difference of outputs on noise, over the largest output."""
    width, height = one.codec.input_size
    noise = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    wanted, given = one.model(noise), two.model(noise)
    if wanted.shape != given.shape:
        raise UserError("another network: its output has another shape")
    return float((wanted - given).abs().max() / wanted.abs().max().clamp_min(1e-12))


def _key(predictor: Predictor, name: str, precision: str) -> dict[str, Any]:
    """What a conversion depends on: weights, network, program, and the processor that was seen."""
    return {
        "weights": weights_digest(predictor.model),
        "architecture": json.dumps(predictor.card.get("architecture"), sort_keys=True),
        "input_size": list(predictor.codec.input_size),
        "codec": json.dumps(predictor.codec.to_dict(), sort_keys=True),
        "backend": name,
        "backend_version": version(name),
        "precision": precision,
        "torch": torch.__version__,
        "processor": processor(),
    }


def weights_digest(network: nn.Module) -> str:
    """SHA-256 of a network's tensors, by name, as they are in memory."""
    found = hashlib.sha256()
    for key, value in sorted(network.state_dict().items()):
        found.update(f"{key} {value.dtype} {tuple(value.shape)}\n".encode())
        found.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()


def processor() -> str:
    """The kind of processor, as far as it tells."""
    file = Path("/proc/cpuinfo")
    try:
        lines = file.read_text().splitlines()
    except OSError:
        lines = []
    told = {line.partition(":")[0].strip(): line.partition(":")[2].strip() for line in lines}
    name = told.get("model name") or platform.processor() or platform.machine()
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"


def _compile(network: nn.Module) -> Callable[[Tensor], Tensor]:
    return torch.compile(network)


class Compiled(nn.Module):
    """A network compiled for batches of one size: others are filled up and cut off again.

    Else every last batch of a run would be compiled for itself, which takes longer than the run.
    ``network`` stays at hand with its weights.
    """

    def __init__(self, network: nn.Module, size: int, compiler: Compiler = _compile) -> None:
        super().__init__()
        self.network = network
        self.size = size
        self._compiled = compiler(network)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> the network's output for them; B is any number."""
        parts = []
        for part in images.split(self.size):
            missing = self.size - len(part)
            full = torch.cat([part, part.new_zeros(missing, *part.shape[1:])]) if missing else part
            full = full.contiguous(memory_format=torch.channels_last)
            parts.append(self._compiled(full)[: len(part)])
        return torch.cat(parts) if len(parts) > 1 else parts[0]


def on_gpu(predictor: Predictor, compiler: Compiler = _compile) -> Predictor:
    """float16 where that holds the bound, else float32; compiled, channels last."""
    crops = drawn_crops(predictor.cutter(), CHECKED)
    size = predictor.batch_size * (2 if predictor.flip else 1)
    half = copy.deepcopy(predictor.model).half().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for network, kind in ((half, "float16"), (predictor.model, "float32")):
        made = _with(predictor, Compiled(network, size, compiler))
        drift = measure(predictor, made, crops)
        if drift.holds():
            return replace(made, note=f"compiled, {kind}; points move by {drift} against torch")
    return replace(predictor, note="auto: neither float16 nor compiled float32 holds the bound")
