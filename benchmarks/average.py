"""Average the weights of two runs that came from one start, the first's skeleton kept.

  python benchmarks/average.py runs/mixed_long runs/alone_long --root DIR/animal_pose --out runs/m

Two runs from the same weights lie in one valley, and the middle of it often does better than either
(Wortsman et al., Model soups, ICML 2022). Rows of the last layer are matched by place; points that
the second lacks stay the first's. Statistics of the normalisations are taken anew on 512 changed
training crops, since averages of them mean nothing. The figures that come out have to be measured:
benchmarks/default_model.py does.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from tetrapose.data import open_set
from tetrapose.data.augment import Jitter, Mirror
from tetrapose.data.crops import CropDataset
from tetrapose.data.mix import onto
from tetrapose.skeletons.mapping import Mapping, between
from tetrapose.training.module import MEAN, STD
from tetrapose.weights import card as cards

CROPS, AT_ONCE = 512, 32


def main() -> None:
    """Average, count statistics, save with the first run's card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs=2, type=Path)
    parser.add_argument("--root", required=True, help="Animal-Pose")
    parser.add_argument("--out", required=True, type=Path)
    args = parser.parse_args()
    one, other = (cards.load(run / "model.safetensors") for run in args.runs)
    mapping = between(other.skeleton, one.skeleton)
    mean = middle(one.model.state_dict(), other.model.state_dict(), mapping)
    one.model.load_state_dict(mean)
    pictures = onto(open_set(f"animal_pose:{args.root}", split="train.txt"), one.skeleton)
    recount(one.model, CropDataset(pictures, size=(192, 192), changes=(Jitter(), Mirror())))
    told = json.loads((args.runs[0] / "model.json").read_text(encoding="utf-8"))
    told.pop("sha256", None)
    told["training"]["averaged_with"] = args.runs[1].name
    args.out.mkdir(parents=True, exist_ok=True)
    cards.save(args.out / "model.safetensors", one.model, told)
    print(args.out / "model.safetensors")


def middle(one: dict[str, Tensor], other: dict[str, Tensor], mapping: Mapping) -> dict[str, Tensor]:
    """Halfway between two states; of a tensor by keypoint, the rows that both have."""
    out = {}
    for name, tensor in one.items():
        given = other[name]
        if not tensor.is_floating_point():
            out[name] = tensor
        elif tensor.shape == given.shape:
            out[name] = (tensor.float() + given.float()) / 2
        else:
            out[name] = tensor.float().clone()
            for here in np.flatnonzero(mapping.index >= 0):
                out[name][here] = (tensor[here].float() + given[mapping.index[here]].float()) / 2
    return out


def recount(model: nn.Module, crops: CropDataset) -> None:
    """Means and variances of every batch norm over changed crops, all weighing alike."""
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.reset_running_stats()
            part.momentum = None
    rows = np.random.default_rng(0).permutation(len(crops))[:CROPS]
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    model.train()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for first in range(0, len(rows), AT_ONCE):
            chosen = rows[first : first + AT_ONCE]
            stack = np.stack([crops[(0, int(row))]["image"] for row in chosen])
            normal = (torch.from_numpy(stack).float() / 255 - mean) / std
            model(normal.contiguous(memory_format=torch.channels_last))
    model.eval()


if __name__ == "__main__":
    main()
