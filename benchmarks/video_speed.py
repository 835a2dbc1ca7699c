"""Frames a second of tetrapose track, end to end, on one animal at 640x480.

python benchmarks/video_speed.py --film walk.mp4 --threads 2
python benchmarks/video_speed.py --film walk.mp4 --threads 2 --find 5 every loss --rounds 3

The film is brought to 640x480 first (its first --frames frames, gone through again and again where
it has fewer), which is not timed. Seconds of the processor are told beside those of the clock: on a
machine that does other things, the former say what the latter would be on a quiet one.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

import cv2
import torch

from tetrapose.inference.filmed import Settings, track_film
from tetrapose.inference.films import Count, read, survey
from tetrapose.inference.finder import load_finder
from tetrapose.inference.following import ON_LOSS, Way
from tetrapose.inference.predictor import load
from tetrapose.inference.timing import machine
from tetrapose.inference.video import VideoWriter

SIZE = (640, 480)


def brought(film: Path, target: Path, frames: int) -> None:
    pictures = [f.pixels for f in islice(read(survey(film), Count()), frames)]
    there_and_back = pictures + pictures[-2:0:-1]  # no cut, where an animal would leap
    with VideoWriter(target) as writer:
        for number, pixels in enumerate(islice(cycle(there_and_back), frames)):
            writer.add(cv2.resize(pixels, SIZE, interpolation=cv2.INTER_AREA), number / 25)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--film", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=250)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--find", nargs="+", default=["5"])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--backend", default="auto")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    predictor = load("default", flip=False, backend=args.backend)
    finder = load_finder()
    print(machine(predictor.device), predictor.backend)
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "film.mp4"
        brought(args.film, film, args.frames)
        for number in range(args.rounds):
            for find in args.find:
                every = {"every": 1, "loss": ON_LOSS}.get(find)
                way = Way(predictor, finder, int(find) if every is None else every)
                clock, spent = time.perf_counter(), time.process_time()
                outcome = track_film(str(film), Path(folder) / f"{find}{number}", Settings(way))
                clock, spent = time.perf_counter() - clock, time.process_time() - spent
                count = outcome.seconds.frames
                parts = {k: round(1000 * v / count, 1) for k, v in outcome.seconds.spent.items()}
                print(
                    f"find {find:6} {count / clock:6.1f} frames/s  {1000 * spent / count:.1f} ms of"
                    f" the processor a frame  {len(outcome.summary.tracks)} tracks  {parts}"
                    f"  bound by {outcome.seconds.bound()}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
