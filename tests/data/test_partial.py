"""Sets with partial labels: nothing held out is learnt from, nothing hidden is shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tetrapose import skeletons
from tetrapose.data.partial import Labelling, open_partial
from tetrapose.data.splits.points import points_of
from tetrapose.errors import UserError
from tetrapose.synth import folder as drawn


@pytest.fixture(scope="module")
def menagerie(tmp_path_factory) -> str:
    """Thirty small pictures of one animal each."""
    place = tmp_path_factory.mktemp("menagerie")
    drawn.write(place, 30, size=48, animals=1, skeletons=("union24",))
    return f"menagerie:{place}"


def opened(spec: str, folder: Path, **more):
    return open_partial({"menagerie": {"set": spec}}, folder, shares="3:1:1", **more)


def test_parts_share_no_picture_and_the_pool_is_that_of_training(menagerie, tmp_path):
    data = opened(menagerie, tmp_path)
    train, val, test = ({p.files[i] for i in p.image_index} for p in
                        (data.pool, data.val, data.test))  # fmt: skip
    assert not train & val
    assert not train & test
    assert not val & test
    assert len(train) + len(val) + len(test) == 30
    assert data.val_shown.shape == data.val.labelled.shape
    assert (data.test_shown == data.test.labelled).all()


def test_conventions_show_their_points_alone_and_truth_stays(menagerie, tmp_path):
    data = opened(menagerie, tmp_path, labelling=Labelling("conventions"))
    names = skeletons.load("union24").names
    sets = [set(points_of(data.val.skeleton, one)) for one in
            ("ap10k", "animal_pose", "tigdog_horse")]  # fmt: skip
    for pose_set, shown in ((data.labelled, data.labelled.labelled), (data.val, data.val_shown),
                            (data.test, data.test_shown)):  # fmt: skip
        for row in shown:
            there = {names[k] for k in np.flatnonzero(row)}
            assert any(there <= one for one in sets)
        assert len(pose_set) == len(shown)
    hidden = data.test.labelled & ~data.test_shown
    assert hidden.sum() > 0
    assert data.pool.labelled.sum() > data.labelled.labelled.sum()
    assert data.taught.all()
    assert data.counts()["never_labelled"] == []


def test_the_pool_is_known_where_the_same_animals_show_labels(menagerie, tmp_path):
    data = opened(menagerie, tmp_path, labelling=Labelling("conventions"))
    place = {(data.labelled.files[data.labelled.image_index[i]], data.labelled.annotation_ids[i]): i
             for i in range(len(data.labelled))}  # fmt: skip
    known = data.known
    assert (known.annotation_ids == data.pool.annotation_ids).all()
    for i, shown in enumerate(known.labelled):
        row = place.get((known.files[known.image_index[i]], known.annotation_ids[i]))
        assert (shown == (data.labelled.labelled[row] if row is not None else False)).all()
    assert known.labelled.sum() == data.labelled.labelled.sum()
    apart = Labelling("fraction", {"share": "25%"}, pool="unlabelled")
    assert not opened(menagerie, tmp_path / "few", labelling=apart).known.labelled.any()


def test_a_share_leaves_what_is_held_out_to_be_judged_whole(menagerie, tmp_path):
    every = opened(menagerie, tmp_path / "a", labelling=Labelling("conventions"))
    few = Labelling("conventions", {"share": "25%"})
    data = opened(menagerie, tmp_path / "b", labelling=few)
    assert 0 < len(data.labelled) < len(every.labelled) / 2
    assert (data.test_shown == every.test_shown).all()
    assert (data.pool.labelled == every.pool.labelled).all()
    assert data.known.labelled.sum() == data.labelled.labelled.sum()


def test_with_the_whole_labels_the_figures_are_told_apart_all_the_same(menagerie, tmp_path):
    partly = opened(menagerie, tmp_path / "a", labelling=Labelling("conventions"))
    whole = opened(menagerie, tmp_path / "b", labelling=Labelling("conventions", whole=True))
    assert whole.labelled.labelled.sum() == partly.pool.labelled.sum()
    assert (whole.test_shown == partly.test_shown).all()


def test_the_seed_draws_the_labels_and_not_what_is_held_out(menagerie, tmp_path):
    one, two, again = (
        opened(menagerie, tmp_path / str(i), labelling=Labelling("front-back"), seed=seed)
        for i, seed in enumerate((0, 1, 0))
    )
    assert one.test.files == two.test.files
    assert not np.array_equal(one.labelled.visibility, two.labelled.visibility)
    assert np.array_equal(one.labelled.visibility, again.labelled.visibility)
    # written splits are read again, whatever is asked for then
    kept = opened(menagerie, tmp_path / "0", labelling=Labelling("front-back"), seed=1)
    assert np.array_equal(kept.labelled.visibility, one.labelled.visibility)


def test_pools(menagerie, tmp_path):
    few = Labelling("fraction", {"share": "25%"}, pool="unlabelled")
    data = opened(menagerie, tmp_path / "few", labelling=few)
    labelled = {data.labelled.files[i] for i in data.labelled.image_index}
    pool = {data.pool.files[i] for i in data.pool.image_index}
    assert labelled
    assert pool
    assert not labelled & pool
    nothing = opened(menagerie, tmp_path / "none", labelling=Labelling(pool="none"))
    assert len(nothing.pool) == 0
    with pytest.raises(UserError, match=r"data.labels.pool=rest: the recipe makes"):
        opened(menagerie, tmp_path / "odd", labelling=Labelling("fraction", pool="rest"))


def test_a_union_that_one_set_fills_in_part_tells_what_no_label_shows(menagerie, tmp_path):
    data = opened(menagerie, tmp_path, skeleton="quadruped")
    assert "tail_tip" in data.counts()["never_labelled"]
    assert not data.taught[data.labelled.skeleton.index("tail_tip")]


@pytest.mark.parametrize(
    "sets, more, words",
    [
        ({}, {}, "names no set"),
        ({"a": {"set": "x"}, "b": {"set": "y"}}, {}, "data.skeleton=NAME"),
        ({"a": {"set": "SPEC"}}, {"shares": "8:2"}, "three numbers"),
    ],
)
def test_what_cannot_be_is_told(sets, more, words, menagerie, tmp_path):
    sets = {
        name: {key: value.replace("SPEC", menagerie) for key, value in one.items()}
        for name, one in sets.items()
    }
    with pytest.raises(UserError, match=words):
        open_partial(sets, tmp_path, **more)
