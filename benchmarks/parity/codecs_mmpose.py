"""Compare the codecs with MMPose's: MSRAHeatmap, UDPHeatmap, SimCCLabel; targets and points.

    python benchmarks/parity/codecs_mmpose.py

MMPose's codec files are taken from its release, fetched into a temporary folder with pip and
without its dependencies: they need NumPy, OpenCV and torch; a stand-in for its registry lets them
be imported as they are. Both sides encode the same 1,000 points of crops of 192 x 256 and 256 x
256, and decode the same maps: perfect targets, and targets on noise with a second, lower peak.
Frames: MMPose's x of a cell is 4 c and ours, under grid origin, the same; its UDPHeatmap answers in
units of the crop's width over width - 1, which is undone here.

What differs by intention is left out of the comparison and counted: peaks on the border's cells
(where UDP's code steps half a cell outwards and the quarter shift differs in how near a border it
acts), and steps that are no step to a maximum or longer than the blur reaches, which ours does not
take. Exit status 1 when targets differ by more than 1e-5 or points by more than 1e-3 px.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
import tempfile
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tetrapose.codecs import Codec, Heatmap, SimCC

PEER = "mmpose==1.3.2"
SIZES = ((192, 256), (256, 256))
KEYPOINTS, BATCH = 20, 50
TARGETS, POINTS = 1e-5, 1e-3

Read = Callable[[np.ndarray], np.ndarray]


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        peer = fetch(Path(folder))
        print(f"{'':40}targets   points, px (left out): perfect maps, noisy maps")
        return 0 if all([compare(*case) for case in cases(peer)]) else 1


def fetch(folder: Path) -> Any:
    """The peer's three codecs; its registry decorates and does nothing else."""
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder)]
    subprocess.run([*pip, PEER], check=True)

    class Registry:
        def register_module(self) -> Callable[[Any], Any]:
            return lambda one: one

    for name, path in (("mmpose", "mmpose"), ("mmpose.codecs", "mmpose/codecs")):
        module = types.ModuleType(name)
        module.__path__ = [str(folder / path)]
        sys.modules[name] = module
    registry = types.ModuleType("mmpose.registry")
    registry.KEYPOINT_CODECS = Registry()  # type: ignore[attr-defined]
    sys.modules["mmpose.registry"] = registry
    # what their other utilities want and these codecs do not
    sys.modules["mmengine"] = types.ModuleType("mmengine")
    sys.modules["mmengine.utils"] = types.ModuleType("mmengine.utils")
    sys.modules["mmengine.utils"].is_method_overridden = None  # type: ignore[attr-defined]
    sys.modules["mmengine.structures"] = types.ModuleType("mmengine.structures")
    sys.modules["mmengine.structures"].InstanceData = object  # type: ignore[attr-defined]
    files = ("msra_heatmap", "udp_heatmap", "simcc_label")
    found = types.SimpleNamespace()
    for file in files:
        vars(found).update(vars(importlib.import_module(f"mmpose.codecs.{file}")))
    return found


def cases(peer: Any) -> list[tuple[str, Codec, Any]]:
    rows: list[tuple[str, Codec, Any]] = []
    for size in SIZES:
        cells = (size[0] // 4, size[1] // 4)
        own: dict[str, Any] = {"num_keypoints": KEYPOINTS, "input_size": size}
        for sigma, kernel in ((2, 11), (3, 17), (1, 3)):
            shared: dict[str, Any] = {"sigma": sigma, "blur_kernel": kernel, **own}
            theirs: dict[str, Any] = {"sigma": sigma, "blur_kernel_size": kernel}
            for unbiased in (False, True):
                how = (
                    {"unbiased": True, "decoder": "dark"}
                    if unbiased
                    else {"unbiased": False, "decoder": "shift", "window": True}
                )
                other = peer.MSRAHeatmap(size, cells, unbiased=unbiased, **theirs)
                name = f"MSRAHeatmap {'unbiased' if unbiased else 'biased'} s={sigma}"
                rows.append((name, Heatmap(grid="origin", **how, **shared), other))
            udp = Heatmap(grid="centres", window=True, decoder="dark_udp", **shared)
            rows.append((f"UDPHeatmap s={sigma}", udp, peer.UDPHeatmap(size, cells, **theirs)))
        bins: dict[str, Any] = {"grid": "origin", **own}
        rows.append(("SimCCLabel gaussian", SimCC(**bins), peer.SimCCLabel(size, sigma=6.0)))
        rows.append(
            (
                "SimCCLabel gaussian, dark", SimCC(decoder="dark", **bins),
                peer.SimCCLabel(size, sigma=6.0, use_dark=True),
            )
        )  # fmt: skip
        rows.append(
            (
                "SimCCLabel standard", SimCC(smoothing="equal", **bins),
                peer.SimCCLabel(size, smoothing_type="standard", label_smooth_weight=0.1),
            )
        )  # fmt: skip
    return rows


def compare(name: str, ours: Any, theirs: Any) -> bool:
    rng = np.random.default_rng(0)
    size = np.array(ours.input_size)
    points = rng.uniform(0, size - 4.6, (BATCH, KEYPOINTS, 2)).astype(np.float32)
    target, weights = ours.encode(torch.from_numpy(points), torch.ones(BATCH, KEYPOINTS))
    encoded = [theirs.encode(one[None]) for one in points]
    assert bool((weights == 1).all())
    assert all(bool((one["keypoint_weights"] == 1).all()) for one in encoded)
    if isinstance(ours, SimCC):
        wide = ours.bins
        labels = [one[f"keypoint_{axis}_labels"] for axis in "xy" for one in encoded]
        given = [np.concatenate(labels[:BATCH]), np.concatenate(labels[BATCH:])]
        # a label that leaves the crop does not sum to 1 there; ours is a distribution
        shares = [row / row.sum(-1, keepdims=True) for row in given]
        mine = [row.softmax(-1).numpy() for row in target.split(wide, dim=-1)]
        apart = max(float(np.abs(a - b).max()) for a, b in zip(mine, shares, strict=True))
        maps = np.concatenate(given, -1)
        second = np.concatenate([np.roll(row, BATCH // 3, 0) for row in given], -1)
    else:
        maps = np.stack([one["heatmaps"] for one in encoded])
        apart = float(np.abs(target.numpy() - maps).max())
        second = np.roll(maps, BATCH // 3, 0)
    noise = rng.uniform(0, 0.05 * maps.max(), maps.shape)
    noisy = (0.9 * maps + 0.4 * second + noise).astype(np.float32)
    figures = [decoded(ours, theirs, each) for each in (maps, noisy)]
    good = apart <= TARGETS and all(one[0] <= POINTS for one in figures)
    text = "".join(f"   {worst:.1e} ({left} of {count})" for worst, left, count in figures)
    print(f"{name:31}{size[0]}x{size[1]:<5}{apart:.1e}{text}  {good}")
    return good


def decoded(ours: Any, theirs: Any, maps: np.ndarray) -> tuple[float, int, int]:
    """The largest difference in px, how many points were left out, and of how many."""
    if isinstance(ours, SimCC):
        logits = torch.from_numpy(maps).clamp_min(1e-12).log()
        x, y = np.split(maps, [ours.bins[0]], axis=-1)
        other = np.concatenate(
            [theirs.decode(a[None].copy(), b[None].copy())[0] for a, b in zip(x, y, strict=True)]
        )
        near = 2 if ours.decoder == "dark" else 0
        ends = [edge(row.argmax(-1), row.shape[-1], near) for row in (x, y)]
        kept = ~(ends[0] | ends[1])
    else:
        logits = torch.from_numpy(maps)
        other = np.concatenate([theirs.decode(one)[0] for one in maps])
        if ours.grid == "centres":
            side = np.array(ours.input_size)
            other = other * (side - 1) / side
        height, width = maps.shape[-2:]
        row, column = np.divmod(maps.reshape(*maps.shape[:2], -1).argmax(-1), width)
        near = {"dark_udp": 1, "shift": 2}.get(ours.decoder, 0)
        kept = ~(edge(column, width, near) | edge(row, height, near))
    own, _ = ours.decode(logits)
    peaks, _ = replaced(ours).decode(logits)
    refused = ((own == peaks).all(-1)).numpy() & (ours.decoder.startswith("dark"))
    refused &= np.abs(other - own.numpy()).max(-1) > POINTS
    kept &= ~refused
    apart = np.abs(own.numpy() - other).max(-1)
    return float(apart[kept].max()), int((~kept).sum()), kept.size


def replaced(codec: Any) -> Any:
    from dataclasses import replace

    return replace(codec, decoder="argmax")


def edge(cells: np.ndarray, count: int, near: int) -> np.ndarray:
    return (cells < near) | (cells >= count - near)


if __name__ == "__main__":
    sys.exit(main())
