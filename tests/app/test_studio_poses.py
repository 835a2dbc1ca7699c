"""Poses as the page sends them: there and back, faults, other skeletons, presets."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from studio_parts import pose

from tetrapose import skeletons
from tetrapose.app import poses
from tetrapose.errors import UserError
from tetrapose.skeletons import mapping

NAMES = skeletons.load("union26").names
PLACES = st.integers(-5000, 5000).map(lambda v: v / 4)
POINT = st.none() | st.tuples(PLACES, PLACES, st.sampled_from([1, 2])).map(list)


@given(st.lists(st.dictionaries(st.sampled_from(NAMES), POINT), max_size=3))
def test_there_and_back_nothing_changes(animals):
    given = [{"label": "fox", "bbox": None, "keypoints": points} for points in animals]
    content = poses.to_plain(poses.read(pose(animals=given)))
    assert content == poses.to_plain(poses.read(json.loads(json.dumps(content))))
    for animal, points in zip(content["animals"], animals, strict=True):
        assert {k: v for k, v in animal["keypoints"].items() if v} == {
            k: v for k, v in points.items() if v
        }


@given(st.dictionaries(st.sampled_from(NAMES), POINT, min_size=1))
def test_a_box_holds_its_points_inside_the_picture(points):
    animal = {"label": "fox", "bbox": [100, 100, 140, 130], "keypoints": points}
    posed = poses.read(pose(animals=[animal]))
    x1, y1, x2, y2 = posed.instances.bboxes[0]
    assert (x1 <= 100, y1 <= 100, x2 >= 140, y2 >= 130) == (True,) * 4
    assert -0.5 <= x1 < x2 <= 319.5
    assert -0.5 <= y1 < y2 <= 239.5
    inside = (posed.instances.keypoints[0] >= -0.5) & (
        posed.instances.keypoints[0] <= np.array([319.5, 239.5])
    )
    for x, y in posed.instances.keypoints[0][inside.all(axis=1)]:
        assert x1 <= x <= x2
        assert y1 <= y <= y2


def test_an_animal_without_points_or_box_has_none():
    posed = poses.read(pose(animals=[{"label": "fox", "keypoints": {}}]))
    assert np.isnan(posed.instances.bboxes).all()
    assert poses.to_plain(posed)["animals"][0]["bbox"] is None


def _with(path: str, value) -> dict:
    content = copy.deepcopy(pose())
    *steps, last = path.split("/")
    at = content
    for step in steps:
        at = at[int(step) if step.isdigit() else step]
    at[int(last) if last.isdigit() else last] = value
    return content


@pytest.mark.parametrize(
    "content, words",
    [
        ([], "not of the form"),
        ({"format": "tetrapose-pose/2"}, "not of the form"),
        (_with("skeleton", "union27"), "no skeleton 'union27' ships"),
        (_with("skeleton", "/etc/passwd.yaml"), "ships"),  # load() would open a file of that name
        (_with("skeleton", ["union26"]), "ships"),
        (_with("picture", None), "its picture is missing"),
        (_with("picture/width", 0), "width must be a whole number"),
        (_with("picture/height", 1e9), "height must be a whole number"),
        (_with("picture/height", True), "height must be a whole number"),
        (_with("animals", {}), "a list of objects"),
        (_with("animals", [None]), "a list of objects"),
        (_with("animals", [{"keypoints": {}}] * 65), "at most 64"),
        (_with("animals/0/keypoints", []), "animal 1 has no keypoints"),
        (_with("animals/0/keypoints/horn", [1, 2, 2]), "union26 has no keypoint 'horn'"),
        (_with("animals/0/keypoints/nose", [1, 2]), "animal 1, nose"),
        (_with("animals/0/keypoints/nose", [float("nan"), 2, 2]), "finite"),
        (_with("animals/0/keypoints/nose", [1e300, 2, 2]), "finite"),
        (_with("animals/0/keypoints/nose", [1, 2, 3]), "v is 0, 1 or 2"),
        (_with("animals/0/keypoints/nose", "abc"), "animal 1, nose"),
        (_with("animals/0/bbox", [5, 5, 5, 9]), "no area"),
        (_with("animals/0/bbox", [5, 5]), "bbox"),
    ],
)
def test_a_fault_is_told_in_one_line(content, words):
    with pytest.raises(UserError, match=words) as error:
        poses.read(content)
    assert "\n" not in str(error.value)


def test_names_lose_what_is_no_text():
    posed = poses.read(_with("animals/0/label", " a\n\x00b\u202e" + "x" * 500))
    assert posed.labels[0].startswith("a b xxx")
    assert len(posed.labels[0]) == poses.MOST_TEXT
    assert poses.read(_with("animals/0/label", 7)).labels == ("animal",)


@pytest.mark.parametrize("target", poses.OFFERED)
def test_another_skeleton_is_the_mapping_between_the_two(target):
    posed = poses.read(pose("quadruped"))
    moved, grades = poses.carried(posed, target)
    found = mapping.between(posed.skeleton, skeletons.load(target))
    for t, s in enumerate(found.index):
        if s < 0:
            assert np.isnan(moved.instances.keypoints[0, t]).all()
            assert moved.instances.visibility[0, t] == 0
        else:
            expected = posed.instances.keypoints[0, s]
            np.testing.assert_array_equal(moved.instances.keypoints[0, t], expected)
    told = [name for kind in ("exact", "near", "absent") for name in grades[kind]]
    assert sorted(told) == sorted(moved.skeleton.names)
    assert set(grades["lost"]) == set(found.lost)


def test_there_is_nothing_lost_on_the_way_to_the_largest_and_back():
    posed = poses.read(pose("union24"))
    there, grades = poses.carried(posed, "union26")
    assert grades["lost"] == []
    back, _ = poses.carried(there, "union24")
    np.testing.assert_array_equal(back.instances.keypoints, posed.instances.keypoints)


@pytest.mark.parametrize("name", poses.OFFERED)
@pytest.mark.parametrize("view", poses.presets())
def test_a_preset_has_every_point_of_an_offered_skeleton(name, view):
    points = poses.preset(view, skeletons.load(name))
    assert np.isfinite(points).all()
    assert points.min() >= 0
    assert points.max() == 1 or len(points) < 32  # the longer side spans the whole


def test_a_preset_stands_on_its_feet_and_knows_left_from_right():
    skeleton = skeletons.load("quadruped")
    side, front = poses.preset("side", skeleton), poses.preset("front", skeleton)
    at = skeleton.index
    for points in (side, front):
        for leg in ("left_front", "right_front", "left_back", "right_back"):
            assert points[at(f"{leg}_paw"), 1] > points[at("withers"), 1] + 0.2
    assert side[at("nose"), 0] < side[at("withers"), 0] < side[at("tail_root"), 0]
    # an animal that looks at us has its left on our right
    for k, name in enumerate(skeleton.names):
        if name.startswith("left_"):
            assert front[k, 0] > front[skeleton.flip_indices[k], 0], name
