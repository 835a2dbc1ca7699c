"""Compare hrnet and simple_baseline with the authors' own code: names, shapes, outputs.

    git clone https://github.com/leoxiaobin/deep-high-resolution-net.pytorch original
    python benchmarks/parity/original_hrnet.py original

Both networks get the same random weights (loaded with strict names) and the same random picture, in
evaluation and in training mode; the largest difference must stay below 1e-5 of the largest output.
Exit status 1 when any network differs.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import torch
import yaml
from torch import Tensor, nn

from tetrapose.models.hrnet import hrnet_w18, hrnet_w32, hrnet_w48
from tetrapose.models.simple_baseline import simple_baseline

KEYPOINTS = 17
LIMIT = 1e-5


def import_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def original_hrnet(clone: Path, width: int) -> nn.Module:
    """By their configuration; W18, which has none, by that of W32 at 18 channels."""
    given = 32 if width == 18 else width
    config = yaml.safe_load(
        (clone / f"experiments/coco/hrnet/w{given}_256x192_adam_lr1e-3.yaml").read_text()
    )
    for stage in ("STAGE2", "STAGE3", "STAGE4"):
        channels = config["MODEL"]["EXTRA"][stage]["NUM_CHANNELS"]
        channels[:] = [width * 2**i for i in range(len(channels))]
    return import_file(clone / "lib/models/pose_hrnet.py").get_pose_net(config, is_train=False)


def original_resnet(clone: Path, depth: int) -> nn.Module:
    extra = SimpleNamespace(
        NUM_LAYERS=depth, DECONV_WITH_BIAS=False, NUM_DECONV_LAYERS=3, FINAL_CONV_KERNEL=1,
        NUM_DECONV_FILTERS=[256] * 3, NUM_DECONV_KERNELS=[4] * 3,
    )  # fmt: skip
    config = SimpleNamespace(MODEL=SimpleNamespace(EXTRA=extra, NUM_JOINTS=KEYPOINTS))
    return import_file(clone / "lib/models/pose_resnet.py").get_pose_net(config, is_train=False)


def scramble(model: nn.Module, seed: int) -> None:
    """Weights and running statistics that keep activations of a size with their inputs."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(like: Tensor, low: float, high: float) -> Tensor:
        return torch.rand(like.shape, generator=generator) * (high - low) + low

    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            bound = (3 / module.weight[0].numel()) ** 0.5
            module.weight.data = uniform(module.weight, -bound, bound)
        elif isinstance(module, nn.BatchNorm2d):
            module.weight.data = uniform(module.weight, 0.5, 1.5)
            module.bias.data = uniform(module.bias, -0.5, 0.5)
            module.running_mean = uniform(module.bias, -0.5, 0.5)
            module.running_var = uniform(module.bias, 0.5, 1.5)


@torch.no_grad()
def compare(name: str, ours: nn.Module, theirs: nn.Module) -> bool:
    scramble(theirs, seed=1)
    names = list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict(), strict=True)
    images = torch.randn(2, 3, 96, 64, generator=torch.Generator().manual_seed(2))
    worst = 0.0
    for mode in (False, True):
        a, b = ours.train(mode)(images), theirs.train(mode)(images)
        assert b.isfinite().all(), f"{name}: these weights overflow and compare nothing"
        assert b.std() > 0.1, f"{name}: these weights give next to nothing to compare"
        worst = max(worst, float((a - b).abs().nan_to_num(torch.inf).max() / b.abs().max()))
    count = sum(p.numel() for p in ours.parameters())
    good = names and worst <= LIMIT
    order = "same names in the same order" if names else "same names in another order"
    print(f"{name:14} {count:>10,} parameters, {order}, difference {worst:.1e}  {good}")
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clone", type=Path, help="a clone of deep-high-resolution-net.pytorch")
    clone = parser.parse_args().clone
    torch.manual_seed(0)
    pairs = [
        ("hrnet_w18", hrnet_w18(KEYPOINTS), original_hrnet(clone, 18)),
        ("hrnet_w32", hrnet_w32(KEYPOINTS), original_hrnet(clone, 32)),
        ("hrnet_w48", hrnet_w48(KEYPOINTS), original_hrnet(clone, 48)),
    ]
    for depth in (18, 50, 101, 152):
        model = simple_baseline(KEYPOINTS, depth)
        pairs.append((f"resnet_{depth}", model, original_resnet(clone, depth)))
    return 0 if all([compare(*pair) for pair in pairs]) else 1


if __name__ == "__main__":
    sys.exit(main())
