"""What each coding says of itself: grids, UDP, windows, signs, bins."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from tetrapose import codecs, geometry
from tetrapose.codecs import Heatmap, Signed, SimCC
from tetrapose.codecs.grids import KINDS, Grid
from tetrapose.codecs.peaks import find_peaks

K, FLIP = 3, torch.tensor([1, 0, 2])
SIZES = ((128, 96), (96, 128), (64, 64), (352, 64))


def points(size: tuple[int, int], margin: float, seed: int, count: int = 40) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    room = torch.tensor(size) - 2 * margin
    return torch.rand(count, K, 2, generator=generator) * room - 0.5 + margin


def mirrored(keypoints: Tensor, width: int) -> Tensor:
    return torch.from_numpy(geometry.mirror_points(keypoints.numpy(), width, FLIP.numpy()))


# Grids


@pytest.mark.parametrize("kind", KINDS)
@given(st.floats(-9, 400, width=32), st.integers(2, 90), st.sampled_from((2, 4, 8)))
def test_a_grid_goes_there_and_back(kind: Any, x: float, cells: int, stride: int) -> None:
    grid = Grid(kind, (cells * stride, 64), (cells, 64 // stride))
    point = torch.tensor([[x, 7.0]])
    torch.testing.assert_close(grid.to_pixels(grid.to_cells(point)), point, atol=1e-3, rtol=1e-5)


def test_where_the_first_and_the_last_cell_stand() -> None:
    ends = torch.tensor([[0.0, 0.0], [31.0, 23.0]])
    wanted = {
        "borders": [[1.5, 1.5], [125.5, 93.5]],
        "centres": [[0, 0], [127, 95]],
        "origin": [[0, 0], [124, 92]],
    }
    for kind in KINDS:
        stand = Grid(kind, (128, 96), (32, 24)).to_pixels(ends)
        np.testing.assert_allclose(stand, wanted[kind], atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_warp_puts_where(kind: str) -> None:
    """A region's corners in the crop, whatever its size and aspect."""
    matrix = geometry.crop_matrix(np.array([50, 40]), np.array([80, 60]), (128, 96), warp=kind)
    corners = geometry.transform_points(matrix, np.array([[10.0, 10.0], [90.0, 70.0]]))
    wanted = {
        "borders": [[-0.5, -0.5], [127.5, 95.5]],
        "centres": [[0, 0], [127, 95]],
        "origin": [[0, 0], [128, 96]],
    }
    np.testing.assert_allclose(corners, wanted[kind], atol=1e-9)


def test_an_unknown_grid_or_warp_is_named() -> None:
    with pytest.raises(ValueError, match="grid must be one of borders, centres, origin"):
        Heatmap(K, (64, 64), grid="corners")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="warp must be one of"):
        geometry.crop_matrix(np.zeros(2), np.ones(2), (4, 4), warp="corners")


def test_a_card_from_before_grids_means_borders() -> None:
    old = {
        "kind": "heatmap", "num_keypoints": 3, "input_size": [64, 64], "stride": 4, "sigma": 2.0,
        "unbiased": True, "decoder": "dark", "blur_kernel": 11,
    }  # fmt: skip
    codec = codecs.from_dict(old)
    assert codec == Heatmap(3, (64, 64))
    assert codec.warp == "borders"


# UDP


UDP = Heatmap(K, (128, 96), grid="centres", window=True, decoder="dark_udp")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kernel, sigma, bound", ((11, 2.0, 0.05), (17, 3.0, 0.15), (3, 1.0, 0.05)))
def test_udp_goes_there_and_back(
    size: tuple[int, int], kernel: int, sigma: float, bound: float
) -> None:
    codec = replace(UDP, input_size=size, blur_kernel=kernel, sigma=sigma)
    keypoints = points(size, min(4 * (3 * sigma + 1), 28), 1)
    target, weights = codec.encode(keypoints, torch.ones(keypoints.shape[:2]))
    assert bool((weights == 1).all())
    assert float((codec.decode(target)[0] - keypoints).abs().max()) < bound


def slow_udp(heatmap: np.ndarray, kernel: int) -> np.ndarray:
    """UDP's step, from the formulas of its code, at a peak that is not on the border."""
    import cv2

    border = kernel // 2
    wide = np.pad(heatmap.astype(np.float64), border)
    blurred = cv2.GaussianBlur(wide, (kernel, kernel), 0)[border:-border, border:-border]
    blurred *= heatmap.max() / blurred.max()
    h = np.log(np.clip(blurred, 1e-3, 50))
    y, x = np.unravel_index(np.argmax(heatmap), heatmap.shape)
    gradient = np.array([h[y, x + 1] - h[y, x - 1], h[y + 1, x] - h[y - 1, x]]) / 2
    xx = h[y, x + 1] - 2 * h[y, x] + h[y, x - 1]
    yy = h[y + 1, x] - 2 * h[y, x] + h[y - 1, x]
    xy = (
        h[y + 1, x + 1] - h[y, x + 1] - h[y + 1, x] + 2 * h[y, x]
        - h[y, x - 1] - h[y - 1, x] + h[y - 1, x - 1]
    ) / 2  # fmt: skip
    hessian = np.array([[xx, xy], [xy, yy]])
    assume(np.linalg.det(hessian) > 1e-4 and xx < -1e-3)
    step = -np.linalg.solve(hessian, gradient)
    assume(np.linalg.norm(step) < border - 0.01)
    return np.array([x, y]) + step


@given(
    st.floats(1.125, 24, width=32), st.floats(1.125, 18, width=32), st.floats(0, 0.3),
    st.sampled_from((1e-4, 0.01, 1.0, 80.0)), st.sampled_from((3, 7, 11)), st.integers(0, 10**6),
)  # fmt: skip
def test_udps_decoder_is_its_codes(
    x: float, y: float, noise: float, scale: float, kernel: int, seed: int
) -> None:
    """Weak and strong maps too: its bounds are of the values themselves."""
    across = np.exp(-((np.arange(26) - x) ** 2) / 8)
    down = np.exp(-((np.arange(20) - y) ** 2) / 8)
    heatmap = np.outer(down, across) + noise * np.random.default_rng(seed).random((20, 26))
    heatmap = (scale * heatmap).astype(np.float32)
    row, column = np.unravel_index(np.argmax(heatmap), heatmap.shape)
    assume(0 < column < 25 and 0 < row < 19)
    cells, _ = find_peaks(torch.from_numpy(heatmap)[None, None], "dark_udp", blur_kernel=kernel)
    np.testing.assert_allclose(cells[0, 0].numpy(), slow_udp(heatmap, kernel), atol=2e-3)


def test_udp_stays_on_the_border_and_at_what_is_no_maximum() -> None:
    maps = torch.zeros(1, 2, 20, 26)
    maps[0, 0, 7, 0] = maps[0, 1, 19, 25] = 1.0
    cells, _ = find_peaks(maps, "dark_udp")
    assert cells.tolist() == [[[0.0, 7.0], [25.0, 19.0]]]
    assert find_peaks(torch.zeros(1, 1, 9, 9), "dark_udp")[0].tolist() == [[[0.0, 0.0]]]


def test_a_window_ends_three_sigmas_from_the_nearest_cell() -> None:
    codec = Heatmap(1, (128, 128), window=True)
    wide, _ = replace(codec, window=False).encode(torch.tensor([[[62.9, 61.0]]]), torch.ones(1, 1))
    cut, _ = codec.encode(torch.tensor([[[62.9, 61.0]]]), torch.ones(1, 1))
    rows, columns = (torch.nonzero(cut[0, 0].sum(axis))[:, 0] for axis in (1, 0))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (9, 21, 9, 21)
    assert torch.equal(cut[0, 0, 9:22, 9:22], wide[0, 0, 9:22, 9:22])


def test_the_published_flip_shift_stays_within_a_quarter_of_a_cell() -> None:
    """Under ``origin`` no turning of maps meets the cells: what is left is 1 of 4 pixels."""
    codec = Heatmap(K, (128, 96), grid="origin")
    keypoints = points((128, 96), 32, 2)
    target, _ = codec.encode(keypoints, torch.ones(keypoints.shape[:2]))
    turned, _ = codec.decode(codec.mirror(target, FLIP))
    away = turned - mirrored(keypoints, 128)
    torch.testing.assert_close(away[..., 0], torch.full_like(away[..., 0], 1.0), atol=0.1, rtol=0)
    assert float(away[..., 1].abs().max()) < 0.05
    unshifted, _ = codec.decode(target.flip(-1)[:, FLIP])
    assert float((unshifted - mirrored(keypoints, 128))[..., 0].mean()) == pytest.approx(
        -3, abs=0.1
    )


# Signs


SIGNED = Signed(K, (128, 96))


@given(st.integers(0, 10**6), st.sampled_from(("argmax", "shift", "dark", "dark_udp")))
def test_hidden_points_are_valleys_and_come_back_hidden(seed: int, decoder: Any) -> None:
    codec = replace(SIGNED, decoder=decoder)
    keypoints = points((128, 96), 22, seed, count=2)
    seen = torch.randint(1, 3, (2, K), generator=torch.Generator().manual_seed(seed))
    target, weights = codec.encode(keypoints, torch.ones(2, K), seen.to(torch.uint8))
    upright, _ = codec.encode(keypoints, torch.ones(2, K))
    torch.testing.assert_close(target.abs(), upright)
    decoded, scores = codec.decode(target)
    assert codec.visibility(target).tolist() == seen.tolist()
    assert codec.visibility(target).dtype == torch.uint8
    same, same_scores = codec.decode(upright)
    torch.testing.assert_close(decoded, same)
    torch.testing.assert_close(scores, same_scores)
    turned = codec.mirror(target, FLIP)
    assert codec.visibility(turned).tolist() == seen[:, FLIP].tolist()


def test_the_deeper_valley_decides() -> None:
    maps = torch.zeros(1, 2, 24, 32)
    maps[0, :, 5, 6], maps[0, :, 15, 20] = 0.5, torch.tensor([-0.7, -0.3])
    decoded, scores = Signed(2, (128, 96), decoder="argmax").decode(maps)
    assert Signed(2, (128, 96)).visibility(maps).tolist() == [[1, 2]]
    assert decoded.tolist() == [[[81.5, 61.5], [25.5, 21.5]]]
    torch.testing.assert_close(scores, torch.tensor([[0.7, 0.5]]))


def test_only_what_teaches_visibility_tells_it() -> None:
    assert isinstance(SIGNED, codecs.TellsVisibility)
    for other in (Heatmap(K), codecs.Distribution(K), SimCC(K)):
        assert not isinstance(other, codecs.TellsVisibility)
        keypoints = points(other.input_size, 20, 0, count=1)
        hidden = torch.ones(1, K, dtype=torch.uint8)
        one, _ = other.encode(keypoints, torch.ones(1, K), hidden)
        two, _ = other.encode(keypoints, torch.ones(1, K))
        assert torch.equal(one, two)


# Bins


BINS = [
    pytest.param(SimCC(K, (128, 96), **more), bound, id=name)
    for name, more, bound in (
        ("gaussian", {}, 0.25),
        ("equal", {"smoothing": "equal"}, 0.25),
        ("one-hot", {"smoothing": "equal", "spread": 0.0}, 0.25),
        ("dark", {"unbiased": True, "decoder": "dark"}, 0.01),
        ("beta", {"unbiased": True, "decoder": "dark", "beta": 10.0}, 0.01),
        ("ratio 3", {"ratio": 3.0}, 1 / 6),
        ("centres", {"grid": "centres"}, 0.25),
        ("origin", {"grid": "origin"}, 0.25),
    )
]  # fmt: skip


@pytest.mark.parametrize("codec, bound", BINS)
@given(seed=st.integers(0, 10**6))
def test_bins_go_there_and_back_and_turn_with_the_crop(
    codec: SimCC, bound: float, seed: int
) -> None:
    keypoints = points((128, 96), 14 if bound < 0.1 else 0.5, seed, count=2)
    target, weights = codec.encode(keypoints, torch.ones(2, K))
    assert target.shape == (2, K, sum(codec.bins))
    decoded, scores = codec.decode(target)
    assert float((decoded - keypoints).abs().max()) <= bound + 1e-3
    assert float(scores.min()) > 0.9
    assert bool((weights == 1).all())
    assert float(codec.loss(target, target, weights)) == pytest.approx(0, abs=1e-5)
    turned = codec.mirror(target, FLIP)
    torch.testing.assert_close(codec.decode(turned)[1], scores[:, FLIP], atol=1e-3, rtol=0)
    beside = (codec.decode(turned)[0] - mirrored(decoded, 128)).abs().max()
    assert float(beside) < 1e-3
    if codec.grid != "origin":  # whose last bin has no partner
        assert torch.equal(codec.mirror(turned, FLIP), target)


@given(st.integers(0, 10**6))
def test_mirrored_bins_are_those_of_mirrored_points(seed: int) -> None:
    for codec in (SimCC(K, (128, 96)), SimCC(K, (128, 96), unbiased=True)):
        keypoints = points((128, 96), 0, seed, count=1)
        bins = codec.cells.to_cells(keypoints)
        assume(bool(((bins - bins.floor() - 0.5).abs() > 1e-3).all()))  # which bin is rounding's
        one, kept = codec.encode(mirrored(keypoints, 128), torch.ones(1, K))
        two, also = codec.encode(keypoints, torch.ones(1, K))
        torch.testing.assert_close(one, codec.mirror(two, FLIP), atol=2e-2, rtol=1e-3)
        assert torch.equal(kept, also[:, FLIP])


def test_labels_are_the_published_ones() -> None:
    """Gaussian: e^(-d2 / 2 s2) about a whole bin, a distribution. Equal: 0.9 and the rest even."""
    keypoints = torch.tensor([[[40.3, 50.1]] * K])
    target, _ = SimCC(K, (128, 96)).encode(keypoints, torch.ones(1, K))
    x, y = target.softmax(-1).split((256, 192), dim=-1)
    bin_x, bin_y = round((40.3 + 0.5) * 2 - 0.5), round((50.1 + 0.5) * 2 - 0.5)
    for row, count, centre in ((x, 256, bin_x), (y, 192, bin_y)):
        wanted = torch.exp(-((torch.arange(count) - centre) ** 2) / 72.0)
        row = row[0, 0] / row.sum(-1)[0, 0]
        torch.testing.assert_close(row, wanted / wanted.sum(), atol=1e-6, rtol=1e-4)
    equal, _ = SimCC(K, (128, 96), smoothing="equal").encode(keypoints, torch.ones(1, K))
    row = equal.exp()[0, 0, :256]
    assert float(row[bin_x]) == pytest.approx(0.9)
    assert float(row.sum()) == pytest.approx(1.0)


def test_the_loss_is_the_divergence_of_both_axes() -> None:
    codec = SimCC(K, (128, 96), beta=3.0)
    target, weights = codec.encode(points((128, 96), 20, 4, count=2), torch.ones(2, K))
    output = torch.randn(target.shape, generator=torch.Generator().manual_seed(0))
    wanted = torch.zeros(())
    for ours, theirs in zip(
        output.split((256, 192), -1), target.split((256, 192), -1), strict=True
    ):
        wanted = wanted + functional.kl_div(
            (3 * ours).log_softmax(-1), (3 * theirs).softmax(-1), reduction="sum"
        )
    assert float(codec.loss(output, target, weights)) == pytest.approx(float(wanted) / (2 * K))
    one = torch.zeros(2, K)
    one[0, 1] = 0.5
    alone = codec.loss(output[:1, 1:2], target[:1, 1:2], torch.ones(1, 1))
    assert float(codec.loss(output, target, one)) == pytest.approx(float(alone), rel=1e-5)


@pytest.mark.parametrize(
    "missing", ((torch.nan, torch.nan), (torch.nan, 5.0), (-80.0, 5.0), (5.0, 1e9))
)
@pytest.mark.parametrize("smoothing", ("gaussian", "equal"))
def test_what_has_no_bin_weighs_nothing(missing: tuple[float, float], smoothing: Any) -> None:
    codec = SimCC(K, (128, 96), smoothing=smoothing)
    keypoints = torch.tensor([[[30.0, 40.0], missing, [50.0, 20.0]]])
    target, weights = codec.encode(keypoints, torch.ones(1, K))
    assert weights.tolist() == [[1, 0, 1]]
    assert not target[0, 1].any()
    output = torch.zeros_like(target, requires_grad=True)
    codec.loss(output, target, weights).backward()
    assert output.grad is not None
    assert [bool(grad.any()) for grad in output.grad[0]] == [True, False, True]


@given(
    seed=st.integers(0, 10**6),
    scale=st.sampled_from((0.0, 1e-30, 1.0, 1e4, 1e30)),
    odd=st.sampled_from((0.0, torch.nan, torch.inf, -torch.inf)),
    decoder=st.sampled_from(("argmax", "dark")),
)
def test_noise_in_bins_decodes_to_finite_points(
    seed: int, scale: float, odd: float, decoder: Any
) -> None:
    codec = SimCC(K, (128, 96), decoder=decoder)
    generator = torch.Generator().manual_seed(seed)
    output = scale * torch.randn(2, K, sum(codec.bins), generator=generator)
    output[torch.rand(output.shape, generator=generator) < 0.1] = odd
    keypoints, scores = codec.decode(output)
    assert bool(keypoints.isfinite().all())
    assert bool(((keypoints > -20) & (keypoints < 150)).all())
    assert bool(((scores >= 0) & (scores <= 1)).all())


def test_bins_one_by_one_none_and_as_plain_values() -> None:
    codec = SimCC(K, (128, 96), unbiased=True, decoder="dark")
    target, weights = codec.encode(points((128, 96), 14, 9, count=4), torch.ones(4, K))
    output = target + torch.rand(target.shape, generator=torch.Generator().manual_seed(1))
    decoded, scores = codec.decode(output)
    for i in range(4):
        alone, score = codec.decode(output[i : i + 1])
        torch.testing.assert_close(alone[0], decoded[i], atol=1e-4, rtol=0)
        torch.testing.assert_close(score[0], scores[i])
    empty, none = codec.encode(torch.zeros(0, K, 2), torch.zeros(0, K))
    assert codec.decode(empty)[0].shape == (0, K, 2)
    assert float(codec.loss(empty, empty, none)) == 0
    assert codecs.from_dict(json.loads(json.dumps(codec.to_dict()))) == codec
    with pytest.raises(ValueError) as caught:
        SimCC(0, (64, 0), ratio=-1, smoothing="round", spread=1, decoder="shift")  # type: ignore[arg-type]
    for word in ("num_keypoints", "input_size", "ratio", "'round'", "spread", "'shift'"):
        assert word in str(caught.value)
    with pytest.raises(ValueError, match="too few bins"):
        SimCC(K, (2, 64))
