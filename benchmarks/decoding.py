"""From maps to points beside MMPose's DARK: processor time of a batch, and how far points differ.

  python benchmarks/decoding.py [--batch 64] [--repeats 7] [--threads 1]

MMPose's own functions (get_heatmap_maximum, refine_keypoints_dark, as its MSRAHeatmap.decode calls
them) are taken from its release, which is fetched into a temporary folder with pip and without its
dependencies: those two files need NumPy, OpenCV and torch alone. Both sides decode the same maps in
one process, in turn, several runs in a row. Maps are Gaussians on noise, at random places of
the box: the middle four fifths of a crop that is padded by 1.25.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import torch

from tetrapose.cli import keep_freed_memory
from tetrapose.codecs.peaks import find_peaks

PEER = "mmpose==1.3.2"
CASES = ((17, 48), (20, 48), (17, 64), (20, 64))  # keypoints, side of the maps
KERNEL = 11


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=7, help="runs in a row, thrice")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    keep_freed_memory()  # as every tetrapose command does; for both sides
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        peer = fetch(Path(folder))
        print(f"batch {args.batch}, blur kernel {KERNEL}, {args.threads} threads, medians in ms")
        print(f"{'keypoints, map':>16}{'MMPose':>10}{'tetrapose':>11}{'times':>7}   apart, cells")
        for keypoints, side in CASES:
            compare(peer, drawn(args.batch, keypoints, side), args.repeats)


def fetch(folder: Path) -> ModuleType:
    """The peer's two files as a package of their own, without the rest of MMPose."""
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder)]
    subprocess.run([*pip, PEER], check=True)
    utils = folder / "mmpose" / "codecs" / "utils"
    package = types.ModuleType("peer")
    package.__path__ = [str(utils)]
    sys.modules["peer"] = package
    for name in ("post_processing", "refinement"):
        spec = importlib.util.spec_from_file_location(f"peer.{name}", utils / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        setattr(package, name, module)
    return package


def drawn(batch: int, keypoints: int, side: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    at = rng.uniform(0.1 * side, 0.9 * side, (batch, keypoints, 2, 1))
    row, column = np.exp(-((np.arange(side) - at) ** 2) / (2 * 2.0**2)).transpose(2, 0, 1, 3)
    maps = column[..., :, None] * row[..., None, :] + rng.uniform(0, 0.05, (side, side))
    return np.ascontiguousarray(maps, dtype=np.float32)


def theirs(peer: ModuleType, maps: np.ndarray) -> np.ndarray:
    """MSRAHeatmap.decode(unbiased=True) of each picture, as MMPose's head does it."""
    points = []
    for one in maps:
        copied = one.copy()
        cells, _ = peer.post_processing.get_heatmap_maximum(copied)
        points.append(
            peer.refinement.refine_keypoints_dark(cells[None], copied, blur_kernel_size=KERNEL)
        )
    return np.concatenate(points)


def compare(peer: ModuleType, maps: np.ndarray, repeats: int) -> None:
    tensors = torch.from_numpy(maps)
    spent: dict[str, list[float]] = {"theirs": [], "ours": []}
    other = own = np.zeros(0)
    with torch.inference_mode():  # as the predictor decodes
        for _ in range(3):  # the sides in turn, each a few times in a row
            for _ in range(repeats):
                begin = time.process_time()
                other = theirs(peer, maps)
                spent["theirs"].append(time.process_time() - begin)
            for _ in range(repeats):
                begin = time.process_time()
                cells, _ = find_peaks(tensors, "dark", blur_kernel=KERNEL)
                spent["ours"].append(time.process_time() - begin)
                own = cells.numpy()
    a, b = (1000 * float(np.median(spent[name])) for name in ("theirs", "ours"))
    apart = np.linalg.norm(own - other, axis=-1)
    share = float((apart > 1e-3).mean())
    print(
        f"{maps.shape[1]:>8} {maps.shape[2]}x{maps.shape[3]:<4}{a:10.1f}{b:11.2f}{a / b:7.1f}"
        f"   median {np.median(apart):.1e}, largest {apart.max():.1e}, over 0.001: {share:.2%}"
    )


if __name__ == "__main__":
    main()
