"""The dog of BADJA followed through its film, against its labels.

python benchmarks/badja_film.py --badja BADJA --film davis_dog.mp4

The film is DAVIS' frames in order, so that frame n is picture n. Points are carried to BADJA's
skeleton by their place on the body; PCK at 0.1 and 0.2 of the root of the mask's area, as BADJA's
paper has it (0.2), of the points that both have. Also two of the dog, one mirrored and put over the
other by its mask (--crossing): identities where every pixel is real.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import cv2
import numpy as np

from tetrapose.data import badja
from tetrapose.evaluation.tracks import Step, track_figures
from tetrapose.geometry import box_iou
from tetrapose.inference import tracked
from tetrapose.inference.chunks import joined
from tetrapose.inference.filmed import Outcome, Settings, track_film
from tetrapose.inference.finder import load_finder
from tetrapose.inference.following import Way
from tetrapose.inference.predictor import Predictor, load
from tetrapose.inference.video import VideoWriter
from tetrapose.skeletons.mapping import between, carried
from tetrapose.tracking.tracker import PLAIN, Rules


def pck(outcome: Outcome, predictor: Predictor, root: Path) -> None:
    labels = badja.read(root)
    mapping = between(predictor.skeleton, labels.skeleton)
    rows = joined(list(tracked.each(outcome.table)), len(predictor.skeleton))
    tracks = outcome.summary.tracks
    print({number: (one.first, one.last, one.frames) for number, one in tracks.items()})
    rows = rows.take(rows.serial == max(tracks, key=lambda number: tracks[number].frames))
    right: dict[float, list[float]] = {0.1: [], 0.2: []}
    for image, file in enumerate(labels.files):
        if "JPEGImages" not in file or "/dog/" not in file:
            continue
        frame = int(Path(file).stem)
        mine = np.flatnonzero(rows.frame == frame)
        animal = np.flatnonzero(labels.image_index == image)[0]
        if not len(mine):
            print(f"frame {frame}: not followed")
            continue
        points = carried(rows.keypoints[mine[:1]], mapping, empty=np.nan)[0]
        there = labels.labelled[animal] & np.isfinite(points).all(axis=-1)
        gap = np.linalg.norm(points - labels.keypoints[animal], axis=-1)[there]
        side = np.sqrt(labels.areas[animal])
        told = {share: float((gap <= share * side).mean()) for share in right}
        for share, value in told.items():
            right[share].append(value)
        print(
            f"frame {frame:3d}  PCK@0.1 {told[0.1]:.2f}  PCK@0.2 {told[0.2]:.2f}"
            f"  ({there.sum()} points)"
        )
    print({f"PCK@{share}": round(float(np.mean(values)), 3) for share, values in right.items()})


def crossing(root: Path, film: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Write the two dogs; (boxes (2, 4), seen (2,)) of each frame.

    The mirrored dog walks in front, in the frames' reverse order, over a still of the background.
    """
    pictures = sorted((root / "JPEGImages/480p/dog").glob("*.jpg"))
    masks = [root / "Annotations/480p/dog" / f"{p.stem}.png" for p in pictures]
    truth = []
    with VideoWriter(film) as writer:
        for number, (picture, mask) in enumerate(zip(pictures, masks, strict=True)):
            canvas = cv2.imread(str(picture))[..., ::-1].copy()
            back = cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE) > 0
            front = cv2.imread(str(masks[-1 - number]), cv2.IMREAD_GRAYSCALE)[:, ::-1] > 0
            dog = cv2.imread(str(pictures[-1 - number]))[:, ::-1, ::-1]
            shift = round((0.5 - number / (len(pictures) - 1)) * 700)
            move = np.array([[1, 0, shift], [0, 1, 12]], dtype=float)
            size = canvas.shape[1::-1]
            front = cv2.warpAffine(front.astype(np.uint8), move, size) > 0
            dog = cv2.warpAffine(np.ascontiguousarray(dog), move, size)
            canvas[front] = dog[front]
            writer.add(canvas, number / 24)
            seen = (back & ~front).sum() / max(back.sum(), 1), float(front.any())
            truth.append((np.array([_box(back), _box(front)]), np.array(seen)))
    return truth


def _box(mask: np.ndarray) -> np.ndarray:
    ys, xs = np.nonzero(mask)
    if not len(xs):
        return np.full(4, np.nan)
    return np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]) - 0.5


def score(outcome: Outcome, truth: list[tuple[np.ndarray, np.ndarray]], k: int) -> str:
    rows = joined(list(tracked.each(outcome.table)), k)
    steps = []
    for frame, (boxes, seen) in enumerate(truth):
        there = np.flatnonzero(seen >= 0.35)
        mine = (rows.frame == frame) & (rows.serial > 0)
        steps.append(Step(there, rows.serial[mine], box_iou(boxes[there], rows.bboxes[mine])))
    told = track_figures(steps)
    return (
        f"switches {told.switches}  misses {told.misses}  false {told.false}"
        f"  IDF1 {told.idf1:.3f}  HOTA {told.hota:.3f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--badja", type=Path, required=True)
    parser.add_argument("--film", type=Path, required=True)
    parser.add_argument("--find", type=int, nargs="+", default=[5])
    parser.add_argument("--crossing", action="store_true")
    args = parser.parse_args()
    predictor, finder = load("default", flip=False, backend="auto"), load_finder()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for find in args.find:
            print(f"finder on every {find}. frame")
            way = Way(predictor, finder, find)
            pck(
                track_film(str(args.film), root / f"dog{find}", Settings(way)),
                predictor,
                args.badja,
            )
        if not args.crossing:
            return
        truth = crossing(args.badja, root / "two.mp4")
        for name, find, rules in (
            ("every frame, boxes and poses", 1, Rules()),
            ("every frame, plain IoU", 1, PLAIN),
            ("every 5th, boxes and poses", 5, Rules()),
        ):
            way = Way(predictor, finder, find, rules=rules)
            outcome = track_film(str(root / "two.mp4"), root / f"two {name}", Settings(way))
            print(f"{name:30} {score(outcome, truth, len(predictor.skeleton))}", flush=True)


if __name__ == "__main__":
    main()
