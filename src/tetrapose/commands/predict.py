"""Keypoints on pictures and videos.

PATH is a picture, a video, a folder (searched whole) or a glob. Into DIR go overlays (NAME.jpg,
NAME.mp4), predictions.json (COCO results with file_name; frame and time for videos) and
predictions.meta.json (keypoint names, model, protocol, what was left out).

  tetrapose predict dog.jpg --out seen
  tetrapose predict 'trip/**/*.jpg' clip.mp4 --out seen --csv
  tetrapose predict pictures --out seen --boxes annotations.json
  tetrapose predict meadow.jpg --out seen --boxes auto --tiles 3

With --boxes auto a finder says where the animals are: none, one or many. A picture without an
animal is named in a note and nothing is drawn on it; that is no fault. Exit status 0: all done; 1:
some pictures or boxes had to be left out; 2: wrong use, or nothing could be predicted.
"""

from __future__ import annotations

import argparse
import gc
import io
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tetrapose.commands import finding

if TYPE_CHECKING:
    import numpy as np

    from tetrapose.inference.boxes import BoxFile
    from tetrapose.inference.cutting import Item
    from tetrapose.inference.films import Frame
    from tetrapose.inference.predictor import Prediction, Predictor
    from tetrapose.inference.results import ResultWriter
    from tetrapose.inference.sources import Source
    from tetrapose.structures import Problem

HELP = "put keypoints on pictures, folders, globs and videos"
PICTURE_SIDE, VIDEO_SIDE = 1600, 1920  # longest sides of overlays
SHOWN = 50  # lines of what was left out; the rest stands in predictions.meta.json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    add = parser.add_argument
    add("paths", nargs="+", metavar="PATH", help="pictures, videos, folders or globs")
    add("--out", required=True, metavar="DIR", help="folder for what is made")
    finding.add_arguments(parser)
    add("--model", default="default", metavar="NAME|FILE", help="shipped model or .safetensors")
    add("--no-flip", action="store_true", help="do not average with the mirror image (faster)")
    add("--threshold", type=float, default=0.3, metavar="T", help="least score drawn (0.3)")
    add("--batch", type=int, default=16, metavar="N", help="crops at a time (16)")
    add(
        "--precision", default="float32", metavar="P",
        help="float32, or bfloat16: faster where the processor has it, points move a little",
    )  # fmt: skip
    add("--backend", default="auto", metavar="B", help="auto, torch, onnxruntime or openvino")
    add("--device", metavar="D", help="cpu, cuda, cuda:1 ... (the first GPU if there is one)")
    add("--style", default="vivid", metavar="S", help="look of the overlays: vivid or quiet")
    add("--no-overlays", action="store_true", help="predictions only")
    add("--csv", action="store_true", help="write predictions.csv as well, one row an animal")


def run(args: argparse.Namespace) -> int:
    """Predict, write as it goes, list what was left out."""
    from tetrapose.errors import UserError
    from tetrapose.inference.boxes import read_boxes
    from tetrapose.inference.sources import find_sources, overlay_paths
    from tetrapose.render import load_style

    _check(args)
    load_style(args.style)
    out = Path(args.out)
    sources, problems = find_sources(args.paths, out=out)
    if not sources:
        _list(problems)
        raise UserError("nothing to predict: no picture or video was found")
    overlays = [] if args.no_overlays else overlay_paths(sources, out)
    boxes = None if args.boxes in ("whole", "auto", finding.MODEL) else read_boxes(Path(args.boxes))

    with _without_collecting():
        # torch: only once the rest is known to be right
        from tetrapose.inference.backends import settled
        from tetrapose.inference.predictor import load
        from tetrapose.inference.results import ResultWriter

        finder = finding.make(args)
        predictor = load(
            args.model, flip=not args.no_flip, batch_size=args.batch, device=args.device,
            precision=args.precision,
            backend=settled(args.backend, args.model, _amount(sources)),
        )  # fmt: skip
    job = _Job(
        args=args,
        sources=sources,
        overlays=overlays,
        predictor=predictor,
        boxes=boxes,
        spotter=finding.Spotter(finder),
        writer=ResultWriter(out, predictor.skeleton, csv=args.csv),
        problems=problems + list(boxes.problems if boxes else ()),
    )
    job.run()
    return job.report()


def _amount(sources: list[Source]) -> int | None:
    return None if any(source.is_video for source in sources) else len(sources)


@contextmanager
def _without_collecting() -> Iterator[None]:
    """Leave garbage where it lies while torch is imported, and never look at what came with it.

    Python else goes through torch's half a million objects again and again: a tenth of the time
    that the import takes.
    """
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if running:
            gc.enable()


def _check(args: argparse.Namespace) -> None:
    from tetrapose.errors import UserError

    finding.settle(args)
    if not 0 <= args.threshold <= 1:
        raise UserError(f"--threshold must lie in 0..1, not {args.threshold:g}")
    if args.batch < 1:
        raise UserError(f"--batch must be 1 or more, not {args.batch}")
    if Path(args.out).exists() and not Path(args.out).is_dir():
        raise UserError(f"--out {args.out}: a file, where a folder is due")
    same = [path for path in args.paths if Path(path).resolve() == Path(args.out).resolve()]
    if same and not args.no_overlays:
        raise UserError(
            f"--out {args.out}: the folder of the inputs itself; choose another, so that overlays"
            " are not taken for pictures the next time"
        )


class _FrameKey(NamedTuple):
    name: str
    index: int
    time: float

    def __str__(self) -> str:
        return f"{self.name} frame {self.index}"


@dataclass
class _Job:
    """One call's work and what became of it."""

    args: argparse.Namespace
    sources: list[Source]
    overlays: list[Path]
    predictor: Predictor
    boxes: BoxFile | None
    spotter: finding.Spotter
    writer: ResultWriter
    problems: list[Problem]
    pictures: int = 0
    videos: int = 0
    frames: int = 0
    last_id: int = 0  # of a frame's image_id
    seconds: float = 0.0
    complete: bool = False
    started: float = field(default_factory=time.perf_counter)

    def run(self) -> None:
        """Predict everything; whatever ends it, what is done is finished and kept."""
        try:
            self._pictures([n for n, source in enumerate(self.sources) if not source.is_video])
            for number, source in enumerate(self.sources):
                if source.is_video:
                    self._video(number, source)
            self.complete = True
        finally:
            self.seconds = time.perf_counter() - self.started
            self._clear_line()
            if self.pictures + self.frames:
                self.writer.finish(self._meta())
            else:
                self.writer.discard()
            if not self.complete:
                self.report()

    def report(self) -> int:
        """Say what was done and where it is; the exit status."""
        left_out = [problem for problem in self.problems if problem.left_out]
        _list(self.problems)
        if not self.pictures + self.frames:
            print("tetrapose: nothing could be predicted", file=sys.stderr)
            return 2
        done = f"{self.pictures} pictures" if self.pictures or not self.frames else ""
        if self.frames:
            films = "1 video" if self.videos == 1 else f"{self.videos} videos"
            done += f"{' and ' if done else ''}{self.frames} frames of {films}"
        rate = (self.pictures + self.frames) / max(self.seconds, 1e-9)
        if self.spotter.count:
            done += f" ({self.spotter.count} without an animal)"
        print(
            f"{done}, {self.writer.count} animals in {self.seconds:.1f} s ({rate:.1f} pictures/s)"
        )
        out = Path(self.args.out)
        print(f"computed by  {self.predictor.backend}")
        if not self.args.no_overlays:
            print(f"overlays     {out}")
        print(f"predictions  {out / 'predictions.json'}")
        if left_out:
            print(f"tetrapose: {len(left_out)} left out, listed above", file=sys.stderr)
        return 1 if left_out else 0

    def _pictures(self, numbers: list[int]) -> None:
        categories: dict[int, tuple[tuple[int, ...] | None, int | None]] = {}

        def items() -> Iterator[Item]:
            from tetrapose.inference.cutting import Item

            for number in numbers:
                path = self.sources[number].path
                if self.boxes is None:
                    yield Item(path, self.spotter.boxes(path, number), key=number)
                    continue
                found = self.boxes.find(path)
                if found is None:
                    self._no_boxes(path)
                else:
                    categories[number] = found.categories, found.image_id
                    yield Item(path, found.bboxes, key=number)

        side = 0 if self.args.no_overlays else PICTURE_SIDE
        for prediction in self.predictor.stream(items(), preview=side):
            number: int = prediction.key
            self.problems += prediction.problems
            self.problems += self.spotter.empty(number, str(self.sources[number].path))
            kinds, image_id = categories.pop(number, (None, None))
            if not prediction.readable:
                continue
            self._add(
                prediction,
                file_name=self.sources[number].name,
                image_id=number + 1 if image_id is None else image_id,
                category_ids=kinds,
            )
            if side:
                _write_jpeg(self.overlays[number], self._drawn(prediction))
            self.pictures += 1
            self._progress(f"{self.pictures} of {len(numbers)} pictures")

    def _video(self, number: int, source: Source) -> None:
        from tetrapose.errors import UserError
        from tetrapose.inference import films
        from tetrapose.inference.cutting import Item, unreadable
        from tetrapose.inference.video import VideoWriter

        if self.boxes is not None and self.boxes.find(source.path) is None:
            self._no_boxes(source.path)
            return
        count, first_id = films.Count(), self._free_image_id()
        drawn = nullcontext() if self.args.no_overlays else VideoWriter(self.overlays[number])
        try:
            film = films.survey(source.path)
            with drawn as overlay:
                side = VIDEO_SIDE if overlay else 0
                items = self._frames(source, films.read(film, count))
                for prediction in self.predictor.stream(items, preview=side):
                    key: _FrameKey = prediction.key
                    self.last_id = first_id + key.index
                    self.problems += prediction.problems
                    self.spotter.empty(key, "")  # counted: a note a frame would be too many
                    self._add(
                        prediction,
                        file_name=source.name,
                        image_id=self.last_id,
                        category_ids=self._categories(source, key.index),
                        frame=key.index,
                        time=round(key.time, 4),
                    )
                    if overlay:
                        overlay.add(self._drawn(prediction), key.time)
                    self.frames += 1
                    self._progress(f"{source.name}: frame {key.index + 1}")
        except UserError as error:
            self.problems.append(unreadable(Item(source.path), error))
            return
        self.videos += count.decoded > 0
        self.problems += films.problems(film, count)

    def _frames(self, source: Source, frames: Iterator[Frame]) -> Iterator[Item]:
        from tetrapose.inference.cutting import Item

        for frame in frames:
            found = self.boxes.find(source.path, frame=frame.index) if self.boxes else None
            key = _FrameKey(str(source.path), frame.index, frame.time)
            bboxes = self.spotter.boxes(frame.pixels, key) if found is None else found.bboxes
            yield Item(frame.pixels, bboxes, key=key)

    def _categories(self, source: Source, frame: int) -> tuple[int, ...] | None:
        found = self.boxes.find(source.path, frame=frame) if self.boxes else None
        return None if found is None else found.categories

    def _free_image_id(self) -> int:
        known = self.boxes.image_ids.values() if self.boxes else ()
        return max([len(self.sources), self.last_id, *known]) + 1

    def _no_boxes(self, path: Path) -> None:
        from tetrapose.structures import Problem

        assert self.boxes is not None
        fix = f"that file names pictures such as {self.boxes.example}"
        self.problems.append(Problem(str(path), f"{self.args.boxes} does not name it", fix))

    def _add(self, prediction: Prediction, **entry: Any) -> None:
        from tetrapose.inference.results import to_entries

        instances, more = self.spotter.scored(prediction.key, prediction.instances)
        self.writer.add(to_entries(instances, **entry, **more))

    def _drawn(self, prediction: Prediction) -> np.ndarray:
        from tetrapose.render import draw

        assert prediction.preview is not None
        return draw(
            prediction.preview,
            prediction.scaled(),
            self.predictor.skeleton,
            threshold=self.args.threshold,
            style=self.args.style,
            boxes=self.boxes is not None or self.spotter.finder is not None,
        )

    def _meta(self) -> dict[str, Any]:
        from tetrapose import __version__
        from tetrapose.render import load_style

        left_out = [p for p in self.problems if p.left_out]
        return {
            "edges": [list(edge) for edge in self.predictor.skeleton.edges],
            "model": self.args.model,
            "protocol": {
                **self.predictor.protocol,
                "boxes": self.spotter.protocol or self.args.boxes,
            },
            "overlays": None if self.args.no_overlays else load_style(self.args.style).label,
            "threshold": self.args.threshold,
            "tetrapose": __version__,
            "pictures": self.pictures,
            "frames": self.frames,
            "animals": self.writer.count,
            "complete": self.complete,
            "left_out": [{"where": p.where, "what": p.what, "fix": p.fix} for p in left_out],
        }

    def _progress(self, text: str) -> None:
        if sys.stderr.isatty():
            done = self.pictures + self.frames
            rate = done / (time.perf_counter() - self.started)
            print(f"\r\033[K{text}, {rate:.1f}/s", end="", file=sys.stderr, flush=True)

    def _clear_line(self) -> None:
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def _list(problems: list[Problem]) -> None:
    for problem in problems[:SHOWN]:
        print(f"tetrapose: {'' if problem.left_out else 'note: '}{problem}", file=sys.stderr)
    if len(problems) > SHOWN:
        more = len(problems) - SHOWN
        print(f"tetrapose: ... and {more} more in predictions.meta.json", file=sys.stderr)


def _write_jpeg(path: Path, pixels: np.ndarray) -> None:
    from PIL import Image

    from tetrapose.weights.files import replace_file

    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "JPEG", quality=92)
    replace_file(path, data.getvalue())
