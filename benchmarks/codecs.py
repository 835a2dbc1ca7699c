"""How far perfect outputs decode from their points, and how long decoding takes, codec by codec.

  python benchmarks/codecs.py [--batch 64] [--keypoints 20] [--repeats 7]

Crops of 256 x 256, so maps of 64 x 64; points at random places, 20,000 a codec. "inside" is five
cells and more from the border, "border" nearer than that. Errors are distances in pixels. Times are
processor milliseconds of one thread for a batch (targets under 5 % noise), medians over repeats.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tetrapose.cli import keep_freed_memory
from tetrapose.codecs import Distribution, Heatmap, Signed, SimCC

SIDE = 256
CLEAR = 20  # pixels: five cells of stride 4
POINTS = 20_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--keypoints", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    print("| codec | decoder | inside: mean, largest | border: mean, largest | ms |")
    print("|---|---|---|---|---|")
    with torch.inference_mode():
        for name, codec in codecs(args.keypoints):
            inside, border = errors(codec)
            print(
                f"| {name} | {codec.decoder} | {inside.mean():.3f}, {inside.max():.3f} "
                f"| {border.mean():.3f}, {border.max():.3f} "
                f"| {spent(codec, args.batch, args.repeats):.1f} |"
            )


def codecs(count: int) -> list[tuple[str, Any]]:
    own = (count, (SIDE, SIDE))
    biased = Heatmap(*own, unbiased=False, window=True)
    sub = Heatmap(*own)
    udp = Heatmap(*own, grid="centres", window=True)
    bins, between = SimCC(*own), SimCC(*own, unbiased=True)
    return [
        *(
            ("heatmap, whole cells", replace(biased, decoder=d))
            for d in ("argmax", "shift", "dark")
        ),
        *(("heatmap, sub-pixel", replace(sub, decoder=d)) for d in ("argmax", "shift", "dark")),
        ("udp", replace(udp, decoder="dark_udp")),
        ("signed", Signed(*own)),
        ("distribution", Distribution(*own)),
        ("simcc, whole bins", bins),
        ("simcc, whole bins", replace(bins, decoder="dark")),
        ("simcc, unbiased", replace(between, decoder="dark")),
    ]


def errors(codec: Any) -> tuple[np.ndarray, np.ndarray]:
    """Distances in pixels of points inside, and of those near the border."""
    generator = torch.Generator().manual_seed(0)
    rows = POINTS // codec.num_keypoints
    places = torch.rand(rows, codec.num_keypoints, 2, generator=generator) * SIDE - 0.5
    found = []
    for part in places.split(50):
        target, _ = codec.encode(part, torch.ones(part.shape[:2]))
        found.append(codec.decode(target)[0])
    apart = (torch.cat(found) - places).norm(dim=-1).flatten().numpy()
    nearest = torch.minimum(places + 0.5, SIDE - 0.5 - places).amin(-1).flatten().numpy()
    return apart[nearest >= CLEAR], apart[nearest < CLEAR]


def spent(codec: Any, batch: int, repeats: int) -> float:
    generator = torch.Generator().manual_seed(1)
    places = torch.rand(batch, codec.num_keypoints, 2, generator=generator) * (SIDE - 64) + 32
    target, _ = codec.encode(places, torch.ones(places.shape[:2]))
    output: Tensor = target + 0.05 * torch.rand(target.shape, generator=generator)
    codec.decode(output)
    times = []
    for _ in range(repeats):
        begin = time.process_time()
        codec.decode(output)
        times.append(time.process_time() - begin)
    return 1000 * float(np.median(times))


if __name__ == "__main__":
    main()
