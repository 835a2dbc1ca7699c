"""A training step with freed memory handed back, kept by glibc, or kept by tcmalloc.

  python benchmarks/allocator.py

Each setting is a process of its own, in turn, twice; tcmalloc where it is installed.
"""

from __future__ import annotations

import glob
import os
import resource
import subprocess
import sys
import time


def step_times(steps: int) -> list[float]:
    """Seconds of each step of the default network: 16 crops of 128 px, half precision."""
    import torch

    from tetrapose.models.small import small

    model = small(20).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    times = []
    for _ in range(steps):
        images = torch.randn(16, 3, 128, 128).contiguous(memory_format=torch.channels_last)
        began = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            maps = model(images)
        maps.float().square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        times.append(time.perf_counter() - began)
    return times


def main() -> None:
    if len(sys.argv) > 1:
        if sys.argv[1] == "glibc, pages kept":
            from tetrapose.cli import keep_freed_memory

            keep_freed_memory()
        times = sorted(step_times(14))
        used = resource.getrusage(resource.RUSAGE_SELF)
        print(
            f"{sys.argv[1]:18} best {times[0]:.3f} s, median {times[7]:.3f} s a step; "
            f"{used.ru_minflt} page faults, {used.ru_maxrss // 1024} MB"
        )
        return
    found = glob.glob("/usr/lib/*/libtcmalloc_minimal.so.4")
    settings = ["glibc as it is", "glibc, pages kept", *(["tcmalloc"] if found else [])]
    for name in settings * 2:
        preload = found[0] if name == "tcmalloc" else ""
        environment = {**os.environ, "LD_PRELOAD": preload}
        subprocess.run([sys.executable, __file__, name], env=environment, check=True)


if __name__ == "__main__":
    main()
