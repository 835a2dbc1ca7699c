"""How long a training step waits for its triplets, at 512 px, with two workers.

  python benchmarks/controlnet_loader.py --work DIR

Draws a small library with the menagerie (DIR/lib, kept), trains the miniature of Stable Diffusion
that the tests use on it, and prints the share of the steps' time that went into waiting for the
loader, the first step left out (it waits for the workers to start). The miniature's step is far
shorter than a real one's: a real run waits less.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from itertools import islice
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "controlnet"))
import tiny_sd

from tetrapose.controlnet.loader import load
from tetrapose.controlnet.settings import Settings
from tetrapose.controlnet.stock import open_stock
from tetrapose.controlnet.stream import Order, Position
from tetrapose.controlnet.training import train
from tetrapose.synth.folder import write
from tetrapose.triplets import build, settings


def library(work: Path, count: int) -> Path:
    if not (work / "lib" / "library.json").exists():
        write(work / "drawn", count, seed=1, size=512, animals=(1, 1))
    made = settings.Settings(
        size=512, part=8, networks=False, near=-1, captions={"mix": {"template": 1.0}}
    )
    build.build([f"menagerie:{work / 'drawn'}"], work / "lib", made)
    return work / "lib"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(1)
    lib = library(args.work, args.count)
    stock = open_stock([lib])
    began, cpu = time.perf_counter(), time.process_time()
    taken = sum(
        len(batch)
        for batch in islice(load(stock, Order(0, args.batch), drop=0.1, start=Position()), 12)
    )
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    print(f"reading alone, no workers: {1000 * wall / taken:.1f} ms a triplet of 512 px"
          f" ({1000 * cpu / taken:.1f} ms of processor time)")  # fmt: skip
    if not (args.work / "base").exists():
        tiny_sd.base(args.work / "base")
    run = args.work / f"run-{int(time.time())}"
    rules = Settings(
        base=str(args.work / "base"), steps=args.steps, batch=args.batch, workers=args.workers,
        shown=0, every=10**6, warmup=0,
    )  # fmt: skip
    train([lib], run, rules)
    lines = [json.loads(one) for one in (run / "log.jsonl").read_text().splitlines()]
    steps = [one for one in lines if "loss" in one][1:]
    waited, whole = (sum(one[name] for one in steps) for name in ("waited", "seconds"))
    print(
        f"{len(steps)} steps of {args.batch} triplets, {args.workers} workers:"
        f" {whole / len(steps):.2f} s a step, {100 * waited / whole:.2f} % of it waiting"
        f" (longest wait {1000 * max(one['waited'] for one in steps):.1f} ms)"
    )


if __name__ == "__main__":
    main()
