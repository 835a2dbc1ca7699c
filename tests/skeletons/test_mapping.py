"""Laws of mappings between conventions, and the published unions by index."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrapose import skeletons
from tetrapose.skeletons import SkeletonError, mapping, places, superset

NAMES = skeletons.available()
LOAD = skeletons.load

# source index -> union index, as FreeNet's label conversions have them (LabelFormatTransUnion and
# its kin in train_utils/transforms.py; keypoints_definition.json of its first commit for 26)
PUBLISHED = {
    ("ap10k", "union21"): dict(zip(range(17), range(17), strict=True)),
    ("animal_pose", "union21"): dict(
        enumerate([0, 1, 2, 17, 18, 5, 8, 11, 14, 6, 9, 12, 15, 7, 10, 13, 16, 19, 20, 4])
    ),
    ("ap10k", "union24"): dict(zip(range(17), range(17), strict=True)),
    ("animal_pose", "union24"): dict(
        enumerate([0, 1, 2, 17, 18, 5, 8, 11, 14, 6, 9, 12, 15, 7, 10, 13, 16, 19, 20, 4])
    ),
    ("ap10k", "union26"): dict(
        enumerate([0, 1, 4, 8, 25, 11, 15, 21, 12, 16, 22, 13, 17, 23, 14, 18, 24])
    ),
    ("animal_pose", "union26"): dict(
        enumerate([0, 1, 4, 2, 3, 11, 12, 13, 14, 15, 16, 17, 18, 21, 22, 23, 24, 6, 7, 25])
    ),
}


@pytest.mark.parametrize("source, union", PUBLISHED)
def test_the_published_unions_come_out_by_name(source, union):
    found = mapping.between(LOAD(source), LOAD(union))
    assert {int(s): t for t, s in enumerate(found.index) if s >= 0} == PUBLISHED[source, union]
    assert set(found.grade) == {mapping.ABSENT, mapping.EXACT}


def test_the_unions_have_the_published_figures():
    u21, u24, u26 = (LOAD(name) for name in ("union21", "union24", "union26"))
    assert [len(u) for u in (u21, u24, u26)] == [21, 24, 26]
    np.testing.assert_array_equal(u21.sigmas[:17], LOAD("ap10k").sigmas)
    assert u21.sigmas[17:].tolist() == [0.035, 0.035, 0.1, 0.1]
    assert u24.sigmas[21:].tolist() == [0.026, 0.035, 0.035]
    assert u26.flip_indices.tolist() == [
        1, 0, 3, 2, 4, 5, 6, 7, 8, 10, 9, 12, 11, 14, 13, 16, 15, 18, 17, 20, 19, 22, 21, 24, 23, 25
    ]  # fmt: skip
    assert sum(u26.weight_sets["seed001"]) == pytest.approx(16 + 6 * 1.2 + 4 * 1.5)
    assert u21.weight_sets["freenet"][4] == 1.2
    assert u24.weight_sets["freenet"][4] == 1


@pytest.mark.parametrize("source", NAMES)
@pytest.mark.parametrize("target", NAMES)
def test_every_mapping_commutes_with_flip(source, target):
    found = mapping.between(LOAD(source), LOAD(target))
    flipped = found.index[found.target.flip_indices]
    partner = np.where(flipped >= 0, found.source.flip_indices[flipped], -1)
    np.testing.assert_array_equal(partner, found.index)
    used = found.index[found.index >= 0]
    assert len(set(used.tolist())) == len(used)
    names = {name for grade in (1, 2) for name, _ in found.named(grade)}
    assert names | set(found.lost) == set(found.source.names)


@pytest.mark.parametrize("name", NAMES)
def test_a_skeleton_maps_onto_itself(name):
    found = mapping.between(LOAD(name), LOAD(name))
    np.testing.assert_array_equal(found.index, np.arange(len(found.target)))
    assert (found.grade == mapping.EXACT).all()


@pytest.mark.parametrize("name", NAMES)
def test_places_are_told_and_lie_on_the_side_that_the_name_tells(name):
    for point in LOAD(name).keypoints:
        assert places.unsided(point.place) in places.known()
        assert (
            skeletons.mirror_name(point.place)
            == LOAD(name).keypoints[LOAD(name).index(point.mirror)].place
        )


def test_near_points_are_told_from_exact_ones():
    found = mapping.between(LOAD("akd_cats"), LOAD("ap10k"))
    assert found.named(mapping.NEAR) == (("upper_spine", "neck"),)
    assert ("left_knee", "left_hip") in found.named(mapping.EXACT)
    assert ("", "left_eye") in found.named(mapping.ABSENT)
    dropped = found.without_near()
    assert dropped.named(mapping.NEAR) == ()
    assert ("", "neck") in dropped.named(mapping.ABSENT)
    assert dropped.named(mapping.EXACT) == found.named(mapping.EXACT)


@given(st.sampled_from(NAMES), st.sampled_from(NAMES), st.integers(0, 2**32 - 1))
def test_values_are_carried_by_place(source, target, seed):
    found = mapping.between(LOAD(source), LOAD(target))
    values = np.random.default_rng(seed).normal(size=(3, len(found.source), 2))
    out = mapping.carried(values, found, empty=np.nan)
    assert out.shape == (3, len(found.target), 2)
    for grade in (mapping.EXACT, mapping.NEAR):
        for one, other in found.named(grade):
            np.testing.assert_array_equal(
                out[:, found.target.index(other)], values[:, found.source.index(one)]
            )
    assert np.isnan(out[:, found.grade == mapping.ABSENT]).all()


def mute(skeleton, name="mute"):
    points = tuple(replace(point, place="") for point in skeleton.keypoints)
    return replace(skeleton, name=name, keypoints=points)


def test_without_places_names_are_all_there_is():
    plain = LOAD("animal_pose")
    assert (mapping.between(mute(plain), mute(plain)).grade == mapping.EXACT).all()
    assert (mapping.between(mute(plain), plain).grade == mapping.NEAR).all()
    found = mapping.between(mute(plain), LOAD("ap10k"))
    assert {name for name, _ in found.named(mapping.NEAR)} == {
        "left_eye", "right_eye", "nose", "left_front_paw", "right_front_paw", "left_back_paw",
        "right_back_paw",
    }  # fmt: skip


def test_a_hand_made_mapping_is_checked_whole():
    akd, ap10k = LOAD("akd_cats"), LOAD("ap10k")
    good = mapping.by_hand(akd, ap10k, {"head": "nose"})
    assert good.named(mapping.EXACT) == (("head", "nose"),)
    with pytest.raises(SkeletonError) as told:
        mapping.by_hand(akd, ap10k, {"haed": "nose", "head": "neck", "upper_spine": "neck"})
    assert "no 'haed'; nearest: head" in str(told.value)
    assert "'head' and 'upper_spine' both claim 'neck'" in str(told.value)
    with pytest.raises(SkeletonError, match="'left_elbow' is 'right_elbow', but 'right_elbow' is"):
        mapping.by_hand(akd, ap10k, {"right_elbow": "left_elbow"})


def test_a_superset_holds_every_place_once():
    chosen = [LOAD(name) for name in ("ap10k", "animal_pose", "akd_cats")]
    joined = superset.build(chosen, "mine")
    assert len(joined) == 25  # AKD's upper spine is near AP-10K's neck and taken for it
    assert len(superset.build(chosen, "mine", merge_near=False)) == 26
    for skeleton in chosen:
        assert mapping.between(skeleton, joined).lost == ()
    assert skeletons.from_dict(joined.to_dict()) == joined


@given(st.lists(st.sampled_from(NAMES), min_size=1, max_size=5, unique=True), st.booleans())
def test_a_superset_of_any_list_loses_no_point(chosen, merge_near):
    parts = [LOAD(name) for name in chosen]
    joined = superset.build(parts, "mine", merge_near=merge_near)
    for part in parts:
        found = mapping.between(part, joined)
        assert found.lost == ()
        if not merge_near:
            assert found.named(mapping.NEAR) == ()


def test_points_that_cannot_be_told_apart_are_refused():
    named = replace(
        LOAD("akd_cats"), name="told", keypoints=(LOAD("animal_pose").keypoints[2],), edges=()
    )
    with pytest.raises(SkeletonError, match="mute's 'nose' tells no place"):
        superset.build([mute(named), LOAD("ap10k")], "mine")


def test_two_keypoints_at_one_place_are_refused():
    definition = LOAD("ap10k").to_dict()
    definition["keypoints"][3]["place"] = "nose"
    with pytest.raises(SkeletonError, match="'nose' and 'neck' both claim the place nose"):
        skeletons.from_dict(definition)
    definition["keypoints"][3]["place"] = "nek"
    with pytest.raises(SkeletonError, match="place 'nek' is unknown; nearest: neck"):
        skeletons.from_dict(definition)
