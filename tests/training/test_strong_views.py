"""Strong views: each operation by what it must do, draws by (seed, step, row) alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from tetrapose.training.labelfree import strong
from tetrapose.training.labelfree.strong import OPERATIONS, Strong


def pictures(count: int = 3, side: int = 24) -> torch.Tensor:
    draw = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 6, 6, generator=draw)
    values = torch.nn.functional.interpolate(coarse, (side, side), mode="bilinear")
    return (values * 200 + 20).round() / 255


def column(value: float, count: int = 3) -> torch.Tensor:
    return torch.full((count, 1, 1, 1), value)


def pillow(picture: torch.Tensor) -> Image.Image:
    return Image.fromarray((picture * 255).round().byte().permute(1, 2, 0).numpy())


@pytest.mark.parametrize(
    "name, value, peer",
    [
        ("brightness", 0.6, lambda p, v: ImageEnhance.Brightness(p).enhance(v)),
        ("colour", 1.4, lambda p, v: ImageEnhance.Color(p).enhance(v)),
        ("contrast", 0.5, lambda p, v: ImageEnhance.Contrast(p).enhance(v)),
        ("sharpness", 1.5, lambda p, v: ImageEnhance.Sharpness(p).enhance(v)),
        ("autocontrast", 0.0, lambda p, v: ImageOps.autocontrast(p)),
        ("posterise", 4.0, lambda p, v: ImageOps.posterize(p, int(v))),
        ("solarise", 0.5, lambda p, v: ImageOps.solarize(p, 128)),
        ("equalise", 0.0, lambda p, v: ImageOps.equalize(p)),
    ],
)
def test_operations_are_pillows(name, value, peer):
    given = pictures(side=96 if name == "equalise" else 24)  # its steps are whole pixels there
    got = strong.CHANGES[name](given, column(value)).clamp(0, 1)
    inner = slice(1, -1) if name == "sharpness" else slice(None)  # Pillow leaves the rim alone
    for one, out in zip(given, got, strict=True):
        due = torch.from_numpy(np.asarray(peer(pillow(one), value)).astype(np.float32) / 255)
        near = (out.permute(1, 2, 0) - due)[inner, inner].abs()
        # Pillow rounds on the way, and its equalise takes steps of whole pixels
        assert float(near.max()) < (0.05 if name == "equalise" else 0.012)


def test_as_released_solarise_inverts_and_posterise_does_nothing():
    given, draws = pictures(), np.full((3, 24), 0.5)
    assert torch.allclose(strong.apply(given, "solarise", draws, released=True), 1 - given)
    assert torch.allclose(strong.apply(given, "posterise", draws, released=True), given, atol=1e-6)
    mended = strong.apply(given, "solarise", draws)
    assert not torch.allclose(mended, 1 - given)
    assert torch.equal(mended[given < 0.5], given[given < 0.5])  # dark stays dark
    assert not torch.allclose(strong.apply(given, "posterise", draws), given, atol=1e-3)


def test_blur_is_each_pictures_own_and_keeps_its_mean():
    given = pictures(side=32)
    got = strong.blur(given, torch.tensor([0.3, 1.0, 2.0]).view(-1, 1, 1, 1))
    rough = (got[..., 1:] - got[..., :-1]).abs().mean((1, 2, 3))
    before = (given[..., 1:] - given[..., :-1]).abs().mean((1, 2, 3))
    assert (rough / before).tolist() == sorted((rough / before).tolist(), reverse=True)
    assert torch.allclose(got.mean((1, 2, 3)), given.mean((1, 2, 3)), atol=0.01)
    alone = strong.blur(given[1:2], column(1.0, 1))
    assert torch.allclose(alone[0], got[1], atol=1e-3)


def test_cutout_lays_one_to_five_grey_squares():
    given, side = pictures(4, 40) * 0.5, 40
    draws = np.random.default_rng(0).random((4, 24))
    got = strong.cutout(given, draws, side=(0.1, 0.1))
    grey = (got == 128 / 255).all(1).sum((1, 2))
    assert (grey >= 1).all()
    assert (grey <= 5 * (0.1 * side) ** 2).all()
    assert torch.equal(got[(got == given)], given[(got == given)])


@pytest.mark.parametrize("name", [n for n in OPERATIONS if n != "identity"])
@pytest.mark.parametrize("released", [False, True])
def test_every_operation_keeps_shape_gives_numbers_and_changes_nothing_in_place(name, released):
    for given in (pictures(2), torch.zeros(2, 3, 8, 8), torch.ones(2, 3, 8, 8)):
        before = given.clone()
        draws = np.random.default_rng(1).random((2, 24))
        out = strong.apply(given, name, draws, released=released)
        assert out.shape == given.shape
        assert torch.isfinite(out).all()
        assert torch.equal(given, before)


def test_a_view_is_of_seed_step_and_row_alone():
    change, given = Strong(chance=(1.0, 1.0)), pictures(4)
    whole = change(given, [5, 6, 7, 8], (0, 1, 2))
    parts = torch.cat([change(given[:2], [5, 6], (0, 1, 2)), change(given[2:], [7, 8], (0, 1, 2))])
    assert torch.allclose(whole, parts, atol=1e-5)
    assert not torch.allclose(whole, change(given, [5, 6, 7, 8], (0, 1, 3)))
    assert not torch.allclose(whole, given)
    assert torch.equal(Strong(count=0)(given, [1, 2, 3, 4], (0,)), given)


def test_all_operations_come_and_as_often_as_their_chance():
    plan = Strong().plan(list(range(4000)), (0,))
    seen = {name: 0 for name in OPERATIONS}
    for _, name, rows, _ in plan:
        seen[name] += len(rows)
    assert seen.pop("identity") == 0
    # two slots, one of eleven, a mean chance of a half
    assert all(abs(count / 4000 - 2 / 11 / 2) < 0.02 for count in seen.values())
