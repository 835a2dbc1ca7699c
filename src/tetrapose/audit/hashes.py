"""Pictures as 64 bits that survive saving, scaling and slight cropping; which are near-copies."""

from __future__ import annotations

import cv2
import numpy as np

SIDE = 32  # px of the small grey picture that is hashed
KEPT = 8  # of its 32 x 32 frequencies


def picture_hash(image: np.ndarray) -> tuple[int, int]:
    """64-bit hashes of a picture (H, W, 3) uint8 and of its mirror image.

    Each bit says whether one of the 63 lowest frequencies of the small grey picture lies above
    their median; the constant part is left out. In a mirror image, the odd horizontal ones change
    sign. Source: the "pHash" family (Zauner, Implementation and Benchmarking of Perceptual Image
    Hash Functions, 2010), in our own form.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    waves = cv2.dct(small)[:KEPT, :KEPT]
    sign = np.where(np.arange(KEPT) % 2, -1, 1)
    return _bits(waves), _bits(waves * sign)


def _bits(waves: np.ndarray) -> int:
    values = waves.ravel()[1:]
    bits = np.concatenate([[False], values > np.median(values)])
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def near_pairs(
    hashes: np.ndarray, mirrored: np.ndarray, distance: int
) -> list[tuple[int, int, int]]:
    """Pairs (i, j, bits that differ) with i < j and at most ``distance``, mirrored or not.

    hashes and mirrored (M,) uint64. Each is compared with each: a second for 10,000 pictures.
    """
    found = []
    for i in range(len(hashes) - 1):
        apart = np.minimum(
            differing(hashes[i], hashes[i + 1 :]), differing(hashes[i], mirrored[i + 1 :])
        )
        near = np.flatnonzero(apart <= distance)
        found += [(i, i + 1 + int(j), int(apart[j])) for j in near]
    return found


def within(value: np.uint64, hashes: np.ndarray, mirrored: np.ndarray, distance: int) -> list[int]:
    """Which hashes (M,) uint64 differ from a value in at most ``distance`` bits, nearest first."""
    if not len(hashes):
        return []
    apart = np.minimum(differing(value, hashes), differing(value, mirrored))
    near = np.flatnonzero(apart <= distance)
    return near[np.argsort(apart[near], kind="stable")].tolist()


COUNTS = np.array([bin(value).count("1") for value in range(1 << 16)], dtype=np.uint8)


def differing(value: np.uint64, others: np.ndarray) -> np.ndarray:
    """(M,) how many bits differ."""
    parts = (others ^ value).view(np.uint16).reshape(len(others), 4)
    return COUNTS[parts].sum(axis=1)


def grouped(count: int, pairs: list[tuple[int, int]]) -> np.ndarray:
    """(count,) the lowest index of the group that chains of pairs join each one to."""
    first = np.arange(count)

    def root(i: int) -> int:
        while first[i] != i:
            first[i] = first[first[i]]
            i = int(first[i])
        return i

    for i, j in pairs:
        a, b = sorted((root(i), root(j)))
        first[b] = a
    return np.array([root(i) for i in range(count)], dtype=np.int64)
