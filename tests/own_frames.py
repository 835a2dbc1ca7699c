"""Small labelling projects and a small model to start from, for the tests of fine-tuning."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image

from tetrapose import skeletons
from tetrapose.codecs import Distribution
from tetrapose.models.small import small
from tetrapose.weights import card

PARTS = ("snout", "leftear", "rightear", "tailbase")
SPOTS = ((250, 40, 40), (40, 250, 40), (40, 40, 250), (240, 240, 40))
START = ("nose", "left_ear_tip", "right_ear_tip", "tail_root", "withers")
PLACES = ("nose", "ear_tip", "ear_tip", "tail_root", "withers")


def draw(file: Path, points: np.ndarray, size: tuple[int, int]) -> None:
    """A grey picture with a spot of its own colour at each point (K, 2)."""
    pixels = np.full((size[1], size[0], 3), 120, np.uint8)
    for (x, y), colour in zip(np.round(points).astype(int), SPOTS, strict=True):
        pixels[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3] = colour
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file)


def places(count: int, size: tuple[int, int], seed: int = 0) -> np.ndarray:
    """(count, 4, 2) a kite of a mouse in each frame, turned and moved."""
    rng = np.random.default_rng(seed)
    kite = np.array([[12.0, 0], [6, -5], [6, 5], [-12, 0]])
    turn = rng.uniform(0, 2 * np.pi, count)
    cos, sin = np.cos(turn), np.sin(turn)
    turned = kite @ np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], -2)
    middle = rng.uniform(18, np.array(size) - 18, (count, 2))
    return np.round((turned + middle[:, None]) * 4) / 4


def deeplabcut(
    root: Path, count: int = 8, size: tuple[int, int] = (96, 72), videos: int = 1
) -> Path:
    """A DeepLabCut project with ``count`` labelled frames in each video."""
    for video in range(videos):
        folder = root / "labeled-data" / f"vid{video}"
        points = places(count, size, video)
        lines = [
            ",".join(["scorer", *["me"] * 8]),
            ",".join(["bodyparts", *(p for p in PARTS for _ in "xy")]),
            ",".join(["coords", *"xyxyxyxy"]),
        ]
        for i, one in enumerate(points):
            name = f"img{i:03d}.png"
            draw(folder / name, one, size)
            cells = [f"labeled-data/vid{video}/{name}", *(str(v) for v in one.ravel())]
            lines.append(",".join(cells))
        (folder / "CollectedData_me.csv").write_text("\n".join(lines) + "\n")
    told = {"Task": "t", "scorer": "me", "bodyparts": list(PARTS), "skeleton": []}
    (root / "config.yaml").write_text(yaml.safe_dump(told))
    return root


def skeleton(names: tuple[str, ...] = START, at: tuple[str, ...] = PLACES) -> skeletons.Skeleton:
    """A skeleton with these points at these places ("" for untold)."""
    return skeletons.from_dict(
        {
            "name": "start",
            "source": {"keypoints": "here"},
            "edges": [],
            "keypoints": [
                {"name": n, "part": "trunk", "sigma": 0.1, "site": "there", "place": p}
                for n, p in zip(names, at, strict=True)
            ],
        }
    )


def start(folder: Path, side: int = 64, points: skeletons.Skeleton | None = None) -> Path:
    """A tiny model on five points, or on those given, with random weights."""
    torch.manual_seed(0)
    arguments = {"channels": [8, 8, 8, 8], "blocks": [1, 1, 1, 1], "neck": 8}
    points = points or skeleton()
    network = small(len(points), **arguments).eval()
    with torch.no_grad():
        network.head.weight.normal_(0, 0.5)
        network.head.bias.normal_(0, 0.5)
    described = card.describe(
        "tetrapose.models.small:small", arguments, skeleton=points,
        codec=Distribution(len(points), input_size=(side, side)), crop={"padding": 1.25},
        normalisation={"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
    )  # fmt: skip
    path = folder / "start.safetensors"
    card.save(path, network, described, dtype=torch.float32)
    return path
