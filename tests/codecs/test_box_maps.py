"""Laws of the boxes' codec: there and back, mirrored, crowds, nothing at all."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tetrapose import geometry
from tetrapose.codecs.boxes import Boxes, overlaps, suppress

SIZE = 320
GROUPS = ("cat", "dog", "horse")
CODEC = Boxes(groups=GROUPS)
SHAPES = CODEC.shapes((SIZE, SIZE))
NO_REGIONS = torch.zeros(1, 0, 5)


def tensors(boxes, groups=None) -> tuple[torch.Tensor, torch.Tensor]:
    boxes = torch.as_tensor(np.asarray(boxes, np.float32)).reshape(1, -1, 4)
    kinds = torch.zeros(boxes.shape[:2], dtype=torch.int64) if groups is None else groups
    return boxes, torch.as_tensor(kinds).reshape(1, -1)


def spread(seed: int, count: int) -> np.ndarray:
    """Boxes of which no two overlap much, in a grid, from 2 px to the grid's cell."""
    rng = np.random.default_rng(seed)
    side = int(np.ceil(np.sqrt(count)))
    cell = SIZE / side
    low = np.stack(np.divmod(rng.permutation(side**2)[:count], side), axis=1) * cell
    sides = rng.uniform(2, cell, (count, 2))
    first = low + rng.uniform(0, 1, (count, 2)) * (cell - sides) - 0.5
    return np.concatenate([first, first + sides], axis=1)


@given(st.integers(0, 10**6), st.sampled_from([1, 2, 5, 16]))
@settings(max_examples=20)
def test_boxes_come_back(seed: int, count: int):
    boxes = spread(seed, count)
    kinds = torch.as_tensor(np.random.default_rng(seed).integers(0, len(GROUPS), count))
    targets = CODEC.encode(*tensors(boxes, kinds), NO_REGIONS, SHAPES)
    found = CODEC.decode(CODEC.perfect(targets, SHAPES))[0]
    assert len(found.boxes) == count
    nearest = np.abs(found.boxes[:, None] - boxes[None]).max(-1)
    assert nearest.min(0).max() < 0.5
    assert np.array_equal(found.odds.argmax(1), kinds.numpy()[nearest.argmin(1)])


def test_forty_animals_come_back():
    boxes = spread(3, 40)
    targets = CODEC.encode(*tensors(boxes), NO_REGIONS, SHAPES)
    found = CODEC.decode(CODEC.perfect(targets, SHAPES))[0]
    assert np.abs(found.boxes[:, None] - boxes[None]).max(-1).min(0).max() < 0.5
    assert len(found.boxes) == 40


@given(st.integers(0, 10**6))
@settings(max_examples=15)
def test_mirror_commutes_with_encoding(seed: int):
    boxes = spread(seed, 9)
    turned = boxes[:, [2, 1, 0, 3]] * [-1, 1, -1, 1] + [SIZE - 1, 0, SIZE - 1, 0]
    maps, others = (
        CODEC.perfect(CODEC.encode(*tensors(one), NO_REGIONS, SHAPES), SHAPES)
        for one in (boxes, turned)
    )
    for one, other in zip(CODEC.mirror(maps), others, strict=True):
        assert torch.equal(one[:, 0], other[:, 0])
        assert torch.allclose(one, other, atol=2e-3)


def test_an_empty_picture_has_no_target_and_decodes_to_nothing():
    for boxes in (np.zeros((0, 4)), np.full((3, 4), np.nan)):
        targets = CODEC.encode(*tensors(boxes), NO_REGIONS, SHAPES)
        assert not targets.positive.any()
        assert (targets.weights == 1).all()
        assert len(CODEC.decode(CODEC.perfect(targets, SHAPES))[0].boxes) == 0
        assert torch.isfinite(CODEC.loss(CODEC.perfect(targets, SHAPES), targets))


def test_a_perfect_output_costs_nearly_nothing_and_another_much():
    targets = CODEC.encode(*tensors(spread(1, 6)), NO_REGIONS, SHAPES)
    perfect = CODEC.perfect(targets, SHAPES)
    assert float(CODEC.loss(perfect, targets)) < 1e-3
    for part in (0, 1, 3):
        wrong = [one.clone() for one in perfect]
        for one in wrong:
            one[:, part] += 1.5 if part else 12.0
        assert float(CODEC.loss(wrong, targets)) > 0.2, part


def test_a_region_of_weight_nothing_teaches_nothing():
    """What lies in a crowd costs nothing, whatever is said there; a box in it still counts."""
    box = [100.0, 100.0, 180.0, 200.0]
    region = torch.tensor([[[-0.5, -0.5, 159.5, 319.5, 0.0]]])
    targets = CODEC.encode(*tensors([box]), region, SHAPES)
    outputs = [torch.randn(1, 5 + len(GROUPS), h, w) for h, w in SHAPES]
    for one in outputs:
        one.requires_grad_()
    CODEC.loss(outputs, targets).backward()
    cells = torch.cat([one.grad[:, 0].flatten(1) for one in outputs], 1)[0]
    at = CODEC._cells(SHAPES, torch.device("cpu"))[0]
    inside = (at[:, 0] <= 159.5) & ~targets.positive[0]
    assert (cells[inside] == 0).all()
    assert (cells[~inside] != 0).all()


def test_half_a_weight_is_half_the_cost():
    none = tensors(np.zeros((0, 4)))
    outputs = [torch.zeros(1, 5 + len(GROUPS), h, w) for h, w in SHAPES]
    whole = torch.tensor([[[-0.5, -0.5, 319.5, 319.5, 0.5]]])
    full, half = (
        CODEC.loss(outputs, CODEC.encode(*none, regions, SHAPES)) for regions in (NO_REGIONS, whole)
    )
    assert float(half) == pytest.approx(float(full) / 2)


def test_an_unknown_group_teaches_no_group():
    boxes, groups = tensors([[50, 50, 150, 150]], torch.tensor([-1]))
    targets = CODEC.encode(boxes, groups, NO_REGIONS, SHAPES)
    outputs = [torch.randn(1, 5 + len(GROUPS), h, w).requires_grad_() for h, w in SHAPES]
    CODEC.loss(outputs, targets).backward()
    assert all((one.grad[:, 5:] == 0).all() for one in outputs)


def test_one_by_one_is_all_at_once():
    parts = [spread(seed, 4) for seed in (1, 2)]
    both = torch.cat([tensors(one)[0] for one in parts])
    groups = torch.zeros(2, 4, dtype=torch.int64)
    together = CODEC.encode(both, groups, torch.zeros(2, 0, 5), SHAPES)
    for row, one in enumerate(parts):
        alone = CODEC.encode(*tensors(one), NO_REGIONS, SHAPES)
        assert torch.equal(together.boxes[row].nan_to_num(), alone.boxes[0].nan_to_num())


def test_outputs_that_are_not_finite_decode_to_finite_boxes():
    outputs = [torch.full((1, 5 + len(GROUPS), h, w), v) for (h, w), v in zip(
        SHAPES, (float("nan"), float("inf"), -float("inf")), strict=True)]  # fmt: skip
    found = CODEC.decode(outputs)[0]
    assert np.isfinite(found.boxes).all()
    assert np.isfinite(found.scores).all()


def slow_suppress(boxes, scores, overlap):
    rest = sorted(range(len(boxes)), key=lambda i: -scores[i])
    kept = []
    while rest:
        best = rest.pop(0)
        kept.append(best)
        iou = geometry.box_iou(boxes[[best]], boxes[rest])[0] if rest else []
        rest = [i for i, value in zip(rest, iou, strict=True) if value <= overlap]
    return kept


@given(st.integers(0, 10**6), st.integers(0, 40), st.sampled_from([0.2, 0.5, 0.7]))
def test_suppression_is_the_slow_one(seed: int, count: int, overlap: float):
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 60, (count, 2))
    boxes = np.concatenate([low, low + rng.uniform(5, 50, (count, 2))], axis=1)
    scores = np.round(rng.uniform(0, 1, count), 1)  # with ties
    assert suppress(boxes, scores, overlap).tolist() == slow_suppress(boxes, scores, overlap)


def test_overlap_is_geometrys():
    rng = np.random.default_rng(0)
    a, b = (np.sort(rng.uniform(0, 50, (20, 2, 2)), axis=1).reshape(20, 4) for _ in range(2))
    iou, giou = overlaps(torch.as_tensor(a), torch.as_tensor(b))
    assert np.allclose(iou.numpy(), np.diag(geometry.box_iou(a, b)), atol=1e-6)
    assert (giou <= iou + 1e-9).all()
    assert giou.min() > -1


@pytest.mark.parametrize("wrong", [{"bounds": (64,)}, {"bounds": (160, 64)}, {"least": 0}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValueError):
        Boxes(**wrong)
