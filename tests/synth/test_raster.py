"""The rasteriser against a slow, obvious one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrapose.synth import raster


def one_by_one(points, depths, faces, size):
    """Depth and face at every pixel by testing every pixel against every face."""
    width, height = size
    depth = np.full((height, width), np.inf)
    owner = np.full((height, width), -1)
    for number, face in enumerate(faces):
        a, b, c = points[face]
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if area > -1e-9:
            continue
        for y in range(height):
            for x in range(width):
                w1 = ((x - a[0]) * (c[1] - a[1]) - (y - a[1]) * (c[0] - a[0])) / area
                w2 = ((b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])) / area
                if min(w1, w2, 1 - w1 - w2) >= 0:
                    inverse = np.dot([1 - w1 - w2, w1, w2], 1 / depths[face])
                    if 1 / inverse < depth[y, x]:
                        depth[y, x], owner[y, x] = 1 / inverse, number
    return depth, owner


@given(st.integers(0, 10**6))
def test_equals_one_by_one(seed):
    rng = np.random.default_rng(seed)
    size = (int(rng.integers(3, 24)), int(rng.integers(3, 24)))
    points = rng.uniform(-6, 28, (18, 2))
    depths = rng.uniform(1, 5, 18)
    faces = rng.permutation(18).reshape(6, 3)
    found = raster.nearest(raster.rasterise(points, depths, faces, size))
    depth, owner = one_by_one(points, depths, faces, size)
    mine = np.full(size[0] * size[1], np.inf)
    mine[found.pixel] = found.depth
    mine = mine.reshape(size[::-1])
    # a pixel on the very edge of a face may fall to either side
    wrong = ~np.isclose(mine, depth, rtol=1e-3)
    assert wrong.sum() <= 1
    whose = np.full(size[0] * size[1], -1)
    whose[found.pixel] = found.face
    assert ((whose.reshape(size[::-1]) != owner) & ~wrong).sum() <= 1


def test_weights_give_the_pixel_back():
    points = np.array([[2.0, 2.0], [7.3, 25.1], [28.0, 3.5]])
    covered = raster.rasterise(points, np.array([2.0, 2.0, 2.0]), np.array([[0, 1, 2]]), (32, 32))
    found = raster.nearest(covered)
    places = found.weights.T @ points
    y, x = np.divmod(found.pixel, 32)
    np.testing.assert_allclose(places, np.stack([x, y], axis=1), atol=1e-3)
    assert len(found.pixel) == pytest.approx(
        -0.5 * np.cross([5.3, 23.1, 0], [26, 1.5, 0])[2], rel=0.05
    )


def test_a_seam_between_faces_has_no_holes():
    rng = np.random.default_rng(4)
    grid = np.stack(np.meshgrid(np.arange(9), np.arange(9), indexing="ij"), axis=-1) * 8.0
    grid[1:-1, 1:-1] += rng.uniform(-3, 3, (7, 7, 2))
    index = np.arange(81).reshape(9, 9)
    a, b, c, d = (index[i : i + 8, j : j + 8].ravel() for i, j in ((0, 0), (1, 0), (0, 1), (1, 1)))
    faces = np.concatenate([np.stack([a, c, b], axis=1), np.stack([b, c, d], axis=1)])
    found = raster.nearest(raster.rasterise(grid.reshape(-1, 2), np.ones(81), faces, (65, 65)))
    assert len(found.pixel) == 65 * 65


def test_behind_the_camera_and_away_from_it_nothing_is_drawn():
    points = np.array([[2.0, 2.0], [2.0, 20.0], [20.0, 2.0]])
    faces = np.array([[0, 1, 2]])
    assert len(raster.rasterise(points, np.ones(3), faces, (24, 24)).pixel) > 0
    assert len(raster.rasterise(points, np.array([1, -1, 1.0]), faces, (24, 24)).pixel) == 0
    assert len(raster.rasterise(points, np.ones(3), faces[:, ::-1], (24, 24)).pixel) == 0
    found = raster.nearest(raster.rasterise(points + 100, np.ones(3), faces, (24, 24)))
    assert len(found.pixel) == 0
