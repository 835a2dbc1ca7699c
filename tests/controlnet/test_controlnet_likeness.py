"""Distances of piles of pictures against what is known of them, and words for what is missing."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tiny_inception
import tiny_sd
import torch
from PIL import Image

from tetrapose import skeletons
from tetrapose.controlnet import score
from tetrapose.controlnet.inception import features
from tetrapose.controlnet.likeness import (
    INCEPTION,
    clip_scores,
    frechet_distance,
    gathered,
    inception,
    kernel_distance,
)
from tetrapose.controlnet.scoring import _likeness, score_folder
from tetrapose.controlnet.stock import open_stock
from tetrapose.errors import UserError
from tetrapose.images import read_image


def test_equal_piles_are_no_distance_apart():
    pile = np.random.default_rng(0).normal(size=(300, 6))
    assert frechet_distance(pile, pile) == pytest.approx(0, abs=1e-6)
    assert abs(kernel_distance(pile[:150], pile[150:])) < 0.2


def test_the_distance_of_two_gaussians_is_the_formula_s():
    # diagonal spreads: |m1 - m2|^2 + sum (s1 - s2)^2
    draw = np.random.default_rng(1)
    one = draw.normal(size=(4000, 3))
    one = (one - one.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(one, rowvar=False))).T
    stretch, shift = np.array([1.0, 2.0, 0.5]), np.array([3.0, 0.0, -1.0])
    assert frechet_distance(one, one * stretch + shift) == pytest.approx(
        np.square(shift).sum() + np.square(1 - stretch).sum(), rel=1e-6
    )


def test_turned_piles_are_as_far_apart_and_scipy_agrees():
    linalg = pytest.importorskip("scipy.linalg")
    draw = np.random.default_rng(2)
    one, two = (draw.normal(size=(200, 5)) @ draw.normal(size=(5, 5)) for _ in range(2))
    turn = np.linalg.qr(draw.normal(size=(5, 5)))[0]
    value = frechet_distance(one, two)
    assert frechet_distance(one @ turn, two @ turn) == pytest.approx(value)
    spreads = [np.cov(pile, rowvar=False) for pile in (one, two)]
    root = np.real(linalg.sqrtm(spreads[0] @ spreads[1]))
    apart = np.square(one.mean(0) - two.mean(0)).sum()
    assert value == pytest.approx(apart + np.trace(spreads[0] + spreads[1] - 2 * root))


def test_the_kernel_distance_of_two_points_a_side_is_counted_by_hand():
    one, two = np.array([[1.0], [2.0]]), np.array([[0.0], [1.0]])
    # (xy + 1)^3: pairs 3^3, 1^3; across 1, 2^3, 1, 3^3
    assert kernel_distance(one, two, subsets=1) == pytest.approx(27 + 1 - 2 * (1 + 8 + 1 + 27) / 4)
    with pytest.raises(UserError, match="two pictures or more"):
        kernel_distance(one[:1], two)


def test_piles_apart_are_told_from_piles_alike():
    draw = np.random.default_rng(3)
    one, two, far = (draw.normal(size=(200, 8)) + shift for shift in (0, 0, 1))
    assert kernel_distance(one, far) > 20 * abs(kernel_distance(one, two))
    assert frechet_distance(one, far) > 5 * frechet_distance(one, two)


def test_features_are_gathered_of_pictures_of_any_size():
    draw = np.random.default_rng(4)
    sizes = [(40, 30), (299, 299), (20, 60)]
    pictures = [draw.integers(0, 255, (*size, 3), np.uint8) for size in sizes]
    seen = []

    def features(batch):
        seen.append(batch.shape)
        return batch.mean(axis=(1, 2))

    found = gathered(iter(pictures), features, batch=2)
    assert seen == [(2, 299, 299, 3), (1, 299, 299, 3)]
    assert np.allclose(found[1], pictures[1].mean(axis=(0, 1)))


def test_the_kernel_distance_is_the_slow_reading_s():
    draw = np.random.default_rng(5)
    one, two = draw.normal(size=(7, 4)), draw.normal(size=(9, 4)) + 0.5

    def alike(x, y):
        return (float(x @ y) / 4 + 1) ** 3

    def unbiased(x, y):
        n = len(x)
        own = sum(alike(p[i], p[j]) for p in (x, y) for i in range(n) for j in range(n) if i != j)
        across = sum(alike(x[i], y[j]) for i in range(n) for j in range(n))
        return own / (n * (n - 1)) - 2 * across / n**2

    assert kernel_distance(one, two[:7], subsets=3) == pytest.approx(unbiased(one, two[:7]))
    # of the larger pile a subset each time
    deal = np.random.default_rng(0)
    deal.choice(7, 7, replace=False)
    some = two[deal.choice(9, 7, replace=False)]
    assert kernel_distance(one, two, subsets=1) == pytest.approx(unbiased(one, some))


def test_of_as_many_features_as_fid_has_scipy_agrees():
    linalg = pytest.importorskip("scipy.linalg")
    draw = np.random.default_rng(6)
    one, two = draw.normal(size=(30, 64)), draw.normal(size=(40, 64)) * 1.5 + 0.2  # fewer than wide
    spreads = [np.cov(pile, rowvar=False) for pile in (one, two)]
    values = linalg.eigvals(spreads[0] @ spreads[1])
    root = np.sqrt(np.clip(values.real, 0, None)).sum()
    apart = np.square(one.mean(0) - two.mean(0)).sum()
    assert frechet_distance(one, two) == pytest.approx(
        apart + np.trace(spreads[0] + spreads[1]) - 2 * root, rel=1e-5
    )


def test_inception_computes_what_torch_fidelity_s_does():
    # features 0, 256, ... that torch-fidelity's network gave with these weights and this picture
    # (both taken as they are here; the largest difference of all 2048 was 0)
    theirs = [0, 0.29567635, 0.06416269, 0, 12.28296566, 0.03376855, 5.18802834, 0.14114337]
    draw = torch.Generator().manual_seed(3)
    picture = torch.randint(0, 256, (1, 3, 299, 299), generator=draw, dtype=torch.uint8)
    with torch.no_grad():
        found = features(tiny_inception.weights(0, share=1), picture.float())
    assert found.shape == (1, 2048)
    assert found[0, ::256].tolist() == pytest.approx(theirs, rel=1e-3, abs=1e-4)


def test_a_file_of_weights_gives_features_and_others_are_refused(tmp_path):
    path = tiny_inception.write(tmp_path / "w.pth")
    pictures = np.random.default_rng(7).integers(0, 255, (2, 299, 299, 3), np.uint8)
    found = inception(path)(pictures)
    assert found.shape == (2, 128)
    assert np.allclose(inception(path)(pictures[1:]), found[1:], rtol=1e-4, atol=1e-5)
    held = tiny_inception.weights(0)
    torch.save({**held, "fc.weight": torch.zeros(1000, 128)}, path)
    with pytest.raises(UserError, match="torchvision's is not it"):
        inception(path)
    del held["Mixed_6c.branch7x7_2.bn.bias"]
    torch.save(held, path)
    with pytest.raises(UserError, match=r"Mixed_6c.branch7x7_2.bn.bias is missing"):
        inception(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match="not a whole torch file"):
        inception(path)


@pytest.fixture
def piles(tiny_library, tmp_path):
    """The folder of four of the library's own pictures as painted ones, and both as piles."""
    stock = open_stock([tiny_library])
    folder = tmp_path / "painted"
    folder.mkdir()
    rows = []
    for row in (0, 4, 7, 11):
        name = f"{row:06d}.png"
        pixels, _ = read_image("picture", data=stock.read(row, 0))
        Image.fromarray(pixels).save(folder / name)
        rows.append({"file": name, "seed": 0, "prompt": stock.caption(row)})
        rows[-1]["pose"] = stock.points(row)
    text = "".join(json.dumps(one) + "\n" for one in rows)
    (folder / "pictures.jsonl").write_text(text)
    skeleton = skeletons.load("animal_pose")
    return folder, score.painted(folder, skeleton), score.real([tiny_library], skeleton, most=4)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Where weights of others are looked for."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tetrapose" / "weights"


def test_without_weights_it_is_said_where_to_put_them(piles, place):
    _, asked, truth = piles
    found, notes = _likeness(asked, truth, None, None)
    assert found == {}
    assert notes == [
        f"FID, KID: left out; they need Inception's weights: put {INCEPTION[0]} (95 MB, releases of"
        f" toshas/torch-fidelity on GitHub) into {place}, or give --inception FILE",
        "CLIP score: left out; it needs a CLIP model (openai/clip-vit-base-patch16, say, as"
        f" transformers keeps it): put its folder at {place / 'clip'}, or give --clip DIR",
    ]
    path = tiny_inception.write(place / INCEPTION[0])
    assert "they want real pictures too" in _likeness(asked, None, None, None)[1][0]
    with pytest.raises(UserError, match="want real pictures too"):
        _likeness(asked, None, str(path), None)


def test_weights_that_lie_there_are_used_from_pictures_to_the_page(piles, place, tiny_library):
    pytest.importorskip("transformers")
    folder, asked, truth = piles
    tiny_inception.write(place / INCEPTION[1])
    tiny_sd.clip(place / "clip")
    result = score_folder(folder, [tiny_library], limit=4)
    found = result.figures["likeness"]
    assert set(found) == {"FID", "KID x 1000", "CLIP score"}
    assert found["FID"] == pytest.approx(0, abs=1e-3)  # the very same pictures
    assert found["KID x 1000"] < 0  # its estimate is unbiased, so of equal piles below zero
    assert 0 <= found["CLIP score"] <= 100
    assert "FID of fewer than 2048 pictures a side says little" in " ".join(result.notes)
    assert json.loads((folder / "score" / "score.json").read_text())["likeness"] == found
    assert "CLIP score: " in result.page.read_text()
    for path in folder.glob("*.png"):
        Image.effect_noise((64, 64), 60).convert("RGB").save(path)
    far, _ = _likeness(asked, truth, None, None)
    assert far["FID"] > 1
    assert far["KID x 1000"] > found["KID x 1000"]


def test_clip_scores_are_the_cosine_of_the_two_embeddings(tmp_path):
    pytest.importorskip("transformers")
    from transformers import CLIPImageProcessor, CLIPModel

    folder = tiny_sd.clip(tmp_path / "clip")
    model, prepare = (kind.from_pretrained(folder) for kind in (CLIPModel, CLIPImageProcessor))
    pictures = list(np.random.default_rng(0).integers(0, 255, (4, 40, 32, 3), np.uint8))
    captions = ["a", "ab", "b", ""]
    found = clip_scores(folder, iter(pictures), captions)
    assert found.shape == (4,)
    assert ((found >= 0) & (found <= 100)).all()
    shown = prepare(images=pictures[:1], return_tensors="pt")
    letter = torch.tensor([[512, 64 + 256, 513]])  # "a" as a whole word
    with torch.no_grad():
        both = model.eval()(input_ids=letter, **shown)
    assert found[0] == pytest.approx(
        max(100 * float((both.text_embeds @ both.image_embeds.T).squeeze()), 0), abs=1e-3
    )
    with pytest.raises(UserError, match="no such folder; nothing is fetched"):
        clip_scores(tmp_path / "none", iter(pictures), captions)
