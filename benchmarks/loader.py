"""How long a training step waits for its batch, and what a worker holds with 100,000 animals.

    python benchmarks/loader.py --root DIR/animal_pose [--workers 1] [--steps 30] [--pretend MS]

Waiting: the default network is trained on 192 px batches of 32, once with pictures from files, once
from a cache; the share of the time in which the loop stood still for the loader, after the first
batches. Memory: what a forked worker has of its own (not shared with the main process), growing
from its first samples to 20,000 of 100,000 animals on as many pictures, and a spawned one's copy.
--pretend MS sleeps in place of the network, as a processor does that waits for a GPU.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import pickle
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
SIZE, BATCH, ANIMALS = 192, 32, 100_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True, help="a folder as Animal-Pose's")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--pretend", type=float, metavar="MS")
    args = parser.parse_args()
    memory()
    with tempfile.TemporaryDirectory() as folder:
        waits(args, folder)


class Blank:
    """Pictures that cost nothing."""

    def read(self, image: int, scale: float) -> tuple[Any, tuple[int, int]]:
        import numpy as np

        return np.zeros((240, 320, 3), np.uint8), (320, 240)


def memory() -> None:
    import numpy as np

    from tetrapose import skeletons
    from tetrapose.data.crops import CropDataset
    from tetrapose.structures import PoseSet

    skeleton, rng = skeletons.load("ap10k"), np.random.default_rng(0)
    n, k = ANIMALS, len(skeleton)
    pose_set = PoseSet(
        skeleton=skeleton, root=Path("/none"), source="drawn", licence="",
        files=tuple(f"folder/{i:012}.jpg" for i in range(n)), image_ids=np.arange(n),
        sizes=np.zeros((n, 2), np.int32), groups=np.arange(n), image_index=np.arange(n),
        keypoints=rng.uniform(0, 200, (n, k, 2)), visibility=np.full((n, k), 2, np.uint8),
        bboxes=np.tile(np.float32([10, 10, 210, 210]), (n, 1)), areas=np.ones(n),
        species=np.zeros(n, int), species_names=("animal",), crowd=np.zeros(n, bool),
        annotation_ids=np.arange(n),
    )  # fmt: skip
    plain = CropDataset(pose_set, size=(64, 64))
    print(f"{n:,} animals: a spawned worker gets {len(pickle.dumps(plain)) / 2**20:.0f} MiB")
    blank = CropDataset(pose_set, size=(64, 64), pictures=Blank())
    queue: Any = multiprocessing.get_context("fork").Queue()

    def work() -> None:
        order = np.random.default_rng(1).permutation(n)
        for count, row in enumerate(order[:20_000]):
            blank[0, int(row)]
            plain.pictures.path(int(row))  # pyright: ignore[reportAttributeAccessIssue]
            if count in (500, 19_999):
                queue.put(own_memory())

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    first, last = queue.get(), queue.get()
    process.join()
    print(f"of its own, a forked one: {first:.1f} MiB after 500 samples, {last:.1f} after 20,000")


def own_memory() -> float:
    """MiB that this process shares with no other."""
    text = Path("/proc/self/smaps_rollup").read_text()
    return sum(map(int, re.findall(r"^Private_\w+: +(\d+) kB", text, re.M))) / 1024


def waits(args: argparse.Namespace, folder: str) -> None:
    import torch
    from torch.utils.data import DataLoader

    from tetrapose.cli import keep_freed_memory
    from tetrapose.data import open_set
    from tetrapose.data.augment import HalfBody, Jitter, Mirror
    from tetrapose.data.cache import cached
    from tetrapose.data.crops import CropDataset, EpochSampler, to_batch

    keep_freed_memory()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    pose_set = open_set(f"animal_pose:{args.root}", split=args.root / "train.txt")
    crops = CropDataset(pose_set, size=(SIZE, SIZE), changes=(HalfBody(), Jitter(), Mirror()))
    cache = cached(pose_set, crops.scales(), folder, "train", tell=print)
    step = training_step(len(pose_set.skeleton), device)
    if args.pretend:
        step = pretended_step(args.pretend / 1e3)
    for name, pictures in (("files", crops.pictures), ("cache", cache)):
        crops.pictures = pictures
        loader = DataLoader(
            crops, BATCH, sampler=EpochSampler(len(crops)), drop_last=True, collate_fn=to_batch,
            num_workers=args.workers, pin_memory=device == "cuda",
        )  # fmt: skip
        waited, began, mark = 0.0, 0.0, time.perf_counter()
        done = 0
        for number, batch in enumerate(loader):
            now = time.perf_counter()
            if number == 4:  # the loader has filled its queue
                began = now
            elif number > 4:
                waited += now - mark
                done += 1
            if number == args.steps:
                break
            step(batch, number)
            mark = time.perf_counter()
        took = time.perf_counter() - began
        print(
            f"{name}, {args.workers} workers, {device}: {took / max(done, 1) * 1e3:.0f} ms a step, "
            f"{waited / took:.2%} of it waiting"
        )


def training_step(keypoints: int, device: str) -> Callable[[Any, int], None]:
    """A whole step of the default network."""
    import torch

    from tetrapose.codecs import Distribution
    from tetrapose.data.photometric import Blur, Colour, Cutout
    from tetrapose.models.small import small
    from tetrapose.training.fit import best_precision

    torch.set_num_threads(max(len(os.sched_getaffinity(0)), 1))
    model = small(keypoints).to(device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    codec = Distribution(keypoints, (SIZE, SIZE))
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    half = best_precision() == "bf16-mixed"

    def step(batch: Any, number: int) -> None:
        batch = {name: value.to(device, non_blocking=True) for name, value in batch.items()}
        pictures = batch["image"].float() / 255
        for change in (Colour(), Blur(), Cutout()):
            pictures = change(pictures, torch.Generator().manual_seed(number))
        with torch.autocast(device, torch.bfloat16, enabled=half):
            output = model(pictures.contiguous(memory_format=torch.channels_last))
        target, weights = codec.encode(batch["keypoints"], batch["weights"])
        codec.loss(output.float(), target, weights).backward()
        optimizer.step()
        optimizer.zero_grad()
        if device == "cuda":
            torch.cuda.synchronize()

    return step


def pretended_step(seconds: float) -> Callable[[Any, int], None]:
    return lambda batch, number: time.sleep(seconds)


if __name__ == "__main__":
    main()
