"""Recipes: no group on two sides, ratios and counts reached, points hidden exactly as told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from drawn_sets import drawn_set, shuffled
from hypothesis import given, settings
from hypothesis import strategies as st

from tetrapose import skeletons
from tetrapose.data import open_set
from tetrapose.data.splits import points, recipes
from tetrapose.data.splits.apply import counted
from tetrapose.data.splits.draw import lots, units
from tetrapose.data.splits.files import Part
from tetrapose.errors import UserError

few_examples = settings(max_examples=20)
seeds = st.integers(0, 2**32)
LOT = 6220613674275618626
PARTING = {"folds": {"count": 3}, "ratio": {}, "n-shot": {"count": 3}, "fraction": {"share": 0.3}}


def made(pose_set, recipe, seed=0, **options):
    return recipes.make(pose_set, recipe, seed=seed, options=options)


def groups_in(pose_set, part: Part) -> set[int]:
    rows = [pose_set.files.index(name) for name in part.pictures or ()]
    return set(pose_set.groups[rows].tolist())


# --- what every recipe keeps to --------------------------------------------------------------


@few_examples
@given(seeds, st.integers(20, 50))
def test_no_group_stands_on_two_sides_and_no_animal_is_lost(seed, pictures):
    pose_set = drawn_set(seed % 97, pictures=pictures)
    for recipe, options in PARTING.items():
        split = made(pose_set, recipe, seed, **options)
        pairs = list(split.parts.values())
        pairs = [pairs[i : i + 2] for i in range(0, len(pairs), 2)]
        for one, other in pairs:
            assert not groups_in(pose_set, one) & groups_in(pose_set, other)
            both = set(one.pictures or ()) | set(other.pictures or ())
            assert both == {pose_set.files[i] for i in np.unique(pose_set.image_index)}


@pytest.mark.parametrize("recipe", recipes.RECIPES)
def test_a_seed_and_a_set_give_one_split_in_whatever_order_its_rows_stand(recipe):
    pose_set = drawn_set(3, pictures=40)
    options = {"count": 3} if recipe in ("folds", "n-shot") else {}
    if recipe == "25-to-5":
        options = {"many": 6, "few": 2}
    split = made(pose_set, recipe, 7, **options)
    again = made(shuffled(pose_set, 1), recipe, 7, **options)
    assert again.parts == split.parts
    assert again.report == split.report
    assert again.source["digest"] == split.source["digest"]
    assert made(pose_set, recipe, 8, **options).parts != split.parts


def test_lots_are_of_key_seed_and_purpose_alone():
    # written down once: another machine or version must draw the same
    assert lots(["a.jpg"], 0, "ratio").tolist() == [LOT]
    assert lots(["b.jpg", "a.jpg"], 0, "ratio")[1] == LOT
    assert lots(["a.jpg"], 1, "ratio")[0] != LOT
    assert lots(["a.jpg"], 0, "fraction")[0] != LOT
    heads = (lots(range(4000), 5, "x") & np.uint64(1)).mean()
    assert 0.46 < heads < 0.54


def test_other_groups_can_be_given():
    pose_set = drawn_set(1, pictures=30)
    one = np.zeros(30, dtype=int)
    one[15:] = 1
    split = recipes.make(pose_set, "ratio", options={"shares": "1:1"}, groups=one)
    train = {pose_set.files.index(name) < 15 for name in split.parts["train"].pictures or ()}
    assert len(train) == 1
    with pytest.raises(ValueError, match="shape"):
        units(pose_set, one[:4])


def test_pictures_without_animals_are_in_no_part():
    pose_set = drawn_set(2, pictures=20)
    gone = pose_set.image_index != 4
    split = made(pose_set.select_instances(gone), "fraction")
    named = [name for part in split.parts.values() for name in part.pictures or ()]
    assert pose_set.files[4] not in named
    assert len(named) == 19


# --- pictures --------------------------------------------------------------------------------


@few_examples
@given(seeds)
def test_each_species_is_near_its_ratio(seed):
    """As near as a unit of pictures allows: within its largest, or one animal."""
    pose_set = drawn_set(seed % 53, pictures=200)
    split = made(pose_set, "ratio", seed)
    sizes = units(pose_set).species
    for s, name in enumerate(units(pose_set).species_names):
        have = split.report["val"]["animals_per_species"][name]
        assert abs(have - sizes[:, s].sum() / 10) <= max(1, sizes[:, s].max())


def test_three_shares():
    split = made(drawn_set(0, pictures=100), "ratio", shares="8:1:1")
    assert list(split.parts) == ["train", "val", "test"]
    assert 0.7 < split.report["train"]["pictures"] / 100 < 0.9


@few_examples
@given(seeds, st.integers(1, 8))
def test_shots_have_the_count_and_grow(seed, count):
    pose_set = drawn_set(seed % 31, pictures=60, copies=False)
    few, more = (made(pose_set, "n-shot", seed, count=n) for n in (count, count + 1))
    assert set(few.parts["labelled"].pictures or ()) <= set(more.parts["labelled"].pictures or ())
    pictures = np.array(units(pose_set).species_pictures.sum(axis=0))
    have = np.array(list(few.report["pictures_per_species"].values()))
    assert (have >= np.minimum(pictures, count)).all()
    assert few.report["pictures"] <= count * len(pictures)


@few_examples
@given(seeds, st.floats(0.01, 0.99))
def test_a_fraction_is_met_within_half_a_unit(seed, share):
    pose_set = drawn_set(seed % 31, pictures=50)
    reached = made(pose_set, "fraction", seed, share=share).report
    largest = units(pose_set).animals.max()
    assert reached["animals"] >= 1
    assert abs(reached["animals"] - share * len(pose_set)) <= largest
    less = made(pose_set, "fraction", seed, share=share / 2)
    more = made(pose_set, "fraction", seed, share=share)
    assert set(less.parts["labelled"].pictures or ()) <= set(more.parts["labelled"].pictures or ())


# --- points ----------------------------------------------------------------------------------


def shown(pose_set, part: Part) -> np.ndarray:
    """(N, K), taken from the blocks one animal at a time."""
    out = np.zeros(pose_set.visibility.shape, dtype=bool)
    for i, annotation in enumerate(pose_set.annotation_ids.tolist()):
        for block in part.shown or ():
            if annotation in block.annotations:
                for name in block.points:
                    out[i, pose_set.skeleton.index(name)] = True
    return out


def test_the_shared_points_of_ap10k_are_the_published_ones():
    """FreeNet's levels, by AP-10K's numbers: eyes, nose, neck, tail; paws; where limbs leave."""
    known = skeletons.load("ap10k")
    lists = [[known.index(n) for n in points.shared_points(known, level)] for level in (0, 1, 2)]
    assert lists[0] == [0, 1, 2, 3, 4]
    assert lists[1] == [0, 1, 2, 3, 4, 7, 10, 13, 16]
    assert lists[2] == [0, 1, 2, 3, 4, 5, 7, 8, 10, 11, 13, 14, 16]


def test_levels_of_another_skeleton():
    known = skeletons.load("animal_pose")
    first, second = (set(points.shared_points(known, level)) for level in (1, 2))
    assert {name for name in first if "paw" in name} == {n for n in known.names if "paw" in n}
    assert "left_front_knee" not in second
    assert {"left_front_elbow", "right_back_elbow", "throat", "left_ear"} <= second


def test_levels_where_places_are_not_told():
    known = skeletons.load("ap10k")
    blank = replace(known, keypoints=tuple(replace(p, place="") for p in known.keypoints))
    assert len(points.shared_points(blank, 0)) == 5
    with pytest.raises(UserError, match="left_shoulder has no place along a limb"):
        points.shared_points(blank, 1)
    pose_set = replace(drawn_set(0), skeleton=blank)
    split = made(pose_set, "front-back", shared="nose+neck")
    assert split.report["shared"] == ["nose", "neck"]


@few_examples
@given(seeds, st.sampled_from((0, 1, 2)))
def test_an_animal_shows_its_half_and_the_shared_points(seed, level):
    pose_set = drawn_set(seed % 17, pictures=30)
    known = pose_set.skeleton
    split = made(pose_set, "front-back", seed, level=level)
    seen = shown(pose_set, split.parts["labelled"])
    shared = np.isin(known.names, points.shared_points(known, level))
    part = np.array([p.part for p in known.keypoints])
    assert seen[:, shared].all()
    front, back = (seen[:, (part == half) & ~shared] for half in ("front", "back"))
    assert (front.all(axis=1) ^ back.all(axis=1)).all()
    assert (front.any(axis=1) ^ back.any(axis=1)).all()
    assert split.parts["pool"] == Part()
    other = made(pose_set, "front-back", seed, level=2 - level)
    ids = [block.annotations for block in split.parts["labelled"].shown or ()]
    assert ids == [block.annotations for block in other.parts["labelled"].shown or ()]


@few_examples
@given(seeds)
def test_many_show_as_many_points_as_few(seed):
    pose_set = drawn_set(seed % 13, pictures=80)
    split = made(pose_set, "25-to-5", seed, many=9, few=2)
    known, part = pose_set.skeleton, split.parts["labelled"]
    seen = shown(pose_set, part) & pose_set.labelled
    rows = np.isin([pose_set.files[i] for i in pose_set.image_index], part.pictures)
    assert not seen[~rows].any()
    parts_of = {"dog": "back", "cat": "front", "sheep": "head"}
    for k, point in enumerate(known.keypoints):
        if point.part in ("trunk", "tail"):
            assert (seen[rows, k] == pose_set.labelled[rows, k]).all()
            continue
        of = {pose_set.species_names[s] for s in pose_set.species[seen[:, k]]}
        assert of <= {name for name, half in parts_of.items() if half == point.part}
        assert seen[:, k].sum() <= split.report["points_wanted"][point.name]
    few = split.parts["few"]
    assert set(few.pictures or ()) <= set(part.pictures or ())
    assert not set(split.parts["unlabelled"].pictures or ()) & set(part.pictures or ())


def test_species_of_no_part_are_told(tmp_path):
    pose_set = replace(drawn_set(0), species_names=("dog", "cat", "unicorn"))
    with pytest.raises(UserError, match="no part is told for unicorn"):
        made(pose_set, "25-to-5", many=4, few=1)
    own = tmp_path / "own.yaml"
    own.write_text("head: [dog]\nfront: [cat]\nback: [unicorn]\n")
    assert made(pose_set, "25-to-5", many=4, few=1, species=str(own)).report["animals"]
    own.write_text("head: [dog]\n")
    with pytest.raises(UserError, match="lists head, front and back"):
        made(pose_set, "25-to-5", many=4, few=1, species=str(own))


@few_examples
@given(seeds)
def test_a_convention_shows_what_it_has(seed):
    pose_set = drawn_set(seed % 19, pictures=40)
    split = made(pose_set, "conventions", seed, names="ap10k+animal_pose+akd_cats")
    lacks = {"animal_pose": {"neck"}, "ap10k": set()}
    whole = shown(pose_set, split.parts["labelled"])
    together = np.zeros_like(whole)
    for name in ("ap10k", "animal_pose", "akd_cats"):
        part = split.parts[name]
        seen = shown(pose_set, part)
        together |= seen
        (block,) = part.shown or ()
        if name in lacks:
            assert set(pose_set.skeleton.names) - set(block.points) == lacks[name]
        assert not {"left_eye", "nose"} & set(block.points) or name != "akd_cats"
        rows = [pose_set.files[i] in (part.pictures or ()) for i in pose_set.image_index]
        assert (seen.any(axis=1) == np.array(rows)).all()
    assert (together == whole).all()
    counts = [split.report[name]["animals"] for name in ("ap10k", "animal_pose", "akd_cats")]
    assert max(counts) - min(counts) <= 2 * units(pose_set).animals.max()


@few_examples
@given(seeds)
def test_by_species_a_kind_of_animal_shows_one_half_or_one_convention(seed):
    pose_set = drawn_set(seed % 19, pictures=40)
    halves = made(pose_set, "front-back", seed, by="species")
    named = made(pose_set, "conventions", seed, by="species", names="ap10k+akd_cats")
    seen_by = {}
    for split in (halves, named):
        blocks = split.parts["labelled"].shown or ()
        assert len(blocks) == 2
        for s in np.unique(pose_set.species):
            ids = set(pose_set.annotation_ids[pose_set.species == s].tolist())
            showing = [block.name for block in blocks if ids & set(block.annotations)]
            assert len(showing) == 1
            seen_by[split.recipe, pose_set.species_names[s]] = showing
        assert sum(len(block.annotations) for block in blocks) == len(pose_set)
    # a part of the set deals its species as the whole did
    less = pose_set.select_instances(pose_set.species != pose_set.species[0])
    again = made(replace(less, digest="of a part"), "front-back", seed, by="species")
    for block in again.parts["labelled"].shown or ():
        rows = np.isin(less.annotation_ids, block.annotations)
        for s in np.unique(less.species[rows]):
            assert seen_by["front-back", less.species_names[s]] == [block.name]
    for name in ("ap10k", "akd_cats"):
        rows = np.isin(pose_set.annotation_ids, named.parts[name].shown[0].annotations)
        within = {pose_set.files[i] for i in pose_set.image_index[rows]}
        assert set(named.parts[name].pictures or ()) == within


@few_examples
@given(seeds)
@pytest.mark.parametrize("recipe", ["front-back", "conventions"])
def test_a_share_shows_in_part_what_fraction_would_show_whole(recipe, seed):
    pose_set = drawn_set(seed % 19, pictures=40)
    whole = made(pose_set, recipe, seed)
    split = made(pose_set, recipe, seed, share="25%")
    few = made(pose_set, "fraction", seed, share="25%").parts["labelled"].pictures
    labelled = split.parts["labelled"]
    assert labelled.pictures == few
    rows = np.isin(np.array(pose_set.files)[pose_set.image_index], few)
    assert 0 < rows.sum() < len(pose_set)
    # those drawn show what they would show without a share, the others nothing
    drawn = set(pose_set.annotation_ids[rows].tolist())
    for block, all_of_it in zip(labelled.shown, whole.parts["labelled"].shown, strict=True):
        assert set(block.annotations) == drawn & set(all_of_it.annotations)
        assert block.points == all_of_it.points
    assert split.report.get("labelled_points", 0) <= whole.report.get("labelled_points", 0)


# --- wrong use -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "recipe, options, told",
    [
        ("ratios", {}, "no recipe 'ratios'; there is ratio"),
        ("ratio", {"share": "1:1"}, "no option 'share'; it has shares"),
        ("ratio", {"shares": "9"}, "two or three numbers above 0"),
        ("front-back", {"share": "none"}, "a share between 0 and 1"),
        ("ratio", {"shares": "9:-1"}, "two or three numbers above 0"),
        ("ratio", {"shares": "9:nan"}, "two or three numbers above 0"),
        ("n-shot", {"count": "0"}, "at least one picture"),
        ("n-shot", {"count": "some"}, "count=some, where a whole number is due"),
        ("fraction", {"share": "0"}, "between 0 and 1"),
        ("fraction", {"share": "110%"}, "between 0 and 1"),
        ("fraction", {"share": "tenth"}, "between 0 and 1"),
        ("front-back", {"level": "3"}, "it is 0, 1 or 2"),
        ("front-back", {"shared": "nose+nek"}, "nearest: neck"),
        ("25-to-5", {"many": "5", "few": "5"}, "has to exceed"),
        ("conventions", {"names": "ap10k"}, "at least two different"),
        ("conventions", {"names": "ap10k+ap11k"}, "no skeleton 'ap11k'"),
        ("conventions", {"near": "perhaps"}, "true or false"),
        ("conventions", {"by": "animal"}, "it is picture or species"),
        ("conventions", {"by": "species", "names": "ap10k+animal_pose+akd_cats+apt36k"}, "cannot"),
        ("folds", {"count": "1"}, "at least 2"),
    ],
)
def test_options_that_mean_nothing(recipe, options, told):
    with pytest.raises(UserError, match=told):
        made(drawn_set(0), recipe, **options)


# --- real labels -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ap10k(shared_data):
    return open_set(f"coco:{shared_data}/annotations_only/ap10k_train.json", pictures=False)


@pytest.mark.parametrize("level, total", [(0, 63_396), (1, 72_372), (2, 82_043)])
def test_levels_of_ap10k_show_what_the_published_lists_show(ap10k, level, total):
    """Another coin, the same rule: totals within three times the spread that a coin has here."""
    split = made(ap10k, "front-back", 0, level=level)
    shared = np.isin(ap10k.skeleton.names, points.shared_points(ap10k.skeleton, level))
    part = np.array([p.part for p in ap10k.skeleton.keypoints])
    front, back = (
        ap10k.labelled[:, (part == half) & ~shared].sum(axis=1) for half in ("front", "back")
    )
    spread = np.sqrt(((front - back) ** 2 / 4).sum())
    assert abs(counted(ap10k, split.parts["labelled"])[2] - total) < 3 * spread
    assert spread < 250
    if level == 0:
        showing = [split.report[half]["showing_points_of_it"] for half in ("front", "back")]
        assert showing == pytest.approx([3649, 2858], abs=130)
        assert split.report["showing_neither"] == pytest.approx(2615, abs=80)


def test_shots_of_ap10k_are_of_the_published_size(ap10k):
    """ScarceNet's lists: 250, 500, 750, 1000 and 1247 pictures (king cheetah has only 22)."""
    sizes = [made(ap10k, "n-shot", 0, count=n).report["pictures"] for n in (5, 10, 15, 20, 25)]
    assert sizes == [250, 500, 750, 1000, 1247]


def test_animal_pose_nine_to_one_without_a_leak(shared_data):
    pose_set = open_set(f"animal_pose:{shared_data}/animal_pose")
    split = made(pose_set, "ratio", 0)
    assert not groups_in(pose_set, split.parts["train"]) & groups_in(pose_set, split.parts["val"])
    assert list(split.report["val"]["share"].values()) == pytest.approx([0.1] * 5, abs=0.002)
