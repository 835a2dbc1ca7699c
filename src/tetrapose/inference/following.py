"""Animals of a film: found by a finder or given, looked at by a predictor, followed by a tracker.

With a finder on every frame, or boxes from a file, crops of many frames go through the network
together. With a finder on every n-th frame, or on loss, boxes between are where the last pose has
moved to: then a frame waits for the one before, and its animals are looked at together.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tetrapose import geometry
from tetrapose.inference.chunks import Rows
from tetrapose.inference.cutting import Cut, Cutter, Item, cut
from tetrapose.inference.films import Frame
from tetrapose.inference.finder import Finder, Seen
from tetrapose.inference.predictor import Predictor
from tetrapose.tracking.tracker import Detections, Rules, Tracker

ON_LOSS = 0
ANEW = 50  # frames after which a finder that looks on loss looks for newcomers
EMPTY = 5  # frames between looks where nobody is, on loss
SURE = 0.25  # mean score of the points by which an animal is still there
POINT = 0.3  # least score of a point that says where the box is
FEWEST = 5  # of such points
COVERED = 0.3  # IoU with a found box by which a followed animal was found
SAME = 0.8  # IoU of two followed boxes that have come upon one animal
UNFOUND = 3  # looks of the finder in a row that may miss an animal before it is let go
STAGES = ("decode", "detect", "crop", "network", "track", "write")
Given = Callable[[int], np.ndarray]


@dataclass(frozen=True)
class Way:
    """How animals are come by: ``finder`` on every ``find``-th frame (0: on loss), or ``given``.

    ``given`` tells the boxes (N, 4) of a frame by its number; ``frames`` is how many frames of the
    film a step is (--every), ``pace`` the seconds of a step, by which the tracker counts.
    """

    predictor: Predictor
    finder: Finder | None
    find: int = 1
    given: Given | None = None
    rules: Rules = field(default_factory=Rules)
    frames: int = 1
    pace: float = 0.04

    @property
    def together(self) -> bool:
        """Whether frames do not depend on one another before they are tracked."""
        return self.finder is None or self.find == 1


@dataclass
class Seconds:
    """Where the time went: seconds by stage, of this thread but for decode, and frames done."""

    spent: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    waited: float = 0.0
    whole: float = 0.0
    frames: int = 0
    animals: int = 0

    def add(self, stage: str, began: float) -> None:
        """Count what passed since ``began`` (perf_counter) for a stage."""
        self.spent[stage] += time.perf_counter() - began

    def bound(self) -> str:
        """The stage that the film waited for most."""
        if self.waited > 0.2 * max(self.whole, 1e-9):
            return "decode"
        return max(self.spent, key=lambda stage: self.spent[stage] if stage != "decode" else -1.0)


@dataclass
class _Followed:
    """What carries a box on: margins (4,) around the points, looks that missed it in a row."""

    margins: list[float]
    score: float
    unfound: int = 0


class Follower:
    """Goes through frames in order and tells the rows of each; keeps only the tracks."""

    def __init__(self, way: Way, seconds: Seconds) -> None:
        self.way, self.seconds = way, seconds
        self.tracker = Tracker(way.predictor.skeleton.sigmas, way.rules)
        self._followed: dict[int, _Followed] = {}
        self._since = 10**9  # steps since the finder looked
        self._lost = False

    def state(self) -> dict[str, Any]:
        """All that the next frame depends on, in plain values."""
        return {
            "tracker": self.tracker.state(),
            "since": self._since,
            "lost": self._lost,
            "followed": {
                str(s): [f.margins, f.score, f.unfound] for s, f in self._followed.items()
            },
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a ``state``."""
        self.tracker.restore(state["tracker"])
        self._since, self._lost = int(state["since"]), bool(state["lost"])
        self._followed = {int(s): _Followed(*values) for s, values in state["followed"].items()}

    def rows(self, frames: Iterable[Frame]) -> Iterator[Rows]:
        """The animals of each frame, a Rows a frame."""
        if not self.way.together:
            for frame in frames:
                yield self._one(frame)
            return
        for frame, boxes, scores, poses in self._batched(frames):
            yield self._track(frame, Detections(boxes, scores, *poses), None, len(boxes) * [True])

    def _batched(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, Any, Any, Any]]:
        """Frames with boxes and poses, crops of several frames looked at together."""
        waiting: list[tuple[Frame, np.ndarray, np.ndarray, Cut]] = []
        count = 0
        for frame in frames:
            boxes, scores = self._boxes(frame)
            waiting.append((replace(frame, pixels=_NONE), boxes, scores, self._cut(frame, boxes)))
            count += len(boxes)
            if count >= self.way.predictor.batch_size:
                yield from self._answered(waiting)
                waiting, count = [], 0
        yield from self._answered(waiting)

    def _answered(self, waiting: list[tuple[Frame, np.ndarray, np.ndarray, Cut]]) -> Iterator[Any]:
        poses = self._poses([taken for *_, taken in waiting])
        for (frame, boxes, scores, _), pose in zip(waiting, poses, strict=True):
            yield frame, boxes, scores, pose

    def _boxes(self, frame: Frame) -> tuple[np.ndarray, np.ndarray]:
        if self.way.given is not None:
            boxes = np.asarray(self.way.given(frame.index), dtype=np.float64).reshape(-1, 4)
            return boxes, np.ones(len(boxes))
        if self.way.finder is None:
            height, width = frame.pixels.shape[:2]
            return geometry.whole_picture_box(width, height)[None].astype(float), np.ones(1)
        seen = self._find(frame)
        return seen.bboxes, seen.scores

    def _find(self, frame: Frame) -> Seen:
        assert self.way.finder is not None
        began = time.perf_counter()
        seen = self.way.finder.find(frame.pixels)
        self.seconds.add("detect", began)
        return seen

    def _cut(self, frame: Frame, boxes: np.ndarray) -> Cut:
        began = time.perf_counter()
        taken = cut(Item(frame.pixels, boxes), self.cutter)
        self.seconds.add("crop", began)
        return taken

    @property
    def cutter(self) -> Cutter:
        """How crops are cut."""
        return self.way.predictor.cutter()

    def _poses(self, cuts: list[Cut]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Points (N, K, 2) and scores (N, K) for the boxes of each cut; NaN without a crop."""
        began = time.perf_counter()
        predictor, k = self.way.predictor, len(self.way.predictor.skeleton)
        crops = np.concatenate([one.crops for one in cuts]) if cuts else np.zeros((0, 1, 1, 3))
        found = [np.zeros((0, k, 2))], [np.zeros((0, k))]
        for first in range(0, len(crops), predictor.batch_size):
            points, scores = predictor.look(crops[first : first + predictor.batch_size])
            found[0].append(points)
            found[1].append(scores)
        points, scores = np.concatenate(found[0]), np.concatenate(found[1])
        out, first = [], 0
        for one in cuts:
            last = first + len(one.rows)
            here, sure = np.full((len(one.bboxes), k, 2), np.nan), np.zeros((len(one.bboxes), k))
            if last > first:
                back = geometry.invert(one.matrices)
                here[one.rows] = geometry.transform_points(back, points[first:last])
                sure[one.rows] = scores[first:last]
            out.append((here, sure))
            first = last
        self.seconds.add("network", began)
        return out

    def _clock(self, frame: Frame) -> float:
        return frame.time / self.way.pace

    def _one(self, frame: Frame) -> Rows:
        """A frame whose boxes are followed, and looked for where it is time."""
        serials, boxes = self.tracker.ahead(self._clock(frame))
        if not self._due(len(serials)):
            self._since += 1
            return self._follow(frame, serials, boxes)
        seen = self._find(frame)
        self._since, self._lost = 1, False
        missed = geometry.box_iou(boxes, seen.bboxes).max(axis=1, initial=0) < COVERED
        for serial, was_missed in zip(serials.tolist(), missed.tolist(), strict=True):
            if serial in self._followed:
                told = self._followed[serial]
                told.unfound = told.unfound + 1 if was_missed else 0
        going = [
            row for row in np.flatnonzero(missed)
            if self._followed[int(serials[row])].unfound < UNFOUND
        ]  # fmt: skip
        every = np.concatenate([seen.bboxes, boxes[going]])
        points, sure = self._poses([self._cut(frame, every)])[0]
        found = len(seen)
        keep = np.ones(len(every), dtype=bool)
        keep[found:] = _there(sure[found:])
        scores = np.concatenate([seen.scores, np.zeros(len(going))])  # such a box is no birth
        detections = Detections(every[keep], scores[keep], points[keep], sure[keep])
        is_found = np.arange(len(every))[keep] < found
        return self._track(frame, detections, None, is_found.tolist())

    def _due(self, live: int) -> bool:
        if self._lost:
            return True
        if self.way.find == ON_LOSS:
            return self._since >= (ANEW if live else EMPTY)
        return self._since >= self.way.find

    def _follow(self, frame: Frame, serials: np.ndarray, boxes: np.ndarray) -> Rows:
        points, sure = self._poses([self._cut(frame, boxes)])[0]
        keep = _there(sure)
        moved = np.array(
            [
                _around(points[i], sure[i], self._followed[int(serials[i])].margins, boxes[i])
                for i in range(len(boxes))
            ]
        ).reshape(-1, 4)
        overlap = geometry.box_iou(moved, moved)
        for a, b in zip(*np.nonzero(np.triu(overlap > SAME, 1)), strict=True):
            keep[a if sure[a].mean() < sure[b].mean() else b] = False
        self._lost = self._lost or not keep.all()
        scores = np.array([self._followed[int(s)].score for s in serials[keep]])
        detections = Detections(moved[keep], scores, points[keep], sure[keep])
        return self._track(frame, detections, serials[keep], int(keep.sum()) * [False])

    def _track(
        self, frame: Frame, seen: Detections, known: np.ndarray | None, found: list[bool]
    ) -> Rows:
        began = time.perf_counter()
        serials = self.tracker.step(self._clock(frame), seen, known)
        if known is None and not self.way.together:
            self._remember(seen, serials, found)
        self.seconds.add("track", began)
        self.seconds.frames += 1
        self.seconds.animals += len(seen)
        count = len(seen)
        return Rows(
            frame=np.full(count, frame.index),
            time=np.full(count, frame.time),
            serial=serials,
            found=np.array(found, dtype=bool),
            box_score=seen.scores,
            bboxes=seen.bboxes,
            keypoints=seen.keypoints,
            scores=seen.sure,
        )

    def _remember(self, seen: Detections, serials: np.ndarray, found: list[bool]) -> None:
        """Margins of the found boxes; of those who are gone nothing is kept."""
        before, self._followed = self._followed, {}
        for row in np.flatnonzero(serials):
            serial = int(serials[row])
            if not found[row]:
                self._followed[serial] = before.get(serial, _Followed([], 0.0))
                continue
            margins = _margins(seen.keypoints[row], seen.sure[row], seen.bboxes[row])
            self._followed[serial] = _Followed(margins, float(seen.scores[row]))


_NONE = np.zeros((0, 0, 3), np.uint8)


def _there(sure: np.ndarray) -> np.ndarray:
    """(N,) whether points with scores (N, K) are an animal's."""
    return np.asarray(sure.mean(axis=1) >= SURE) if len(sure) else np.zeros(0, dtype=bool)


def _span(points: np.ndarray, sure: np.ndarray) -> np.ndarray | None:
    """(4,) box of the sure points; None for too few."""
    good = points[(sure >= POINT) & np.isfinite(points).all(axis=-1)]
    if len(good) < FEWEST:
        return None
    box = np.concatenate([good.min(axis=0), good.max(axis=0)])
    return box if (box[2:] - box[:2] >= 2).all() else None


def _margins(points: np.ndarray, sure: np.ndarray, box: np.ndarray) -> list[float]:
    """How far a found box reaches beyond the points, in shares of their box's sides."""
    span = _span(points, sure)
    if span is None:
        return []
    sides = np.tile(span[2:] - span[:2], 2)
    return np.clip((box - span) / sides * [-1, -1, 1, 1], -0.2, 0.6).tolist()


def _around(
    points: np.ndarray, sure: np.ndarray, margins: list[float], box: np.ndarray
) -> np.ndarray:
    """(4,) the box of a pose by its margins; where it cannot tell, the box it was looked for in."""
    span = _span(points, sure)
    if span is None or not margins:
        return box
    sides = np.tile(span[2:] - span[:2], 2)
    made = span + np.array(margins) * sides * [-1, -1, 1, 1]
    # a pose that lost a leg must not let the box shrink away within a few frames
    sides = (made[2:] - made[:2] + box[2:] - box[:2]) / 2
    center = (made[:2] + made[2:]) / 2
    return np.concatenate([center - sides / 2, center + sides / 2])
