"""Networks of torch written in the forms that other programs run: ONNX, OpenVINO, torch.export.

Each takes (B, 3, H, W) float32, B free, H and W as the codec's input, and gives float32.
"""

from __future__ import annotations

import copy
import io
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from tetrapose.errors import UserError
from tetrapose.inference.fusing import fuse
from tetrapose.inference.runtimes import OPENVINO, demand_installed

OPSET = 17  # of ONNX; the first with all that these networks use, known to every current runtime
FORMS = {"onnx": ".onnx", "openvino": ".xml", "torch": ".pt2"}


class Half(nn.Module):
    """A network that computes in float16 between float32 ends."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.half()

    def forward(self, images: Tensor) -> Tensor:
        """The network's output in float32."""
        return self.network(images.half()).float()


def convert(
    network: nn.Module, size: tuple[int, int], form: str, *, half: bool = False
) -> dict[str, bytes]:
    """Bytes by suffix of a network in one of ``FORMS``; the network itself is left as it was.

    ``size`` is the input's (width, height). Batch norms are taken into their convolutions. With
    ``half`` ONNX and torch.export compute in float16; OpenVINO stores weights so and computes in
    what it is opened for. Raises UserError where a network cannot be written in that form.
    """
    if hasattr(network, "backend"):
        raise UserError("this model is an ONNX graph already, imported as such: use its .onnx file")
    network = fuse(copy.deepcopy(network).float().cpu().to(memory_format=torch.contiguous_format))  # type: ignore[call-overload]
    example = torch.zeros(2, 3, size[1], size[0])
    with torch.inference_mode():
        output = network(example)
    if not isinstance(output, Tensor):
        raise UserError("only a network that gives one tensor can be written in another form")
    with _quiet(), torch.no_grad():
        if form == "openvino":
            return _openvino(network, example, half)
        network = Half(network) if half else network
        return (_onnx if form == "onnx" else _exported)(network, example)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what exporters say of sizes that are fixed on purpose, and of their own future."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _onnx(network: nn.Module, example: Tensor) -> dict[str, bytes]:
    try:
        # the exporter asks for it late and in words of its own
        import onnx  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise UserError("onnx is not installed here: pip install 'tetrapose[onnx]'") from None
    data = io.BytesIO()
    # The tracing exporter: the same graph as the newer one's (outputs and speed equal to rounding),
    # in a tenth of the time.
    torch.onnx.export(
        network,
        (example,),
        data,  # pyright: ignore[reportArgumentType]  # this exporter takes files too
        dynamo=False,
        input_names=["images"],
        output_names=["output"],
        dynamic_axes={"images": {0: "batch"}, "output": {0: "batch"}},
        opset_version=OPSET,
    )
    return {".onnx": data.getvalue()}


def _openvino(network: nn.Module, example: Tensor, half: bool) -> dict[str, bytes]:
    demand_installed(OPENVINO)
    from openvino.frontend import (  # pyright: ignore[reportMissingImports]
        FrontEndManager,
    )
    from openvino.frontend.pytorch.ts_decoder import (  # pyright: ignore[reportMissingImports]
        TorchScriptPythonDecoder,
    )

    # What openvino.convert_model does, without its report of every conversion to its makers.
    frontend = FrontEndManager().load_by_framework("pytorch")
    decoder = TorchScriptPythonDecoder(network, example_input=(example,))
    model = frontend.convert(frontend.load(decoder))
    model.reshape([-1, *example.shape[1:]])
    return openvino_bytes(model, half=half)


def openvino_bytes(model: object, *, half: bool) -> dict[str, bytes]:
    """The two files of an OpenVINO model."""
    import openvino  # pyright: ignore[reportMissingImports]

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.xml"
        openvino.save_model(model, path, compress_to_fp16=half)
        return {end: path.with_suffix(end).read_bytes() for end in (".xml", ".bin")}


def _exported(network: nn.Module, example: Tensor) -> dict[str, bytes]:
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(network, (example,), dynamic_shapes=({0: batch},), strict=False)
    data = io.BytesIO()
    torch.export.save(program, data)
    return {".pt2": data.getvalue()}
