"""Compare hourglass, cpm and ScarceNet's part heads with their authors' own code.

    mkdir originals
    git clone https://github.com/ilovepose/DarkPose originals/DarkPose
    git clone https://github.com/chaneyddtt/ScarceNet originals/ScarceNet
    git clone https://github.com/TechNumber/pytorch_animal_pose_estimation originals/cats
    python benchmarks/parity/original_networks.py originals

Both networks get the same random weights (loaded with strict names) and the same random picture, in
evaluation and in training mode; every output of every stage is compared. The largest difference
must stay below 1e-5 of the largest output. Exit status 1 when any network differs.

The cat system's network wants 368 x 368 pixels; ours gives a picture a border of 4 pixels on each
side, so that it gets 360 x 360 and theirs the same picture with that border. Dropout is off.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
import yaml
from original_hrnet import LIMIT, import_file, scramble
from torch import Tensor, nn
from torch.nn import functional

from tetrapose.models.cpm import BORDER, cpm
from tetrapose.models.hourglass import hourglass
from tetrapose.models.hrnet import hrnet_w32

KEYPOINTS = 17
CAT_KEYPOINTS = 16


def original_hourglass(clone: Path, stacks: int) -> nn.Module:
    extra = SimpleNamespace(NUM_FEATURES=256, NUM_STACKS=stacks, NUM_BLOCKS=1)
    config = SimpleNamespace(MODEL=SimpleNamespace(EXTRA=extra, NUM_JOINTS=KEYPOINTS))
    return import_file(clone / "lib/models/hourglass.py").get_pose_net(config, is_train=False)


def original_parts(clone: Path) -> nn.Module:
    text = (clone / "experiments/ap10k/hrnet/w32_256x192_adam_lr1e-3.yaml").read_text()
    code = import_file(clone / "lib/models/pose_hrnet_part.py")
    return code.get_pose_net(yaml.safe_load(text), is_train=False)


def original_cpm(clone: Path) -> nn.Module:
    """With the settings of its conf/config.yaml, but for the dropout."""
    fields: dict[str, Any] = {"conf": ModuleType("conf")}
    fields["conf.config_dataclasses"] = ModuleType("conf.config_dataclasses")
    fields["conf.config_dataclasses"].__dict__["Config"] = object
    sys.modules.update(fields)
    model = yaml.safe_load((clone / "conf/config.yaml").read_text())["model"]
    # these two stand in its conf/config_dataclasses.py
    model |= {"act_layer": "torch.nn.GELU", "pool_layer": "torch.nn.MaxPool2d", "drop_rate": 0.0}
    dataset = {"n_keypoints": CAT_KEYPOINTS, "include_bground_map": False}
    config = SimpleNamespace(model=Fields(model), dataset=Fields(dataset))
    return import_file(clone / "models/conv_pose_machines.py").ConvolutionalPoseMachines(config)


class Fields(dict):
    """A mapping whose keys are attributes too, as OmegaConf's are."""

    __getattr__ = dict.__getitem__


@torch.no_grad()
def compare(
    name: str,
    ours: nn.Module,
    theirs: nn.Module,
    images: Tensor,
    outputs: tuple[Callable[[Tensor], Any], Callable[[Tensor], Any]],
) -> bool:
    scramble(theirs, seed=1)
    names = list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict(), strict=True)
    worst, count = 0.0, 0
    for mode in (False, True):
        ours.train(mode)
        theirs.train(mode)
        mine, other = (outputs[0](images), outputs[1](images))
        assert len(mine) == len(other)
        for a, b in zip(mine, other, strict=True):
            assert b.isfinite().all(), f"{name}: these weights overflow and compare nothing"
            assert b.std() > 1e-3, f"{name}: these weights give next to nothing to compare"
            worst = max(worst, float((a - b).abs().nan_to_num(torch.inf).max() / b.abs().max()))
        count = len(mine)
    size = sum(p.numel() for p in ours.parameters())
    good = worst <= LIMIT
    order = "same names in the same order" if names else "same names in another order"
    stages = f"{count} outputs" if count > 1 else "1 output"
    print(f"{name:16} {size:>10,} parameters, {order}, {stages}, difference {worst:.1e}  {good}")
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("originals", type=Path, help="the folder with the three clones")
    folder = parser.parse_args().originals
    torch.manual_seed(0)
    small = torch.randn(2, 3, 128, 96, generator=torch.Generator().manual_seed(2))
    square = torch.randn(1, 3, 360, 360, generator=torch.Generator().manual_seed(3))
    good = []
    for stacks in (2, 4, 8):
        ours, theirs = (
            hourglass(KEYPOINTS, stacks=stacks),
            original_hourglass(folder / "DarkPose", stacks),
        )
        good.append(compare(f"hourglass_{stacks}", ours, theirs, small, (ours.stages, theirs)))  # pyright: ignore[reportArgumentType]
    ours, theirs = hrnet_w32(KEYPOINTS, parts=True), original_parts(folder / "ScarceNet")
    pair = (lambda x: [ours(x)], lambda x: [theirs(x)[0]])
    good.append(compare("hrnet_w32_parts", ours, theirs, small[..., :64], pair))
    cats, original = cpm(CAT_KEYPOINTS, dropout=0.0), original_cpm(folder / "cats")
    border = (BORDER,) * 4
    pair = (cats.stages, lambda x: original(functional.pad(x, border)))
    good.append(compare("cpm", cats, original, square, pair))  # pyright: ignore[reportArgumentType]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
