"""Whole pictures on a canvas: boxes go where their pixels go, and every draw comes again."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tetrapose import skeletons
from tetrapose.data.groups import group_numbers, group_of, load
from tetrapose.data.whole import (
    Look,
    PictureSet,
    WholeDataset,
    collate,
    joined,
    picture_set,
    without_animals,
)
from tetrapose.structures import PoseSet

GROUPS = ("cat", "dog")
SIDE = 128
ALL = Look(side=SIDE, zoom=(0.5, 2.0), mosaic=0.5, empty=0.2)


@pytest.fixture
def pictures(tmp_path: Path) -> PictureSet:
    """Ten pictures with one or two white rectangles each on black, which are the animals."""
    rng = np.random.default_rng(0)
    starts, boxes = [0], []
    for i in range(10):
        width, height = (160, 120) if i % 2 else (90, 150)
        picture = np.zeros((height, width, 3), np.uint8)
        for k in range(1 + i % 2):
            side = rng.integers(20, 40, 2)
            x, y = 2 + k * width // 2, int(rng.integers(2, height - 42))
            picture[y : y + side[1], x : x + side[0]] = 255
            boxes.append([x - 0.5, y - 0.5, x + side[0] - 0.5, y + side[1] - 0.5])
        starts.append(len(boxes))
        cv2.imwrite(str(tmp_path / f"{i}.png"), picture)
    n = len(boxes)
    return PictureSet(
        paths=tuple(tmp_path / f"{i}.png" for i in range(10)), sizes=np.zeros((10, 2), np.int64),
        starts=np.array(starts), bboxes=np.array(boxes), groups=np.arange(n) % 2,
        crowd=np.zeros(n, bool), background=np.ones(10), draws=np.ones(10), group_names=GROUPS,
    )  # fmt: skip


def lit(sample, region) -> np.ndarray:
    x1, y1, x2, y2 = np.round(region + 0.5).astype(int)
    return sample["image"][0, y1:y2, x1:x2]


def test_boxes_hold_their_pixels_whatever_is_drawn(pictures):
    """Inside each box all is white, and outside of all boxes and regions nothing is."""
    data = WholeDataset(pictures, look=ALL, seed=3)
    seen = 0
    for epoch in range(4):
        for row in range(10):
            sample = data[(epoch, row)]
            rest = sample["image"][0].copy()
            for box in sample["boxes"]:
                inner = lit(sample, box + [2, 2, -2, -2])
                assert inner.size == 0 or inner.min() > 200
                seen += inner.size > 0
            for box in [*sample["boxes"], *sample["regions"][:, :4]]:
                x1, y1, x2, y2 = np.round(box + [-1.5, -1.5, 2.5, 2.5]).astype(int)
                rest[max(y1, 0) : y2, max(x1, 0) : x2] = 0
            assert rest.max(initial=0) <= 130  # the canvas' grey, and no white
    assert seen > 20


def test_a_sample_is_a_function_of_seed_epoch_and_row(pictures):
    first, second = (WholeDataset(pictures, look=ALL, seed=1) for _ in range(2))
    list(first[(0, row)] for row in range(10))  # whatever was drawn before
    for key in ((2, 3), (5, 9)):
        a, b = first[key], second[key]
        assert all(np.array_equal(a[name], b[name]) for name in a)
    assert not np.array_equal(first[(2, 3)]["image"], first[(3, 3)]["image"])
    other = WholeDataset(pictures, look=ALL, seed=2)
    assert not np.array_equal(first[(2, 3)]["image"], other[(2, 3)]["image"])


def test_without_a_look_pictures_are_whole(pictures):
    sample = WholeDataset(pictures, side=SIDE)[(0, 1)]
    box = pictures.bboxes[pictures.starts[1]]
    scale = SIDE / 160
    offset = [0, (SIDE - 120 * scale) / 2] * 2
    assert np.allclose(sample["boxes"][0], (box + 0.5) * scale + offset - 0.5, atol=1e-4)


def test_the_side_grows_by_epochs(pictures):
    look = Look(side=[[0, 64], [3, 96]], mosaic=0.0)
    data = WholeDataset(pictures, look=look)
    assert [data[(epoch, 0)]["image"].shape[1] for epoch in (0, 2, 3, 9)] == [64, 64, 96, 96]


@pytest.mark.parametrize("side", [100, [[0, 100]], [[1, 64]], []])
def test_sides_that_cannot_be(side):
    with pytest.raises(ValueError, match="side"):
        Look(side=side)


def test_windows_without_animals_hold_none(pictures):
    look = Look(side=SIDE, mosaic=0.0, empty=1.0)
    data = WholeDataset(pictures, look=look, seed=0)
    some = [data[(0, row)] for row in range(10)]
    free = [s for s in some if len(s["boxes"]) == 0]
    assert len(free) > 5
    assert all(s["image"].max() <= 130 for s in free)


def test_a_broken_picture_teaches_nothing(pictures):
    pictures.paths[4].write_bytes(b"nothing")
    for look in (None, Look(side=SIDE, mosaic=0.0)):
        sample = WholeDataset(pictures, look=look, side=SIDE)[(0, 4)]
        assert not sample["readable"]
        assert len(sample["boxes"]) == 0
        assert sample["regions"].tolist() == [[-0.5, -0.5, SIDE - 0.5, SIDE - 0.5, 0.0]]


def test_crowds_tiny_and_cut_animals_are_not_wanted(pictures):
    crowd = pictures.crowd.copy()
    crowd[0] = True
    data = PictureSet(**{**vars(pictures), "crowd": crowd})
    sample = WholeDataset(data, side=SIDE)[(0, 0)]
    assert len(sample["boxes"]) == 0
    assert len(sample["regions"]) == 1
    assert sample["regions"][0, 4] == 0
    small = WholeDataset(pictures, side=32)
    sample = small[(0, 1)]  # 20 px of 160 at a fifth of the size: some are under 4 px, none lost
    assert len(sample["boxes"]) + len(sample["regions"]) == 2


def test_batches_fill_up_with_nothing(pictures):
    data = WholeDataset(pictures, side=64)
    batch = collate([data[(0, 0)], data[(0, 1)]])
    assert batch["boxes"].shape == (2, 2, 4)
    assert torch.isnan(batch["boxes"][0, 1]).all()
    assert batch["groups"].tolist()[0][1] == -1
    assert batch["regions"].shape == (2, 0, 5)
    assert batch["image"].dtype == torch.uint8


def test_sets_are_taken_and_joined(tmp_path):
    k = len(skeletons.load("ap10k"))
    boxes = np.float32([[0, 0, 10, 10], [5, 5, 5, 9], [0, 0, 4, 4], [1, 1, 9, 9]])
    pose_set = PoseSet(
        skeleton=skeletons.load("ap10k"), root=tmp_path, source="x", licence="", digest="",
        files=("a.png", "b.png", "c.png"), image_ids=np.arange(3), sizes=np.zeros((3, 2), int),
        groups=np.arange(3), image_index=np.array([2, 0, 0, 2]),
        keypoints=np.full((4, k, 2), np.nan), visibility=np.zeros((4, k), np.uint8), bboxes=boxes,
        areas=np.ones(4), species=np.array([0, 1, 2, 2]),
        species_names=("tabby cat", "dog", "yeti"),
        crowd=np.array([False, False, False, True]), annotation_ids=np.arange(4),
    )  # fmt: skip
    one = picture_set(pose_set, GROUPS, share=2.0, herd=2)
    assert one.starts.tolist() == [0, 1, 1, 3]  # the empty box is left out, the picture stays
    assert one.groups.tolist() == [-1, 0, -1]
    assert one.crowd.tolist() == [False, False, True]
    assert one.background.tolist() == [1.0, 1.0, 0.5]
    assert picture_set(pose_set, GROUPS, group="dog").groups.tolist() == [1, 1, 1]
    both = joined([one, without_animals([tmp_path / "d.png"], GROUPS, share=0.5)])
    assert len(both) == 4
    assert both.starts.tolist() == [0, 1, 1, 3, 3]
    assert both.draws.tolist() == [2.0, 2.0, 2.0, 0.5]
    with pytest.raises(ValueError, match="same groups"):
        joined([one, without_animals([], ("cat",))])


def test_groups_by_name():
    assert group_of("Brown_Bear") == "bear"
    assert group_of("cat") == "cat"
    assert group_of("yeti") is None
    assert group_of("") is None
    names = [name for group in load().values() for name in group]
    assert len(names) == len(set(names))
    assert group_numbers(np.array([1, 0]), ("dog", "zebra"), ("horse", "dog")).tolist() == [0, 1]
