"""Compare cpm_paper with MMPose's CPM, which is that network with batch norm.

    python benchmarks/parity/mmpose_cpm.py --install peer    # once: packages into a folder
    python benchmarks/parity/mmpose_cpm.py peer

Both get the same random weights, renamed and loaded with strict names, and the same random picture,
in evaluation and in training mode; every stage's maps may differ by 1e-5 of the largest at most.
Of mmpose only the file of the network is run, and of mmcv its building block; the rest of them
needs compiled operators. Exit status 1 when they differ.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from original_hrnet import LIMIT, scramble
from torch import Tensor, nn

from tetrapose.models.cpm import cpm_paper

KEYPOINTS = 17
PEERS = ("mmpose==1.3.2", "mmcv-lite==2.1.0", "mmengine==0.10.7")
THEIR_NEEDS = ("addict", "yapf", "termcolor", "platformdirs")


def theirs(folder: Path, stages: int) -> nn.Module:
    import importlib

    sys.path.append(str(folder))
    for name in ("mmpose", "mmpose.models", "mmpose.models.backbones"):
        package = ModuleType(name)  # in place of the package's own file, which imports everything
        package.__path__ = [str(folder / name.replace(".", "/"))]
        sys.modules[name] = package
    code = importlib.import_module("mmpose.models.backbones.cpm")
    return code.CPM(in_channels=3, out_channels=KEYPOINTS, num_stages=stages)


def renamed(state: Mapping[str, Tensor], stages: int) -> dict[str, Tensor]:
    """Their tensors under the names of models.cpm."""
    places = {f"stem.{i}": f"init_stage.blocks.0.blocks.{n}" for n, i in enumerate((0, 2, 4))}
    places |= {f"stem.{6 + i}": f"init_stage.blocks.{1 + i}" for i in range(4)}
    places |= {f"middle.{i}": f"img_feat.blocks.{n}" for n, i in enumerate((0, 2, 4))}
    for k in range(stages - 1):
        later = f"subsequent_stages_list.{k}"
        places[f"middle_conv.{k}.0"] = f"{later}.conv_1"
        places |= {f"cpm_stages.{k}.model.{i}": f"{later}.blocks.{i}" for i in range(3)}
        places |= {f"out_convs.{k}.{i}": f"{later}.blocks.{3 + i}" for i in range(2)}
    ours = {}
    for name, value in state.items():
        place, kind, rest = name.rsplit(".", 2)
        ours[f"{places[place]}.{kind}.{rest}"] = value
    return ours


@torch.no_grad()
def compare(folder: Path, stages: int = 6) -> bool:
    peer = theirs(folder, stages)
    scramble(peer, seed=1)
    mine = cpm_paper(KEYPOINTS, stages=stages, norm="batch", background=False)
    mine.load_state_dict(renamed(peer.state_dict(), stages), strict=True)
    images = torch.randn(1, 3, 192, 128, generator=torch.Generator().manual_seed(2))
    worst = 0.0
    for mode in (False, True):
        mine.train(mode)
        peer.train(mode)  # gives nothing back in theirs
        ours: Any = mine.stages(images)  # pyright: ignore[reportCallIssue]
        for a, b in zip(ours, peer(images), strict=True):
            assert b.isfinite().all(), "these weights overflow and compare nothing"
            assert b.std() > 1e-3, "these weights give next to nothing to compare"
            worst = max(worst, float((a - b).abs().max() / b.abs().max()))
    counts = [sum(p.numel() for p in model.parameters()) for model in (mine, peer)]
    print(f"cpm_paper, batch norm: {counts[0]:,} parameters here, {counts[1]:,} there, "
          f"{stages} outputs, difference {worst:.1e}")  # fmt: skip
    return worst <= LIMIT and counts[0] == counts[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("peer", type=Path, help="the folder of MMPose and what its file needs")
    parser.add_argument("--install", action="store_true", help="make that folder and stop")
    args = parser.parse_args()
    if args.install:
        pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--target", str(args.peer)]
        subprocess.run([*pip, *PEERS, *THEIR_NEEDS], check=True)
        return 0
    return 0 if compare(args.peer) else 1


if __name__ == "__main__":
    sys.exit(main())
