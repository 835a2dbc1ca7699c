"""The steps one by one: duplicates by order, frames, what is kept, files of pictures."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import piles
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrapose import geometry, images, skeletons
from tetrapose.audit import hashes
from tetrapose.structures import Instances
from tetrapose.triplets import duplicates, frames, pictures, steps
from tetrapose.triplets.animals import Animals, alike, once
from tetrapose.triplets.pictures import Scanned, scan
from tetrapose.triplets.rows import Item
from tetrapose.triplets.settings import Settings

SKELETON = skeletons.load("ap10k")


def animals(points: np.ndarray, scores: np.ndarray | None = None) -> Animals:
    n, k = points.shape[:2]
    there = np.isfinite(points).all(axis=-1)
    one = Instances(points, np.where(there, 2, 0).astype(np.uint8), np.tile([0.0, 0, 9, 9], (n, 1)),
                    scores)  # fmt: skip
    return Animals(one, SKELETON, ("dog",) * n, scores is None)


sides = st.integers(40, 900)


@given(
    sides, sides, st.booleans(), st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1)
)
def test_a_frame_lies_in_its_picture_and_holds_what_it_can(width, height, buckets, places):
    settings = Settings(size=128, buckets=buckets)
    points = np.array(places) * [width - 1, height - 1]
    view = frames.frame((width, height), points, settings)
    assert 0 <= view.left <= width - view.width
    assert 0 <= view.top <= height - view.height
    assert view.width == width or view.height == height  # as large as can be
    assert abs(view.width / view.height - view.size[0] / view.size[1]) < 0.1
    span = np.ptp(points, axis=0)
    moved = geometry.transform_points(view.matrix, points)
    if (span < [view.width - 2, view.height - 2]).all():
        assert ((moved >= -0.5) & (moved < np.array(view.size) - 0.5)).all()


@given(st.integers(0, 999), st.sampled_from([(300, 200), (200, 333), (700, 650)]), st.booleans())
def test_a_point_goes_where_its_pixel_goes(seed, size, buckets):
    draw = np.random.default_rng(seed)
    at = draw.uniform(20, np.array(size) - 20)
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    cv2.circle(pixels, tuple((at * 16).round().astype(int).tolist()), 96, (255,) * 3, -1,
               cv2.LINE_AA, 4)  # fmt: skip
    view = frames.frame(size, at[None], Settings(size=256, buckets=buckets))
    crop = view.cut(pixels)[..., 0].astype(float)
    down, across = np.mgrid[: crop.shape[0], : crop.shape[1]]
    seen = np.array([(across * crop).sum(), (down * crop).sum()]) / crop.sum()
    assert np.abs(seen - geometry.transform_points(view.matrix, at[None])[0]).max() < 0.25


def test_buckets_are_of_about_the_area_and_every_aspect_up_to_two():
    for size in (256, 512, 768):
        found = frames.buckets(size)
        assert (size, size) in found
        assert all(w % 64 == h % 64 == 0 and w * h <= size * size for w, h in found)
        assert all(0.5 <= w / h <= 2 for w, h in found)
        assert {(h, w) for w, h in found} == set(found)
        assert min(w * h for w, h in found) > 0.7 * size * size


def test_an_animal_is_kept_from_its_share_on():
    points = np.full((3, 17, 2), np.nan)
    points[0, :5] = points[1, :6] = points[2, :17] = 50.0  # 29 %, 35 %, all
    stay, reason = steps.kept(animals(points), Settings())
    assert reason == ""
    assert len(stay.species) == 2
    none, reason = steps.kept(animals(points[:1]), Settings())
    assert none is None
    assert reason == "too_few_points:29% of 17"
    none, reason = steps.kept(animals(points), Settings(every=True))
    assert none is None
    assert reason.startswith("too_few_points:29%")


def test_predicted_points_count_from_their_score_on():
    points = np.full((1, 17, 2), 50.0)
    scores = np.where(np.arange(17) < 6, 0.4, 0.2)[None]
    stay, _ = steps.kept(animals(points, scores), Settings(threshold=0.3))
    assert stay is not None
    assert np.isnan(steps.only_drawn(stay, 0.3).instances.keypoints[0, 6:]).all()
    assert steps.kept(animals(points, scores), Settings(threshold=0.45))[0] is None


def test_points_outside_the_crop_count_no_longer():
    wide = np.zeros((100, 400, 3), np.uint8)
    points = np.full((1, 17, 2), np.nan)
    points[0, :4] = [[2, 50], [398, 50], [4, 40], [396, 40]]  # the crop holds neither end
    points[0, 4:6] = [200, 50]
    item, scanned = Item("a", "b"), Scanned(sha256="0" * 64, size=(400, 100))
    told = steps.cropped(item, scanned, wide, animals(points), Settings(size=64))
    assert told == "outside_crop:12% of 17"
    points[0, 6:12] = [210, 60]
    draft = steps.cropped(item, scanned, wide, animals(points), Settings(size=64))
    assert (draft.animals.instances.visibility > 0).sum() == 8
    assert np.isnan(draft.animals.instances.keypoints[0, :4]).all()


def test_a_picture_decoded_at_half_its_size_gives_the_same_place():
    points = np.full((1, 17, 2), 300.0)
    full = animals(points)
    half = animals(
        geometry.transform_points(geometry.resize_matrix((800, 600), (400, 300)), points)
    )
    item, scanned = Item("a", "b"), Scanned(sha256="0" * 64, size=(800, 600))
    settings = Settings(size=256)
    a = steps.cropped(item, scanned, np.zeros((600, 800, 3), np.uint8), full, settings)
    b = steps.cropped(item, scanned, np.zeros((300, 400, 3), np.uint8), half, settings)
    assert np.allclose(a.matrix, b.matrix, atol=0.7)
    for draft in (a, b):
        there = geometry.transform_points(draft.matrix, points)
        assert np.allclose(draft.animals.instances.keypoints, there)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 99))
def test_a_png_shows_what_was_given(width, height, seed):
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)
    back, _ = images.read_image("a.png", data=steps.png(pixels))
    assert np.array_equal(back, pixels)


def looks(entries):
    """Looks of (digest, picture) pairs; None is a picture that is out."""
    pairs = [hashes.picture_hash(p) if p is not None else (0, 0) for _, p in entries]
    return duplicates.Looks(
        np.array([d for d, _ in entries], dtype=np.uint64),
        np.array([a for a, _ in pairs], dtype=np.uint64),
        np.array([b for _, b in pairs], dtype=np.uint64),
        np.array([p is not None for _, p in entries]),
    )


def small(picture):
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, (hashes.SIDE, hashes.SIDE), interpolation=cv2.INTER_AREA)


PARTS = [
    [(1, piles.picture(1)), (2, piles.picture(2)), (9, None)],
    [(1, piles.picture(1)), (3, piles.picture(3)), (4, cv2.resize(piles.picture(2), (48, 36)))],
    [(5, piles.picture(3)[:, ::-1].copy()), (9, piles.picture(9)), (6, piles.picture(6))],
]
REPEATED = [
    {},
    {0: "duplicate:0/0", 2: "near_duplicate:0/1"},
    {0: "near_duplicate:1/1"},
]


def judge(near=12):
    return duplicates.Judge(near, 0.9, lambda part, place: small(PARTS[part][place][1]))


def test_the_first_of_each_stays_over_all_parts():
    one = judge()
    assert [one.judge(i, looks(part)) for i, part in enumerate(PARTS)] == REPEATED


@pytest.mark.parametrize("upto", [1, 2])
def test_a_judge_that_is_told_goes_on_as_one_that_judged(upto):
    one = judge()
    for i in range(upto):
        one.recall(i, looks(PARTS[i]), list(REPEATED[i]))
    rest = [one.judge(i, looks(PARTS[i])) for i in range(upto, 3)]
    assert rest == REPEATED[upto:]


def test_without_near_copies_only_equal_bytes_count():
    one = judge(near=-1)
    assert [one.judge(i, looks(part)) for i, part in enumerate(PARTS)] == [
        {}, {0: "duplicate:0/0"}, {},
    ]  # fmt: skip


def test_a_judge_grows_past_its_first_room():
    draw = np.random.default_rng(0)
    numbers = draw.integers(1, 2**63, 2500, dtype=np.uint64)
    many = duplicates.Looks(numbers, numbers, ~numbers, np.ones(2500, bool))
    one = duplicates.Judge(0, 0.9, lambda *_: np.zeros((32, 32)))
    assert one.judge(0, many) == {}
    again = one.judge(1, many)
    assert again == {i: f"duplicate:0/{i}" for i in range(2500)}


def test_bits_are_counted():
    numbers = np.array([0, 1, 3, 2**64 - 1, 2**63], dtype=np.uint64)
    assert duplicates.bits(numbers).tolist() == [0, 1, 2, 64, 1]


@pytest.mark.parametrize("seed", range(4))
def test_a_hash_is_the_audits(seed):
    pixels = piles.picture(seed, (317, 211))
    assert pictures.looked(pixels)[:2] == hashes.picture_hash(pixels)


@pytest.mark.parametrize("quality", [40, 70])
def test_a_picture_saved_again_is_seen_by_its_scan(quality):
    data = steps.jpeg(piles.picture(3, (300, 200)), 95)
    again = steps.jpeg(cv2.resize(piles.picture(3, (300, 200)), (450, 300)), quality)
    one, two = (scan("a.jpg", d, Settings(least_side=100)) for d in (data, again))
    assert one.reason == two.reason == ""
    assert one.sha256 != two.sha256
    assert (one.phash ^ two.phash).bit_count() <= 12
    assert two.size == (450, 300)


def found(points: np.ndarray, boxes: list[float], drawn: np.ndarray | None = None) -> Animals:
    """Animals of a finder with boxes that score so, their points where ``drawn`` says."""
    drawn = np.ones(points.shape[:2], bool) if drawn is None else drawn
    some = animals(points, np.where(drawn, 0.9, 0.1))
    one = replace(some.instances, bboxes=geometry.points_box(points), bbox_scores=np.array(boxes))
    return replace(some, instances=one)


def test_an_animal_that_was_found_twice_is_drawn_once():
    draw = np.random.default_rng(0)
    dog, other = draw.uniform(0, 200, (2, len(SKELETON), 2))
    again = dog + draw.normal(0, 1, dog.shape)
    head = np.arange(len(SKELETON)) < 5
    drawn = np.array([np.ones_like(head), np.ones_like(head), head, head])
    seen = found(np.stack([again, other, dog, other + 300]), [0.6, 0.7, 0.8, 0.5], drawn)
    assert once(seen, Settings()).tolist() == [1, 2, 3]  # the better box of the two stays
    apart = found(np.stack([dog, dog + 60]), [0.9, 0.8])
    assert once(apart, Settings()).tolist() == [0, 1]
    assert once(found(np.stack([dog, dog]), [0.9, 0.8]), Settings(threshold=0.95)).tolist() == [
        0,
        1,
    ]
    assert once(found(dog[None][:0], []), Settings()).tolist() == []


@given(st.integers(0, 2**32 - 1), st.floats(0.2, 5), st.floats(-200, 200))
def test_likeness_of_points_does_not_depend_on_size_place_or_order(seed, scale, shift):
    draw = np.random.default_rng(seed)
    one, other = draw.uniform(0, 99, (2, len(SKELETON), 2))
    other = np.where(draw.random(len(SKELETON))[:, None] < 0.6, one + other / 20, np.nan)
    value = alike(one, other, 5000.0, SKELETON)
    assert 0 <= value <= 1
    assert alike(other, one, 5000.0, SKELETON) == value
    moved = alike(one * scale + shift, other * scale + shift, 5000.0 * scale**2, SKELETON)
    assert moved == pytest.approx(value, abs=1e-9)
    assert alike(one, one, 5000.0, SKELETON) == pytest.approx(1)
    assert alike(one, np.full_like(one, np.nan), 5000.0, SKELETON) == 0
