"""Decoders against slow references, one point at a time, written from the papers' formulas."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tetrapose.codecs import Heatmap
from tetrapose.codecs.gaussian import draw_gaussians
from tetrapose.codecs.grids import Grid
from tetrapose.codecs.peaks import blur, find_peaks

HEIGHT, WIDTH = 20, 26
PIXELS = Grid("borders", (WIDTH, HEIGHT), (WIDTH, HEIGHT))


def slow_argmax(heatmap: np.ndarray) -> tuple[int, int]:
    y, x = np.unravel_index(np.argmax(heatmap), heatmap.shape)
    return int(x), int(y)


def slow_shift(heatmap: np.ndarray) -> np.ndarray:
    """A quarter of a cell towards the larger neighbour on each axis (Newell et al. 2016)."""
    x, y = slow_argmax(heatmap)
    point = np.array([x, y], dtype=float)
    if 0 < x < heatmap.shape[1] - 1:
        point[0] += 0.25 * np.sign(heatmap[y, x + 1] - heatmap[y, x - 1])
    if 0 < y < heatmap.shape[0] - 1:
        point[1] += 0.25 * np.sign(heatmap[y + 1, x] - heatmap[y - 1, x])
    return point


def slow_blur(heatmap: np.ndarray, kernel: int) -> np.ndarray:
    """DARK's distribution modulation (eq. 9, 10): zeros around, Gaussian, back to the maximum."""
    border = (kernel - 1) // 2
    wide = np.zeros((heatmap.shape[0] + 2 * border, heatmap.shape[1] + 2 * border))
    wide[border:-border, border:-border] = heatmap
    blurred = cv2.GaussianBlur(wide, (kernel, kernel), 0)[border:-border, border:-border]
    return blurred * heatmap.max() / blurred.max()


def slow_dark(heatmap: np.ndarray, kernel: int) -> np.ndarray:
    """DARK's point (eq. 7): m minus inverse Hessian times gradient of the logarithm at m."""
    x, y = slow_argmax(heatmap)
    logs = np.log(np.maximum(slow_blur(heatmap, kernel), 1e-10))
    point = np.array([x, y], dtype=float)
    if not (1 < x < heatmap.shape[1] - 2 and 1 < y < heatmap.shape[0] - 2):
        return point
    gradient = np.array(
        [(logs[y, x + 1] - logs[y, x - 1]) / 2, (logs[y + 1, x] - logs[y - 1, x]) / 2]
    )
    xx = (logs[y, x + 2] - 2 * logs[y, x] + logs[y, x - 2]) / 4
    yy = (logs[y + 2, x] - 2 * logs[y, x] + logs[y - 2, x]) / 4
    xy = (logs[y + 1, x + 1] - logs[y - 1, x + 1] - logs[y + 1, x - 1] + logs[y - 1, x - 1]) / 4
    hessian = np.array([[xx, xy], [xy, yy]])
    # where DARK's own code would step from a saddle or a minimum, this project stays
    assume(np.linalg.det(hessian) > 1e-4 and xx < -1e-3)
    return point - np.linalg.solve(hessian, gradient)


peaked = st.builds(
    lambda x, y, sigma, noise, seed: np.asarray(
        draw_gaussians(torch.tensor([[[x, y]]]), torch.ones(1, 1), PIXELS, sigma=sigma)[0][0, 0]
        + noise * torch.rand(HEIGHT, WIDTH, generator=torch.Generator().manual_seed(seed)),
        dtype=np.float32,
    ),
    x=st.floats(-0.5, WIDTH - 0.5, width=32),
    y=st.floats(-0.5, HEIGHT - 0.5, width=32),
    sigma=st.floats(1.0, 3.0),
    noise=st.floats(0, 0.3),
    seed=st.integers(0, 10**6),
)


def decoded(heatmap: np.ndarray, decoder: str, kernel: int = 11) -> np.ndarray:
    cells, values = find_peaks(torch.from_numpy(heatmap)[None, None], decoder, blur_kernel=kernel)
    assert float(values[0, 0]) == heatmap.max()
    return cells[0, 0].numpy()


@pytest.mark.parametrize("kernel", (3, 5, 7, 11, 17))
@given(heatmap=peaked)
def test_dark_is_the_papers(kernel: int, heatmap: np.ndarray) -> None:
    expected = slow_dark(heatmap, kernel)
    step = np.linalg.norm(expected - slow_argmax(heatmap))
    assume(step < (kernel - 1) / 2 - 0.01)  # our own bound: no step is longer than the blur reaches
    np.testing.assert_allclose(decoded(heatmap, "dark", kernel), expected, atol=2e-3)


@given(heatmap=peaked)
def test_the_quarter_shift_is_the_papers(heatmap: np.ndarray) -> None:
    np.testing.assert_allclose(decoded(heatmap, "shift"), slow_shift(heatmap))


@given(heatmap=peaked)
def test_argmax(heatmap: np.ndarray) -> None:
    np.testing.assert_allclose(decoded(heatmap, "argmax"), slow_argmax(heatmap))


@pytest.mark.parametrize("kernel", (3, 5, 7, 11, 17))
@given(heatmap=arrays.arrays(np.float32, (12, 9), elements=st.floats(0.125, 1, width=32)))
def test_blur_is_opencvs_and_keeps_the_maximum(kernel: int, heatmap: np.ndarray) -> None:
    blurred = blur(torch.from_numpy(heatmap)[None, None], kernel)[0, 0].numpy()
    np.testing.assert_allclose(blurred, slow_blur(heatmap, kernel), atol=1e-5)
    assert blurred.max() == pytest.approx(heatmap.max(), rel=1e-5)


def test_a_saddle_is_not_stepped_from() -> None:
    """A ridge that is highest at one end of a dip: DARK's formula would step away from the peak."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    heatmap = np.exp(-((y - 10) ** 2) / 8 + 0.02 * (x - 12) ** 2).astype(np.float32)
    heatmap[10, 12] += 0.01 + heatmap.max() - heatmap[10, 12]
    np.testing.assert_allclose(decoded(heatmap, "dark"), (12, 10))


def test_more_than_a_quarter_is_gained_by_dark() -> None:
    """Mean error over sub-cell places: arg-max, quarter shift, DARK, each several times better."""
    offsets = torch.linspace(-0.5, 0.5, 21)[:-1]
    grid = torch.stack(torch.meshgrid(offsets, offsets, indexing="xy"), -1).reshape(-1, 1, 2)
    keypoints = 4 * (grid + 12.5) - 0.5
    errors = []
    for decoder in ("argmax", "shift", "dark"):
        codec = Heatmap(1, (96, 96), decoder=decoder)
        target, _ = codec.encode(keypoints, torch.ones(len(grid), 1))
        errors.append(float((codec.decode(target)[0] - keypoints).norm(dim=-1).mean()))
    assert errors[0] > 2 * errors[1] > 200 * errors[2]


def test_whole_cells_are_what_unbiased_false_encodes() -> None:
    codec = Heatmap(1, (64, 64), unbiased=False)
    for pixel in (4 * 7, 4 * 7 + 1.5, 4 * 7 + 3.4):
        target, _ = codec.encode(torch.tensor([[[pixel, pixel]]]), torch.ones(1, 1))
        assert target[0, 0, 7, 7] == 1
