"""A point goes where its pixel goes, there and back, mirrored or not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tetrapose import geometry, images

place = st.floats(-500, 1500)
side = st.floats(4, 900)
turn = st.floats(-180, 180)
crop_size = st.tuples(st.integers(8, 200), st.integers(8, 200))


@st.composite
def crops(draw):
    """Any crop: matrix, region centre, region size, crop size."""
    center, size = np.array(draw(st.tuples(place, place))), np.array(draw(st.tuples(side, side)))
    out = draw(crop_size)
    matrix = geometry.crop_matrix(
        center, size, out, rotation=draw(turn), mirror=draw(st.booleans())
    )
    return matrix, center, size, out


def blob(shape: tuple[int, int], x: float, y: float, sigma: float) -> np.ndarray:
    """A picture with one soft round spot whose middle is at (x, y)."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    spot = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))
    return np.repeat((spot * 1000).astype(np.float32)[..., None], 3, axis=-1)


def middle(picture: np.ndarray) -> np.ndarray:
    """Where the spot is: its centre of mass."""
    weight = picture[..., 0].astype(np.float64)
    rows, columns = np.mgrid[: weight.shape[0], : weight.shape[1]]
    return np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()


@settings(max_examples=25)
@given(st.floats(70, 130), st.floats(60, 90), st.floats(25, 150), turn, st.booleans(), st.data())
def test_a_point_goes_where_its_pixel_goes(x, y, region, rotation, mirror, data):
    """Crops from 4 times larger to 2.5 times smaller, any turn, mirrored or not."""
    matrix = geometry.crop_matrix(
        np.array([100.3, 75.8]), np.array([region, region]), (96, 96),
        rotation=rotation, mirror=mirror,
    )  # fmt: skip
    target = geometry.transform_points(matrix, np.array([[x, y]]))[0]
    sigma = data.draw(st.floats(2.5, 4))
    reach = 4.5 * sigma * 96 / region
    assume((target > reach).all() and (target < 95 - reach).all())
    found = middle(images.warp(blob((150, 200), x, y, sigma), matrix, (96, 96)))
    np.testing.assert_allclose(found, target, atol=0.03)


@pytest.mark.parametrize("factor", [2.0, 3.3, 4.0, 7.9])
@pytest.mark.parametrize("spot", [(140, 145), (200.7, 131.2), (250.4, 160)])
def test_a_point_goes_where_its_pixel_goes_when_averaged_down(factor, spot):
    center = np.array(spot) + [3.1 * factor, -2.2 * factor]
    size = np.array([40 * factor, 40 * factor])
    matrix = geometry.crop_matrix(center, size, (40, 40), rotation=25)
    target = geometry.transform_points(matrix, np.array([spot]))[0]
    found = middle(images.warp(blob((300, 400), *spot, sigma=2 * factor), matrix, (40, 40)))
    np.testing.assert_allclose(found, target, atol=0.03)


@pytest.mark.parametrize("new", [(50, 50), (131, 77), (37, 200), (400, 300)])
def test_a_resized_point_goes_where_its_pixel_goes(new):
    old = (200, 150)
    way = cv2.INTER_AREA if new[0] < old[0] and new[1] < old[1] else cv2.INTER_LINEAR
    resized = cv2.resize(blob(old[::-1], 88.25, 61.5, 6), new, interpolation=way)
    target = geometry.transform_points(geometry.resize_matrix(old, new), np.array([[88.25, 61.5]]))
    np.testing.assert_allclose(middle(resized), target[0], atol=0.05)


@given(st.tuples(side, side), st.tuples(side, side))
def test_resizing_maps_border_to_border(old, new):
    matrix = geometry.resize_matrix(old, new)
    corners = geometry.whole_picture_box(*old).reshape(2, 2)
    moved = geometry.transform_points(matrix, corners).ravel()
    np.testing.assert_allclose(moved, geometry.whole_picture_box(*new), atol=1e-3)


@given(crops(), st.lists(st.tuples(place, place), min_size=1, max_size=8))
def test_there_and_back(crop, points):
    matrix = crop[0]
    points = np.array(points)
    there = geometry.transform_points(matrix, points)
    np.testing.assert_allclose(
        geometry.transform_points(geometry.invert(matrix), there), points, atol=1e-6
    )


@given(crops(), crops(), st.tuples(place, place))
def test_composed_is_one_after_the_other(outer, inner, point):
    point = np.array([point])
    both = geometry.transform_points(geometry.compose(outer[0], inner[0]), point)
    steps = geometry.transform_points(outer[0], geometry.transform_points(inner[0], point))
    np.testing.assert_allclose(both, steps, rtol=1e-9, atol=1e-6)


@given(st.tuples(place, place), st.tuples(side, side), crop_size)
def test_a_regions_border_falls_on_the_crops_border(center, size, out):
    matrix = geometry.crop_matrix(np.array(center), np.array(size), out)
    half = np.array(size) / 2
    corners = np.array([np.array(center) - half, np.array(center) + half])
    moved = geometry.transform_points(matrix, corners).ravel()
    np.testing.assert_allclose(moved, geometry.whole_picture_box(*out), atol=1e-6)


@given(crops())
def test_the_middle_of_the_region_is_the_middle_of_the_crop(crop):
    matrix, center, _, out = crop
    found = geometry.transform_points(matrix, center[None])[0]
    np.testing.assert_allclose(found, [(out[0] - 1) / 2, (out[1] - 1) / 2], atol=1e-6)


def test_rotation_turns_the_content_counter_clockwise_as_seen():
    matrix = geometry.crop_matrix(np.array([10.0, 10.0]), np.array([8.0, 8.0]), (9, 9), rotation=90)
    east = geometry.transform_points(matrix, np.array([[12.0, 10.0]]))[0]
    assert east[1] < 4 - 1  # what was to the right is now above the middle
    np.testing.assert_allclose(east[0], 4, atol=1e-9)


@given(st.tuples(place, place), st.tuples(side, side), crop_size, turn, st.tuples(place, place))
def test_a_mirrored_crop_is_the_crop_mirrored(center, size, out, rotation, point):
    plain, mirrored = (
        geometry.crop_matrix(np.array(center), np.array(size), out, rotation=rotation, mirror=m)
        for m in (False, True)
    )
    point = np.array([point])
    expected = geometry.mirror_points(
        geometry.transform_points(plain, point), out[0], np.array([0])
    )
    np.testing.assert_allclose(geometry.transform_points(mirrored, point), expected, atol=1e-6)


def test_mirroring_exchanges_left_and_right_and_undoes_itself():
    flip = np.array([0, 2, 1])
    points = np.array([[[3.0, 4.0], [0.0, 1.0], [np.nan, np.nan]]])
    mirrored = geometry.mirror_points(points, 10, flip)
    np.testing.assert_array_equal(mirrored, [[[6.0, 4.0], [np.nan, np.nan], [9.0, 1.0]]])
    np.testing.assert_array_equal(geometry.mirror_points(mirrored, 10, flip), points)
    assert points[0, 0, 0] == 3.0  # what was given is left as it was


def test_a_mirrored_point_is_where_its_pixel_is():
    picture = np.arange(7)[None, :]
    mirrored = geometry.mirror_points(np.array([[[2.0, 0.0]]]), 7, np.array([0]))[0, 0]
    assert picture[:, ::-1][0, int(mirrored[0])] == 2


@given(st.floats(-1e4, 1e4), st.sampled_from([1, 2, 4, 8, 32]))
def test_cells_and_pixels_there_and_back(value, stride):
    there = geometry.pixels_to_grid(np.array([value]), stride)
    np.testing.assert_allclose(geometry.grid_to_pixels(there, stride), value, atol=1e-9)


@given(st.floats(-0.5, 63.5), st.sampled_from([2, 4, 8]))
def test_cells_mirror_as_pixels_do(x, stride):
    """A crop of 64 has 64 / stride cells, and both mirror about the same line."""
    mirrored = geometry.pixels_to_grid(63 - x, stride)
    np.testing.assert_allclose(mirrored, 64 / stride - 1 - geometry.pixels_to_grid(x, stride))


def test_unlabelled_points_stay_unlabelled():
    matrix = geometry.crop_matrix(np.array([5.0, 5.0]), np.array([4.0, 4.0]), (8, 8), rotation=30)
    moved = geometry.transform_points(matrix, np.array([[np.nan, np.nan], [1.0, 2.0]]))
    assert np.isnan(moved[0]).all()
    assert np.isfinite(moved[1]).all()


boxes = st.lists(st.tuples(place, place, side, side), min_size=1, max_size=6)


@given(boxes)
def test_box_forms_there_and_back(given_boxes):
    xywh = np.array(given_boxes)
    xyxy = geometry.xywh_to_xyxy(xywh)
    np.testing.assert_allclose(geometry.xyxy_to_xywh(xyxy), xywh, atol=1e-9)
    np.testing.assert_allclose(geometry.box_area(xyxy), xywh[:, 2] * xywh[:, 3], rtol=1e-6)


def test_areas_of_boxes_turned_inside_out_are_zero():
    assert geometry.box_area(np.array([[3.0, 3.0, 1.0, 9.0]])) == 0


@given(boxes, boxes)
def test_overlap_is_symmetric_and_whole_with_itself(first, second):
    a, b = geometry.xywh_to_xyxy(np.array(first)), geometry.xywh_to_xyxy(np.array(second))
    overlap = geometry.box_iou(a, b)
    assert ((overlap >= 0) & (overlap <= 1 + 1e-9)).all()
    np.testing.assert_allclose(overlap, geometry.box_iou(b, a).T)
    np.testing.assert_allclose(np.diag(geometry.box_iou(a, a)), 1)


def test_overlap_by_hand():
    a, b = np.array([[0.0, 0, 2, 2]]), np.array([[1.0, 1, 3, 3], [5, 5, 6, 6], [0, 0, 0, 0]])
    np.testing.assert_allclose(geometry.box_iou(a, b), [[1 / 7, 0, 0]])


@given(boxes, st.floats(0.3, 3), st.floats(1, 2))
def test_a_region_holds_its_box_at_the_crops_aspect(given_boxes, aspect, padding):
    xyxy = geometry.xywh_to_xyxy(np.array(given_boxes))
    centers, sizes = geometry.box_to_region(xyxy, aspect=aspect, padding=padding)
    np.testing.assert_allclose(sizes[:, 0] / sizes[:, 1], aspect)
    assert (centers - sizes / 2 <= xyxy[:, :2] + 1e-6).all()
    assert (centers + sizes / 2 >= xyxy[:, 2:] - 1e-6).all()
    tight = np.minimum(sizes[:, 0], sizes[:, 1] * aspect) / padding
    sides = np.maximum(xyxy[:, 2] - xyxy[:, 0], (xyxy[:, 3] - xyxy[:, 1]) * aspect)
    np.testing.assert_allclose(tight, sides, rtol=1e-9)  # and grows no more than it must


def test_the_box_of_points_passes_over_what_is_unlabelled():
    nan = np.nan
    points = np.array([[[1, 2], [nan, nan], [5, 0]], [[nan, nan]] * 3])
    found = geometry.points_box(points)
    np.testing.assert_array_equal(found[0], [1, 0, 5, 2])
    assert np.isnan(found[1]).all()


def test_the_box_of_a_whole_picture_has_its_area():
    np.testing.assert_array_equal(geometry.whole_picture_box(30, 20), [-0.5, -0.5, 29.5, 19.5])
    assert geometry.box_area(geometry.whole_picture_box(30, 20)) == 600
