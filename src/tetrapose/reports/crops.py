"""Single animals cut out, prediction and truth drawn over each other."""

from __future__ import annotations

import cv2
import numpy as np

from tetrapose import geometry, images, render
from tetrapose.images import ImageError
from tetrapose.structures import Instances, PoseSet

SIDE = 320
TRUTH = (255, 255, 255)
ERROR = (255, 70, 90)


def crop_with_points(
    pose_set: PoseSet, row: int, predicted: np.ndarray, scores: np.ndarray
) -> np.ndarray | None:
    """(320, 320, 3) cut-out of instance ``row``, or None where its picture cannot be read.

    The prediction (K, 2) with scores (K,) is drawn as a figure, every labelled point as a white
    ring, joined to its prediction by a red line.
    """
    region = _region(pose_set, row)
    try:
        image, size = images.read_image(pose_set.path(int(pose_set.image_index[row])), least=SIDE)
    except ImageError:
        return None
    to_crop = geometry.crop_matrix(*region, (SIDE, SIDE))
    height, width = image.shape[:2]
    from_small = geometry.invert(geometry.resize_matrix(size, (width, height)))
    crop = images.warp(image, geometry.compose(to_crop, from_small), (SIDE, SIDE), fill=40)

    points = geometry.transform_points(to_crop, predicted)
    box = geometry.transform_points(to_crop, pose_set.bboxes[row].reshape(2, 2)).reshape(1, 4)
    figure = Instances(
        keypoints=points[None],
        visibility=np.where(np.isfinite(points).all(axis=-1), 2, 0)[None],
        bboxes=box,
        scores=np.nan_to_num(scores)[None],
    )
    crop = render.draw(crop, figure, pose_set.skeleton, threshold=0.0)
    truth = geometry.transform_points(to_crop, pose_set.keypoints[row])
    for k in np.flatnonzero(pose_set.labelled[row] & np.isfinite(truth).all(axis=-1)):
        _mark(crop, truth[k], points[k])
    return crop


def _region(pose_set: PoseSet, row: int) -> tuple[np.ndarray, np.ndarray]:
    """Centre and size of the square that holds the bbox and the labelled points with some room."""
    points = np.where(pose_set.labelled[row][:, None], pose_set.keypoints[row], np.nan)
    corners = np.concatenate([points, pose_set.bboxes[row].reshape(2, 2)])
    box = geometry.points_box(corners[None])
    centers, sizes = geometry.box_to_region(box, aspect=1.0, padding=1.1)
    return centers[0], sizes[0]


def _mark(crop: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> None:
    bits = 4
    there = tuple(int(v) for v in np.round(np.clip(truth, -SIDE, 2 * SIDE) * (1 << bits)))
    if np.isfinite(predicted).all():
        other = np.round(np.clip(predicted, -SIDE, 2 * SIDE) * (1 << bits))
        guess = tuple(int(v) for v in other)
        cv2.line(crop, there, guess, ERROR, 2, cv2.LINE_AA, bits)
    for width, colour in ((3, (20, 20, 20)), (1, TRUTH)):
        cv2.circle(crop, there, 5 << bits, colour, width, cv2.LINE_AA, bits)
