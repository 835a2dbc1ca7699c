"""Box AP is pycocotools' on random cases: crowds, empty pictures, ties, area ranges."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tetrapose.evaluation.boxes import (
    FIGURES,
    BoxDetections,
    BoxTruth,
    box_figures,
    evaluate_boxes,
)


def case(seed: int, *, ties: bool = True) -> tuple[BoxTruth, BoxDetections]:
    rng = np.random.default_rng(seed)
    pictures, kinds = int(rng.integers(1, 8)), int(rng.integers(1, 4))
    n = int(rng.integers(1, 25))
    low = rng.uniform(0, 200, (n, 2))
    boxes = np.concatenate([low, low + rng.uniform(4, 150, (n, 2))], axis=1)
    image, category = rng.integers(0, pictures, n), rng.integers(0, kinds, n)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1) * rng.choice([1.0, 0.5], n)
    truth = BoxTruth(boxes, area, image, category, rng.random(n) < 0.15)
    near = rng.integers(0, n, int(rng.integers(0, 60)))
    moved = boxes[near] + rng.normal(0, 8, (len(near), 4)) * (rng.random((len(near), 1)) < 0.8)
    moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 1)
    same = rng.random(len(near)) < 0.8
    found = BoxDetections(
        moved,
        np.round(rng.random(len(near)), 1 if ties else 9),
        np.where(same, image[near], rng.integers(0, pictures, len(near))),
        np.where(same, category[near], rng.integers(0, kinds, len(near))),
    )
    return truth, found


def theirs(truth: BoxTruth, found: BoxDetections, *, pooled: bool) -> list[float]:
    def wide(box):
        return [*box[:2].tolist(), *(box[2:] - box[:2]).tolist()]

    images = sorted({*truth.image.tolist(), *found.image.tolist()})
    # without categories COCO still leaves out detections of those that it has no name for
    kinds = sorted({*truth.category.tolist(), *(found.category.tolist() if pooled else ())})
    coco, ours = COCO(), COCO()
    coco.dataset = {
        "images": [{"id": i + 1} for i in images],
        "categories": [{"id": k + 1} for k in kinds],
        "annotations": [
            {"id": i + 1, "image_id": int(truth.image[i]) + 1, "bbox": wide(truth.bboxes[i]),
             "category_id": int(truth.category[i]) + 1, "area": float(truth.areas[i]),
             "iscrowd": int(truth.crowd[i])}
            for i in range(len(truth.image))
        ],
    }  # fmt: skip
    ours.dataset = {
        **coco.dataset,
        "annotations": [
            {"id": i + 1, "image_id": int(found.image[i]) + 1, "bbox": wide(found.bboxes[i]),
             "category_id": int(found.category[i]) + 1, "score": float(found.scores[i]),
             "area": float((found.bboxes[i, 2:] - found.bboxes[i, :2]).prod()), "iscrowd": 0}
            for i in range(len(found.image))
        ],
    }  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        ours.createIndex()
        judge = COCOeval(coco, ours, "bbox")
        judge.params.useCats = 0 if pooled else 1
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return judge.stats.tolist()


@pytest.mark.parametrize("pooled", [True, False])
@given(seed=st.integers(0, 10**6))
@settings(max_examples=25)
def test_figures_are_pycocotools(pooled: bool, seed: int):
    # without categories COCO still takes equal scores in the order of categories, and we of rows
    truth, found = case(seed, ties=not pooled)
    ours = evaluate_boxes(truth, found, pooled=pooled).figures()
    assert [ours[name] for name in FIGURES] == pytest.approx(
        theirs(truth, found, pooled=pooled), abs=1e-9
    )


def test_nothing_found_and_nothing_labelled():
    truth, _ = case(1)
    nothing = BoxDetections(np.zeros((0, 4)), np.zeros(0), *(np.zeros(0, np.int64),) * 2)
    assert evaluate_boxes(truth, nothing, pooled=True).figures()["AP"] == 0
    none = BoxTruth(np.zeros((0, 4)), np.zeros(0), *(np.zeros(0, np.int64),) * 2, np.zeros(0, bool))
    assert evaluate_boxes(none, nothing).figures()["AP"] == -1
    assert box_figures(none, nothing, ("cat",)) == {}


def test_groups_have_figures_of_their_own():
    truth, _ = case(5)
    known = np.zeros(len(truth.image), np.int64)
    truth = BoxTruth(truth.bboxes, truth.areas, truth.image, known, truth.crowd & False)
    found = BoxDetections(truth.bboxes, np.ones(len(known)), truth.image, known)
    figures = box_figures(truth, found, ("cat", "dog"))
    assert figures["AP_cat"] == pytest.approx(1)
    assert "AP_dog" not in figures
    other = BoxDetections(truth.bboxes, np.ones(len(known)), truth.image, known + 1)
    figures = box_figures(truth, other, ("cat", "dog"))
    assert (figures["AP"], figures["AP_cat"]) == (pytest.approx(1), 0)


def test_scores_must_be_numbers():
    with pytest.raises(ValueError, match="finite"):
        BoxDetections(np.zeros((1, 4)), np.array([np.nan]), *(np.zeros(1, np.int64),) * 2)
