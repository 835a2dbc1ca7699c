"""Distances of piles of pictures against what is known of them, and words for what is missing."""

from __future__ import annotations

import numpy as np
import pytest

from tetrapose.controlnet.likeness import (
    clip_scores,
    frechet_distance,
    gathered,
    inception,
    kernel_distance,
)
from tetrapose.errors import UserError


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


def test_without_torch_fidelity_the_way_to_it_is_told(tmp_path, monkeypatch):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install torch-fidelity"):
        inception(tmp_path / "w.pth")


def test_clip_scores_are_the_cosine_of_the_two_embeddings(tmp_path):
    pytest.importorskip("transformers")
    import tiny_sd
    import torch
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    text = {**shape, "num_attention_heads": 2, "vocab_size": 516, "max_position_embeddings": 16}
    text |= {"bos_token_id": 512, "eos_token_id": 513, "pad_token_id": 513}
    seen = {**shape, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=seen, projection_dim=8)).eval()
    model.save_pretrained(tmp_path / "clip")
    tiny_sd.tokenizer(tmp_path / "clip")
    side = {"height": 32, "width": 32}
    prepare = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=side)
    prepare.save_pretrained(tmp_path / "clip")
    pictures = list(np.random.default_rng(0).integers(0, 255, (4, 40, 32, 3), np.uint8))
    captions = ["a", "ab", "b", ""]
    found = clip_scores(tmp_path / "clip", iter(pictures), captions)
    assert found.shape == (4,)
    assert ((found >= 0) & (found <= 100)).all()
    shown = prepare(images=pictures[:1], return_tensors="pt")
    letter = torch.tensor([[512, 64 + 256, 513]])  # "a" as a whole word
    with torch.no_grad():
        both = model(input_ids=letter, **shown)
    assert found[0] == pytest.approx(
        max(100 * float((both.text_embeds @ both.image_embeds.T).squeeze()), 0), abs=1e-3
    )
    with pytest.raises(UserError, match="no such folder; nothing is fetched"):
        clip_scores(tmp_path / "none", iter(pictures), captions)
