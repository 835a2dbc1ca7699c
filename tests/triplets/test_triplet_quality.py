"""Quality control: planted faults are counted, sound labels are not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tetrapose import skeletons
from tetrapose.errors import UserError
from tetrapose.structures import PoseSet
from tetrapose.synth import builds, stage
from tetrapose.synth.points import mapping
from tetrapose.triplets import quality
from tetrapose.triplets.rows import Triplet

SKELETON = skeletons.load("animal_pose")
POSES = ("stand", "walk", "sit", "lie", "graze")


@pytest.fixture(scope="module")
def animals() -> np.ndarray:
    """(100, 20, 2) points of the menagerie, as they fall in pictures of 512 px."""
    table = mapping(SKELETON)
    rows = []
    for i in range(100):
        made = stage.set_up(np.random.default_rng([3, i]), (512, 512), 1, builds.names(), POSES)
        points = made.actors[0].points
        flat, _ = made.camera.project(np.stack([points[n].place for n in points]))
        where = dict(zip(points, flat, strict=True))
        rows.append([where[table[n]] if n in table else (np.nan, np.nan) for n in SKELETON.names])
    return np.array(rows)


def triplet(
    points: np.ndarray, key: str = "a", species: str = "dog", caption: str = "", **more
) -> Triplet:
    """A triplet of animals (N, K, 2); its picture is the source's moved by (10, 20)."""
    rows = []
    for one in points:
        low, high = np.nanmin(one, axis=0), np.nanmax(one, axis=0)
        rows.append(
            {
                "species": species,
                "bbox": [*low.tolist(), *high.tolist()],
                "keypoints": [
                    [None, None, 0] if np.isnan(p).any() else [*p.tolist(), 2] for p in one
                ],
                "scores": None, "bbox_score": None, "labelled": True,
            }
        )  # fmt: skip
    provenance = {"key": key, "matrix": [[1, 0, 10], [0, 1, 20]], "caption_origin": "text"}
    return Triplet(
        key, b"", b"", b"", caption,
        {"skeleton": "animal_pose", "size": [512, 512], "animals": rows}, provenance | more,
    )  # fmt: skip


def truth(pictures: dict[str, np.ndarray]) -> PoseSet:
    points = np.concatenate(list(pictures.values())) - [10, 20]
    n = len(points)
    index = np.repeat(np.arange(len(pictures)), [len(p) for p in pictures.values()])
    boxes = np.concatenate([np.nanmin(points, axis=1), np.nanmax(points, axis=1)], axis=1)
    return PoseSet(
        skeleton=SKELETON, root=Path(), source="t", licence="", files=tuple(pictures),
        image_ids=np.arange(len(pictures)), sizes=np.full((len(pictures), 2), 512),
        groups=np.arange(len(pictures)), image_index=index, keypoints=points,
        visibility=np.where(np.isnan(points).any(axis=-1), 0, 2).astype(np.uint8), bboxes=boxes,
        areas=np.ones(n), species=np.zeros(n, int), species_names=("dog",),
        crowd=np.zeros(n, bool), annotation_ids=np.arange(n),
    )  # fmt: skip


def test_sound_animals_pass_and_broken_ones_are_seen(animals):
    ranges = quality.learn(animals[:70], SKELETON)
    assert set(ranges.most) == {"-".join(edge) for edge in SKELETON.edges}
    fresh = quality.implausible(animals[70:], SKELETON, ranges)
    assert np.isfinite(fresh).all()
    assert fresh.mean() <= 0.05
    broken = animals[70:].copy()
    paw = SKELETON.index("left_front_paw")
    centre = broken.mean(axis=1)
    broken[:, paw] = centre + 3 * (broken.max(axis=1) - centre)
    assert quality.implausible(broken, SKELETON, ranges).mean() > 0.9
    shrunk = np.where(np.arange(20)[:, None] < 3, animals[70:], np.nan)
    assert np.isnan(quality.implausible(shrunk, SKELETON, ranges)).all()


def test_limbs_are_judged_alike_at_every_size_and_place(animals):
    ranges = quality.learn(animals[:70], SKELETON)
    one = quality.implausible(animals, SKELETON, ranges)
    two = quality.implausible(animals * 0.2 - 40, SKELETON, ranges)
    np.testing.assert_array_equal(one, two)


def test_an_edge_that_was_seldom_seen_binds_nothing(animals):
    few = animals.copy()
    few[10:, SKELETON.index("nose")] = np.nan
    assert "nose-throat" not in quality.learn(few, SKELETON).most


def test_points_are_compared_with_the_labels_of_the_very_picture(animals):
    pictures = {"a.jpg": animals[:1], "b.jpg": animals[1:3], "c.jpg": animals[3:4]}
    labels = truth(pictures)
    exact = [triplet(points, key) for key, points in pictures.items()]
    told = quality.report(exact, truth=labels).agreement
    assert told is not None
    assert (told.points, told.pictures, told.whole, told.animals) == (1, 1, 1, 1)
    assert (told.in_groups, told.right_in_groups, told.strangers, told.misnamed) == (1, 1, 0, 0)
    assert told.counted == 4 * 20
    side = np.ptp(animals[0], axis=0).max()
    moved = animals[:1].copy()
    moved[0, :5] += [0.2 * side, 0]  # a quarter of the points beyond the bound
    moved[0, 5:8] += [0.05 * side, 0]  # and some within
    told = quality.report([triplet(moved, "a.jpg")], truth=labels).agreement
    assert told is not None
    assert told.points == pytest.approx(0.75)
    assert told.pictures == 0
    one = np.concatenate([animals[1:2], animals[2:3] + [600, 0]])
    told = quality.report([triplet(one, "b.jpg")], truth=labels).agreement
    assert told is not None
    assert told.strangers == 0.5
    assert told.in_groups == 1
    pair = animals[1:3].copy()
    pair[1, :3] += [0.2 * np.ptp(pair[1], axis=0).max(), 0]  # 17 of 20 within, and the other whole
    told = quality.report([triplet(pair, "b.jpg")], truth=labels).agreement
    assert told is not None
    assert told.in_groups == pytest.approx((1 + 0.85) / 2)
    assert told.right_in_groups == 0.5
    assert (told.pictures, told.whole) == (1, 0)  # 37 of 40
    assert quality.report([triplet(animals[:1], "other.jpg")], truth=labels).agreement is None


def test_an_animal_under_another_name_is_counted(animals):
    labels = truth({"a.jpg": animals[:1], "b.jpg": animals[1:2], "c.jpg": animals[2:3]})
    rows = [
        triplet(animals[:1], "a.jpg", species="cat"),
        triplet(animals[1:2], "b.jpg", species="dog"),
        triplet(animals[2:3], "c.jpg", species=""),  # says nothing, and is not judged
    ]
    told = quality.report(rows, truth=labels).agreement
    assert told is not None
    assert told.misnamed == 0.5


def test_captions_that_name_another_species(animals):
    def said(caption: str, species: str = "dog", **more) -> bool | None:
        return quality.disagrees(triplet(animals[:1], "k", species, caption, **more))

    assert said("a cat on a sofa") is True
    assert said("a dog and a cat") is False
    assert said("ein Hund auf der Wiese") is False
    assert said("nice weather") is None
    assert said("a cat", species="") is None
    assert said("a cat", caption_origin="template") is None


def test_a_report_counts_once_and_lists_what_to_look_at(animals):
    ranges = quality.learn(animals[:70], SKELETON)
    broken = animals[:1].copy()
    broken[0, SKELETON.index("tailbase")] += 4000
    rows = [
        triplet(animals[1:3], "sound", caption="two dogs"),
        triplet(broken, "broken", caption="a cat in the grass"),
    ]
    told = quality.report(iter(rows), ranges=[ranges])
    assert (told.triplets, told.animals, told.judged) == (2, 3, 3)
    assert told.implausible == 1
    assert told.implausible_keys == ("broken",)
    assert (told.captions_judged, told.disagreeing, told.disagreeing_keys) == (2, 1, ("broken",))
    assert told.to_dict()["implausible"] == 1
    other = replace(ranges, skeleton="ap10k")
    assert quality.report(iter(rows), ranges=[other]).judged == 0


def test_missing_points_stay_missing(animals):
    points = animals[:1].copy()
    points[0, 4] = np.nan
    instances, skeleton = quality.drawn(triplet(points))
    assert skeleton.name == "animal_pose"
    assert np.isnan(instances.keypoints[0, 4]).all()
    assert instances.visibility[0].tolist() == [0 if k == 4 else 2 for k in range(20)]
    none, _ = quality.drawn(triplet(animals[:0]))
    assert len(none) == 0


def test_points_may_stand_on_a_skeleton_that_a_library_alone_knows(animals):
    own = replace(SKELETON, name="of_this_library")
    one = triplet(animals[:1])
    one = replace(one, points=one.points | {"skeleton": own.name})
    with pytest.raises(UserError, match="of_this_library"):
        quality.report([one])
    ranges = [quality.learn(animals, own), quality.learn(animals, SKELETON)]
    told = quality.report([one, triplet(animals[1:3])], ranges=ranges, known={own.name: own})
    assert (told.animals, told.judged) == (3, 3)


def test_triplets_on_several_skeletons_are_compared_together(animals):
    names = skeletons.load("quadruped").names
    labels = truth({"a.jpg": animals[:1], "b.jpg": animals[1:2]})
    wide = triplet(np.full((1, len(names), 2), 5.0), "b.jpg")
    for name, place in zip(SKELETON.names, animals[1].tolist(), strict=True):
        if name in names:
            wide.points["animals"][0]["keypoints"][names.index(name)] = [*place, 2]
    wide.points["animals"][0]["bbox"] = triplet(animals[1:2]).points["animals"][0]["bbox"]
    one = replace(wide, points=wide.points | {"skeleton": "quadruped"})
    told = quality.report([triplet(animals[:1], "a.jpg"), one], truth=labels).agreement
    assert told is not None
    assert 20 < told.counted <= 40


def test_bounds_are_learned_from_labels_of_another_skeleton(animals):
    labels = truth({"a.jpg": animals})
    own = quality.learn_from(labels, SKELETON)
    assert own == quality.learn(animals - [10, 20], SKELETON)
    other = skeletons.load("quadruped")
    ranges = quality.learn_from(labels, other)
    assert ranges.skeleton == "quadruped"
    assert 5 < len(ranges.most) < len(other.edges)  # edges whose ends no label tells have none
