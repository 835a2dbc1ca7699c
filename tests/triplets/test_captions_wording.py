"""What points tell in words, tried against the menagerie, where posture and heading are known."""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tetrapose import skeletons
from tetrapose.structures import Instances
from tetrapose.synth import builds, stage
from tetrapose.synth.points import mapping
from tetrapose.triplets import wording
from tetrapose.triplets.wording import Reading

SKELETON = skeletons.load("animal_pose")
POSES = ("stand", "walk", "run", "sit", "lie", "side", "graze")
COUNT = 140


@cache
def staged() -> tuple[tuple[str, float, dict[str, np.ndarray]], ...]:
    """Posture, heading in degrees (0 to the camera, 90 to the picture's right) and places."""
    table = mapping(SKELETON)
    out = []
    for i in range(COUNT):
        pose = POSES[i % len(POSES)]
        set_up = stage.set_up(
            np.random.default_rng([11, i]), (512, 512), 1, builds.names(), (pose,)
        )
        points = set_up.actors[0].points
        ahead = points["withers"].place - points["tail_root"].place
        right, _, depth = set_up.camera.axes @ (ahead / np.linalg.norm(ahead))
        names = list(points)
        flat, _ = set_up.camera.project(np.stack([points[name].place for name in names]))
        where = dict(zip(names, flat, strict=True))
        at = {p.place: where[table[p.name]] for p in SKELETON.keypoints if p.name in table}
        out.append((pose, float(np.degrees(np.arctan2(right, -depth))), at))
    return tuple(out)


def test_postures_are_told_rightly_or_not_at_all():
    told = defaultdict(Counter)
    for pose, _, at in staged():
        told[pose][wording.posture(at)] += 1
    wrong = {
        "stand": {"sitting", "lying"}, "walk": {"sitting", "lying"}, "run": {"sitting", "lying"},
        "graze": {"sitting", "lying"}, "sit": {"standing", "on all fours", "lying"},
        "lie": {"standing", "on all fours", "sitting"},
        "side": {"standing", "on all fours", "sitting"},
    }  # fmt: skip
    said = sum(n for counts in told.values() for word, n in counts.items() if word)
    false = sum(told[pose][word] for pose, words in wrong.items() for word in words)
    assert said > 0.5 * COUNT
    assert false <= 0.02 * said, told
    right = {"stand": ("standing", "on all fours"), "sit": ("sitting",), "lie": ("lying",)}
    for pose, words in right.items():
        assert sum(told[pose][word] for word in words) > 0.4 * COUNT / len(POSES), told
    assert told["run"]["standing"] < 0.2 * COUNT / len(POSES), told


def test_headings_are_told_rightly_or_not_at_all():
    told = Counter()
    for _, heading, at in staged():
        word = wording.view(at)
        off = {"towards": 0, "right": 90, "left": -90, "away": 180}.get(word)
        if off is None:
            told["nothing"] += 1
            continue
        apart = abs((heading - off + 180) % 360 - 180)
        told["right" if apart < 75 else "wrong"] += 1
    assert told["right"] > 0.4 * COUNT
    assert told["wrong"] <= 0.02 * told["right"], told


def test_what_is_not_seen_is_not_told():
    lying = [at for pose, _, at in staged() if wording.posture(at) == "lying"]
    for at in lying[:5]:
        legless = {place: p for place, p in at.items() if "paw" not in place}
        assert wording.posture(legless) == ""
        assert wording.view({"nose": at["nose"]}) == ""
    assert wording.posture({}) == ""
    assert wording.view({}) == ""


@given(st.integers(0, COUNT - 1), st.floats(0.05, 20), st.floats(-900, 900), st.floats(-900, 900))
@settings(max_examples=40)
def test_place_and_size_in_the_picture_do_not_matter(number, scale, right, down):
    _, _, at = staged()[number]
    moved = {place: p * scale + [right, down] for place, p in at.items()}
    assert (wording.posture(moved), wording.view(moved)) == (wording.posture(at), wording.view(at))


@given(st.integers(0, COUNT - 1))
@settings(max_examples=40)
def test_a_mirrored_animal_faces_the_other_side(number):
    _, _, at = staged()[number]
    swap = {"left": "right", "right": "left"}
    mirrored = {
        "_".join(swap.get(word, word) for word in place.split("_")): p * [-1, 1]
        for place, p in at.items()
    }
    assert wording.view(mirrored) == swap.get(wording.view(at), wording.view(at))
    assert wording.posture(mirrored) == wording.posture(at)


def test_only_points_that_count_are_read():
    points = np.array([[staged()[0][2].get(p.place, [np.nan] * 2) for p in SKELETON.keypoints]])
    visible = np.isfinite(points).all(axis=-1).astype(np.uint8) * 2
    labels = Instances(points, visible, np.zeros((1, 4)))
    assert wording.read(labels, SKELETON) == [
        Reading(wording.posture(staged()[0][2]), wording.view(staged()[0][2]))
    ]
    doubtful = Instances(points, visible, np.zeros((1, 4)), np.full(visible.shape, 0.2))
    assert wording.read(doubtful, SKELETON, threshold=0.3) == [Reading()]


@pytest.mark.parametrize(
    "species, readings, words",
    [
        (["dog"], [Reading("lying", "left")], "a photo of a dog lying, facing left"),
        (["ox"], [Reading()], "a photo of an ox"),
        ([""], [Reading("standing")], "a photo of an animal standing"),
        (["dog", "dog"], [Reading("lying")] * 2, "a photo of two dogs lying"),
        (["dog", "cat"], [Reading("lying"), Reading("sitting")], "a photo of a dog and a cat"),
        (["sheep"] * 3 + ["cow"], [Reading()] * 4, "a photo of three sheep and a cow"),
        (["n02085620-Chihuahua"], [Reading("", "towards")],
         "a photo of a chihuahua, facing the camera"),
        (["arctic_fox"] * 2, [Reading("", "away")] * 2,
         "a photo of two arctic foxes, seen from behind"),
        (["wolf"] * 12, [Reading()] * 12, "a photo of 12 wolves"),
        (["pony", "pony", "dog", "cat"], [Reading()] * 4, "a photo of two ponies, a dog and a cat"),
        ([], [], "a photo of an animal"),
    ],
)  # fmt: skip
def test_sentences(species, readings, words):
    assert wording.sentence(species, readings) == words


def test_openings_vary():
    said = {wording.sentence(["dog"], [Reading()], variant) for variant in range(40)}
    assert len(said) == 4
    assert all("a dog" in one for one in said)
