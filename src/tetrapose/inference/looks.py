"""Two looks with one network: at the whole frame to see where the animal is, then at the animal.

For models fine-tuned on frames of one animal (``tetrapose finetune``), whose kind no finder need
know: their card says so under ``crop.locate``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tetrapose import geometry
from tetrapose.data.gather import boxes_around
from tetrapose.inference.cutting import Picture
from tetrapose.inference.finder import Seen
from tetrapose.inference.predictor import Predictor
from tetrapose.structures import Instances

SURE = 0.3  # share of the best point's score that a point needs to say where the animal is


@dataclass(frozen=True, eq=False)
class Locator:
    """A ``Finder`` of one animal a picture: the box of the points that a first look sees.

    ``smallest`` is the least longer side of a box, as a share of the picture's longer side, so that
    an animal of which few points were sure is still seen whole; ``least`` the mean score below
    which there is no animal.
    """

    predictor: Predictor
    smallest: float = 0.0
    least: float = 0.05

    @property
    def protocol(self) -> dict[str, Any]:
        """Whose look it was."""
        return {
            "finder": "the model itself, from a look at the whole picture",
            "weights_sha256": self.predictor.card.get("sha256"),
            "least_score": self.least,
        }

    def find(self, image: Picture) -> Seen:
        """The animal of a picture, or none; UserError for a picture that cannot be read."""
        from tetrapose.inference.finder import open_picture

        _, size = open_picture(image, 1 << 20)
        seen = self.predictor.predict(image)
        bboxes, scores = located(seen, size, smallest=self.smallest, least=self.least)
        return Seen(bboxes, scores, ("",) * len(bboxes), size)


def located(
    seen: Instances, size: tuple[int, int], *, smallest: float, least: float
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (0 or 1, 4) and their scores from what a look at the whole picture saw.

    Points that scored under ``SURE`` of the best are left aside; the box has the margin that boxes
    made of labelled points have (data/gather.py), and is moved into the picture, not cut, where it
    had to grow.
    """
    assert seen.scores is not None
    points, scores = seen.keypoints[0], seen.scores[0]
    if not len(scores) or not np.isfinite(points).any() or scores.mean() < least:
        return np.zeros((0, 4)), np.zeros(0)
    sure = scores >= SURE * scores.max()
    kept = np.where(sure[:, None], points, np.nan)
    box = boxes_around(kept[None], np.array([size]))[0]
    side, wanted = float((box[2:] - box[:2]).max()), smallest * max(size)
    if side < wanted:
        center = (box[:2] + box[2:]) / 2
        half = np.maximum(box[2:] - box[:2], wanted) / 2
        box = np.concatenate([center - half, center + half])
        whole = geometry.whole_picture_box(*size).astype(float)
        push = np.maximum(whole[:2] - box[:2], 0) - np.maximum(box[2:] - whole[2:], 0)
        box = box + np.tile(push, 2)
    return box[None], np.array([scores.mean()])
