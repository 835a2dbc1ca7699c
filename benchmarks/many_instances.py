"""Reading and joining 100,000 animals of three conventions: time and memory.

  python benchmarks/many_instances.py [--count 100000]

Three COCO files (AP-10K, Animal-Pose, AKD cats) with random labels are written to a temporary
folder; then, in a process of its own, they are read, brought onto the quadruped's 32 points and
joined. Printed are the seconds of reading, of mapping and joining, and the most memory that the
process held, the interpreter and its libraries included.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from tetrapose import skeletons

NAMES = ("ap10k", "animal_pose", "akd_cats")


def main() -> None:
    """Write the files, measure in a fresh process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--read", metavar="DIR", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.read:
        measure(Path(args.read))
        return
    with tempfile.TemporaryDirectory() as folder:
        for name in NAMES:
            write(Path(folder) / f"{name}.json", name, -(-args.count // len(NAMES)))
        subprocess.run([sys.executable, __file__, "--read", folder], check=True)


def write(path: Path, name: str, count: int) -> None:
    """A COCO file of that many animals, one a picture, two thirds of the points labelled."""
    skeleton, rng = skeletons.load(name), np.random.default_rng(0)
    k = len(skeleton)
    flags = rng.integers(0, 3, (count, k))
    points = rng.uniform(100, 400, (count, k, 2)).round(1) * (flags > 0)[..., None]
    triples = np.concatenate([points, flags[..., None]], axis=-1).reshape(count, -1).tolist()
    content = {
        "images": [
            {"id": i, "file_name": f"{i:06}.jpg", "width": 640, "height": 480} for i in range(count)
        ],
        "annotations": [
            {
                "id": i, "image_id": i, "category_id": 1, "bbox": [90, 90, 330, 330],
                "area": 108900, "iscrowd": 0, "keypoints": [*map(_whole, row)],
            }
            for i, row in enumerate(triples)
        ],
        "categories": [{"id": 1, "name": "animal", "keypoints": list(skeleton.names)}],
    }  # fmt: skip
    path.write_text(json.dumps(content))


def _whole(value: float) -> float | int:
    return int(value) if value == int(value) else value


def measure(folder: Path) -> None:
    """Read, map, join; print what it took."""
    import resource
    import time

    from tetrapose.data import open_set
    from tetrapose.data.mix import join, onto

    def clock() -> np.ndarray:
        return np.array([time.perf_counter(), time.process_time()])

    before = clock()
    sets = [open_set(f"coco:{folder / name}.json", pictures=False) for name in NAMES]
    read = clock()
    skeleton = skeletons.load("quadruped")
    mix = join([onto(one, skeleton) for one in sets], NAMES)
    done = clock()
    size = sum((folder / f"{name}.json").stat().st_size for name in NAMES) / 2**20
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{len(mix.pose_set):,} animals, {size:.0f} MiB of JSON")
    for what, (wall, used) in (("read", read - before), ("mapped and joined", done - read)):
        print(f"{what} {wall:.2f} s ({used:.2f} s of processor time)")
    print(f"at most {memory:.2f} GiB")


if __name__ == "__main__":
    main()
