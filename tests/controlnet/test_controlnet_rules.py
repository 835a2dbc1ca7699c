"""Losses, learning rates, the guard: what holds of them without any network."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tetrapose.controlnet import losses
from tetrapose.controlnet.guard import Guard
from tetrapose.controlnet.settings import Settings, rate
from tetrapose.errors import UserError

ALPHAS = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2, 0)


@given(st.floats(0.1, 50), st.sampled_from(losses.PREDICTIONS))
def test_both_predictions_weigh_the_pictures_error_by_the_capped_ratio(gamma, prediction):
    # the error of the picture is that of the noise over the ratio, and that of the velocity over
    # the ratio plus 1: times its factor, every weight must come to min(ratio, gamma)
    ratio = losses.signal_to_noise(ALPHAS, torch.arange(1000))
    weights = losses.min_snr_weights(ratio, gamma, prediction)
    factor = ratio if prediction == "epsilon" else ratio + 1
    assert torch.allclose(weights * factor, ratio.clamp(max=gamma))


def test_without_gamma_every_level_counts_the_same():
    ratio = losses.signal_to_noise(ALPHAS, torch.arange(1000))
    assert losses.min_snr_weights(ratio, 0.0, "epsilon").unique().tolist() == [1.0]


def test_a_velocity_gives_back_picture_and_noise():
    latents, noise = torch.randn(2, 3, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    alpha = torch.tensor([0.1, 0.5, 0.9])
    velocity = losses.target_of(latents, noise, alpha, "v_prediction")
    mixed = alpha[:, None, None, None]
    noisy = mixed.sqrt() * latents + (1 - mixed).sqrt() * noise
    assert torch.allclose(mixed.sqrt() * noisy - (1 - mixed).sqrt() * velocity, latents, atol=1e-5)
    assert torch.allclose((1 - mixed).sqrt() * noisy + mixed.sqrt() * velocity, noise, atol=1e-5)
    assert losses.target_of(latents, noise, alpha, "epsilon") is noise
    with pytest.raises(UserError, match="predicts 'sample'"):
        losses.target_of(latents, noise, alpha, "sample")


def test_the_weighted_loss_is_a_mean_over_pictures():
    predicted, target = torch.zeros(2, 1, 2, 2), torch.ones(2, 1, 2, 2)
    target[1] *= 3
    assert losses.weighted(predicted, target, torch.tensor([1.0, 0.5])) == (1 + 4.5) / 2


def test_averages_follow_quickly_at_first_and_slowly_then():
    average = {"w": torch.zeros(1)}
    losses.average_into(average, {"w": torch.ones(1)}, 0.999, 0)
    assert average["w"].item() == pytest.approx(0.9)
    average = {"w": torch.zeros(1)}
    losses.average_into(average, {"w": torch.ones(1)}, 0.999, 10**6)
    assert average["w"].item() == pytest.approx(0.001, rel=1e-3)


def test_rates_rise_then_stay_or_fall():
    settings = Settings("b", steps=100, warmup=10, lr=1e-3)
    assert rate(settings, 0) == pytest.approx(1e-4)
    assert rate(settings, 9) == rate(settings, 99) == 1e-3
    cosine = Settings("b", steps=100, warmup=10, lr=1e-3, schedule="cosine")
    assert rate(cosine, 10) == 1e-3
    assert rate(cosine, 55) == pytest.approx(5e-4)
    assert rate(cosine, 100) == pytest.approx(0, abs=1e-9)


def test_more_steps_are_the_same_run_unless_the_rate_depends_on_them():
    assert Settings("b", steps=5).fixed() == Settings("b", steps=9).fixed()
    one, two = (Settings("b", steps=n, schedule="cosine").fixed() for n in (5, 9))
    assert one != two
    assert Settings("b", lr=1e-4).fixed() != Settings("b").fixed()


@pytest.mark.parametrize(
    "given, told",
    [
        ({"batch": 0}, r"batch 0: 1\.\."),
        ({"min_snr": -1.0}, "min-snr -1"),
        ({"optimizer": "sgd"}, "optimizer 'sgd': it is one of adamw, adamw8bit"),
        ({"precision": "fp8"}, "precision 'fp8'"),
        ({"drop": 1.5}, "drop 1.5"),
    ],
)
def test_settings_out_of_range_are_told(given, told):
    with pytest.raises(UserError, match=told):
        Settings("b", **given)


def test_the_guard_skips_then_goes_back_then_gives_up():
    guard = Guard(patience=3, most_back=2)
    assert [guard.judge(False, ["a"]) for _ in range(3)] == ["skip", "skip", "back"]
    assert guard.judge(True, ["b"]) == "step"
    assert [guard.judge(False, ["c"]) for _ in range(3)] == ["skip", "skip", "back"]
    assert guard.counts() == {"skipped": 6, "back": 2, "unreadable": 0}
    guard.judge(False, ["d"])
    guard.judge(False, ["e"])
    with pytest.raises(UserError, match=r"again after 2 ways back .*triplets c, c, d, e|d, e, f"):
        guard.judge(False, ["f"])


def test_a_good_step_between_forgets_the_bad_ones():
    guard = Guard(patience=2, most_back=0)
    for _ in range(5):
        assert guard.judge(False, []) == "skip"
        assert guard.judge(True, []) == "step"
    assert guard.counts()["skipped"] == 5


def test_a_checkpoint_allows_further_ways_back_and_counts_come_through():
    guard = Guard(patience=1, most_back=1)
    assert guard.judge(False, []) == "back"
    guard.good()
    assert guard.spoilt() == "back"
    other = Guard(patience=1, most_back=1)
    other.restore(guard.counts())
    assert other.counts() == guard.counts() == {"skipped": 1, "back": 2, "unreadable": 0}
