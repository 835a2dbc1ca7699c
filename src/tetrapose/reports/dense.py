"""Animals with the points that their own set labels beside those that the model puts."""

from __future__ import annotations

import cv2
import numpy as np

from tetrapose import geometry, images, render
from tetrapose.images import ImageError
from tetrapose.structures import Instances, PoseSet

SIDE = 300
RING = (255, 255, 255)
EDGE = (20, 20, 20)
GAP = 6


def dense_tile(
    pose_set: PoseSet,
    row: int,
    shown: np.ndarray,
    predicted: np.ndarray,
    scores: np.ndarray,
    *,
    threshold: float = 0.3,
) -> np.ndarray | None:
    """(300, 606, 3): left the animal's own labels, right all points that the model puts.

    ``shown`` (K,) says which points the animal's labelling has; of the predicted (K, 2) with scores
    (K,) the others are ringed. None where the picture cannot be read.
    """
    center, size = geometry.box_to_region(pose_set.bboxes[row][None], aspect=1.0, padding=1.2)
    picture = pose_set.path(int(pose_set.image_index[row]))
    try:
        pixels, full = images.read_image(picture, least=SIDE)
    except ImageError:
        return None
    to_crop = geometry.crop_matrix(center[0], size[0], (SIDE, SIDE))
    have = (pixels.shape[1], pixels.shape[0])
    matrix = geometry.compose(to_crop, geometry.resize_matrix(have, full))
    crop = images.warp(pixels, matrix, (SIDE, SIDE), fill=40)
    box = geometry.transform_points(to_crop, pose_set.bboxes[row].reshape(2, 2)).reshape(1, 4)
    labels = geometry.transform_points(to_crop, pose_set.keypoints[row])
    labels = np.where(shown[:, None], labels, np.nan)
    points = geometry.transform_points(to_crop, predicted)
    left = render.draw(crop, _figure(labels, box), pose_set.skeleton)
    right = render.draw(
        crop, _figure(points, box, np.nan_to_num(scores)), pose_set.skeleton, threshold=threshold
    )
    for k in np.flatnonzero(~shown & np.isfinite(points).all(-1) & (scores >= threshold)):
        _ring(right, points[k])
    gap = np.full((SIDE, GAP, 3), 255, np.uint8)
    return np.concatenate([left, gap, right], axis=1)


def worth_showing(pose_set: PoseSet, shown: np.ndarray, count: int) -> np.ndarray:
    """Rows of ``count`` animals, one a picture at most, of different kinds as far as there are.

    Those with many points that are not ``shown`` (N, K) and a large box come first.
    """
    hidden = (~shown).sum(1)
    area = geometry.box_area(pose_set.bboxes)
    order = np.lexsort((-area, -hidden))
    left = {int(row) for row in order if hidden[row] and shown[row].any()}
    picked: list[int] = []
    pictures: set[int] = set()
    while left and len(picked) < count:
        kinds: set[int] = set()
        for row in order:
            image, kind = int(pose_set.image_index[row]), int(pose_set.species[row])
            if int(row) not in left or kind in kinds:
                continue
            left.discard(int(row))
            kinds.add(kind)
            if image not in pictures and len(picked) < count:
                pictures.add(image)
                picked.append(int(row))
    return np.array(picked, dtype=np.int64)


def _figure(points: np.ndarray, box: np.ndarray, scores: np.ndarray | None = None) -> Instances:
    there = np.isfinite(points).all(axis=-1)
    return Instances(
        keypoints=points[None],
        visibility=np.where(there, 2, 0)[None],
        bboxes=box,
        scores=None if scores is None else scores[None],
    )


def _ring(picture: np.ndarray, at: np.ndarray) -> None:
    bits = 4
    middle = tuple(int(v) for v in np.round(np.clip(at, -SIDE, 2 * SIDE) * (1 << bits)))
    for width, colour in ((4, EDGE), (2, RING)):
        cv2.circle(picture, middle, 8 << bits, colour, width, cv2.LINE_AA, bits)
