"""The offset of a near pair, against drawn animals whose every point is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tetrapose import skeletons, synth
from tetrapose.evaluation.offsets import body_frames, offsets
from tetrapose.skeletons.mapping import between

QUADRUPED = skeletons.load("quadruped")


def only(*places: str):
    """The quadruped with some of its points."""
    points = tuple(p for p in QUADRUPED.keypoints if skeletons.places.unsided(p.place) in places)
    return replace(QUADRUPED, name="some", keypoints=points, edges=(), sigma_sets={})


MODEL = only("withers", "tail_root", "stifle", "hock", "front_paw", "back_paw", "nose")
SET = only("hip", "nose")


@pytest.fixture(scope="module")
def animals():
    """Labels on SET and perfect predictions on MODEL of the same drawn animals."""
    rows = []
    for seed in range(20):
        scene = synth.render(seed, size=64, builds=("dog", "horse"))
        rows += [
            np.array([one.points[name][:2] for name in QUADRUPED.names]) for one in scene.animals
        ]
    truth = np.stack(rows)

    def part(skeleton):
        return truth[:, [QUADRUPED.index(name) for name in skeleton.names]]

    return part(SET), part(MODEL), truth


def test_a_perfect_model_shows_the_true_offset(animals):
    labels, predicted, truth = animals
    found = {one.target: one for one in offsets(labels, predicted, between(MODEL, SET))}
    assert set(found) == {"nose", "left_hip", "right_hip"}
    assert found["nose"].grade == "exact"
    assert found["nose"].distance == pytest.approx(0, abs=1e-9)
    forward, down, length = body_frames(truth, QUADRUPED)
    for side in ("left", "right"):
        one = found[f"{side}_hip"]
        assert one.grade == "near"
        assert one.source == f"{side}_stifle"
        move = truth[:, QUADRUPED.index(one.target)] - truth[:, QUADRUPED.index(one.source)]
        move = move / length[:, None]
        assert one.down == pytest.approx(np.nanmedian((move * down).sum(-1)))
        assert one.forward == pytest.approx(np.nanmedian((move * forward).sum(-1)))
        assert one.down < -0.1, "a hip lies above its stifle, whichever way the animal faces"


def test_turned_mirrored_and_scaled_animals_show_the_same(animals):
    labels, predicted, _ = animals
    mapping = between(MODEL, SET)
    before = offsets(labels, predicted, mapping)
    angle = 0.7
    turn = 3.1 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    for change in (turn, turn @ np.diag([-1.0, 1.0])):
        after = offsets(labels @ change.T + 5, predicted @ change.T + 5, mapping)
        for one, other in zip(before, after, strict=True):
            assert one.target == other.target
            assert one.forward == pytest.approx(other.forward, abs=1e-9)
            assert one.down == pytest.approx(other.down, abs=1e-9)


def test_animals_that_cannot_be_measured_do_not_count(animals):
    labels, predicted, _ = animals
    mapping = between(MODEL, SET)
    lost = predicted.copy()
    lost[:7, MODEL.index("tail_root")] = np.nan
    counts = {one.target: one.count for one in offsets(labels, lost, mapping)}
    assert counts["nose"] == len(labels) - 7
    scores = np.ones(predicted.shape[:2])
    scores[:, MODEL.index("nose")] = 0.1
    assert "nose" not in {one.target for one in offsets(labels, predicted, mapping, scores=scores)}
    assert offsets(labels * np.nan, predicted, mapping) == []
