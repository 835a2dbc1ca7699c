"""Overlays and sheets: laws of drawing, and one golden picture a style.

After a style's version is raised on purpose, its picture is made anew with
``TETRAPOSE_GOLDEN=write pytest tests/render``.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tetrapose import skeletons
from tetrapose.errors import UserError
from tetrapose.render import draw, load_style, sheet, styles
from tetrapose.structures import Instances

GOLDEN = Path(__file__).parent / "golden"
SKELETON = skeletons.load("animal_pose")
PLACES = {
    "left_eye": (128, 30), "right_eye": (118, 28), "nose": (140, 40), "left_ear": (117, 18),
    "right_ear": (107, 17), "throat": (112, 47), "withers": (96, 38), "tailbase": (38, 42),
    "left_front_elbow": (103, 66), "right_front_elbow": (90, 66), "left_front_knee": (106, 84),
    "right_front_knee": (85, 82), "left_front_paw": (104, 104), "right_front_paw": (78, 98),
    "left_back_elbow": (54, 68), "right_back_elbow": (40, 66), "left_back_knee": (46, 84),
    "right_back_knee": (28, 82), "left_back_paw": (52, 104), "right_back_paw": (32, 102),
}  # fmt: skip


def ground(width: int = 160, height: int = 120) -> np.ndarray:
    across = np.linspace(90, 200, width)[None, :, None]
    down = np.linspace(0, 55, height)[:, None, None]
    return np.broadcast_to(across - down + [0, 8, -8], (height, width, 3)).astype(np.uint8)


def dog(scores: np.ndarray | None = None) -> Instances:
    points = np.array([[PLACES[name] for name in SKELETON.names]], dtype=float)
    if scores is not None:
        scores = np.broadcast_to(scores, points.shape[:2])
    return Instances(
        points, np.full(points.shape[:2], 2, np.uint8), np.array([[20.0, 10, 148, 112]]), scores
    )


def changed(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return (before.astype(int) != after).any(axis=-1)


@pytest.mark.parametrize("name", sorted(styles()))
def test_golden_picture(name):
    scores = np.linspace(1.0, 0.4, len(SKELETON))
    scores[SKELETON.index("right_back_paw")] = 0.1
    drawn = draw(ground(), dog(scores), SKELETON, style=name, boxes=True)
    path = GOLDEN / f"{load_style(name).label}.png"
    if os.environ.get("TETRAPOSE_GOLDEN") == "write":
        Image.fromarray(drawn).save(path, optimize=True)
    golden = np.asarray(Image.open(path)).astype(int)
    off = np.abs(golden - drawn)
    # smoothing may differ a little between releases of OpenCV; a colour, a limb or a width may not
    assert off.mean() < 0.5
    assert (off.max(axis=-1) > 48).mean() < 0.004


@pytest.mark.parametrize("name", sorted(styles()))
def test_a_point_is_painted_where_it_is_in_its_colour(name):
    drawn = draw(ground(), dog(), SKELETON, style=name)
    for keypoint in ("left_front_paw", "right_front_paw", "nose", "tailbase"):
        x, y = PLACES[keypoint]
        part = SKELETON.keypoints[SKELETON.index(keypoint)].part
        side = keypoint.split("_")[0] if "_" in keypoint else "middle"
        assert np.abs(drawn[y, x].astype(int) - load_style(name).colours[part][side]).max() <= 8


def test_the_picture_itself_is_left_alone():
    image = ground()
    image.flags.writeable = False
    before = image.copy()
    assert changed(image, draw(image, dog(), SKELETON)).any()
    np.testing.assert_array_equal(image, before)


def test_left_is_warm_and_right_is_cool_in_every_style():
    for style in styles().values():
        for part in ("head", "front", "back"):
            left, right = style.colours[part]["left"], style.colours[part]["right"]
            assert left[0] > left[2]
            assert right[2] > right[0]


def test_low_scores_are_left_out_and_doubtful_ones_are_faint():
    image = ground()
    np.testing.assert_array_equal(draw(image, dog(np.array(0.2)), SKELETON), image)
    full = draw(image, dog(np.array(0.95)), SKELETON).astype(int)
    faint = draw(image, dog(np.array(0.31)), SKELETON).astype(int)
    strength = np.abs(faint - image).sum() / np.abs(full - image).sum()
    assert 0.4 < strength < 0.65


def test_a_limb_needs_both_its_ends():
    points = dog().keypoints.copy()
    points[0, SKELETON.index("withers")] = np.nan
    lone = replace(dog(), keypoints=points)
    image = ground()
    middle = (np.array(PLACES["withers"]) + PLACES["tailbase"]) // 2
    assert changed(image, draw(image, dog(), SKELETON))[middle[1], middle[0]]
    assert not changed(image, draw(image, lone, SKELETON))[middle[1], middle[0]]


def test_hidden_labels_are_rings():
    hidden = replace(dog(), visibility=np.ones((1, len(SKELETON)), np.uint8))
    x, y = PLACES["nose"]
    assert draw(ground(), hidden, SKELETON)[y, x].max() < 60
    assert draw(ground(), dog(), SKELETON)[y, x].min() > 200


def test_strokes_scale_with_the_animal():
    def painted(scale: int) -> float:
        image = ground(160 * scale, 120 * scale)
        d = dog()
        big = replace(d, keypoints=d.keypoints * scale, bboxes=d.bboxes * scale)
        return changed(image, draw(image, big, SKELETON)).mean()

    assert painted(6) == pytest.approx(painted(3), rel=0.15)


@pytest.mark.parametrize(
    "points",
    [np.nan, np.inf, -1e9, 1e30, -500.0, 40.0],
    ids=["nan", "inf", "far", "huge", "out", "one"],
)
def test_strange_points_do_no_harm(points):
    one = replace(dog(), keypoints=np.full((1, len(SKELETON), 2), points))
    for box in (one.bboxes, np.full((1, 4), np.nan), np.array([[9.0, 9, 3, 3]])):
        image = ground()
        drawn = draw(image, replace(one, bboxes=box), SKELETON, boxes=True)
        assert drawn.shape == image.shape
        if points != 40.0 and not np.isfinite(box).all():
            np.testing.assert_array_equal(drawn, image)


def test_no_animals_no_change():
    none = Instances(
        np.zeros((0, 20, 2)), np.zeros((0, 20), np.uint8), np.zeros((0, 4)), np.zeros((0, 20))
    )
    np.testing.assert_array_equal(draw(ground(), none, SKELETON), ground())


@pytest.mark.parametrize("name", skeletons.available())
def test_every_skeleton_can_be_drawn(name):
    skeleton = skeletons.load(name)
    k = len(skeleton)
    points = np.random.default_rng(0).uniform(20, 100, (1, k, 2))
    one = Instances(points, np.full((1, k), 2, np.uint8), np.array([[0.0, 0, 159, 119]]))
    assert changed(ground(), draw(ground(), one, skeleton)).mean() > 0.01


def test_an_unknown_style_is_told_plainly():
    with pytest.raises(UserError, match="quiet"):
        draw(ground(), dog(), SKELETON, style="loud")


def test_a_style_without_a_colour_is_refused():
    vivid = load_style("vivid")
    with pytest.raises(ValueError, match="tail"):
        replace(vivid, colours={p: c for p, c in vivid.colours.items() if p != "tail"})


def test_sheet_holds_every_picture_whole():
    colours = [(200, 30, 30), (30, 200, 30), (30, 30, 200)]
    shapes = [(50, 100), (300, 100), (64, 64)]
    pictures = [np.full((*s, 3), c, np.uint8) for s, c in zip(shapes, colours, strict=True)]
    page = sheet(pictures, ["one", "two", "three, a caption far too long for its tile"], tile=96)
    for (h, w), colour in zip(shapes, colours, strict=True):
        seen = (np.abs(page.astype(int) - colour).max(axis=-1) < 3).sum()
        assert seen == pytest.approx(96 * 96 * min(h, w) / max(h, w), rel=0.05)
    assert (
        sheet(pictures, tile=96, columns=3).shape[0] < sheet(pictures, tile=96, columns=1).shape[0]
    )
    assert sheet([]).shape[2] == 3
    with pytest.raises(ValueError, match="2 captions for 3 images"):
        sheet(pictures, ["a", "b"])
