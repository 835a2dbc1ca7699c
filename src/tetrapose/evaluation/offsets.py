"""How far apart two near points lie on the animal: labels of one convention against predictions
of a model of another.

An offset is given in the animal's own frame and in body lengths, so that animals of any size and
facing either way add up: ``forward`` along the line from the root of the tail to the withers,
``down`` across it, towards the paws. Exact pairs are reported beside near ones: what they show is
the model's own bias and the labellers', which a near pair's offset has to exceed to mean anything.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tetrapose.skeletons import Skeleton, places
from tetrapose.skeletons.mapping import ABSENT, GRADES, Mapping

FRONT = ("withers", "neck_base", "neck", "neck_tigdog")  # where a body's front end is, best first
LOW = ("carpus", "hock", "front_paw", "back_paw", "elbow", "stifle")


@dataclass(frozen=True)
class Offset:
    """Where the set's ``target`` lies as seen from the model's ``source``, over ``count`` animals.

    Medians of ``forward`` and ``down`` in body lengths; ``spread`` is the median distance of single
    offsets from that median, ``error`` the standard error of the median's place.
    """

    source: str
    target: str
    grade: str
    count: int
    forward: float
    down: float
    spread: float
    error: float

    @property
    def distance(self) -> float:
        """Length of the offset in body lengths."""
        return float(np.hypot(self.forward, self.down))


def offsets(
    labels: np.ndarray, predicted: np.ndarray, mapping: Mapping, *, scores: np.ndarray | None = None
) -> list[Offset]:
    """Offsets of all pairs of the mapping that some animal shows, near pairs first.

    labels (N, T, 2) of the set, NaN where not labelled; predicted (N, S, 2) by a model whose
    skeleton is the mapping's source, in the same pixels; scores (N, S), of which those under 0.3
    are left out. Animals whose body cannot be measured (no tail root or front end) do not count.
    """
    predicted = np.asarray(predicted, dtype=np.float64)
    if scores is not None:
        predicted = np.where((scores >= 0.3)[..., None], predicted, np.nan)
    forward, down, length = body_frames(predicted, mapping.source)
    out = []
    for t in np.flatnonzero(mapping.grade != ABSENT):
        s = mapping.index[t]
        move = (labels[:, t] - predicted[:, s]) / length[:, None]
        along = np.stack([(move * forward).sum(-1), (move * down).sum(-1)], axis=-1)
        along = along[np.isfinite(along).all(-1)]
        if not len(along):
            continue
        middle = np.median(along, axis=0)
        away = np.linalg.norm(along - middle, axis=1)
        # 1.2533: a median's standard error over a mean's, for normal draws
        error = 1.2533 * float(np.linalg.norm(along.std(axis=0))) / np.sqrt(len(along))
        out.append(
            Offset(
                source=mapping.source.names[s],
                target=mapping.target.names[t],
                grade=GRADES[mapping.grade[t]],
                count=len(along),
                forward=float(middle[0]),
                down=float(middle[1]),
                spread=float(np.median(away)),
                error=error,
            )
        )
    return sorted(out, key=lambda one: (one.grade != "near", -one.distance))


def body_frames(
    points: np.ndarray, skeleton: Skeleton
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(N, 2) forward and (N, 2) down unit vectors and (N,) body lengths in pixels of points (N, K).

    NaN for animals whose tail root, front end or lower limbs are not there.
    """
    place = {point.place: k for k, point in enumerate(skeleton.keypoints)}
    nothing = np.full((len(points), 2), np.nan)
    tail = points[:, place["tail_root"]] if "tail_root" in place else nothing
    front = nothing
    for name in FRONT:
        if name in place:
            front = np.where(np.isfinite(front), front, points[:, place[name]])
    low = [k for key, k in place.items() if places.unsided(key) in LOW]
    limbs = _mean(points[:, low]) if low else nothing
    axis = front - tail
    length = np.linalg.norm(axis, axis=-1)
    length = np.where(length > 0, length, np.nan)
    forward = axis / length[:, None]
    across = np.stack([-forward[:, 1], forward[:, 0]], axis=-1)
    side = np.sign(((limbs - (front + tail) / 2) * across).sum(-1))
    down = across * np.where(side == 0, np.nan, side)[:, None]
    return forward, down, length


def _mean(points: np.ndarray) -> np.ndarray:
    """(N, 2) mean over points that are there."""
    there = np.asarray(np.isfinite(points).all(axis=-1))
    total = np.where(there[..., None], points, 0.0).sum(axis=1)
    count = there.sum(axis=1)[:, None]
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
