"""From the keypoints of one convention to those of another: by place on the body, graded.

Two keypoints are the same when they sit at the same place (``exact``), whatever they are called. A
point may stand for one that sits close by or that labels merely call by the same name (``near``;
the pairs are data, anatomy/places.yaml). Where a skeleton does not tell places, equal names are all
there is: exact when neither tells, near when one does.
"""

from __future__ import annotations

from collections.abc import Mapping as NameMap
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

from tetrapose.skeletons import Skeleton, SkeletonError, mirror_name, places

ABSENT, NEAR, EXACT = 0, 1, 2
GRADES = ("absent", "near", "exact")


@dataclass(frozen=True)
class Mapping:
    """Which point of ``source`` each point of ``target`` is.

    ``index`` (T,) is the place in the source of each target point, -1 for none; ``grade`` (T,) is
    2 exact, 1 near, 0 absent. Raises SkeletonError when two target points would be one source
    point, or when mirroring before and after do not agree.
    """

    source: Skeleton
    target: Skeleton
    index: np.ndarray
    grade: np.ndarray

    def __post_init__(self) -> None:
        faults = _faults(self)
        if faults:
            told = "; ".join(faults)
            raise SkeletonError(f"{self.source.name} to {self.target.name}: {told}")

    def named(self, grade: int) -> tuple[tuple[str, str], ...]:
        """(source name, target name) of the points of one grade; the source's is "" for absent."""
        rows = np.flatnonzero(self.grade == grade)
        source = self.source.names
        return tuple(
            (source[self.index[t]] if self.index[t] >= 0 else "", self.target.names[t])
            for t in rows
        )

    @property
    def lost(self) -> tuple[str, ...]:
        """Names of the source's points that no target point takes."""
        used = set(self.index[self.index >= 0].tolist())
        return tuple(name for i, name in enumerate(self.source.names) if i not in used)

    def without_near(self) -> Mapping:
        """The mapping with its near points absent."""
        exact = self.grade == EXACT
        return Mapping(
            self.source, self.target,
            np.where(exact, self.index, -1), np.where(exact, EXACT, ABSENT).astype(np.uint8),
        )  # fmt: skip


def between(source: Skeleton, target: Skeleton) -> Mapping:
    """The mapping that places give; each source point is used at most once, exact ones first."""
    index = np.full(len(target), -1, dtype=np.int64)
    grade = np.zeros(len(target), dtype=np.uint8)
    free = dict.fromkeys(range(len(source)))
    for wanted in (EXACT, NEAR):
        for t, point in enumerate(target.keypoints):
            if index[t] >= 0:
                continue
            found = next((s for s in free if _likeness(source.keypoints[s], point) == wanted), None)
            if found is not None:
                index[t], grade[t] = found, wanted
                del free[found]
    return Mapping(source, target, index, grade)


def by_hand(source: Skeleton, target: Skeleton, names: NameMap[str, str]) -> Mapping:
    """The mapping that ``names`` (source name -> target name) gives, all of it exact.

    Raises SkeletonError with every fault: unknown names with the nearest known ones, two names
    claiming one target point, left and right that do not go together.
    """
    faults = []
    for given, skeleton in ((names.keys(), source), (names.values(), target)):
        for name in given:
            if name not in skeleton.names:
                near = get_close_matches(name, skeleton.names, n=3) or list(skeleton.names)
                faults.append(f"{skeleton.name} has no {name!r}; nearest: {', '.join(near)}")
    claims: dict[str, str] = {}
    for one, other in names.items():
        if other in claims:
            faults.append(f"{claims[other]!r} and {one!r} both claim {other!r}")
        claims[other] = one
    if faults:
        raise SkeletonError(f"{source.name} to {target.name}: {'; '.join(faults)}")
    place = {name: i for i, name in enumerate(source.names)}
    index = np.array([place.get(claims.get(name, ""), -1) for name in target.names], dtype=np.int64)
    return Mapping(source, target, index, np.where(index >= 0, EXACT, ABSENT).astype(np.uint8))


def carried(values: np.ndarray, mapping: Mapping, *, empty: float) -> np.ndarray:
    """(N, S, ...) in the source's order -> (N, T, ...) in the target's, ``empty`` where absent."""
    out = values[:, np.maximum(mapping.index, 0)]
    out[:, mapping.index < 0] = empty
    return out


def _likeness(one, other) -> int:
    if one.place and other.place:
        if one.place == other.place:
            return EXACT
        return NEAR if places.nearness(one.place, other.place) else ABSENT
    if one.name != other.name:
        return ABSENT
    return NEAR if one.place or other.place else EXACT


def _faults(mapping: Mapping) -> list[str]:
    source, target = mapping.source.names, mapping.target.names
    of = {target[t]: source[s] for t, s in enumerate(mapping.index) if s >= 0}
    faults = []
    claims: dict[str, str] = {}
    for name, taken in of.items():
        if taken in claims:
            faults.append(f"{claims[taken]!r} and {name!r} both take {taken!r}")
        claims[taken] = name
    for name, taken in of.items():
        partner = of.get(mirror_name(name))
        if partner != mirror_name(taken):
            told = f"{partner!r}" if partner else "nothing"
            faults.append(
                f"left and right part: {name!r} is {taken!r}, but {mirror_name(name)!r} is {told}"
            )
    return faults
