"""COCO's ten figures: equal to pycocotools on random sets, and the laws any OKS must keep."""

from __future__ import annotations

import contextlib
import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tetrapose.evaluation import oks

SIGMAS = np.array([0.025, 0.026, 0.035, 0.079, 0.107, 0.072, 0.087, 0.062, 0.1])


def coco_figures(truth: oks.Truth, detections: oks.Detections, sigmas: np.ndarray) -> list[float]:
    """The ten figures as pycocotools gives them."""
    labelled = truth.labelled
    points = np.where(labelled[..., None], truth.keypoints, 0.0)
    triples = np.concatenate([points, (labelled * truth.visibility)[..., None]], axis=-1)
    boxes = truth.bboxes.copy()
    boxes[:, 2:] -= boxes[:, :2]
    annotations = [
        {
            "id": row + 1,
            "image_id": int(truth.image[row]),
            "category_id": int(truth.category[row]),
            "keypoints": triples[row].ravel().tolist(),
            "num_keypoints": int(labelled[row].sum()),
            "bbox": boxes[row].tolist(),
            "area": float(truth.areas[row]),
            "iscrowd": int(truth.crowd[row]),
        }
        for row in range(len(triples))
    ]
    images = set(truth.image.tolist()) | set(detections.image.tolist()) | {10_000}
    kinds = set(truth.category.tolist()) | {77}
    results = [
        {
            "image_id": int(detections.image[row]),
            "category_id": int(detections.category[row]),
            "keypoints": np.insert(detections.keypoints[row], 2, 1.0, axis=-1).ravel().tolist(),
            "score": float(detections.scores[row]),
        }
        for row in range(len(detections.scores))
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        gt = COCO()
        gt.dataset = {
            "images": [{"id": i} for i in sorted(images)],
            "annotations": annotations,
            "categories": [{"id": i} for i in sorted(kinds)],
        }
        gt.createIndex()
        run = COCOeval(gt, gt.loadRes(results), "keypoints")
        run.params.kpt_oks_sigmas = np.asarray(sigmas)
        run.evaluate()
        run.accumulate()
        run.summarize()
    return run.stats.tolist()


def random_case(seed: int) -> tuple[oks.Truth, oks.Detections, np.ndarray]:
    """A small set with every oddity that COCO's rules speak of."""
    rng = np.random.default_rng(seed)
    k = int(rng.integers(1, len(SIGMAS) + 1))
    pictures, kinds = int(rng.integers(1, 6)), int(rng.integers(1, 4))
    n = int(rng.integers(1, 15))
    size = rng.choice([20.0, 40.0, 90.0, 200.0], size=n)
    corner = rng.uniform(0, 60, (n, 2))
    points = corner[:, None] + rng.uniform(0, 1, (n, k, 2)) * size[:, None, None]
    visibility = rng.integers(0, 3, (n, k))
    visibility[rng.random(n) < 0.15] = 0
    truth = oks.Truth(
        keypoints=np.where(visibility[..., None] > 0, points, np.nan),
        visibility=visibility,
        bboxes=np.concatenate([corner, corner + size[:, None]], axis=1),
        areas=np.where(rng.random(n) < 0.1, rng.choice([1024.0, 9216.0, 0.0], n), size**2 * 0.7),
        image=rng.integers(0, pictures, n) * 7,
        category=rng.integers(1, kinds + 1, n),
        crowd=rng.random(n) < 0.15,
    )
    m = int(rng.integers(1, 60 if rng.random() < 0.2 else 20))
    of = rng.integers(0, n, m)
    noise = rng.choice([0.0, 1.0, 3.0, 10.0, 60.0], size=m)[:, None, None]
    guess = points[of] + rng.normal(0, 1, (m, k, 2)) * noise
    if rng.random() < 0.3:  # the very same prediction again, for ties in similarity too
        guess[m // 2] = guess[0]
    scores = rng.choice([0.1, 0.5, 0.5, 0.9], m) if rng.random() < 0.5 else rng.random(m)
    stray = rng.random(m) < 0.1
    detections = oks.Detections(
        keypoints=guess,
        scores=scores,
        image=np.where(stray, rng.integers(0, pictures + 2, m) * 7, truth.image[of]),
        category=np.where(stray, rng.integers(1, kinds + 2, m), truth.category[of]),
        areas=oks.keypoint_extent(guess),
    )
    return truth, detections, SIGMAS[:k]


def permuted(columns, order):
    """The same rows in another order."""
    names = columns.__dataclass_fields__
    return replace(columns, **{name: getattr(columns, name)[order] for name in names})


@pytest.mark.parametrize("block", range(8))
def test_equals_pycocotools(block):
    for seed in range(block * 50, block * 50 + 50):
        truth, detections, sigmas = random_case(seed)
        ours = oks.evaluate(truth, detections, sigmas).figures()
        theirs = coco_figures(truth, detections, sigmas)
        assert list(ours) == list(oks.FIGURES)
        np.testing.assert_allclose(list(ours.values()), theirs, atol=1e-12, err_msg=f"{seed=}")


@settings(max_examples=60, deadline=None)
@given(st.integers(10_000, 2**31))
def test_pooled_equals_pycocotools_with_one_category(seed):
    truth, detections, sigmas = random_case(seed)
    ours = oks.evaluate(truth, detections, sigmas, pooled=True).figures()
    one = (replace(c, category=np.ones_like(c.category)) for c in (truth, detections))
    np.testing.assert_allclose(list(ours.values()), coco_figures(*one, sigmas), atol=1e-12)


def test_the_cases_hold_what_they_claim():
    """The random sets exercise every branch, so that equality means something."""
    seen = {name: 0 for name in ("crowd", "bare", "over_limit", "absent", "contested", "tied")}
    for seed in range(400):
        truth, detections, _ = random_case(seed)
        seen["crowd"] += truth.crowd.any()
        seen["bare"] += (~truth.labelled.any(axis=1)).any()
        groups = np.stack([detections.image, detections.category], axis=1)
        seen["over_limit"] += np.unique(groups, axis=0, return_counts=True)[1].max() > 20
        seen["absent"] += bool(set(truth.image.tolist()) - set(detections.image.tolist()))
        seen["contested"] += len(np.unique(groups, axis=0)) < len(groups)
        seen["tied"] += len(np.unique(detections.scores)) < len(detections.scores)
    assert min(seen.values()) >= 10, seen


def test_perfect_predictions_score_one():
    for seed in range(30):
        truth, _, sigmas = random_case(seed)
        truth = permuted(truth, truth.labelled.any(axis=1))
        rows = np.arange(len(truth.areas))
        apart = replace(truth, image=rows, crowd=rows < 0)  # one a picture: nothing to mistake
        points = np.where(apart.labelled[..., None], apart.keypoints, -5.0)
        perfect = oks.Detections(points, rows + 1.0, rows, apart.category, apart.areas)
        figures = oks.evaluate(apart, perfect, sigmas).figures()
        assert all(value == pytest.approx(1.0) or value == -1 for value in figures.values())


def test_unlabelled_points_never_count():
    truth, detections, sigmas = random_case(3)
    hidden = ~truth.labelled
    assert hidden.any()
    wild = replace(truth, keypoints=np.where(hidden[..., None], 1e6, truth.keypoints))
    assert oks.evaluate(wild, detections, sigmas).figures() == (
        oks.evaluate(truth, detections, sigmas).figures()
    )


def test_order_of_rows_changes_nothing_without_ties():
    rng = np.random.default_rng(0)
    for seed in range(60):
        truth, detections, sigmas = random_case(seed)
        scores = rng.permutation(len(detections.scores)) / 100.0
        moved = detections.keypoints + rng.normal(0, 0.1, detections.keypoints.shape)
        detections = replace(detections, scores=scores, keypoints=moved)
        before = oks.evaluate(truth, detections, sigmas).figures()
        after = oks.evaluate(
            permuted(truth, rng.permutation(len(truth.areas))),
            permuted(detections, rng.permutation(len(scores))),
            sigmas,
        ).figures()
        assert after == pytest.approx(before, abs=1e-12)


def test_a_missing_point_scores_like_one_infinitely_far():
    truth, detections, sigmas = random_case(12)
    points = detections.keypoints.copy()
    points[:, 0] = np.nan
    gone = replace(detections, keypoints=points)
    points = points.copy()
    points[:, 0] = 1e7
    away = replace(detections, keypoints=points)
    labelled = replace(truth, visibility=np.maximum(truth.visibility, 1), keypoints=_fill(truth))
    assert oks.evaluate(labelled, gone, sigmas).figures() == (
        oks.evaluate(labelled, away, sigmas).figures()
    )


def _fill(truth: oks.Truth) -> np.ndarray:
    return np.where(np.isnan(truth.keypoints), 50.0, truth.keypoints)


def test_nothing_to_find_and_nothing_found():
    truth, detections, sigmas = random_case(5)
    none = permuted(detections, np.zeros(0, dtype=int))
    figures = oks.evaluate(truth, none, sigmas).figures()
    assert (figures["AP"], figures["AR"]) == (0, 0)
    empty = permuted(truth, np.zeros(0, dtype=int))
    assert set(oks.evaluate(empty, detections, sigmas).figures().values()) == {-1.0}
    assert set(oks.evaluate(empty, none, sigmas, pooled=True).figures().values()) == {-1.0}


def test_categories_apart_give_the_macro_mean():
    truth, detections, sigmas = random_case(41)
    run = oks.evaluate(truth, detections, sigmas)
    each = [run.figures_of(c)["AP"] for c in run.categories]
    assert len(each) > 1
    assert np.mean([v for v in each if v > -1]) == pytest.approx(run.figures()["AP"])


def test_a_score_that_is_no_number_is_refused():
    _, detections, _ = random_case(1)
    scores = detections.scores.copy()
    scores[0] = np.nan
    with pytest.raises(ValueError, match="detection 0"):
        replace(detections, scores=scores)


def test_similarity_by_hand():
    """A point off by d on area A: exp(-d^2 / (2 A (2 sigma)^2)); averaged with a perfect one."""
    truth = oks.Truth(
        np.array([[[10.0, 10.0], [20.0, 20.0], [np.nan, np.nan]]]), np.array([[2, 1, 0]]),
        np.array([[0.0, 0.0, 30.0, 30.0]]), np.array([900.0]), np.zeros(1, int), np.zeros(1, int),
        np.zeros(1, bool),
    )  # fmt: skip
    guess = np.array([[[13.0, 14.0], [20.0, 20.0], [0.0, 0.0]]])
    value = oks.similarity(truth, np.array([0]), guess, np.array([0]), np.array([0.1, 0.1, 0.1]))
    assert value[0] == pytest.approx((np.exp(-25 / (2 * 900 * 0.04)) + 1) / 2)
