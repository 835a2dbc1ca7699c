"""Peak memory of tetrapose track for a short film and a long one.

python benchmarks/video_memory.py --frames 300 3000
python benchmarks/video_memory.py --frames 300 30000 --model tests

Each film is followed in a process of its own, whose greatest resident size is taken. The film is
generated: one moving shape at 320x240, its boxes given. --model tests takes the tests' tiny
network, where the default model would take too long.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1] / "tests" / "inference"
SIZE = (320, 240)
CHILD = """
import resource, sys
from tetrapose.cli import main
status = main(sys.argv[1:])
print("PEAK", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
sys.exit(status)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, nargs="+", default=[300, 3000])
    parser.add_argument("--model", default="default")
    args = parser.parse_args()
    sys.path.insert(0, str(TESTS))
    import films_made

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        weights = args.model
        if weights == "tests":
            weights = str(films_made.model(root / "tiny.safetensors"))
        peaks = []
        for count in args.frames:
            path = films_made.film(root / f"{count}.mp4", count, size=SIZE)
            table = root / "boxes.csv"
            x, y, w, h = films_made.place(0, SIZE, 0)
            # a box without a frame holds for every one: the file does not grow with the film
            table.write_text(f"file_name,x1,y1,x2,y2\n{count}.mp4,0,0,{SIZE[0] - 1},{y + h}\n")
            words = ["track", str(path), "--boxes", str(table), "--model", weights, "--out",
                     str(root / f"out{count}"), "--smooth", "savgol"]  # fmt: skip
            began = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-c", CHILD, *words], capture_output=True, text=True, check=True
            )
            peaks.append(int(done.stdout.rsplit("PEAK", 1)[1]) / 1024)
            rise = 100 * (peaks[-1] / peaks[0] - 1)
            print(
                f"{count:6d} frames  peak {peaks[-1]:7.1f} MiB  {rise:+.1f} % of the first"
                f"  {time.perf_counter() - began:.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
