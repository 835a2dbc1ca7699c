"""What training depth-wise convolutions costs on a CPU: PyTorch's gradients beside ours.

  python benchmarks/depthwise.py [--threads 1] [--rounds 5]

Filters of EfficientNet-Lite2 that are strided or 5x5, at 192 pixels a side and 16 pictures, and a
whole step of that network; both sides in turns, processor time, best of the rounds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import nn

from tetrapose.models import depthwise, efficientnet
from tetrapose.models.depthwise import Depthwise

SHAPES = ((96, 96, 3, 2), (144, 48, 5, 2), (288, 24, 5, 1), (720, 12, 5, 1), (1248, 6, 5, 1))
BATCH = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    print(f"{'forward and both gradients, ms':56}{'PyTorch':>10}{'ours':>10}")
    for kind in (torch.bfloat16, torch.float32):
        for channels, side, kernel, stride in SHAPES:
            ours = Depthwise(channels, kernel, stride).train()
            theirs = plain(ours)
            x = torch.randn(BATCH, channels, side, side, dtype=kind)
            x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
            pair = [both_ways(one, x, kind) for one in (theirs, ours)]
            name = f"{channels} channels, {side} px, {kernel}x{kernel}, stride {stride}, {kind}"
            print(f"{name:56}", *told(pair, args.rounds))
        print(f"{'a step of EfficientNet-Lite2, ' + str(kind):56}", *told(steps(kind), 2))


def both_ways(layer: nn.Module, x: torch.Tensor, kind: torch.dtype) -> Callable[[], None]:
    layer = layer.to(kind)
    turned = torch.randn_like(layer(x))
    return lambda: torch.autograd.backward(layer(x), turned)


def steps(kind: torch.dtype) -> list[Callable[[], None]]:
    """A step with PyTorch's layers, and with ours."""
    images = torch.rand(BATCH, 3, 192, 192).contiguous(memory_format=torch.channels_last)

    def step(model: nn.Module) -> Callable[[], None]:
        def run() -> None:
            with torch.autocast("cpu", torch.bfloat16, enabled=kind == torch.bfloat16):
                out = model(images)
            out.float().square().mean().backward()

        return run

    ours = efficientnet.efficientnet_lite(20).train().to(memory_format=torch.channels_last)
    theirs = efficientnet.efficientnet_lite(20).train().to(memory_format=torch.channels_last)
    for module in list(theirs.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, depthwise.Depthwise):
                setattr(module, name, plain(child))
    return [step(theirs), step(ours)]


def plain(layer: Depthwise) -> nn.Conv2d:
    """The same filters as PyTorch trains them."""
    out = nn.Conv2d(
        layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding,
        groups=layer.groups, bias=False,
    )  # fmt: skip
    out.load_state_dict(layer.state_dict())
    return out


def told(pair: list[Callable[[], None]], rounds: int) -> list[str]:
    """Best milliseconds of each, run in turns."""
    best = [float("inf")] * len(pair)
    for turn in range(rounds + 1):
        for i, one in enumerate(pair):
            start = time.process_time()
            one()
            took = time.process_time() - start
            best[i] = min(best[i], took) if turn else best[i]  # the first warms up
    return [f"{1000 * value:9.1f}" for value in best]


if __name__ == "__main__":
    main()
