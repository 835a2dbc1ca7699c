"""Which pictures repeat an earlier one: the first in the order of the sources stays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tetrapose.audit import hashes
from tetrapose.audit.pictures import likeness

Small = Callable[[int, int], np.ndarray]


@dataclass(frozen=True)
class Looks:
    """Hashes of a part's pictures: ``digests`` (M,) 64 bits of the content's, ``phashes`` and
    ``mirrored`` (M,) uint64, and ``fit`` (M,) False for those that are out already."""

    digests: np.ndarray
    phashes: np.ndarray
    mirrored: np.ndarray
    fit: np.ndarray


class Judge:
    """Remembers every picture that stays; parts are put to it in order.

    ``small`` gives the small picture (32, 32) of a part and place. Of each picture 40 bytes or so
    are kept, and each is compared with all before it: at a million, that takes some milliseconds.
    """

    def __init__(self, near: int, like: float, small: Small) -> None:
        self._near, self._like = near, like
        self._small = lru_cache(maxsize=4096)(small)
        self._digests: dict[int, int] = {}
        self._phashes = np.zeros(1024, dtype=np.uint64)
        self._places = np.zeros((1024, 2), dtype=np.int32)
        self._count = 0

    def judge(self, part: int, looks: Looks) -> dict[int, str]:
        """The places of a part's pictures that repeat earlier ones, each with its reason.

        A reason ends in the part and place of the picture that stays.
        """
        out = {}
        for place in np.flatnonzero(looks.fit).tolist():
            found = self._known(part, place, looks)
            if found:
                out[place] = found
            else:
                self._keep(part, place, looks)
        return out

    def recall(self, part: int, looks: Looks, repeated: Sequence[int]) -> None:
        """Take in a part that was judged before, in an earlier run."""
        stays = looks.fit.copy()
        stays[list(repeated)] = False
        for place in np.flatnonzero(stays).tolist():
            self._keep(part, place, looks)

    def _known(self, part: int, place: int, looks: Looks) -> str:
        row = self._digests.get(int(looks.digests[place]))
        if row is not None:
            return f"duplicate:{self._named(row)}"
        if self._near < 0:
            return ""
        there = self._phashes[: self._count]
        apart = np.minimum(bits(there ^ looks.phashes[place]), bits(there ^ looks.mirrored[place]))
        close = np.flatnonzero(apart <= self._near)
        for row in close[np.argsort(apart[close], kind="stable")].tolist():
            other = self._small(*self._places[row].tolist())
            if likeness(self._small(part, place), other) >= self._like:
                return f"near_duplicate:{self._named(row)}"
        return ""

    def _keep(self, part: int, place: int, looks: Looks) -> None:
        if self._count == len(self._phashes):
            self._phashes = np.concatenate([self._phashes, np.zeros_like(self._phashes)])
            self._places = np.concatenate([self._places, np.zeros_like(self._places)])
        self._digests[int(looks.digests[place])] = self._count
        self._phashes[self._count] = looks.phashes[place]
        self._places[self._count] = part, place
        self._count += 1

    def _named(self, row: int) -> str:
        part, place = self._places[row].tolist()
        return f"{part}/{place}"


def bits(values: np.ndarray) -> np.ndarray:
    """(M,) how many bits of each uint64 are set."""
    if hasattr(np, "bitwise_count"):  # from NumPy 2 on
        return np.bitwise_count(values)
    return hashes.differing(np.uint64(0), values)
