"""What part of a picture a triplet shows, and at what size."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from tetrapose import geometry
from tetrapose.triplets.settings import BUCKET, WIDEST, Settings


@dataclass(frozen=True)
class Frame:
    """A crop in whole pixels, ``left``, ``top``, ``width``, ``height``, shown at ``size``."""

    left: int
    top: int
    width: int
    height: int
    size: tuple[int, int]

    @property
    def matrix(self) -> np.ndarray:
        """(2, 3) from the picture's pixels to the triplet's."""
        shift = np.array([[1.0, 0, -self.left], [0, 1.0, -self.top]])
        return geometry.compose(geometry.resize_matrix((self.width, self.height), self.size), shift)

    def cut(self, pixels: np.ndarray) -> np.ndarray:
        """The crop (H, W, 3) uint8 of a picture's pixels."""
        part = pixels[self.top : self.top + self.height, self.left : self.left + self.width]
        if self.size == (self.width, self.height):
            return np.ascontiguousarray(part)
        shrinks = self.size[0] < self.width
        how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
        return cv2.resize(part, self.size, interpolation=how)


def frame(picture: tuple[int, int], points: np.ndarray, settings: Settings) -> Frame:
    """The largest crop of the wanted shape, placed so that the points (M, 2) lie midmost in it."""
    width, height = picture
    size = bucket(picture, settings.size) if settings.buckets else (settings.size, settings.size)
    aspect = size[0] / size[1]
    wide = min(width, max(round(height * aspect), 1))
    high = min(height, max(round(width / aspect), 1))
    low, top = points.min(axis=0), points.max(axis=0)
    left = _start((low[0] + top[0]) / 2, wide, width)
    upper = _start((low[1] + top[1]) / 2, high, height)
    return Frame(left, upper, wide, high, size)


def _start(middle: float, length: int, whole: int) -> int:
    """First pixel of a stretch around a place, as far inside as it must be."""
    return int(np.clip(math.floor(middle + 0.5 - length / 2 + 0.5), 0, whole - length))


def bucket(picture: tuple[int, int], size: int) -> tuple[int, int]:
    """The (width, height) in steps of 64 and of at most ``size`` squared nearest in aspect."""
    wanted = math.log(picture[0] / picture[1])
    return min(buckets(size), key=lambda one: abs(math.log(one[0] / one[1]) - wanted))


def buckets(size: int) -> list[tuple[int, int]]:
    """Every (width, height) that pictures of a library with buckets may have, widest last."""
    found = set()
    for width in range(BUCKET, 2 * size + 1, BUCKET):
        height = size * size // width // BUCKET * BUCKET
        if height >= BUCKET and max(width / height, height / width) <= WIDEST:
            found |= {(width, height), (height, width)}
    return sorted(found, key=lambda one: one[0] / one[1])
