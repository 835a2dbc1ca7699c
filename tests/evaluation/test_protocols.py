"""Each named protocol against its peer: pycocotools itself, or slow readings of the others."""

from __future__ import annotations

import contextlib
import io
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import slow_peers
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tetrapose import skeletons
from tetrapose.data import open_set
from tetrapose.errors import UserError
from tetrapose.evaluation import oks, pck
from tetrapose.evaluation.predictions import Predictions, in_given_boxes
from tetrapose.evaluation.protocols import (
    AREAS,
    PERSON_SIGMAS,
    PROTOCOLS,
    areas_of,
    protocol,
    sigma_set,
    sigmas_of,
)
from tetrapose.evaluation.score import NO_KEYPOINT_SCORES, score, side_by_side

SETS = 12


def detected(pose_set, seed):
    """Predictions as a detector gives them: some twice, some astray, some points not found."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(5, 50))
    of = rng.integers(0, len(pose_set), count)
    middle = (pose_set.bboxes[:, :2] + pose_set.bboxes[:, 2:]) / 2
    points = np.where(np.isnan(pose_set.keypoints), middle[:, None], pose_set.keypoints)[of]
    noise = rng.choice([0.0, 2.0, 8.0, 25.0], count)[:, None, None]
    points = points + rng.normal(0, 1, points.shape) * noise
    points[rng.random(points.shape[:2]) < 0.05] = np.nan
    if count > 6:
        points[3, 1:] = np.nan  # one point alone
    image = pose_set.image_index[of]
    astray = rng.random(count) < 0.1
    image = np.where(astray, rng.integers(0, len(pose_set.files), count), image)
    species = np.where(rng.random(count) < 0.1, rng.integers(0, 3, count), pose_set.species[of])
    return Predictions(
        points, rng.random(points.shape[:2]), rng.random(count), oks.keypoint_extent(points),
        image, species, np.full(count, -1),
    )  # fmt: skip


def varied(make_set, seed):
    """A made-up set with an instance of one point and one whose points lie in a line."""
    pose_set = make_set(seed, instances=24, pictures=7)
    visibility, keypoints = pose_set.visibility.copy(), pose_set.keypoints.copy()
    visibility[3, 1:] = 0
    visibility[3, 0], keypoints[3, 0] = 2, pose_set.bboxes[3, :2] + 5
    keypoints[4, :, 1] = np.where(visibility[4] > 0, 77.0, np.nan)
    keypoints[visibility == 0] = np.nan
    return replace(pose_set, visibility=visibility, keypoints=keypoints)


def flagged(points, flags):
    """(N, K, 2), (N, K) -> nested lists of x, y, flag."""
    return np.concatenate([points, flags[..., None]], axis=-1).tolist()


def by_picture(pose_set, guesses, *, scores):
    """Labels without crowds and guesses of each picture, in its order of image ids."""
    labels = flagged(np.nan_to_num(pose_set.keypoints), pose_set.visibility.astype(float))
    told = flagged(guesses.keypoints, guesses.scores)
    for image in range(len(pose_set.files)):
        rows = np.flatnonzero((pose_set.image_index == image) & ~pose_set.crowd)
        found = np.flatnonzero(guesses.image == image)
        yield (
            (
                [labels[i] for i in rows],
                pose_set.bboxes[rows].tolist(),
                pose_set.species[rows].tolist(),
            ),
            ([told[i] for i in found], scores[found].tolist(), guesses.species[found].tolist()),
        )


def test_dlc_equals_a_slow_reading_of_deeplabcut(made_up):
    make_set, _ = made_up
    apart = []
    for seed in range(SETS):
        pose_set = varied(make_set, seed)
        guesses = detected(pose_set, seed)
        pictures = [
            (labels, found)
            for (labels, _, _), (found, _, _) in by_picture(
                pose_set, guesses, scores=guesses.instance_scores
            )
        ]
        ap, ar, pixels = slow_peers.deeplabcut(pictures)
        ours = side_by_side(pose_set, guesses, [PROTOCOLS["dlc"]])["dlc"]
        assert ours["AP"] == pytest.approx(ap, abs=1e-12), seed
        assert ours["AR"] == pytest.approx(ar, abs=1e-12), seed
        assert ours["headline"]["value"] == pytest.approx(pixels, rel=1e-9), seed
        coco = replace(PROTOCOLS["dlc"], matching="coco")
        apart.append(side_by_side(pose_set, guesses, [coco])["dlc"]["AP"] != ours["AP"])
    assert sum(apart) > SETS / 2  # the cases tell its matching from COCO's


@pytest.mark.parametrize("names", ["animal_pose", "ap10k"])
def test_ultralytics_equals_a_slow_reading_of_it(made_up, names):
    make_set, _ = made_up
    absorbed = 0
    for seed in range(SETS):
        pose_set = varied(lambda s, **o: make_set(s, skeleton=names, **o), seed)
        guesses = detected(pose_set, seed + 100)
        guesses = replace(guesses, keypoints=np.nan_to_num(guesses.keypoints, nan=-900.0))
        sigmas = sigmas_of(pose_set.skeleton, "ultralytics")
        pictures = list(by_picture(pose_set, guesses, scores=guesses.instance_scores))
        theirs = slow_peers.ultralytics(pictures, sigmas.tolist())
        ours = side_by_side(pose_set, guesses, [PROTOCOLS["ultralytics"]])["ultralytics"]
        assert ours["AP"] == pytest.approx(np.mean(theirs), abs=1e-12), seed
        assert ours["AP50"] == pytest.approx(theirs[0], abs=1e-12), seed
        bare = replace(pose_set, crowd=pose_set.crowd | ~pose_set.labelled.any(axis=1))
        left = side_by_side(bare, guesses, [PROTOCOLS["ultralytics"]])["ultralytics"]
        absorbed += left["AP"] != ours["AP"]
    assert absorbed  # instances without points took predictions out of the count


def test_a_perfect_prediction_is_what_each_source_makes_of_it(made_up):
    make_set, near = made_up
    pose_set = make_set()
    got = side_by_side(
        pose_set, in_given_boxes(pose_set, *near(pose_set, 0.0)), list(PROTOCOLS.values())
    )
    for name, result in got.items():
        assert result["AP"] == pytest.approx(0.995 if name == "ultralytics" else 1.0), name


def test_sigmas_by_name():
    animal_pose, ap10k = skeletons.load("animal_pose"), skeletons.load("ap10k")
    assert set(sigmas_of(animal_pose, "0.1")) == {0.1}
    assert set(sigmas_of(animal_pose, "1/K")) == {1 / 20}
    assert set(sigmas_of(animal_pose, "ultralytics")) == {1 / 20}
    assert sigmas_of(ap10k, "ultralytics").tolist() == list(PERSON_SIGMAS)
    freenet = PROTOCOLS["freenet"].sigmas
    assert sigma_set(ap10k, freenet) == "scarcenet"
    assert sigma_set(animal_pose, freenet) == "freenet"
    assert sigma_set(skeletons.load("akd_cats"), freenet) == "own"
    seed001 = sigmas_of(animal_pose, PROTOCOLS["seed001"].sigmas)
    assert seed001[animal_pose.index("left_ear")] == 0.05
    assert seed001[animal_pose.index("withers")] == 0.035
    assert sigma_set(ap10k, PROTOCOLS["seed001"].sigmas) == "own"
    for wrong in ("2.5", "mmpse", "-0.1"):
        with pytest.raises(UserError, match="no sigmas"):
            sigmas_of(animal_pose, wrong)


def test_areas_by_rule(made_up):
    make_set, _ = made_up
    pose_set = replace(make_set(), areas=np.full(30, 7.0))
    area = {rule: areas_of(pose_set, rule) for rule in AREAS}
    side = pose_set.bboxes[:, 2:] - pose_set.bboxes[:, :2]
    np.testing.assert_array_equal(area["set"], 7.0)
    np.testing.assert_allclose(area["box"], np.prod(side, axis=1))
    np.testing.assert_allclose(area["box053"], 0.53 * np.prod(side, axis=1))
    points = pose_set.keypoints[0][pose_set.visibility[0] > 0]
    assert area["extent"][0] == pytest.approx(np.prod(np.ptp(points, axis=0)))
    assert area["extent"][1] == 0  # no labelled point


def test_every_protocol_is_spelled_out():
    skeleton = skeletons.load("animal_pose")
    assert set(PROTOCOLS) == {
        "coco-macro", "coco-pooled", "dlc", "ultralytics", "freenet", "seed001",
    }  # fmt: skip
    for name, rules in PROTOCOLS.items():
        told = json.loads(json.dumps(rules.describe(skeleton)))
        assert told["name"] == name
        for key in ("source", "differs", "pooling", "matching", "average_precision", "ranking"):
            assert len(told[key]) > 10, (name, key)
        assert set(told["sigmas"]["values"]) == set(skeleton.names)
    assert PROTOCOLS["dlc"].describe(skeleton)["area_ranges"] == {}


def test_headlines_are_the_figures_of_their_definitions(made_up):
    make_set, near = made_up
    pose_set = make_set()
    rows = in_given_boxes(pose_set, *near(pose_set, 5.0))
    whole = score(pose_set, rows, protocol())
    got = side_by_side(pose_set, rows, list(PROTOCOLS.values()))
    for name, (definition, mean) in {
        "freenet": ("heatmap", "types"),
        "seed001": ("box_area", "instances"),
    }.items():
        assert got[name]["headline"]["value"] == whole["pck_by_mean"][definition][mean]["0.05"]
        assert pck.DEFINITIONS[definition].mean == mean
    assert got["coco-macro"]["headline"] is None
    far = np.linalg.norm(rows.keypoints - pose_set.keypoints[rows.instance], axis=-1)
    assert got["dlc"]["headline"]["value"] == pytest.approx(np.nanmean(far), rel=0.05)


def test_a_whole_result_and_side_by_side_agree(made_up):
    make_set, near = made_up
    pose_set = make_set()
    rows = in_given_boxes(pose_set, *near(pose_set, 5.0))
    many = side_by_side(pose_set, rows, list(PROTOCOLS.values()))
    for name, rules in PROTOCOLS.items():
        whole = score(pose_set, rows, rules)
        for key in (*oks.FIGURES, "headline", "oks", "protocol"):
            assert many[name][key] == whole[key], (name, key)
        each = [figures["AP"] for figures in whole["per_species"].values()]
        if rules.pooling == "macro":
            assert whole["AP"] == pytest.approx(np.mean(each))


def test_equal_keypoint_scores_rank_by_the_instance_and_say_so(made_up):
    make_set, near = made_up
    pose_set = make_set()
    rows = in_given_boxes(pose_set, *near(pose_set, 5.0))
    flat = replace(rows, scores=np.ones_like(rows.scores))
    got = side_by_side(pose_set, flat, [PROTOCOLS["dlc"], PROTOCOLS["coco-macro"]])
    assert got["dlc"]["protocol"]["notes"] == [NO_KEYPOINT_SCORES]
    assert got["coco-macro"]["protocol"]["notes"] == []
    ranked = replace(PROTOCOLS["dlc"], ranking="instance")
    assert got["dlc"]["AP"] == side_by_side(pose_set, rows, [ranked])["dlc"]["AP"]


# the real labels of AP-10K: 9,122 instances


@pytest.fixture(scope="module")
def real(shared_data):
    """AP-10K's training labels with made-up predictions, and the file."""
    file = Path(shared_data) / "annotations_only" / "ap10k_train.json"
    pose_set = open_set(f"coco:{file}", pictures=False)
    rng = np.random.default_rng(0)
    far = rng.normal(0, 1, pose_set.keypoints.shape) * rng.gamma(1.5, 0.03, (len(pose_set), 1, 1))
    points = np.nan_to_num(pose_set.keypoints) + far * np.sqrt(pose_set.areas)[:, None, None]
    return file, pose_set, in_given_boxes(pose_set, points, rng.random(points.shape[:2]))


def pycoco(text, pose_set, rows, *, categories):
    """The ten figures of pycocotools; ``categories`` False for its own pooling, None for one."""
    content = json.loads(text)
    ids = [entry["id"] for entry in content["categories"]]
    results = [
        {
            "image_id": int(pose_set.image_ids[image]),
            "category_id": ids[species] if categories is not None else 1,
            "keypoints": np.insert(points, 2, 1.0, axis=-1).ravel().tolist(),
            "score": float(value),
        }
        for points, value, image, species in zip(
            rows.keypoints, rows.instance_scores, rows.image, rows.species, strict=True
        )
    ]
    if categories is None:
        for entry in content["annotations"]:
            entry["category_id"] = 1
        content["categories"] = [{**content["categories"][0], "id": 1}]
    with contextlib.redirect_stdout(io.StringIO()):
        gt = COCO()
        gt.dataset = content
        gt.createIndex()
        run = COCOeval(gt, gt.loadRes(results), "keypoints")
        run.params.kpt_oks_sigmas = pose_set.skeleton.sigmas
        run.params.useCats = int(categories is not False)
        run.evaluate()
        run.accumulate()
        run.summarize()
    return run.stats.tolist()


@pytest.fixture(scope="module")
def some(real):
    """The first 700 pictures of it, since pycocotools takes its time: set, predictions, labels."""
    file, pose_set, rows = real
    few = np.arange(len(pose_set.files)) < 700
    kept = few[rows.image]
    names = ("keypoints", "scores", "instance_scores", "areas", "image", "species", "instance")
    rows = replace(rows, **{name: getattr(rows, name)[kept] for name in names})
    small = pose_set.select_images(few)
    content = json.loads(file.read_text())
    there = set(small.image_ids.tolist())
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] in there]
    content["images"] = [i for i in content["images"] if i["id"] in there]
    return small, rows, json.dumps(content)


def test_coco_macro_on_real_labels_is_pycocotools(some):
    pose_set, rows, text = some
    got = side_by_side(pose_set, rows, [PROTOCOLS["coco-macro"]])["coco-macro"]
    theirs = pycoco(text, pose_set, rows, categories=True)
    np.testing.assert_allclose([got[key] for key in oks.FIGURES], theirs, atol=1e-9)


def test_pooled_is_right_where_pycocotools_gives_nothing(some):
    pose_set, rows, text = some
    got = side_by_side(pose_set, rows, [PROTOCOLS["coco-pooled"]])["coco-pooled"]
    assert pycoco(text, pose_set, rows, categories=False)[0] == 0.0
    theirs = pycoco(text, pose_set, rows, categories=None)
    assert theirs[0] > 0.3
    np.testing.assert_allclose([got[key] for key in oks.FIGURES], theirs, atol=1e-9)


def test_9122_instances_under_all_protocols_in_a_second(real):
    _, pose_set, rows = real
    assert len(pose_set) == 9122
    times = []
    for _ in range(3):
        begin = time.process_time()
        got = side_by_side(pose_set, rows, list(PROTOCOLS.values()))
        times.append(time.process_time() - begin)
    assert min(times) < 1.0
    figures = {name: result["AP"] for name, result in got.items()}
    assert figures["dlc"] > figures["coco-macro"] + 0.1  # the spread that makes names needed
    assert len({round(value, 6) for value in figures.values()}) >= 5
