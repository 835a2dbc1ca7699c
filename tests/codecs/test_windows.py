"""What is read around a peak alone is what the map blurred whole would give, to 1e-6 of a cell."""

from __future__ import annotations

import time

import pytest
import torch
from torch import Tensor

from tetrapose.codecs import Distribution
from tetrapose.codecs.peaks import FLOOR, blur, blur_weights, find_peaks, finite, windows

KERNELS = (3, 5, 7, 11, 17)


def whole_map_dark(maps: Tensor, kernel: int) -> Tensor:
    """DARK as published, on maps blurred and scaled back whole, one map at a time, in doubles."""
    out = []
    for one in maps.double().flatten(0, 1):
        h, w = one.shape
        place = int(one.argmax())
        y, x = divmod(place, w)
        point = torch.tensor([x, y], dtype=torch.float64)
        out.append(point)
        if not (1 < x < w - 2 and 1 < y < h - 2):
            continue
        logs = blur(one[None, None], kernel)[0, 0].clamp_min(FLOOR).log()
        gradient = torch.stack([logs[y, x + 1] - logs[y, x - 1], logs[y + 1, x] - logs[y - 1, x]])
        xx = (logs[y, x + 2] - 2 * logs[y, x] + logs[y, x - 2]) / 4
        yy = (logs[y + 2, x] - 2 * logs[y, x] + logs[y - 2, x]) / 4
        corners = logs[y + 1, x + 1] - logs[y - 1, x + 1] - logs[y + 1, x - 1] + logs[y - 1, x - 1]
        hessian = torch.stack([xx, corners / 4, corners / 4, yy]).reshape(2, 2)
        if torch.linalg.det(hessian) > 1e-12 and xx < 0:
            step = -torch.linalg.solve(hessian, gradient / 2)
            if step.norm() <= (kernel - 1) / 2:
                out[-1] = point + step
    return torch.stack(out).reshape(*maps.shape[:2], 2)


def gaussians(spread: float, points: Tensor, height: int = 18, width: int = 22) -> Tensor:
    y, x = torch.arange(height)[:, None], torch.arange(width)
    far = (x - points[..., 0, None, None]) ** 2 + (y - points[..., 1, None, None]) ** 2
    return torch.exp(-far / (2 * spread**2))


def drawn(seed: int = 0) -> dict[str, Tensor]:
    """Maps (B, K, 18, 22) of every kind that a blur or a logarithm could stumble over."""
    g = torch.Generator().manual_seed(seed)
    points = torch.rand(6, 5, 2, generator=g) * torch.tensor([24.0, 20.0]) - 1.0
    noise = torch.rand(6, 5, 18, 22, generator=g)
    spikes = torch.zeros(1, 18 * 22, 18, 22)  # one cell alone, at every place, borders included
    spikes[0, torch.arange(18 * 22), torch.arange(18 * 22) // 22, torch.arange(18 * 22) % 22] = 1
    two = gaussians(1.2, points) + 0.99 * gaussians(1.2, points.flip(0))
    return {
        "peaks": gaussians(1.5, points),
        "peaks and noise": gaussians(2.0, points) + 0.3 * noise,
        "noise": noise,
        "two peaks": two,
        "negative around": gaussians(1.5, points) - 0.4,
        "negative": -noise - 0.1,
        "narrow, nothing around": gaussians(0.2, points),
        "tiny": 1e-9 * (gaussians(1.5, points) + 0.2 * noise),
        "tinier than the floor": 1e-13 * gaussians(1.5, points),
        "huge": 1e30 * (gaussians(1.5, points) + 0.1 * noise),
        "flat": torch.full((1, 2, 18, 22), 0.25),
        "nothing": torch.zeros(1, 2, 18, 22),
        "spikes": spikes,
        "spikes on noise": spikes + 0.5 * torch.rand(spikes.shape, generator=g),
        "checkers": ((torch.arange(18)[:, None] + torch.arange(22)) % 2).float()[None, None]
        + 1e-3 * noise,
        "steep": torch.softmax(40 * noise.flatten(2), -1).reshape(noise.shape),
    }


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("kind", drawn())
def test_windowed_dark_is_that_of_the_whole_map(kind: str, kernel: int) -> None:
    maps = drawn()[kind]
    cells, values = find_peaks(maps, "dark", blur_kernel=kernel)
    assert torch.equal(values, maps.amax((-2, -1)))
    expected = whole_map_dark(maps, kernel)
    assert float((cells.double() - expected).abs().max()) < 3e-6  # float32 cells up to 22
    moved = (cells != cells.round()).any(-1).float().mean()
    if kind in ("peaks", "peaks and noise", "two peaks"):
        assert moved > 0.4  # there is something to compare


def test_small_maps_are_windowed_as_well() -> None:
    g = torch.Generator().manual_seed(1)
    for height, width in ((1, 1), (3, 4), (5, 5), (6, 5), (7, 9)):
        maps = torch.rand(2, 30, height, width, generator=g)
        for kernel in KERNELS:
            cells, _ = find_peaks(maps, "dark", blur_kernel=kernel)
            expected = whole_map_dark(maps, kernel)
            assert float((cells.double() - expected).abs().max()) < 1e-6


@pytest.mark.parametrize("reach", (0, 1, 2, 3, 9))
def test_windows_show_what_is_there_and_where(reach: int) -> None:
    maps = torch.arange(1.0, 61).reshape(1, 2, 5, 6)
    size = 2 * reach + 1
    padded = torch.nn.functional.pad(maps, (0, size, 0, size))
    for x in range(6):
        for y in range(5):
            part, corner = windows(maps, torch.tensor([[[x, y], [5 - x, 4 - y]]]).float(), reach)
            for k, (at_x, at_y) in enumerate(((x, y), (5 - x, 4 - y))):
                left, top = corner[0, k].tolist()
                assert torch.equal(part[0, k], padded[0, k, top : top + size, left : left + size])
                for near, corner_at, side in ((at_x, left, 6), (at_y, top, 5)):
                    assert corner_at <= max(near - reach, 0)
                    assert corner_at + size >= min(near + reach + 1, side)


def test_the_first_of_equal_peaks_is_taken_and_what_is_not_finite_is_none() -> None:
    maps = torch.zeros(1, 2, 6, 8)
    maps[0, 0, 2, 3] = maps[0, 0, 2, 5] = maps[0, 0, 4, 1] = 1.0
    maps[0, 1, 3, 3], maps[0, 1, 1, 1], maps[0, 1, 1, 2] = 0.5, torch.nan, torch.inf
    cells, values = find_peaks(maps, "argmax")
    assert cells.tolist() == [[[3.0, 2.0], [3.0, 3.0]]]
    assert values.tolist() == [[1.0, 0.5]]


@pytest.mark.parametrize("value", (torch.nan, torch.inf, -torch.inf))
@pytest.mark.parametrize("decoder", ("dark", "shift"))
def test_what_is_not_finite_is_read_as_0_wherever_it_lies(value: float, decoder: str) -> None:
    for kind in ("peaks and noise", "noise", "negative around"):
        maps = drawn()[kind].clone()
        holes = torch.rand(maps.shape, generator=torch.Generator().manual_seed(2)) < 0.1
        maps[holes] = value
        cleaned = maps.masked_fill(holes, 0.0)
        for found, wanted in zip(
            find_peaks(maps, decoder), find_peaks(cleaned, decoder), strict=True
        ):
            torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)


def test_sums_that_overflow_hide_nothing() -> None:
    maps = torch.full((1, 1, 4, 4), 3e38)
    assert torch.equal(finite(maps, high=0.0, low=0.0), maps)
    maps[0, 0, 1, 1] = -torch.inf
    assert torch.equal(finite(maps, high=9.0, low=-9.0)[0, 0, 1, :2], torch.tensor([3e38, -9.0]))


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_blur_is_a_mean(kernel: int) -> None:
    weights = blur_weights(kernel)
    assert float(weights.sum()) == pytest.approx(1.0, abs=1e-15)
    assert torch.equal(weights, weights.flip(0))


@pytest.mark.parametrize("reach", (0.5, 2.0, 3.3, 40.0))
def test_the_mass_near_a_point_is_that_of_the_whole_map(reach: float) -> None:
    codec = Distribution(5, input_size=(88, 72), reach=reach)
    for maps in drawn().values():
        if maps.shape[1] != 5:
            continue
        logits = (4 * maps).clamp(-50, 50)
        points, scores = codec.decode(logits)
        cells = (points + 0.5) / 4 - 0.5
        chances = logits.flatten(2).softmax(-1).reshape(logits.shape)
        across = torch.arange(22) - cells[..., 0:1]
        down = torch.arange(18) - cells[..., 1:2]
        near = down[..., :, None] ** 2 + across[..., None, :] ** 2 <= (reach * 1.5) ** 2
        most = 1 - torch.exp(torch.tensor(-(reach**2) / 2))
        expected = ((chances * near).sum((-2, -1)) / most).clamp(0, 1)
        torch.testing.assert_close(scores, expected, atol=1e-5, rtol=0)


def test_decoding_takes_less_than_a_quarter_of_blurring_whole_maps() -> None:
    maps = torch.rand(16, 20, 48, 48) + gaussians(1.5, torch.rand(16, 20, 2) * 48, 48, 48)

    def processor_time(call, *args, **options) -> float:
        times = []
        for _ in range(5):
            begin = time.process_time()
            call(*args, **options)
            times.append(time.process_time() - begin)
        return min(times)

    ours = processor_time(find_peaks, maps, "dark", blur_kernel=11)
    assert ours < processor_time(blur, maps, 11) / 4
