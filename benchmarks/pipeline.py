"""What a training picture costs, step by step, beside bare decoding, and beside MMPose's pipeline.

    python benchmarks/pipeline.py --data animal_pose:DIR,split=train.txt
    python benchmarks/pipeline.py --data akd_cats:DIR --count 128 --peer VENV

Processor time per picture on one core (other work on the machine does not count) and time by the
clock, the best of several rounds over the same pictures, all kinds of work taking turns. The steps
hold one another: "sample" is reading, decoding, changing the region, warping and points; "batch"
stacks 32 of them; "input" adds colours, targets and normalisation on the device (here the CPU).
--peer runs MMPose 1.3.2's transforms for this set in an environment of its own (made in VENV where
there is none, about two minutes), on the same files, boxes and points, to the same 192 x 192 crops
and 48 x 48 heatmaps, without its collation and normalisation.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
SIZE, BATCH = 192, 32
PEER = (
    ["setuptools<81", "wheel", "numpy<2.3", "cython", "torch==2.13.0", "opencv-python-headless",
     "scipy", "matplotlib", "json-tricks", "munkres", "pillow", "six", "python-dateutil", "shapely",
     "terminaltables", "tqdm", "rich", "addict", "yapf", "termcolor", "packaging", "pyyaml",
     "pycocotools"],
    ["--no-deps", "mmengine==0.10.7", "mmcv-lite==2.1.0", "mmdet==3.3.0", "mmpose==1.3.2"],
    # its wheel is built against NumPy 1
    ["--no-deps", "--no-binary", "xtcocotools", "--no-build-isolation", "xtcocotools==1.14.3"],
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", metavar="NAME:DIR", help="a labelled set")
    parser.add_argument("--count", type=int, default=320, help="animals (320)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer", type=Path, metavar="VENV")
    parser.add_argument("--as-peer", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.as_peer:
        serve(peer_work(json.loads(args.as_peer.read_text())))
        return
    if not args.data:
        parser.error("--data is due")
    with tempfile.TemporaryDirectory() as folder:
        work = own_work(args.data, args.count, Path(folder))
        if args.peer:
            work["MMPose: to crop and heatmap"] = Peer(args.peer, args.data, args.count, folder)
        report(measured(work, args.rounds), args.count)


def measured(work: dict[str, Callable[[], Any]], rounds: int) -> dict[str, tuple[float, float]]:
    """Processor time and time by the clock of each kind of work, the best of its rounds."""
    best: dict[str, tuple[float, float]] = {}
    for _ in range(rounds):
        for name, do in work.items():
            told = do() if isinstance(do, Peer) else timed(do)
            have = best.get(name, told)
            best[name] = (min(have[0], told[0]), min(have[1], told[1]))
    return best


def timed(do: Callable[[], Any]) -> tuple[float, float]:
    wall, used = time.perf_counter(), time.process_time()
    do()
    return time.process_time() - used, time.perf_counter() - wall


def report(best: dict[str, tuple[float, float]], count: int) -> None:
    decode = next(iter(best.values()))[0]
    print(f"{'':44}{'ms/picture':>11}{'pictures/s':>12}{'of decoding':>13}{'by clock':>10}")
    for name, (used, wall) in best.items():
        print(
            f"{name:44}{used / count * 1e3:11.3f}{count / used:12.0f}{decode / used:12.0%} "
            f"{count / wall:10.0f}"
        )


def chosen(data: str, count: int) -> Any:
    """Animals of the set, spread over it."""
    import numpy as np

    from tetrapose.data import open_set

    pose_set = open_set(data)
    return pose_set.select_instances(np.linspace(0, len(pose_set) - 1, count).astype(int))


def own_work(data: str, count: int, folder: Path) -> dict[str, Callable[[], Any]]:
    import cv2
    import numpy as np
    import torch

    from tetrapose.cli import keep_freed_memory
    from tetrapose.codecs import Heatmap
    from tetrapose.data.augment import HalfBody, Jitter, Mirror
    from tetrapose.data.cache import cached
    from tetrapose.data.crops import CropDataset, to_batch

    keep_freed_memory()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    pose_set = chosen(data, count)
    files_read = [
        np.frombuffer(pose_set.path(int(i)).read_bytes(), np.uint8) for i in pose_set.image_index
    ]
    changes = (HalfBody(), Jitter(), Mirror())
    files = CropDataset(pose_set, size=(SIZE, SIZE), changes=changes)
    cache = cached(pose_set, files.scales(), folder / "cache", "train", tell=print)
    kept = CropDataset(pose_set, size=(SIZE, SIZE), changes=changes, pictures=cache)
    k = len(pose_set.skeleton)
    maps = Heatmap(k, (SIZE, SIZE))
    rows = range(len(pose_set))

    def decode(flag: int) -> list[Any]:
        return [cv2.imdecode(one, flag) for one in files_read]

    def batches(dataset: CropDataset) -> list[Any]:
        return [
            to_batch([dataset[0, row] for row in rows[i : i + BATCH]])
            for i in range(0, len(rows), BATCH)
        ]

    ready = batches(kept)
    device, colour = on_device(k)

    def with_heatmaps(dataset: CropDataset) -> None:
        for batch in batches(dataset):
            maps.encode(batch["keypoints"], batch["weights"])

    def whole(dataset: CropDataset) -> None:
        for step, batch in enumerate(batches(dataset)):
            device(batch, step)

    def over(work: Callable[[Any, int], None]) -> None:
        for step, batch in enumerate(ready):
            work(batch, step)

    return {
        "JPEG decoded": lambda: decode(cv2.IMREAD_COLOR),
        "JPEG decoded at half size": lambda: decode(cv2.IMREAD_REDUCED_COLOR_2),
        "sample": lambda: [files[0, row] for row in rows],
        "batch": lambda: batches(files),
        "sample, cached": lambda: [kept[0, row] for row in rows],
        "batch, cached": lambda: batches(kept),
        "on the device: colours, targets, normal": lambda: over(device),
        "of that colours": lambda: over(colour),
        "input": lambda: whole(files),
        "input, cached": lambda: whole(kept),
        "to crop and heatmap": lambda: with_heatmaps(files),
        "to crop and heatmap, cached": lambda: with_heatmaps(kept),
    }


def on_device(keypoints: int) -> tuple[Callable[[Any, int], None], Callable[[Any, int], Any]]:
    """What a step does before its network, for a batch and the step's number; and colours alone."""
    import torch

    from tetrapose.codecs import Distribution
    from tetrapose.data.photometric import Blur, Colour, Cutout

    codec = Distribution(keypoints, (SIZE, SIZE))

    def colour(batch: Any, step: int) -> Any:
        images = batch["image"].float() / 255
        for change in (Colour(), Blur(), Cutout()):
            images = change(images, torch.Generator().manual_seed(step))
        return images

    def device(batch: Any, step: int) -> None:
        images = colour(batch, step)
        codec.encode(batch["keypoints"], batch["weights"])
        _ = ((images - 0.45) / 0.23).contiguous(memory_format=torch.channels_last)

    return device, colour


class Peer:
    """MMPose in its own environment, a round at a time, in turn with ours."""

    def __init__(self, venv: Path, data: str, count: int, folder: str) -> None:
        python = venv / "bin" / "python"
        if not (venv / "ready").exists():
            print(f"making {venv}", file=sys.stderr)
            subprocess.run([sys.executable, "-m", "venv", venv], check=True)
            for packages in PEER:
                subprocess.run([python, "-m", "pip", "install", "-q", *packages], check=True)
            (venv / "ready").touch()
        pose_set = chosen(data, count)
        facts = {
            "animals": [
                {"path": str(pose_set.path(int(i))), "box": box.tolist(), "points": points,
                 "visible": flags.tolist()}
                for i, box, points, flags in zip(
                    pose_set.image_index, pose_set.bboxes,
                    pose_set.keypoints.astype(float).tolist(), pose_set.visibility, strict=True,
                )
            ],
            "flips": pose_set.skeleton.flip_indices.tolist(),
            "upper": [int(i) for i in pose_set.skeleton.upper_indices()],
        }  # fmt: skip
        file = Path(folder) / "peer.json"
        file.write_text(json.dumps(facts).replace("NaN", "0.0"))
        self.process = subprocess.Popen(
            [python, __file__, "--as-peer", file],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __call__(self) -> tuple[float, float]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print("go", file=self.process.stdin, flush=True)
        for line in self.process.stdout:
            if line.startswith("took "):
                used, wall = map(float, line.split()[1:])
                return used, wall
        raise SystemExit("the peer ended; what it said stands above")


def serve(do: Callable[[], Any]) -> None:
    for _ in sys.stdin:
        print("took", *timed(do), flush=True)


def peer_work(facts: dict[str, Any]) -> Callable[[], Any]:
    """Transforms of configs/animal_2d_keypoint/topdown_heatmap/animalpose/td-hm_hrnet-w32."""
    import copy
    import types

    sys.modules.setdefault("mmcv._ext", types.ModuleType("mmcv._ext"))  # no operator is used
    import cv2
    import numpy as np
    from mmcv.transforms import Compose
    from mmpose.datasets.transforms import (
        GenerateTarget,
        GetBBoxCenterScale,
        LoadImage,
        PackPoseInputs,
        RandomBBoxTransform,
        RandomFlip,
        RandomHalfBody,
        TopdownAffine,
    )

    cv2.setNumThreads(1)
    upper = facts["upper"]
    animals = [
        {
            "img_path": one["path"],
            "bbox": np.array([one["box"]], dtype=np.float32),
            "bbox_score": np.ones(1, dtype=np.float32),
            "keypoints": np.array([one["points"]], dtype=np.float32),
            "keypoints_visible": (np.array([one["visible"]]) > 0).astype(np.float32),
            "flip_indices": facts["flips"],
            "upper_body_ids": upper,
            "lower_body_ids": [i for i in range(len(facts["flips"])) if i not in upper],
        }
        for one in facts["animals"]
    ]
    codec = {
        "type": "MSRAHeatmap", "input_size": (SIZE, SIZE), "sigma": 2,
        "heatmap_size": (SIZE // 4, SIZE // 4),
    }  # fmt: skip
    steps = [
        LoadImage(), GetBBoxCenterScale(), RandomFlip(direction="horizontal"), RandomHalfBody(),
        RandomBBoxTransform(), TopdownAffine(input_size=(SIZE, SIZE)),
        GenerateTarget(encoder=codec), PackPoseInputs(),
    ]  # fmt: skip
    pipeline = Compose(steps)
    return lambda: [pipeline(copy.copy(one)) for one in animals]


if __name__ == "__main__":
    main()
