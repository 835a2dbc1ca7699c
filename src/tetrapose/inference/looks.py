"""Two looks with one network: at the whole frame to see where the animal is, then at the animal.

For models fine-tuned on frames of one animal (``tetrapose finetune``), whose kind no finder need
know: their card says so under ``crop.locate``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tetrapose import geometry, images
from tetrapose.data.gather import boxes_around
from tetrapose.errors import UserError
from tetrapose.inference.cutting import Picture
from tetrapose.inference.finder import Seen, open_picture
from tetrapose.inference.predictor import Predictions, Predictor
from tetrapose.structures import Instances, PoseSet

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
        if isinstance(image, str | Path):
            size = images.read_size(image)
        else:
            _, size = open_picture(image, 1 << 20)
        seen = self.predictor.predict(image)
        bboxes, scores = located(seen, size, smallest=self.smallest, least=self.least)
        return Seen(bboxes, scores, ("",) * len(bboxes), size)


def locator(predictor: Predictor) -> Locator:
    """The locator that a model's card asks for; UserError for a model that was not taught to."""
    told = predictor.card.get("crop", {}).get("locate")
    if not isinstance(told, Mapping):
        raise UserError(
            "this model never learned to find its animal in a whole picture; take --boxes auto, "
            "whole or a file"
        )
    smallest, least = (float(told.get(name, 0.0)) for name in ("smallest", "least"))
    return Locator(predictor, smallest, least)


def whole_looks(predictor: Predictor, pose_set: PoseSet) -> Predictions:
    """Each instance of a set from a look at its whole picture; sizes of pictures must be known."""
    return predictor.predict_set(replace(pose_set, bboxes=whole_boxes(pose_set)))


def second_looks(
    predictor: Predictor, pose_set: PoseSet, first: Predictions, *, smallest: float, least: float
) -> Predictions:
    """Each instance of a set from the box that a first look gave: NaN and 0 where it saw none."""
    whole = whole_boxes(pose_set)
    boxes = whole.copy()
    found = np.zeros(len(pose_set), dtype=bool)
    for row in range(len(pose_set)):
        one = slice(row, row + 1)
        flags = np.full(first.scores[one].shape, 2, dtype=np.uint8)
        seen = Instances(first.keypoints[one], flags, whole[one], first.scores[one])
        size = tuple(pose_set.sizes[pose_set.image_index[row]].tolist())
        box, _ = located(seen, size, smallest=smallest, least=least)
        if len(box):
            boxes[row], found[row] = box[0], True
    rows = np.flatnonzero(found)
    looked = predictor.predict_set(replace(pose_set, bboxes=boxes).select_instances(rows))
    keypoints = np.full(first.keypoints.shape, np.nan)
    scores = np.zeros(first.scores.shape)
    keypoints[rows], scores[rows] = looked.keypoints, looked.scores
    return Predictions(keypoints, scores, (*first.problems, *looked.problems))


def whole_boxes(pose_set: PoseSet) -> np.ndarray:
    """(N, 4) the box of each instance's whole picture."""
    sizes = pose_set.sizes[pose_set.image_index].tolist()
    boxes = [geometry.whole_picture_box(*size) for size in sizes]
    return np.array(boxes, dtype=np.float64).reshape(-1, 4)


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
