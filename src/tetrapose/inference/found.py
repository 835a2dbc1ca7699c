"""A labelled set as a finder sees it: boxes to be scored, and poses in them beside the labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from tetrapose import geometry
from tetrapose.data.groups import group_numbers, group_of
from tetrapose.errors import UserError
from tetrapose.evaluation.boxes import BoxDetections, BoxTruth, box_figures
from tetrapose.evaluation.oks import keypoint_extent
from tetrapose.evaluation.predictions import Predictions, instance_scores
from tetrapose.inference.cutting import Item, unreadable
from tetrapose.inference.finder import Finder, Seen
from tetrapose.inference.predictor import Predictor
from tetrapose.structures import PoseSet, Problem


@dataclass(frozen=True)
class FoundSet:
    """What a finder saw in the M pictures of a set: ``seen`` by picture, None where unreadable."""

    seen: tuple[Seen | None, ...]
    problems: tuple[Problem, ...]


def find_in_set(
    finder: Finder, pose_set: PoseSet, *, progress: Callable[[int], None] | None = None
) -> FoundSet:
    """The animals of every picture of a set, labelled or not; ``progress`` gets pictures done."""
    seen: list[Seen | None] = []
    problems: list[Problem] = []
    for image in range(len(pose_set.files)):
        path = pose_set.path(image)
        try:
            seen.append(finder.find(path))
        except UserError as error:
            seen.append(None)
            problems.append(unreadable(Item(path), error))
        if progress is not None:
            progress(image + 1)
    return FoundSet(tuple(seen), tuple(problems))


def score_boxes(found: FoundSet, pose_set: PoseSet) -> dict[str, float]:
    """COCO's box figures of all animals as one class, and AP and AP50 of each group there is."""
    names = sorted({g for name in pose_set.species_names if (g := group_of(name))})
    truth = BoxTruth(
        bboxes=np.asarray(pose_set.bboxes, dtype=np.float64),
        areas=geometry.box_area(pose_set.bboxes),
        image=pose_set.image_index,
        category=group_numbers(pose_set.species, pose_set.species_names, names),
        crowd=pose_set.crowd,
    )
    place = {name: number for number, name in enumerate(names)}
    rows = [(image, one) for image, one in enumerate(found.seen) if one is not None]
    detections = BoxDetections(
        bboxes=np.concatenate([np.zeros((0, 4)), *(one.bboxes for _, one in rows)]),
        scores=np.concatenate([np.zeros(0), *(one.scores for _, one in rows)]),
        image=np.array([image for image, one in rows for _ in one.groups], dtype=np.int64),
        category=np.array(
            [place.get(group, -1) for _, one in rows for group in one.groups], dtype=np.int64
        ),
    )
    return box_figures(truth, detections, names)


def predict_found(predictor: Predictor, found: FoundSet, pose_set: PoseSet) -> Predictions:
    """Poses in the found boxes, as ``evaluation.score`` takes them.

    An animal's species is that of the set whose group it was told as, else the set's commonest:
    figures by species then judge the finder's groups too, pooled ones do not. ``instance`` is the
    labelled one whose bbox overlaps most, by an IoU above 0.5 and each once, best boxes first.
    """
    rows = [image for image, one in enumerate(found.seen) if one is not None and len(one)]

    def items() -> Iterator[Item]:
        for image in rows:
            one = found.seen[image]
            assert one is not None
            yield Item(pose_set.path(image), one.bboxes, key=image)

    k = len(pose_set.skeleton)
    points, scores, boxes = [np.zeros((0, k, 2))], [np.zeros((0, k))], [np.zeros(0)]
    images, species, instance = [], [], []
    for prediction in predictor.stream(items()):
        one = found.seen[prediction.key]
        assert one is not None
        assert prediction.instances.scores is not None
        points.append(prediction.instances.keypoints)
        scores.append(prediction.instances.scores)
        boxes.append(one.scores)
        images += [prediction.key] * len(one)
        species += [_species(group, pose_set) for group in one.groups]
        instance += _labelled(one, pose_set, prediction.key)
    keypoints, values = np.concatenate(points), np.concatenate(scores)
    return Predictions(
        keypoints=keypoints,
        scores=values,
        instance_scores=instance_scores(values, np.concatenate(boxes)),
        areas=keypoint_extent(keypoints),
        image=np.array(images, dtype=np.int64),
        species=np.array(species, dtype=np.int64),
        instance=np.array(instance, dtype=np.int64),
    )


def _species(group: str, pose_set: PoseSet) -> int:
    names = [name for name in pose_set.species_names if group and group_of(name) == group]
    if names:
        return pose_set.species_names.index(names[0])
    return int(np.bincount(pose_set.species).argmax()) if len(pose_set) else 0


def _labelled(seen: Seen, pose_set: PoseSet, image: int) -> list[int]:
    """Row of the labelled instance of each box, -1 for none."""
    rows = np.flatnonzero((pose_set.image_index == image) & ~pose_set.crowd)
    iou = geometry.box_iou(seen.bboxes, np.asarray(pose_set.bboxes[rows], dtype=np.float64))
    out = []
    for overlap in iou:  # best score first
        best = int(overlap.argmax()) if len(rows) else -1
        taken = best >= 0 and overlap[best] > 0.5
        out.append(int(rows[best]) if taken else -1)
        if taken:
            iou[:, best] = 0
    return out
