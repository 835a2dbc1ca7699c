"""Sets of different conventions on one skeleton, joined without losing or moving a point."""

from __future__ import annotations

import time
from dataclasses import replace

import miniatures
import numpy as np
import pytest

from tetrapose import skeletons
from tetrapose.commands.train_sets import training_sets
from tetrapose.data import open_set
from tetrapose.data.crops import CropDataset
from tetrapose.data.mix import join, onto
from tetrapose.errors import UserError
from tetrapose.skeletons import mapping, superset
from tetrapose.structures import PoseSet

QUADRUPED = skeletons.load("quadruped")


@pytest.fixture
def three(tmp_path) -> list[PoseSet]:
    return [
        open_set(f"animal_pose:{miniatures.animal_pose(tmp_path / 'ap')}"),
        open_set(f"akd_cats:{miniatures.akd_cats(tmp_path / 'akd')}"),
        open_set(f"coco:{miniatures.coco(tmp_path / 'coco')}"),
    ]


def test_points_are_moved_by_place_and_come_back(three):
    for own in three:
        there = onto(own, QUADRUPED)
        assert there.labelled.sum() == own.labelled.sum()
        back = onto(there, own.skeleton)
        np.testing.assert_array_equal(back.keypoints, own.keypoints)
        np.testing.assert_array_equal(back.visibility, own.visibility)
    paw = onto(three[0], QUADRUPED).keypoints[:, QUADRUPED.index("left_stifle")]
    own = three[0].keypoints[:, three[0].skeleton.index("left_back_elbow")]
    np.testing.assert_array_equal(paw, own)


def test_near_points_are_kept_weighed_or_dropped(three):
    akd, ap10k = three[1], skeletons.load("ap10k")
    neck = ap10k.index("neck")
    kept, weighed, dropped = (onto(akd, ap10k, near=near) for near in (1.0, 0.25, 0.0))
    assert kept.weights is None
    assert kept.labelled[:, neck].all()
    assert weighed.weights is not None
    assert weighed.labelled[:, neck].all()
    assert (weighed.weights[:, neck] == 0.25).all()
    assert (weighed.weights[:, ap10k.index("left_hip")] == 1).all()
    assert not dropped.labelled[:, neck].any()
    crop = CropDataset(weighed, size=(32, 32))[(0, 0)]
    assert crop["weights"][neck] == pytest.approx(0.25)
    with pytest.raises(UserError, match="between 0 and 1"):
        onto(akd, ap10k, near=2)
    bare = skeletons.from_dict(
        {
            "name": "bare", "source": {}, "edges": [],
            "keypoints": [{"name": "fin", "sigma": 0.1, "part": "trunk", "site": "fin"}],
        }
    )  # fmt: skip
    with pytest.raises(UserError, match="no keypoint in common"):
        onto(akd, bare)


def test_joined_sets_keep_every_row(three):
    moved = [onto(one, QUADRUPED) for one in three]
    mix = join(moved, ("a", "b", "c"))
    joined = mix.pose_set
    assert len(joined) == sum(map(len, three))
    assert len(set(joined.annotation_ids)) == len(joined)
    assert len(set(joined.image_ids)) == len(joined.files)
    assert np.bincount(mix.part).tolist() == [len(one) for one in three]
    row = 0
    for one in moved:
        for i in range(len(one)):
            np.testing.assert_array_equal(joined.keypoints[row], one.keypoints[i])
            picture = joined.path(int(joined.image_index[row]))
            assert picture.samefile(one.path(int(one.image_index[i])))
            name = joined.species_names[joined.species[row]]
            assert name == one.species_names[one.species[i]]
            row += 1
    assert joined.species_names.count("cat") == 1


def test_groups_of_different_sets_never_meet(three):
    again = join([onto(three[0], QUADRUPED), onto(three[0], QUADRUPED)]).pose_set
    half = len(three[0].files)
    assert not set(again.groups[:half]) & set(again.groups[half:])


def test_sets_on_different_skeletons_are_refused(three):
    with pytest.raises(UserError, match="bring all onto one skeleton"):
        join(three)
    with pytest.raises(UserError, match="one set at least"):
        join([])


def test_a_run_on_several_sets_says_what_it_draws(three, tmp_path, capsys):
    sets = {
        "animal_pose": {"set": f"animal_pose:{tmp_path / 'ap'}", "share": 2.0},
        "akd_cats": {"set": f"akd_cats:{tmp_path / 'akd'}"},
        "nothing": None,
    }
    pose_set, draws = training_sets({"train": sets, "skeleton": "quadruped", "near": 0.5})
    assert draws is not None
    assert draws.sum() == 2 * len(three[0]) + len(three[1])
    assert pose_set.skeleton.name == "quadruped"
    told = capsys.readouterr().err
    assert "animal_pose: 4 animals, 13 of 32 points, 8 drawn an epoch" in told
    with pytest.raises(UserError, match="dataset.skeleton=NAME"):
        training_sets({"train": sets})


def many(count: int, name: str) -> PoseSet:
    """A set of that many animals on a convention, in columns."""
    skeleton, rng = skeletons.load(name), np.random.default_rng(0)
    k = len(skeleton)
    visibility = rng.integers(0, 3, (count, k)).astype(np.uint8)
    points = rng.uniform(0, 640, (count, k, 2)).astype(np.float32)
    points[visibility == 0] = np.nan
    return PoseSet(
        skeleton=skeleton, root=miniatures.Path("/"), source=name, licence="",
        files=tuple(f"{name}/{i}.jpg" for i in range(count)), image_ids=np.arange(count),
        sizes=np.full((count, 2), 640, np.int32), groups=np.arange(count),
        image_index=np.arange(count), keypoints=points, visibility=visibility,
        bboxes=np.tile(np.float32([0, 0, 640, 640]), (count, 1)), areas=np.full(count, 6400.0),
        species=np.zeros(count, np.int64), species_names=("animal",), crowd=np.zeros(count, bool),
        annotation_ids=np.arange(count),
    )  # fmt: skip


def test_a_hundred_thousand_animals_are_joined_at_once():
    names = ("ap10k", "animal_pose", "akd_cats")
    sets = [many(33_334, name) for name in names]
    union = superset.build([skeletons.load(n) for n in names], "union")
    before = time.process_time()
    joined = join([onto(one, union) for one in sets]).pose_set
    assert time.process_time() - before < 3
    assert len(joined) == 100_002
    assert joined.labelled.sum() == sum(one.labelled.sum() for one in sets)


def test_a_mapping_made_by_hand_is_used(three):
    akd, ap10k = three[1], skeletons.load("ap10k")
    own = mapping.by_hand(akd.skeleton, ap10k, {"head": "nose"})
    moved = onto(akd, ap10k, mapping=own)
    assert moved.labelled.sum() == len(akd)
    heads = akd.keypoints[:, akd.skeleton.index("head")]
    np.testing.assert_array_equal(moved.keypoints[:, ap10k.index("nose")], heads)
    assert replace(moved, weights=None).skeleton is ap10k


def test_what_is_rare_is_drawn_more_often(three, tmp_path, capsys):
    sets = {
        "animal_pose": {"set": f"animal_pose:{tmp_path / 'ap'}"},
        "akd_cats": {"set": f"akd_cats:{tmp_path / 'akd'}"},
    }
    data = {"train": sets, "skeleton": "quadruped"}
    sizes = [len(three[0]), len(three[1])]
    _, draws = training_sets({**data, "balance": "sets"})
    assert draws is not None
    assert draws[: sizes[0]].sum() == pytest.approx(draws[sizes[0] :].sum())
    pose_set, draws = training_sets({**data, "balance": ["species", "points"], "points_target": 6})
    assert draws is not None
    there = pose_set.labelled.any(axis=0)
    seen, before = (pose_set.labelled.T @ d for d in (draws, np.ones(len(pose_set))))
    assert np.abs(seen[there] - 6).mean() < np.abs(before[there] - 6).mean()
    assert "labelled samples each" in capsys.readouterr().err
    with pytest.raises(UserError, match="choose among sets, species, points"):
        training_sets({**data, "balance": "pionts"})
    one, draws = training_sets({"train": sets["akd_cats"]["set"], "balance": "points"})
    assert draws is not None
    assert len(draws) == len(one)
