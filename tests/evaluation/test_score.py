"""A whole result: its keys, its protocol, and that parts and wholes agree."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from tetrapose import skeletons
from tetrapose.errors import UserError
from tetrapose.evaluation import oks, pck
from tetrapose.evaluation.predictions import in_given_boxes, instance_scores
from tetrapose.evaluation.protocols import protocol, sigmas_of
from tetrapose.evaluation.results import from_results
from tetrapose.evaluation.score import score


def scored(made_up, noise=4.0, **changes):
    make_set, near = made_up
    pose_set = make_set()
    return score(pose_set, in_given_boxes(pose_set, *near(pose_set, noise)), protocol(**changes))


def test_perfect_predictions(made_up):
    result = scored(made_up, noise=0.0)
    assert result["AP"] == pytest.approx(1.0)
    assert result["AR"] == pytest.approx(1.0)
    assert result["nme"] == 0.0
    assert result["swap_rate"] == 0.0
    assert all(v == 1.0 for by in result["pck"].values() for v in by.values())


def test_keys_and_json(made_up):
    result = json.loads(json.dumps(scored(made_up), allow_nan=False))
    assert set(oks.FIGURES) <= set(result)
    assert set(result["pck"]) == set(pck.DEFINITIONS)
    assert set(result["pck"]["box_area"]) == {"0.05", "0.1", "0.2"}
    assert set(result["per_keypoint"]) == set(skeletons.load("animal_pose").names)
    assert set(result["per_species"]) == {"dog", "cat", "cow"}
    assert 0 < result["AP"] < 1
    for name, rules in result["protocol"]["pck"].items():
        mean = rules["mean"]
        assert result["pck"][name] == result["pck_by_mean"][name][mean]


def test_protocol_is_spelled_out(made_up):
    rules = scored(made_up, sigmas="mmpose", flip_test=True, decoder="dark")["protocol"]
    assert rules["name"] == "coco-macro"
    assert rules["flip_test"] is True
    assert rules["decoder"] == "dark"
    assert rules["sigmas"]["set"] == "mmpose"
    assert rules["sigmas"]["values"]["nose"] == 0.035
    for word in ("above 0.2", "bbox score"):
        assert word in rules["instance_score"]


def test_sigma_sets_differ_by_name(made_up):
    own, other = (scored(made_up, sigmas=name) for name in ("own", "mmpose"))
    assert own["AP"] != other["AP"]
    assert own["nme"] == other["nme"]
    with pytest.raises(UserError, match=r"no sigmas 'mmpos'; choose: mmpose"):
        sigmas_of(skeletons.load("animal_pose"), "mmpos")
    with pytest.raises(UserError, match="coco-macro, coco-pooled"):
        protocol("coco")


def test_macro_is_the_mean_over_species(made_up):
    macro, pooled = scored(made_up), scored(made_up, name="coco-pooled")
    each = [figures["AP"] for figures in macro["per_species"].values()]
    assert macro["AP"] == pytest.approx(np.mean(each))
    assert pooled["AP"] != pytest.approx(macro["AP"])
    assert pooled["per_species"] == macro["per_species"]
    assert pooled["protocol"]["pooling"] != macro["protocol"]["pooling"]


def test_parts_add_up(made_up):
    result = scored(made_up)
    points = result["per_keypoint"].values()
    total = sum(p["count"] for p in points)
    assert total == result["counts"]["keypoints"]
    assert sum(p["nme"] * p["count"] for p in points) / total == pytest.approx(result["nme"])
    by_type = np.mean([p["pck"]["box_side"]["0.1"] for p in points])
    assert by_type == pytest.approx(result["pck"]["box_side"]["0.1"])
    one_crowd_one_bare = 2
    assert result["counts"]["instances_scored"] == 30 - one_crowd_one_bare
    assert result["counts"]["predictions"] == 30 - one_crowd_one_bare


def test_unreadable_pictures_count_as_misses(made_up):
    make_set, near = made_up
    pose_set = make_set()
    points, confidences = near(pose_set, 1.0)
    points[5:8] = np.nan
    confidences[5:8] = np.nan
    full = scored(made_up, noise=1.0)
    less = score(pose_set, in_given_boxes(pose_set, points, confidences), protocol())
    assert less["counts"]["instances_not_found"] == 3
    assert less["AR"] < full["AR"]
    assert less["pck"]["box_area"]["0.2"] < full["pck"]["box_area"]["0.2"]
    json.dumps(less, allow_nan=False)


def test_a_set_without_labels_has_no_figures(made_up):
    make_set, near = made_up
    pose_set = make_set()
    bare = replace(
        pose_set,
        visibility=np.zeros_like(pose_set.visibility),
        keypoints=np.full_like(pose_set.keypoints, np.nan),
    )
    result = score(bare, in_given_boxes(bare, *near(bare, 1.0)), protocol())
    assert result["AP"] == -1.0
    assert result["nme"] is None
    assert result["per_keypoint"] == {}


def test_pictures_of_unknown_size_leave_one_definition_out(made_up):
    make_set, near = made_up
    pose_set = make_set()
    unknown = replace(pose_set, sizes=np.zeros_like(pose_set.sizes))
    result = score(unknown, in_given_boxes(unknown, *near(unknown, 2.0)), protocol())
    assert set(pck.DEFINITIONS) - set(result["pck"]) == {"keypoint_diagonal_square"}


def test_shapes_that_do_not_fit_are_refused(made_up):
    make_set, near = made_up
    pose_set = make_set()
    points, confidences = near(pose_set, 1.0)
    with pytest.raises(ValueError, match="the set has"):
        in_given_boxes(pose_set, points[:-1], confidences[:-1])


def test_instance_score_is_hrnets():
    scores = np.array([[0.9, 0.5, 0.2, 0.1], [0.1, 0.2, 0.0, np.nan]])
    np.testing.assert_allclose(instance_scores(scores), [0.7, 0.0])
    np.testing.assert_allclose(instance_scores(scores, np.array([0.5, 1.0])), [0.35, 0.0])


CATEGORIES = {1: 0, 2: 1, 3: 2}


def results_of(pose_set, predictions):
    """The predictions as entries of a COCO results file."""
    triples = np.concatenate([predictions.keypoints, predictions.scores[..., None]], axis=-1)
    return [
        {
            "image_id": int(pose_set.image_ids[image]),
            "category_id": int(species) + 1,
            "keypoints": points.ravel().tolist(),
            "score": float(value),
        }
        for image, species, points, value in zip(
            predictions.image, predictions.species, triples, predictions.instance_scores,
            strict=True,
        )
    ]  # fmt: skip


def test_results_of_a_file_score_as_the_rows_they_came_from(made_up):
    make_set, near = made_up
    pose_set = make_set()
    rows = in_given_boxes(pose_set, *near(pose_set, 3.0))
    entries = results_of(pose_set, rows)
    np.random.default_rng(0).shuffle(entries)
    read = from_results(pose_set, entries, pose_set.skeleton.sigmas, categories=CATEGORIES)
    assert read.problems == []
    expected = score(pose_set, rows, protocol())
    got = score(pose_set, read.predictions, protocol())
    for key in (*oks.FIGURES, "nme", "swap_rate"):
        assert got[key] == pytest.approx(expected[key]), key
    assert got["pck"] == {name: pytest.approx(values) for name, values in expected["pck"].items()}


def test_pictures_are_found_by_name_and_species_by_the_truth(made_up):
    make_set, near = made_up
    pose_set = make_set()
    rows = in_given_boxes(pose_set, *near(pose_set, 3.0))
    entries = results_of(pose_set, rows)
    for entry, image in zip(entries, rows.image, strict=True):
        entry |= {"image_id": -1, "file_name": f"/elsewhere/{image:03}.jpg", "category_id": 9}
    read = from_results(pose_set, entries, pose_set.skeleton.sigmas, categories=CATEGORIES)
    assert "do not tell species apart" in read.notes[0]
    got = score(pose_set, read.predictions, protocol())
    assert got["AP"] == pytest.approx(score(pose_set, rows, protocol())["AP"])


def test_faulty_entries_are_listed_and_left_out(made_up):
    make_set, near = made_up
    pose_set = make_set()
    good = results_of(pose_set, in_given_boxes(pose_set, *near(pose_set, 3.0)))
    bad = [
        ({"image_id": 4}, "image_id 4 is not in the set"),
        ({"category_id": 8}, "category_id 8 is no category"),
        ({"keypoints": [1.0, 2.0]}, "2 numbers in keypoints, 60 are due"),
        ({"keypoints": [float("nan")] * 60}, "not finite"),
        ({"score": "high"}, "score does not hold numbers"),
        ({"file_name": "lost.jpg"}, "'lost.jpg' is not in the set"),
    ]
    entries = [{**good[0], **change} for change, _ in bad] + [7, *good]
    read = from_results(
        pose_set, entries, pose_set.skeleton.sigmas, categories=CATEGORIES, where="r.json"
    )
    told = [str(problem) for problem in read.problems]
    assert len(told) == len(bad) + 1
    for number, (_, words) in enumerate(bad):
        assert told[number].startswith(f"r.json: entry {number}: ")
        assert words in told[number]
    assert len(read.predictions.instance) == len(good)


@pytest.mark.parametrize("content", [{"annotations": []}, [], [{"image_id": 5}]])
def test_a_file_of_which_nothing_can_be_used_is_an_error(made_up, content):
    make_set, _ = made_up
    pose_set = make_set()
    with pytest.raises(UserError, match=r"^r\.json: "):
        from_results(
            pose_set, content, pose_set.skeleton.sigmas, categories=CATEGORIES, where="r.json"
        )
