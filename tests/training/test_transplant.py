"""Weights carried onto another skeleton: by place, by name, by what a lab calls a place."""

from __future__ import annotations

import own_frames
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tetrapose import skeletons
from tetrapose.skeletons import mirror_name, places
from tetrapose.training.transplant import (
    WORDS,
    head_names,
    place_of,
    placed,
    told,
    transplanted,
)
from tetrapose.weights import card


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    return card.load(own_frames.start(tmp_path_factory.mktemp("start")))


@pytest.mark.parametrize(
    "name, place",
    [
        ("snout", "nose"),
        ("Nose", "nose"),
        ("left_ear", "ear_tip"),
        ("L_EarBase", "ear_base"),
        ("TailBase", "tail_root"),
        ("tail_tip", "tail_tip"),
        ("right_hind_paw", "back_paw"),
        ("front left paw", "front_paw"),
        ("lever", ""),
        ("corner1", ""),
    ],
)
def test_a_name_is_read_as_a_place(name, place):
    assert place_of(name) == place


def test_every_word_speaks_of_a_place_there_is():
    assert set(WORDS.values()) <= set(places.known())


@given(st.sets(st.sampled_from([*WORDS, "wheel", "lever", "nose", "tail_base"]), min_size=1))
def test_guesses_go_in_pairs_and_claim_no_place_twice(words):
    names = [f"{side}_{word}" for word in sorted(words) for side in ("left", "right")]
    guessed = placed(own_frames.skeleton(tuple(names), ("",) * len(names)))
    held = {p.name: p.place for p in guessed.keypoints}
    taken = [place for place in held.values() if place]
    assert len(taken) == len(set(taken))
    for name, place in held.items():
        partner = held[mirror_name(name)]
        assert places.unsided(partner) == places.unsided(place)


def test_places_that_are_told_stay():
    for name in skeletons.available():
        skeleton = skeletons.load(name)
        told_places = [p.place for p in skeleton.keypoints]
        if all(told_places):
            assert placed(skeleton) == skeleton


def test_known_points_keep_their_channel_and_others_start_from_the_mean(loaded):
    skeleton = own_frames.skeleton(
        ("lever", "snout", "left_ear", "right_ear", "tailbase"), ("",) * 5
    )
    before = {k: v.clone() for k, v in loaded.model.state_dict().items()}
    model, taken = transplanted(loaded, skeleton)
    assert [one.source for one in taken] == [
        "", "nose", "left_ear_tip", "right_ear_tip", "tail_root"
    ]  # fmt: skip
    assert [one.grade for one in taken] == ["absent", "exact", "exact", "exact", "exact"]
    state = model.state_dict()
    for name in ("head.weight", "head.bias"):
        old = before[name]
        torch.testing.assert_close(state[name][0], old.mean(0))
        torch.testing.assert_close(state[name][1:], old[:4], rtol=0, atol=0)
    for name, value in state.items():
        if not name.startswith("head."):
            torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    for name, value in loaded.model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    model.head.weight.data.zero_()
    assert loaded.model.head.weight.abs().sum() > 0  # nothing is shared


def test_the_same_skeleton_gives_the_same_network(loaded):
    model, taken = transplanted(loaded, loaded.skeleton)
    assert all(one.source == one.name for one in taken)
    pictures = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(model.eval()(pictures), loaded.model(pictures))


def test_fresh_points_are_small_and_drawn_by_the_seed(loaded):
    skeleton = own_frames.skeleton(("lever", "button"), ("", ""))
    one, other, again = (
        transplanted(loaded, skeleton, rest="fresh", seed=seed)[0].head.weight for seed in (1, 2, 1)
    )
    assert one.abs().max() < 0.1
    assert not torch.equal(one, other)
    assert torch.equal(one, again)


def test_a_layer_as_wide_as_there_are_points_is_no_head(loaded):
    eight = {**loaded.card, "architecture": {**loaded.card["architecture"], "arguments": {
        **loaded.card["architecture"]["arguments"], "num_keypoints": 8}}}  # fmt: skip
    assert head_names(eight, 8) == {"head.weight", "head.bias"}


def test_what_was_taken_is_told_in_words(loaded):
    skeleton = own_frames.skeleton(("snout", "lever"), ("", ""))
    assert told(transplanted(loaded, skeleton)[1]) == "1 of 2 keypoints are known: snout from nose"
    nothing = own_frames.skeleton(("lever",), ("",))
    assert told(transplanted(loaded, nothing)[1]).startswith("none of the keypoints is known")
