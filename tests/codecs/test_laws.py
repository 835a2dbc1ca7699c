"""Laws of every codec: there and back, mirror, batches, what must not teach, noise, fields."""

from __future__ import annotations

import json
from collections.abc import Sequence
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
from tetrapose.codecs import Codec, Distribution, Heatmap, Signed

SIZE = (128, 96)
FLIP = (1, 0, 2)
K = len(FLIP)
BASES: dict[str, Any] = {"heatmap": Heatmap(K, SIZE), "distribution": Distribution(K, SIZE)}
OTHERS: dict[str, Any] = {
    "udp": Heatmap(K, SIZE, grid="centres", window=True, decoder="dark_udp"),
    "signed": Signed(K, SIZE),
}
CODECS = [
    pytest.param(replace(codec, decoder=decoder), id=f"{name}-{decoder}")
    for name, codec in BASES.items()
    for decoder in ("argmax", "shift", "dark")
] + [pytest.param(codec, id=name) for name, codec in OTHERS.items()]
DARK = [pytest.param(codec, id=name) for name, codec in (BASES | OTHERS).items()]
OWN_GRID = [one for one in CODECS if one.id != "udp"]
# How far a perfect output may decode from its point, in crop pixels on each axis, anywhere.
HALF_CELL = 2.06  # of UDP's cells, which are 127 / 31 and 95 / 23 pixels wide
CLEAR = 5 * 4  # pixels from the border beyond which the blur of DARK sees the whole peak


def points(margin: float, size: Sequence[int] = SIZE, count: int = K) -> st.SearchStrategy[Tensor]:
    """(1, count, 2) points at least ``margin`` pixels inside the crop's border."""
    axes = [
        st.floats(-0.5 + margin, side - 0.5 - margin, exclude_max=True, exclude_min=True, width=32)
        for side in size
    ]
    return st.lists(st.tuples(*axes), min_size=count, max_size=count).map(
        lambda rows: torch.tensor([rows], dtype=torch.float32)
    )


def ones(keypoints: Tensor) -> Tensor:
    return torch.ones(keypoints.shape[:2])


def mirrored(keypoints: Tensor) -> Tensor:
    return torch.from_numpy(geometry.mirror_points(keypoints.numpy(), SIZE[0], np.array(FLIP)))


def outputs(codec: Codec, seed: int, batch: int = 2) -> Tensor:
    """What a fair network might put out: targets of random points under noise, without ties."""
    generator = torch.Generator().manual_seed(seed)
    keypoints = torch.rand(batch, K, 2, generator=generator) * (torch.tensor(SIZE) - 1)
    target, _ = codec.encode(keypoints, ones(keypoints))
    return target + 0.02 * torch.rand(target.shape, generator=generator)


# There and back


@pytest.mark.parametrize("codec", DARK)
@given(keypoints=points(CLEAR))
def test_round_trip(codec: Codec, keypoints: Tensor) -> None:
    target, weights = codec.encode(keypoints, ones(keypoints))
    decoded, scores = codec.decode(target)
    assert (weights == 1).all()
    assert float((decoded - keypoints).abs().max()) < 0.05
    assert float(scores.min()) > 0.89  # a peak of 1.5 cells, seen from between four of them


@pytest.mark.parametrize("codec", CODECS)
@given(keypoints=points(0))
def test_round_trip_up_to_the_border(codec: Codec, keypoints: Tensor) -> None:
    target, weights = codec.encode(keypoints, ones(keypoints))
    decoded, _ = codec.decode(target)
    assert (weights == 1).all()
    # UDP's published decoder blurs maps that end at the border, and may step a cell further there
    room = 5.0 if getattr(codec, "decoder", "") == "dark_udp" else HALF_CELL
    assert float((decoded - keypoints).abs().max()) <= room + 1e-4


@pytest.mark.parametrize("codec", OWN_GRID)
def test_a_cell_stands_over_its_own_pixels(codec: Codec) -> None:
    """Cell (i, j) covers pixels 4i to 4i + 3; this holds the place that a round trip cannot see."""
    keypoints = torch.tensor([[[4 * 9 + 1.5, 4 * 7 + 1.5]] * K])
    target, _ = codec.encode(keypoints, ones(keypoints))
    assert target.shape == (1, K, SIZE[1] // 4, SIZE[0] // 4)
    peak = torch.zeros_like(target)
    peak[..., 7, 9] = 1
    assert torch.equal(target.flatten(2).argmax(-1), peak.flatten(2).argmax(-1))
    torch.testing.assert_close(codec.decode(target)[0], keypoints, atol=1e-4, rtol=0)


@given(keypoints=points(40, count=1))
def test_a_blob_averaged_down_decodes_to_where_it_was_drawn(keypoints: Tensor) -> None:
    """The same place by another road: no encoder, only a picture and its mean over each cell."""
    x, y = keypoints[0, 0]
    across = torch.exp(-((torch.arange(SIZE[0]) - x) ** 2) / (2 * 8**2))
    down = torch.exp(-((torch.arange(SIZE[1]) - y) ** 2) / (2 * 8**2))
    output = functional.avg_pool2d((down[:, None] * across)[None, None], 4)
    decoded, _ = Heatmap(1, SIZE).decode(output)
    assert float((decoded - keypoints).abs().max()) < 0.1


# Mirror


@pytest.mark.parametrize("codec", DARK)
@given(keypoints=points(-20), seed=st.integers(0, 1000))
def test_mirror_commutes_with_encode(codec: Codec, keypoints: Tensor, seed: int) -> None:
    weights = torch.rand(1, K, generator=torch.Generator().manual_seed(seed))
    target, kept = codec.encode(keypoints, weights)
    other, other_kept = codec.encode(mirrored(keypoints), weights[:, FLIP])
    on_border = ((keypoints + 0.5).abs() < 1e-3) | (
        (keypoints + 0.5 - torch.tensor(SIZE)).abs() < 1e-3
    )
    assume(not on_border.any())  # in or out is then a matter of rounding
    cells = codec.cells.to_cells(keypoints)  # type: ignore[attr-defined]
    between = (cells - cells.floor() - 0.5).abs() < 1e-3
    assume(not between.any())  # and so is the cell about which a window lies
    torch.testing.assert_close(
        other, codec.mirror(target, torch.tensor(FLIP)), atol=2e-3, rtol=1e-3
    )
    torch.testing.assert_close(other_kept, kept[:, FLIP])


@pytest.mark.parametrize("codec", CODECS)
@given(seed=st.integers(0, 10**6))
def test_mirror_commutes_with_decode(codec: Codec, seed: int) -> None:
    output = outputs(codec, seed)
    decoded, scores = codec.decode(output)
    other, other_scores = codec.decode(codec.mirror(output, torch.tensor(FLIP)))
    torch.testing.assert_close(other, mirrored(decoded), atol=0.01, rtol=0)
    torch.testing.assert_close(other_scores, scores[:, FLIP], atol=1e-4, rtol=0)


@pytest.mark.parametrize("codec", DARK)
def test_mirror_twice_is_nothing_and_a_plain_turn_is_no_mirror(codec: Codec) -> None:
    output, flip = outputs(codec, 3), torch.tensor(FLIP)
    assert torch.equal(codec.mirror(codec.mirror(output, flip), flip), output)
    assert not torch.allclose(codec.mirror(output, flip), output.flip(-1), atol=0.1)


# Batches


@pytest.mark.parametrize("codec", CODECS)
def test_one_by_one_is_all_at_once(codec: Codec) -> None:
    generator = torch.Generator().manual_seed(5)
    keypoints = torch.rand(4, K, 2, generator=generator) * 150 - 20
    keypoints[2] = torch.nan
    weights = torch.rand(4, K, generator=generator)
    target, kept = codec.encode(keypoints, weights)
    output = outputs(codec, 6, batch=4)
    decoded, scores = codec.decode(output)
    for i in range(4):
        alone, alone_kept = codec.encode(keypoints[i : i + 1], weights[i : i + 1])
        assert torch.equal(alone[0], target[i])
        assert torch.equal(alone_kept[0], kept[i])
        alone, alone_scores = codec.decode(output[i : i + 1])
        torch.testing.assert_close(alone[0], decoded[i], atol=1e-4, rtol=0)
        torch.testing.assert_close(alone_scores[0], scores[i])


@pytest.mark.parametrize("codec", CODECS)
def test_an_empty_batch(codec: Codec) -> None:
    target, weights = codec.encode(torch.zeros(0, K, 2), torch.zeros(0, K))
    assert target.shape == (0, K, SIZE[1] // 4, SIZE[0] // 4)
    assert weights.shape == (0, K)
    keypoints, scores = codec.decode(target)
    assert keypoints.shape == (0, K, 2)
    assert scores.shape == (0, K)
    assert float(codec.loss(target, target, weights)) == 0


# What must not teach


@pytest.mark.parametrize("codec", DARK)
@pytest.mark.parametrize(
    "missing", ((torch.nan, torch.nan), (torch.nan, 5.0), (-80.0, 5.0), (5.0, 1e9))
)
def test_unlabelled_and_outside_weigh_nothing(codec: Codec, missing: tuple[float, float]) -> None:
    keypoints = torch.tensor([[[30.0, 40.0], missing, [50.0, 20.0]]])
    target, weights = codec.encode(keypoints, ones(keypoints))
    assert weights.tolist() == [[1, 0, 1]]
    assert not target[0, 1].any()
    assert target.isfinite().all()


@pytest.mark.parametrize("codec", DARK)
def test_a_point_of_weight_nothing_teaches_nothing(codec: Codec) -> None:
    keypoints = torch.tensor([[[30.0, 40.0], [torch.nan, 5.0], [50.0, 20.0]]])
    target, weights = codec.encode(keypoints, torch.tensor([[1.0, 1.0, 0.0]]))
    output = outputs(codec, 7, batch=1).requires_grad_()
    loss = codec.loss(output, target, weights)
    loss.backward()
    assert output.grad is not None
    assert [bool(grad.any()) for grad in output.grad[0]] == [True, False, False]
    wild = output.detach().clone()
    wild[0, 1:] = 1e4
    assert float(codec.loss(wild, target, weights)) == pytest.approx(loss.item(), rel=1e-6)
    nothing = codec.loss(output, target, torch.zeros_like(weights))
    assert nothing.item() == 0
    nothing.backward()
    assert output.grad.isfinite().all()


@pytest.mark.parametrize("codec", DARK)
def test_the_target_is_the_best_output(codec: Codec) -> None:
    keypoints = torch.tensor([[[30.0, 40.0], [60.0, 50.0], [50.0, 20.0]]])
    target, weights = codec.encode(keypoints, ones(keypoints))
    best = float(codec.loss(target, target, weights))
    assert best == pytest.approx(0, abs=1e-5)
    shifted, _ = codec.encode(keypoints + 1, weights)
    further, _ = codec.encode(keypoints + 4, weights)
    near, far = (float(codec.loss(other, target, weights)) for other in (shifted, further))
    assert best + 1e-3 < near < far


@pytest.mark.parametrize("codec", DARK)
def test_weights_share_the_loss_out(codec: Codec) -> None:
    target, _ = codec.encode(torch.full((1, K, 2), 40.0), torch.ones(1, K))
    output = outputs(codec, 8, batch=1)
    alone = [
        float(codec.loss(output, target, functional.one_hot(torch.tensor([k]), K).float()))
        for k in range(K)
    ]
    assert len(set(alone)) == K
    weights = torch.tensor([[3.0, 1.0, 0.0]])
    shared = float(codec.loss(output, target, weights))
    assert shared == pytest.approx((3 * alone[0] + alone[1]) / 4, rel=1e-5)
    assert float(codec.loss(output, target, 5 * weights)) == pytest.approx(shared, rel=1e-5)


# Noise


@pytest.mark.parametrize("codec", CODECS)
@given(
    seed=st.integers(0, 10**6),
    scale=st.sampled_from((0.0, 1e-30, 1e-6, 1.0, 1e4, 1e30, 3e38)),
    offset=st.sampled_from((0.0, -1.0, 1.0, -1e30)),
    odd=st.sampled_from((0.0, torch.nan, torch.inf, -torch.inf)),
)
def test_noise_decodes_to_finite_points(
    codec: Codec, seed: int, scale: float, offset: float, odd: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    output = torch.randn(1, K, SIZE[1] // 4, SIZE[0] // 4, generator=generator)
    output = output * scale + offset
    output[torch.rand(output.shape, generator=generator) < 0.1] = odd
    keypoints, scores = codec.decode(output)
    assert keypoints.isfinite().all()
    assert (keypoints > -40).all()
    assert (keypoints < 40 + max(SIZE)).all()
    assert ((scores >= 0) & (scores <= 1)).all()


# Fields


@pytest.mark.parametrize("codec", CODECS)
def test_plain_values_and_back(codec: Codec) -> None:
    values = json.loads(json.dumps(codec.to_dict()))
    assert codecs.from_dict(values) == codec
    assert codecs.from_dict({**values, "sigma": 1.25}) != codec


@pytest.mark.parametrize("kind", (Heatmap, Distribution, Signed))
def test_all_faults_of_the_fields_are_told_at_once(kind: Any) -> None:
    with pytest.raises(ValueError) as caught:
        kind(0, (64, 0), sigma=-1.0, decoder="magic", blur_kernel=10)
    for word in ("num_keypoints", "input_size", "sigma", "'magic'", "blur_kernel must be odd"):
        assert word in str(caught.value)
    with pytest.raises(ValueError, match="no multiple of the stride 4"):
        kind(3, (64, 66))
    assert kind(3, [64, 96]) == kind(3, (64, 96))


def test_an_unknown_kind_names_those_there_are() -> None:
    with pytest.raises(ValueError, match="heatmap, distribution, signed, simcc"):
        codecs.from_dict({"kind": "offsets", "num_keypoints": 3})
    with pytest.raises(ValueError, match="'distribution': reach must"):
        codecs.from_dict({**Distribution(3).to_dict(), "reach": 0})
