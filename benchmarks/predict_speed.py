"""Pictures a second from file to points, and where the time goes.

  python benchmarks/predict_speed.py --root DIR/animal_pose [--threads 2] [--batch 8] [--count 200]

Pictures of Animal-Pose's val.txt, each whole as one animal, in float32 and bfloat16, with and
without flip test: pictures a second by the clock (median and best of the rounds, all ways in turn),
processor time a picture, of the whole way through Predictor.stream. Then the parts one after the
other: reading and cutting, network, decoding. On a machine that does other work the clock's figures
are lower bounds, and with several threads so is what processor time tells: threads that wait for
each other spin. One thread's processor time (--threads 1) is the figure to trust there.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch

from tetrapose.cli import keep_freed_memory
from tetrapose.inference.cutting import Cutter, Item, cut
from tetrapose.inference.predictor import Predictor, load


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", required=True, type=Path)
    parser.add_argument("--model", default="default")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    keep_freed_memory()  # as every tetrapose command does
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(1)
    names = (args.root / "val.txt").read_text().split()[: args.count]
    paths = [args.root / "images" / Path(name).name for name in names]
    ways = {
        f"{precision}, flip test {'on' if flip else 'off'}": load(
            args.model, flip=flip, batch_size=args.batch, device="cpu", precision=precision
        )
        for precision in ("float32", "bfloat16")
        for flip in (False, True)
    }
    print(f"{len(paths)} pictures, batch {args.batch}, {args.threads} threads, {args.model}")
    print(f"bfloat16 in this processor: {bfloat16_is_native()}")
    whole(ways, paths, args.rounds)
    parts(ways, paths[: 12 * args.batch], args.batch)
    moved(ways, paths)


def bfloat16_is_native() -> bool:
    file = Path("/proc/cpuinfo")
    flags = file.read_text() if file.exists() else ""
    return "avx512_bf16" in flags or "amx_bf16" in flags or " bf16" in flags


def timed(call: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock and of processor time, threads of this process included."""
    wall, used = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - used


def whole(ways: dict[str, Predictor], paths: list[Path], rounds: int) -> None:
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for predictor in ways.values():
        list(predictor.stream(Item(path) for path in paths[:16]))
    for _ in range(rounds):
        for name, predictor in ways.items():
            taken[name].append(timed(lambda p=predictor: list(p.stream(map(Item, paths)))))
    print(f"{'from file to points':30}{'pictures/s':>12}{'best':>8}{'processor ms/picture':>24}")
    for name, each in taken.items():
        walls, used = zip(*each, strict=True)
        print(
            f"{name:30}{len(paths) / statistics.median(walls):12.1f}{len(paths) / min(walls):8.1f}"
            f"{1000 * statistics.median(used) / len(paths):24.2f}"
        )


def parts(ways: dict[str, Predictor], paths: list[Path], batch: int) -> None:
    first = next(iter(ways.values()))
    cutter = Cutter(first.codec.input_size, first.padding)
    crops: list[np.ndarray] = []
    rows = {
        "reading and cutting": timed(
            lambda: crops.extend(cut(Item(p), cutter).crops for p in paths)
        )
    }
    pixels = np.concatenate(crops)
    mean, std = torch.tensor(first.mean)[:, None, None], torch.tensor(first.std)[:, None, None]
    inputs = [
        ((torch.from_numpy(pixels[i : i + batch]).permute(0, 3, 1, 2).float() / 255) - mean) / std
        for i in range(0, len(pixels), batch)
    ]
    outputs: list[torch.Tensor] = []
    with torch.inference_mode():
        for name in ("float32, flip test off", "bfloat16, flip test off"):
            predictor = ways[name]
            dtype = next(predictor.model.parameters()).dtype
            ready = [x.to(dtype) for x in inputs]
            outputs.clear()
            rows[f"network, {name.split(',')[0]}"] = timed(
                lambda m=predictor.model, r=ready: outputs.extend(m(x) for x in r)
            )
        maps = [output.float() for output in outputs]
        rows["decoding"] = timed(lambda: [first.codec.decode(x) for x in maps])
    print(f"{'parts, one after the other':30}{'clock ms/picture':>20}{'processor ms/picture':>24}")
    for name, (wall, used) in rows.items():
        print(f"{name:30}{1000 * wall / len(pixels):20.2f}{1000 * used / len(pixels):24.2f}")


def moved(ways: dict[str, Predictor], paths: list[Path]) -> None:
    """How far half precision moves points, in pixels of the network's input."""
    for flip in ("off", "on"):
        whole_, half = (ways[f"{name}, flip test {flip}"] for name in ("float32", "bfloat16"))
        apart, scores = [], []
        for a, b in zip(
            whole_.stream(map(Item, paths)), half.stream(map(Item, paths)), strict=True
        ):
            scale = whole_.codec.input_size[0] / (max(a.size) * whole_.padding)
            far = np.linalg.norm(a.instances.keypoints - b.instances.keypoints, axis=-1)
            apart.append(scale * far.ravel())
            scores.append(np.ravel(a.instances.scores))
        far, sure = np.concatenate(apart), np.concatenate(scores) > 0.3
        print(
            f"bfloat16 moves points, flip test {flip}: median {np.median(far):.3f} px of the crop, "
            f"99% within {np.quantile(far, 0.99):.2f}; of scores over 0.3 "
            f"{np.median(far[sure]):.3f} and {np.quantile(far[sure], 0.99):.2f}"
        )


if __name__ == "__main__":
    main()
