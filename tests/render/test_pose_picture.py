"""Pose pictures: the laws of the renderer, and golden hashes that hold on every machine.

A hash may change only together with its style's version: networks have learned what it stands for.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tetrapose import skeletons
from tetrapose.errors import UserError
from tetrapose.render.pose_picture import (
    HIDDEN,
    REACH,
    drawn_points,
    pose_and_overlay,
    pose_picture,
)
from tetrapose.render.pose_styles import figure, load_pose_style, pose_styles
from tetrapose.structures import Instances

SEED = skeletons.load("animal_pose_openpifpaf")
STYLES = sorted(pose_styles())
PLACES = {
    "left_eye": (128, 30), "right_eye": (118, 28), "nose": (140, 40), "left_ear": (117, 18),
    "right_ear": (107, 17), "throat": (112, 47), "withers": (96, 38), "tail": (38, 42),
    "left_front_elbow": (103, 66), "right_front_elbow": (90, 66), "left_front_knee": (106, 84),
    "right_front_knee": (85, 82), "left_front_paw": (104, 104), "right_front_paw": (78, 98),
    "left_back_elbow": (54, 68), "right_back_elbow": (40, 66), "left_back_knee": (46, 84),
    "right_back_knee": (28, 82), "left_back_paw": (52, 104), "right_back_paw": (32, 102),
}  # fmt: skip


def instances(points: np.ndarray, **more) -> Instances:
    points = np.asarray(points, dtype=float)
    visible = np.where(np.isnan(points).any(axis=-1), 0, 2).astype(np.uint8)
    return Instances(points, more.pop("visibility", visible), np.zeros((len(points), 4)), **more)


def dog(scale: float = 1.0, shift: tuple[float, float] = (0, 0)) -> np.ndarray:
    return np.array([PLACES[name] for name in SEED.names], dtype=float) * scale + shift


def scene(skeleton: skeletons.Skeleton, count: int = 3) -> Instances:
    """Animals at exact places in sixteenths of a pixel, one of them partly outside."""
    rng = np.random.default_rng(len(skeleton))
    points = rng.integers(-40 * 16, 300 * 16, (count, len(skeleton), 2)) / 16
    points[rng.random(points.shape[:2]) < 0.2] = np.nan
    visibility = rng.integers(1, 3, points.shape[:2]).astype(np.uint8)
    visibility[np.isnan(points).any(axis=-1)] = 0
    return instances(points, visibility=visibility)


def digest(picture: np.ndarray) -> str:
    return hashlib.sha256(picture.tobytes()).hexdigest()[:16]


GOLDEN = {
    "animal_controlnet-v1": {
        "animal_pose_openpifpaf": "4f1207ec410d3aef",
        "ap10k": "695993ea2c4ac902",
        "union26": "db37adb0039cd9c9",
    },
    "openpose-v1": {
        "animal_pose_openpifpaf": "be2040fc37b65805",
        "ap10k": "d1b13238e2ac18d4",
        "union26": "65e99d5d3e555729",
    },
    "safe-v1": {
        "animal_pose_openpifpaf": "c3b2aeecd78fe84e",
        "ap10k": "f483eeec34cc889c",
        "union26": "26ae982817716789",
    },
}


@pytest.mark.parametrize("label", GOLDEN)
def test_golden_hashes(label):
    drawn = {}
    for name in GOLDEN[label]:
        skeleton = skeletons.load(name)
        picture = pose_picture((288, 256), scene(skeleton), skeleton, style=label, hidden="faint")
        drawn[name] = digest(picture)
    assert drawn == GOLDEN[label]


def test_every_style_that_ships_has_its_hashes():
    assert {look.label for look in pose_styles().values()} == set(GOLDEN)


def test_the_bytes_do_not_depend_on_threads():
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_pose_picture import *\n"
        "print(digest(pose_picture((288, 256), scene(SEED), SEED, hidden='faint')))\n"
    )
    here = os.path.dirname(__file__)
    setting = {"OMP_NUM_THREADS": "4", "OPENBLAS_NUM_THREADS": "4"}  # one in the tests' own process
    done = subprocess.run(
        [sys.executable, "-c", code, here], env={**os.environ, **setting},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == GOLDEN["animal_controlnet-v1"]["animal_pose_openpifpaf"]


def by_opencv(size: int, points: np.ndarray) -> np.ndarray:
    """The picture as github.com/jfozard/animalpose tells it: whole pixels, no smoothing."""
    plan = figure(load_pose_style("animal_controlnet"), SEED)
    canvas = np.zeros((size, size, 3), np.uint8)
    whole = [tuple(int(v) for v in p) for p in points]
    for (a, b), colour in zip(plan.edges.tolist(), plan.limbs.tolist(), strict=True):
        cv2.line(canvas, whole[a], whole[b], colour, int(0.01 * size))
    for place, colour in zip(whole, plan.points.tolist(), strict=True):
        cv2.circle(canvas, place, int(0.015 * size), colour, -1)
    return canvas


def test_the_first_style_looks_as_its_source_draws():
    points = np.floor(dog(4.2, (-40, 20)))
    ours = pose_picture((512, 512), instances(points[None]), SEED)
    theirs = by_opencv(512, points)
    painted = [(picture.astype(int).sum(axis=-1) > 120) for picture in (ours, theirs)]
    both, either = painted[0] & painted[1], painted[0] | painted[1]
    assert both.sum() / either.sum() > 0.9
    inner = cv2.erode(both.astype(np.uint8), np.ones((3, 3))) > 0
    near = np.abs(ours[inner].astype(int) - theirs[inner]).max(axis=-1)
    assert (near <= 2).mean() > 0.97  # the same colours over and under one another


@pytest.mark.parametrize("style", STYLES)
def test_a_point_is_painted_where_it_is_in_its_colour(style):
    points = dog(3.5)
    picture = pose_picture((512, 512), instances(points[None]), SEED, style=style)
    colours = figure(load_pose_style(style), SEED).points
    for name in ("nose", "tail", "left_front_paw", "right_back_knee"):
        x, y = np.round(points[SEED.index(name)]).astype(int)
        np.testing.assert_array_equal(picture[y, x], colours[SEED.index(name)])


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", skeletons.available())
def test_a_figure_names_each_limb_once_and_paints_both_sides_differently(style, name):
    skeleton = skeletons.load(name)
    plan = figure(load_pose_style(style), skeleton)
    edges = [frozenset(edge) for edge in plan.edges.tolist()]
    assert len(set(edges)) == len(edges)
    touched = {k for edge in edges for k in edge}
    drawn = {k for edge in skeleton.edge_indices.tolist() for k in edge}
    assert drawn <= touched
    for k, partner in enumerate(skeleton.flip_indices):
        if partner != k and skeleton.keypoints[k].part != "tail":
            apart = np.abs(plan.points[k] - plan.points[partner]).sum()
            assert apart > 30, skeleton.names[k]


def test_one_animal_looks_alike_on_two_orders_of_the_same_points():
    other = skeletons.load("animal_pose")
    place = {p.place: k for k, p in enumerate(SEED.keypoints)}
    order = [place[p.place] for p in other.keypoints]
    points = dog(2)[None]
    for style in STYLES[:2]:  # "safe" has no limbs of its own: the two skeletons' differ
        one = pose_picture((320, 240), instances(points), SEED, style=style)
        two = pose_picture((320, 240), instances(points[:, order]), other, style=style)
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("style", STYLES)
def test_the_order_of_the_rows_does_not_matter(style):
    crowd = scene(SEED, 5)
    back = np.array([3, 1, 4, 0, 2])
    turned = Instances(crowd.keypoints[back], crowd.visibility[back], crowd.bboxes[back])
    np.testing.assert_array_equal(
        pose_picture((256, 256), crowd, SEED, style=style),
        pose_picture((256, 256), turned, SEED, style=style),
    )


def test_the_nearer_animal_lies_over_the_farther():
    far, near = dog(2), dog(2, (6, 9))
    both = pose_picture((320, 260), instances(np.stack([near, far])), SEED)
    alone = pose_picture((320, 260), instances(near[None]), SEED)
    apart = (both != pose_picture((320, 260), instances(far[None]), SEED)).any(axis=-1)
    for x, y in near.astype(int):
        window = np.s_[y - 1 : y + 2, x - 1 : x + 2]
        np.testing.assert_array_equal(both[window], alone[window])
    assert apart.any()


@given(
    st.integers(0, 2**32 - 1), st.integers(-20, 20), st.integers(-20, 20), st.sampled_from(STYLES)
)
@settings(max_examples=12)
def test_a_shift_by_whole_pixels_shifts_the_picture(seed, right, down, style):
    rng = np.random.default_rng(seed)
    points = rng.uniform(40, 88, (2, len(SEED), 2))
    size = (128, 128)
    here = pose_picture(size, instances(points), SEED, style=style)
    there = pose_picture(size, instances(points + [right, down]), SEED, style=style)
    np.testing.assert_array_equal(np.roll(here, (down, right), (0, 1)), there)


@given(st.integers(0, 2**32 - 1), st.sampled_from(STYLES))
@settings(max_examples=10)
def test_a_picture_is_a_window_of_the_plane(seed, style):
    """Strips, borders and points outside change nothing of what is inside."""
    rng = np.random.default_rng(seed)
    points = rng.integers(-200 * 16, 400 * 16, (1, len(SEED), 2)) / 16
    look = load_pose_style(style)
    look = replace(look, limb_width=0.0, limb_least=5, point_radius=0.0, point_least=4)
    wide = pose_picture((700, 700), instances(points + 250), SEED, style=look)
    part = pose_picture((200, 180), instances(points), SEED, style=look)
    np.testing.assert_array_equal(wide[250:430, 250:450], part)


def test_widths_follow_the_short_side():
    look = load_pose_style("animal_controlnet")
    assert look.widths((512, 512)) == (3.25, 7.0)
    assert look.widths((640, 480)) == (2.75, 7.0)
    assert look.widths((64, 64)) == (1.25, 1.0)  # never nothing
    assert load_pose_style("openpose").widths((512, 768)) == (4.5, 4.0)


def test_borders_are_smooth():
    look = replace(load_pose_style("animal_controlnet"), point_least=10.0)
    points = np.full((1, len(SEED), 2), np.nan)
    points[0, SEED.index("nose")] = (60.3, 55.8)
    picture = pose_picture((120, 120), instances(points), SEED, style=look)
    assert picture.sum() / 255 == pytest.approx(np.pi * 10**2, rel=0.005)  # the nose is pure blue
    assert len(np.unique(picture[..., 2])) > 20


@pytest.mark.parametrize("style", STYLES)
def test_hidden_points_are_a_setting(style):
    points = dog(2)[None]
    covered = np.full(points.shape[:2], 2, np.uint8)
    covered[0, SEED.index("left_front_paw")] = 1
    hidden = instances(points, visibility=covered)
    drawn, faint, without = (
        pose_picture((320, 240), hidden, SEED, style=style, hidden=how) for how in HIDDEN
    )
    np.testing.assert_array_equal(
        drawn, pose_picture((320, 240), instances(points), SEED, style=style)
    )
    x, y = (2 * v for v in PLACES["left_front_paw"])
    strong, weak = drawn[y, x].astype(int), faint[y, x].astype(int)
    np.testing.assert_allclose(weak, strong * 115 / 256, atol=2)
    assert without[y, x].max() == 0
    missing = points.copy()
    missing[0, SEED.index("left_front_paw")] = np.nan
    np.testing.assert_array_equal(
        without, pose_picture((320, 240), instances(missing), SEED, style=style)
    )
    with pytest.raises(UserError, match="faint"):
        pose_picture((320, 240), hidden, SEED, hidden="ghostly")


def test_predictions_show_where_they_score_above_the_threshold():
    points = dog(2)[None]
    scores = np.linspace(0, 1, len(SEED))[None]
    guess = instances(points, scores=scores)
    np.testing.assert_array_equal(drawn_points(guess), scores > 0)
    np.testing.assert_array_equal(drawn_points(guess, threshold=0.5), scores > 0.5)
    only = np.where(scores[..., None] > 0.5, points, np.nan)
    np.testing.assert_array_equal(
        pose_picture((320, 240), guess, SEED, threshold=0.5),
        pose_picture((320, 240), instances(only), SEED),
    )


def test_a_ground_is_drawn_upon_and_left_alone():
    ground = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
    ground.flags.writeable = False
    over = pose_picture((320, 240), instances(dog(2)[None]), SEED, ground=ground)
    alone = pose_picture((320, 240), instances(dog(2)[None]), SEED)
    far = cv2.dilate((alone > 0).any(axis=-1).astype(np.uint8), np.ones((3, 3))) == 0
    np.testing.assert_array_equal(over[far], ground[far])
    assert (over != ground).any()
    with pytest.raises(ValueError, match="240, 320"):
        pose_picture((320, 240), instances(dog()[None]), SEED, ground=ground[:-1])


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -1e30, REACH + 1.0, REACH - 1.0, -500.0, 40.0])
def test_strange_points_do_no_harm(style, value):
    points = np.full((1, len(SEED), 2), value)
    picture = pose_picture((64, 48), instances(points), SEED, style=style)
    assert picture.shape == (48, 64, 3)
    assert (picture.max() > 0) == (value == 40.0)
    half_far = dog()[None]
    half_far[0, ::2] = value
    assert pose_picture((160, 120), instances(half_far), SEED, style=style).max() > 0


def test_no_animals_is_black():
    none = instances(np.zeros((0, len(SEED), 2)))
    assert pose_picture((32, 16), none, SEED).shape == (16, 32, 3)
    assert pose_picture((32, 16), none, SEED).max() == 0


def test_unknown_styles_and_versions_are_told_plainly():
    with pytest.raises(UserError, match="openpose"):
        load_pose_style("open")
    with pytest.raises(UserError, match="version 1, not 2"):
        load_pose_style("openpose-v2")
    assert load_pose_style("openpose-v1") is load_pose_style("openpose")


# Machado, Oliveira and Fernandes 2009, severity 1.0, on linear RGB
BLINDNESS = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                   [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                     [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                   [0.004733, 0.691367, 0.303900]],
}  # fmt: skip


def lab(colours: np.ndarray, eye: str | None) -> np.ndarray:
    values = np.asarray(colours, dtype=float) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    if eye:
        linear = np.clip(linear @ np.array(BLINDNESS[eye]).T, 0, 1)
    back = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return cv2.cvtColor(back.astype(np.float32)[None], cv2.COLOR_RGB2LAB)[0]


@pytest.mark.parametrize("eye", [None, *BLINDNESS])
def test_the_safe_style_is_told_apart_by_every_eye(eye):
    parts = load_pose_style("safe").parts
    limbs = {
        (part, side): parts[part][side] for part in ("front", "back") for side in ("left", "right")
    }
    heads = {("head", side): parts["head"][side] for side in ("left", "middle", "right")}
    for group in (limbs, heads):
        seen = lab(np.array(list(group.values())), eye)
        apart = np.linalg.norm(seen[:, None] - seen[None], axis=-1)
        assert apart[~np.eye(len(seen), dtype=bool)].min() > 12, (eye, list(group))
    for part in ("front", "back", "head"):
        left, right = lab(np.array([parts[part]["left"], parts[part]["right"]]), eye)
        assert np.linalg.norm(left - right) > 30, (eye, part)


def test_both_pictures_painted_once_are_the_two_painted_apart():
    ground = np.random.default_rng(1).integers(0, 255, (256, 288, 3), dtype=np.uint8)
    for style in STYLES:
        pose, over = pose_and_overlay(ground, scene(SEED), SEED, style=style, hidden="faint")
        alone = {"style": style, "hidden": "faint"}
        np.testing.assert_array_equal(pose, pose_picture((288, 256), scene(SEED), SEED, **alone))
        upon = pose_picture((288, 256), scene(SEED), SEED, ground=ground, **alone)
        np.testing.assert_array_equal(over, upon)


def test_a_ground_is_covered_as_much_as_it_is_painted():
    """White ground less black ground is what shines through; in between it lies between."""
    size, animals = (320, 240), instances(dog(2)[None])
    black = pose_picture(size, animals, SEED)
    np.testing.assert_array_equal(
        pose_picture(size, animals, SEED, ground=np.zeros((240, 320, 3), np.uint8)), black
    )
    white, grey = (
        pose_picture(size, animals, SEED, ground=np.full((240, 320, 3), value, np.uint8))
        for value in (255, 128)
    )
    shine = white.astype(float) - black
    assert np.ptp(shine, axis=-1).max() == 0  # alike in all colours
    np.testing.assert_allclose(grey, black + shine * 128 / 255, atol=0.51)
