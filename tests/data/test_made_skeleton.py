"""Skeletons made of names: sides are read from words, and never guessed from letters."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tetrapose import skeletons
from tetrapose.data import made
from tetrapose.errors import UserError


def of(*names, given=None, **more):
    return made.skeleton_of(names, given, where="labels.csv", **more)


def test_names_of_a_shipped_skeleton_are_that_one_in_any_order():
    shipped = skeletons.load("ap10k")
    skeleton, order, doubts = of(*reversed(shipped.names))
    assert skeleton is shipped
    np.testing.assert_array_equal(order, np.arange(len(shipped))[::-1])
    assert doubts == []


@pytest.mark.parametrize(
    "given_names, tidied",
    [
        (("leftear", "rightear"), ("left_ear", "right_ear")),
        (("earLeft", "earRight"), ("ear_left", "ear_right")),
        (("Left Ear", "Right Ear"), ("left_Ear", "right_Ear")),
        (("front-left-paw", "front-right-paw"), ("front_left_paw", "front_right_paw")),
    ],
)
def test_words_tell_sides_and_the_renaming_is_told(given_names, tidied):
    skeleton, order, doubts = of("snout", *given_names)
    assert skeleton.names == ("snout", *tidied)
    np.testing.assert_array_equal(skeleton.flip_indices, [0, 2, 1])
    np.testing.assert_array_equal(order, [0, 1, 2])
    (doubt,) = doubts
    assert not doubt.left_out
    assert f"{given_names[0]} as {tidied[0]}" in doubt.what


@pytest.mark.parametrize("names", [("upright", "leftover"), ("Leg", "Rump"), ("spine1", "spine2")])
def test_what_merely_looks_like_a_side_is_none(names):
    skeleton, _, doubts = of(*names)
    assert skeleton.names == names
    np.testing.assert_array_equal(skeleton.flip_indices, [0, 1])
    assert doubts == []


@pytest.mark.parametrize("names", [("Lpaw", "Rpaw"), ("pawL", "pawR"), ("L_ear", "R_ear")])
def test_letters_are_never_guessed(names):
    with pytest.raises(UserError, match="do L and R in .* mean left and right"):
        of("nose", *names)
    assert of("nose", *names, sides="letters")[0].flip_indices.tolist() == [0, 2, 1]
    assert of("nose", *names, sides="words")[0].flip_indices.tolist() == [0, 1, 2]
    with pytest.raises(UserError, match="sides=maybe"):
        of("nose", *names, sides="maybe")


def test_a_side_without_partner_asks_for_a_skeleton_file(tmp_path):
    with pytest.raises(UserError, match="left_paw has no partner .* skeleton=FILE.yaml"):
        of("nose", "Left_paw")
    file = tmp_path / "mine.yaml"
    definition = of("nose", "left_paw", "right_paw")[0].to_dict()
    file.write_text(yaml.safe_dump(definition))
    skeleton, order, _ = of("nose", "left_paw", given=str(file))
    assert len(skeleton) == 3
    np.testing.assert_array_equal(order, [0, 1, -1])
    with pytest.raises(UserError, match="has no horn"):
        of("nose", "horn", given=str(file))
    with pytest.raises(UserError, match="no skeleton 'ap1O'|cannot|nearest|there"):
        of("nose", given="ap1O")


def test_edges_parts_and_sigmas():
    skeleton, _, _ = of(
        "snout", "leftear", "rightear", "tailbase", "hindpaw", "forearm", "belly",
        edges=[("snout", "leftear"), ("snout", "nowhere"), ("snout", "leftear")],
    )  # fmt: skip
    assert skeleton.edges == (("snout", "left_ear"),)
    parts = [point.part for point in skeleton.keypoints]
    assert parts == ["head", "head", "head", "tail", "back", "front", "trunk"]
    np.testing.assert_array_equal(skeleton.sigmas, 0.1)
    assert "DeepLabCut" in skeleton.source["sigmas"]


def test_a_name_twice_is_refused():
    with pytest.raises(UserError, match="nose stands twice"):
        of("nose", "tail", "nose")


WORD = st.sampled_from(
    ["left", "Right", "ear", "L", "R", "paw", "tail", "leftear", "rightear", "pawL", "pawR", "x1"]
)


@given(
    st.lists(st.lists(WORD, min_size=1, max_size=3).map("_".join), min_size=1, unique=True),
    st.sampled_from(["letters", "words"]),
)
def test_any_names_make_a_lawful_skeleton_or_a_plain_error(names, sides):
    try:
        skeleton, order, _ = of(*names, sides=sides)
    except UserError:
        return  # told, and nothing half made
    flip = skeleton.flip_indices
    np.testing.assert_array_equal(flip[flip], np.arange(len(names)))
    np.testing.assert_array_equal(np.sort(order), np.arange(len(names)))
