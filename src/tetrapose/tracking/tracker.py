"""Identities over time: detections of one frame after the other in, the track of each out.

tracker = Tracker(skeleton.sigmas)
for clock, seen in frames:
    serials = tracker.step(clock, seen)
ids = tracker.ids()

A track is born of a sure detection and has a serial number at once; it is given an id once it was
seen ``confirm`` times in a row, so that what flickers up once is nobody. Unsure detections go on a
track but begin none. A track that is not seen goes on by its motion for ``patience`` frames. All is
decided by what came before: nothing is random, and what is kept does not grow with the film.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tetrapose import matching
from tetrapose.geometry import box_area, box_iou
from tetrapose.tracking import motion
from tetrapose.tracking.similarity import near, pose_similarity

FORGET = 0.8  # a frame: how fast the last pose of one unseen ceases to tell it apart


@dataclass(frozen=True)
class Rules:
    """When two boxes are one animal's, and what it takes to be a track.

    ``birth``: least box score that begins a track. ``confirm``: sightings in a row until it has an
    id. ``patience``: frames that it is waited for. ``least``: similarity of a pair, where IoU and
    pose similarity are mixed with the share ``pose``. ``again``: likeness by place at which one
    that was lost is taken up again, its reach ``reach`` sides of the box, ``drift`` more a frame.
    ``moving`` False leaves out motion, and ``pose`` 0 the poses: a plain IoU tracker.
    """

    birth: float = 0.4
    confirm: int = 3
    patience: float = 45.0
    least: float = 0.25
    pose: float = 0.3
    again: float = 0.3
    reach: float = 0.35
    drift: float = 0.02
    moving: bool = True


PLAIN = Rules(least=0.3, pose=0.0, again=np.inf, moving=False)


@dataclass(frozen=True)
class Detections:
    """What was seen in a frame: bboxes (N, 4), scores (N,), keypoints (N, K, 2), sure (N, K).

    ``sure`` are the keypoints' scores; without poses K is 0.
    """

    bboxes: np.ndarray
    scores: np.ndarray
    keypoints: np.ndarray
    sure: np.ndarray

    def __len__(self) -> int:
        return len(self.bboxes)


@dataclass
class _Track:
    serial: int
    motion: motion.Motion
    points: np.ndarray
    sure: np.ndarray
    clock: float  # of ``motion`` and ``points``
    seen: float  # clock of the last sighting
    hits: int = 1
    id: int = 0


class Tracker:
    """Follows what it is shown, one frame after the other; ``sigmas`` (K,) are the skeleton's."""

    def __init__(self, sigmas: np.ndarray, rules: Rules = Rules()) -> None:  # noqa: B008 frozen
        self.sigmas = np.asarray(sigmas, dtype=np.float64)
        self.rules = rules
        self._tracks: list[_Track] = []
        self._serials = 0
        self._given = 0
        self._clock = -np.inf  # of the last step
        self._ids: dict[int, int] = {}

    def ids(self) -> dict[int, int]:
        """The id, from 1, of every serial that ever had one."""
        return dict(self._ids)

    def ahead(self, clock: float) -> tuple[np.ndarray, np.ndarray]:
        """Serials (N,) of the tracks seen last time, and their boxes (N, 4) at ``clock``."""
        live = [track for track in self._tracks if track.seen == self._clock]
        boxes = [self._moved(track, clock).motion.box for track in live]
        return (
            np.array([track.serial for track in live], dtype=np.int64),
            np.array(boxes, dtype=np.float64).reshape(-1, 4),
        )

    def step(self, clock: float, seen: Detections, known: np.ndarray | None = None) -> np.ndarray:
        """Serials (N,) of the detections at ``clock`` (in frames, rising); 0 for nobody's.

        ``known`` (N,) are their serials where the boxes came of ``ahead``: then nothing is matched
        and nothing born.
        """
        self._tracks = [self._moved(track, clock) for track in self._tracks]
        self._clock = clock
        serials = np.zeros(len(seen), dtype=np.int64)
        if known is not None:
            serials[:] = known
        else:
            self._match(clock, seen, serials)
        by_serial = {track.serial: track for track in self._tracks}
        for row in np.flatnonzero(serials):
            self._sight(by_serial[int(serials[row])], clock, seen, int(row))
        if known is None:
            for row in np.flatnonzero((serials == 0) & (seen.scores >= self.rules.birth)):
                serials[row] = self._born(clock, seen, int(row))
        self._tracks = [track for track in self._tracks if self._lives(track, clock)]
        return serials

    def _match(self, clock: float, seen: Detections, serials: np.ndarray) -> None:
        """By likeness first, all tracks at once; who is left over by place alone."""
        self._pairs(clock, seen, serials, self._alike, self.rules.least)
        self._pairs(clock, seen, serials, self._near, self.rules.again)

    def _pairs(
        self, clock: float, seen: Detections, serials: np.ndarray, like: Any, least: float
    ) -> None:
        tracks = [track for track in self._tracks if track.serial not in serials]
        rows = np.flatnonzero(serials == 0)
        if not tracks or not len(rows) or not np.isfinite(least):
            return
        ours, theirs = matching.pair(like(tracks, clock, seen, rows), least)
        for track, row in zip(ours, rows[theirs], strict=True):
            serials[row] = tracks[track].serial

    def _alike(
        self, tracks: list[_Track], clock: float, seen: Detections, rows: np.ndarray
    ) -> np.ndarray:
        boxes = np.array([track.motion.box for track in tracks])
        overlap = box_iou(boxes, seen.bboxes[rows])
        if not self.rules.pose or not len(self.sigmas):
            return overlap
        gaps = np.array([max(clock - track.seen, 1.0) for track in tracks])
        poses = pose_similarity(
            np.array([track.points for track in tracks]), seen.keypoints[rows], box_area(boxes),
            self.sigmas, weights=seen.sure[rows], slack=gaps,
        )  # fmt: skip
        share = (self.rules.pose * FORGET ** (gaps - 1))[:, None]  # legs move on unseen
        return (1 - share) * overlap + share * poses

    def _near(
        self, tracks: list[_Track], clock: float, seen: Detections, rows: np.ndarray
    ) -> np.ndarray:
        boxes = np.array([track.motion.box for track in tracks])
        gaps = np.array([clock - track.seen for track in tracks])
        return near(boxes, seen.bboxes[rows], self.rules.reach + self.rules.drift * gaps)

    def _moved(self, track: _Track, clock: float) -> _Track:
        """The track at another time, its pose carried along by the box's centre."""
        if not self.rules.moving or clock <= track.clock:
            return replace(track, clock=clock)
        later = motion.predict(track.motion, clock - track.clock)
        shift = later.mean[:2, 0] - track.motion.mean[:2, 0]
        return replace(track, motion=later, points=track.points + shift, clock=clock)

    def _sight(self, track: _Track, clock: float, seen: Detections, row: int) -> None:
        box = seen.bboxes[row]
        moved = motion.update(track.motion, box) if self.rules.moving else motion.start(box)
        track.motion, track.seen = moved, clock
        track.points, track.sure = seen.keypoints[row], seen.sure[row]
        track.hits += 1
        if not track.id and track.hits >= self.rules.confirm:
            self._name(track)

    def _born(self, clock: float, seen: Detections, row: int) -> int:
        self._serials += 1
        track = _Track(
            self._serials, motion.start(seen.bboxes[row]), seen.keypoints[row], seen.sure[row],
            clock, clock,
        )  # fmt: skip
        self._tracks.append(track)
        if self.rules.confirm <= 1:
            self._name(track)
        return self._serials

    def _name(self, track: _Track) -> None:
        self._given += 1
        track.id = self._given
        self._ids[track.serial] = track.id

    def _lives(self, track: _Track, clock: float) -> bool:
        return track.seen == clock or bool(track.id and clock - track.seen <= self.rules.patience)

    def state(self) -> dict[str, Any]:
        """All that the next step depends on, in plain values that JSON gives back exactly."""
        return {
            "serials": self._serials,
            "given": self._given,
            "clock": self._clock,
            "ids": {str(serial): number for serial, number in self._ids.items()},
            "tracks": [
                {
                    "serial": t.serial, "mean": t.motion.mean.tolist(),
                    "cov": t.motion.cov.tolist(), "points": t.points.tolist(),
                    "sure": t.sure.tolist(), "clock": t.clock, "seen": t.seen, "hits": t.hits,
                    "id": t.id,
                }
                for t in self._tracks
            ],
        }  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a ``state``."""
        self._serials, self._given = int(state["serials"]), int(state["given"])
        self._clock = float(state["clock"])
        self._ids = {int(serial): int(number) for serial, number in state["ids"].items()}
        self._tracks = [
            _Track(
                int(t["serial"]),
                motion.Motion(np.array(t["mean"], float), np.array(t["cov"], float)),
                np.array(t["points"], float).reshape(-1, 2),
                np.array(t["sure"], float),
                float(t["clock"]),
                float(t["seen"]),
                int(t["hits"]),
                int(t["id"]),
            )
            for t in state["tracks"]
        ]
