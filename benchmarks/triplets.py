"""How fast triplets are made, by step; whether memory stays flat; how right predicted points are.

  python benchmarks/triplets.py given SET --pictures 400     points given: no network
  python benchmarks/triplets.py networks FOLDER --pictures 60
  python benchmarks/triplets.py workers SET --pictures 400   one worker beside two
  python benchmarks/triplets.py memory SET --pictures 1000 --pictures 4000
  python benchmarks/triplets.py duplicates --pictures 100000  the comparison with all before
  python benchmarks/triplets.py agreement SET                predicted points against the labels

SET is a labelled set as NAME:DIR. Times are the processor's (user and system, of all workers; in
the tables of steps too), which other work on the machine disturbs least, and the wall's beside
them. For counts above what the set holds, its pictures are written again under a wash of colour.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np

from tetrapose import data
from tetrapose.commands.triplets import STEPS
from tetrapose.structures import PoseSet
from tetrapose.triplets import build as building
from tetrapose.triplets import timing
from tetrapose.triplets.build import build
from tetrapose.triplets.duplicates import Judge, Looks
from tetrapose.triplets.library import Library
from tetrapose.triplets.quality import learn_from, report, skeletons_of
from tetrapose.triplets.rows import Item, Triplet
from tetrapose.triplets.running import Did
from tetrapose.triplets.settings import Settings
from tetrapose.triplets.shards import read
from tetrapose.triplets.sources import Listing, Source, set_items

PART = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    kinds = ("given", "networks", "workers", "memory", "duplicates", "agreement")
    parser.add_argument("what", choices=kinds)
    parser.add_argument("source", nargs="?")
    parser.add_argument("--pictures", type=int, action="append")
    parser.add_argument("--out", type=Path, help="keep the library of agreement, or go on with it")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)  # of memory: a process each
    args = parser.parse_args()
    counts = args.pictures or [400]
    cv2.setNumThreads(1)
    if args.what == "duplicates":
        duplicates(counts[0])
    elif args.what == "agreement":
        agreement(args.source, args.out, args.pictures)
    elif args.one:
        print(*measured(args.source, int(args.one[0]), workers=int(args.one[1])))
    elif args.what == "memory":
        memory(args.source, counts)
    elif args.what == "workers":
        workers(args.source, counts[0])
    else:
        table(args.source, counts[0], networks=args.what == "networks")


def table(spec: str, count: int, *, networks: bool) -> None:
    """Steps of one run in this process, in processor time."""
    timing.now = time.process_time
    with tempfile.TemporaryDirectory() as folder:
        specs = [pile(spec, count, Path(folder)) if networks else spec]
        before, began = processor(), time.perf_counter()
        clock = None
        ends = [processor()]
        sizes: list[int] = []

        def tell(part: int, did: Did) -> None:
            ends.append(processor())
            sizes.append(did.items)

        settings = Settings(networks=networks, part=PART)
        with limited(count):
            built = build(specs, Path(folder) / "lib", settings, tell=tell)
        clock = built.clock
        spent, wall = processor() - before, time.perf_counter() - began
    counts = built.about["counts"]
    print(clock.table(STEPS))
    nets = sum(clock.seconds.get(name, 0.0) for name in ("find", "points", "caption"))
    each, rate = 1000 * spent / counts["items"], counts["items"] / spent
    print(
        f"{counts['items']} pictures, {counts['kept']} kept: {each:.1f} ms of processor time each"
        f" ({rate:.0f} a second and core), wall {wall:.1f} s;"
        f" networks {nets / sum(clock.seconds.values()):.1%}"
    )
    # the first part opens what is opened once
    parts = [1000 * t / n for t, n in zip(np.diff(ends)[1:], sizes[1:], strict=True) if n == PART]
    if parts:
        low, mid = min(parts), float(np.median(parts))
        print(f"parts of {PART}: median {mid:.1f} ms each, least disturbed {low:.1f} ms")


def workers(spec: str, count: int) -> None:
    """One worker beside two, each in processes of their own."""
    walls = {}
    for number in (1, 2, 1, 2):
        _, wall, own, others = alone(spec, count, number)
        walls.setdefault(number, []).append(wall)
        spent = f"processor {own:.1f} s in the first process, {others:.1f} s in workers"
        print(
            f"{number} worker(s): wall {wall:.1f} s, {count / wall:.0f} pictures a second; {spent}"
        )
    one, two = (min(walls[number]) for number in (1, 2))
    print(f"two workers are {one / two:.2f} times as fast as one")


def memory(spec: str, counts: list[int]) -> None:
    """The most memory that runs of different lengths took."""
    for count in counts:
        most, wall, own, _ = alone(spec, count, 1)
        told = f"at most {most:.0f} MB, wall {wall:.1f} s, processor {own:.1f} s"
        print(f"{count:>7} pictures: {told}")


def alone(spec: str, count: int, workers: int) -> list[float]:
    """``measured`` in a process of its own."""
    command = [sys.executable, __file__, "given", spec, "--one", str(count), str(workers)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return [float(word) for word in out[-4:]]


def measured(spec: str, count: int, *, workers: int) -> tuple[float, float, float, float]:
    """Most memory in MB, and seconds of building so many pictures.

    By the wall's clock, of this process's processor time, of its workers'.
    """
    with tempfile.TemporaryDirectory() as folder, limited(count):
        before, others, began = own(), spent_by_others(), time.perf_counter()
        build([spec], Path(folder) / "lib", Settings(networks=False), workers=workers)
        wall = time.perf_counter() - began
        spent = own() - before, spent_by_others() - others
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, wall, *spent


class limited:  # noqa: N801 used as a word of ``with``
    """Sources that give so many pictures: the first of them, or all and then changed copies."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.folder = Path(tempfile.mkdtemp())

    def __enter__(self) -> None:
        self.was = building.open_source
        building.open_source = self.opened  # type: ignore[assignment]

    def __exit__(self, *error: object) -> None:
        building.open_source = self.was
        shutil.rmtree(self.folder)

    def opened(self, spec: str) -> Source:
        source = self.was(spec)

        def items(listing: Listing):
            number = 0
            while number < self.count:
                for item in source.items(listing):
                    if number == self.count:
                        return
                    yield item if number < self.count else self.copy(item, number)
                    number += 1
                first = [item for item in source.items(listing)]
                while number < self.count:
                    yield self.copy(first[number % len(first)], number)
                    number += 1

        return Source(source.name, items)

    def copy(self, item: Item, number: int) -> Item:
        """The picture in another cut, so that it is no near-copy in hash or bytes."""
        pixels = cv2.imread(item.path)
        draw = np.random.default_rng(number)
        low = cv2.resize(draw.integers(0, 256, (5, 5, 3), np.uint8), pixels.shape[1::-1])
        path = self.folder / f"{number:07d}.jpg"
        cv2.imwrite(str(path), cv2.addWeighted(pixels, 0.4, low, 0.6, 0))
        return replace(item, key=path.name, path=str(path))


def pile(spec: str, count: int, folder: Path) -> str:
    """The pictures of a set, or of a folder, in a plain folder."""
    if Path(spec).is_dir():
        return spec
    target = folder / "photos"
    target.mkdir()
    for item in list(set_items(data.open_set(spec)))[:count]:
        shutil.copy(item.path, target)
    return str(target)


def agreement(spec: str, out: Path | None, pictures: list[int] | None) -> None:
    """The pictures of a labelled set as a plain folder: what is kept, beside the labels."""
    truth = data.open_set(spec)
    with tempfile.TemporaryDirectory() as folder:
        target = (out or Path(folder)).resolve() / "photos"
        for item in list(set_items(truth))[: pictures[0] if pictures else None]:
            link = target / item.key  # the names are what pictures and labels are paired by
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.exists():
                link.symlink_to(Path(item.path).resolve())
        settings = Settings(part=PART)
        built = build([str(target)], target.parent / "library", settings)
        library = Library(target.parent / "library")
        known = skeletons_of(library)
        every = (captioned(one, truth) for path in library.shards() for one in read(path))
        ranges = [learn_from(truth, one) for one in known.values()]
        told = report(every, truth=truth, ranges=ranges, known=known)
    counts = built.about["counts"]
    print(f"{counts['items']} pictures, {counts['kept']} kept, {told.animals} animals drawn")
    for why, count in counts["dropped"].items():
        print(f"  {count:>5} dropped at {why}")
    print(f"  limb too long      {told.implausible} of {told.judged} animals")
    print(f"  other species told {told.disagreeing} of {told.captions_judged} captions")
    assert told.agreement is not None, "no picture that was kept has labels"
    for name, value in asdict(told.agreement).items():
        print(f"  {name:<16}{value:>8.3f}" if name != "counted" else f"  {name:<16}{value:>8,}")


def captioned(one: Triplet, truth: PoseSet) -> Triplet:
    """The triplet under a caption that names the species that the labels do."""
    picture = [str(file) for file in truth.files].index(one.provenance["key"])
    species = truth.species[truth.image_index == picture]
    names = " and a ".join(dict.fromkeys(truth.species_names[i] for i in species))
    told = one.provenance | {"caption_origin": "text"}
    return replace(one, caption=f"a photograph of a {names}", provenance=told)


def processor() -> float:
    """Seconds of processor time of this process and those it waited for."""
    return own() + spent_by_others()


def own() -> float:
    """Seconds of processor time of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def spent_by_others() -> float:
    """Seconds of processor time of those that this process waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def duplicates(count: int) -> None:
    """Judging pictures beside many others, near-copies one in a hundred."""
    draw = np.random.default_rng(0)
    hashes = draw.integers(1, 2**63, count, dtype=np.uint64) * 2 + draw.integers(
        0, 2, count, np.uint64
    )
    small = draw.integers(0, 255, (64, 32, 32), np.uint8)
    judge = Judge(12, 0.9, lambda part, place: small[place % 64])
    part = 500
    for start in range(0, count, part):
        some = hashes[start : start + part]
        looks = Looks(some, some, ~some, np.ones(len(some), bool))
        began = time.process_time()
        judge.judge(start // part, looks)
        if start // part % max(count // part // 5, 1) == 0:
            each = 1000 * (time.process_time() - began) / len(some)
            print(f"beside {start:>9,}: {each:.3f} ms a picture")


if __name__ == "__main__":
    main()
