"""The whole line in miniature: triplets, training, stopping and going on, ways back, painting."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest
import tiny_sd
import torch

pytest.importorskip("diffusers")

from tetrapose.controlnet import networks, training  # noqa: E402
from tetrapose.controlnet.folder import read_card, read_checkpoint  # noqa: E402
from tetrapose.controlnet.settings import Settings  # noqa: E402
from tetrapose.controlnet.training import train  # noqa: E402
from tetrapose.errors import UserError  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture
def settings(tiny_base) -> Settings:
    return Settings(
        base=str(tiny_base), steps=6, batch=2, lr=1e-3, warmup=2, ema=0.99, every=3, look=10**6,
        shown=0, look_steps=2, workers=0, drop=0.2, patience=2,
    )  # fmt: skip


def losses_of(folder):
    lines = [json.loads(one) for one in (folder / "log.jsonl").read_text().splitlines()]
    return [one["loss"] for one in lines if "loss" in one]


def state_of(folder):
    there = read_checkpoint(folder)
    adam = there["optimizer"]["state"]
    flat = {f"adam {i} {k}": v for i, one in adam.items() for k, v in one.items()}
    return {**there["weights"], **{f"ema {k}": v for k, v in there["average"].items()}, **flat}


def same(one, two):
    assert one.keys() == two.keys()
    return all(torch.equal(torch.as_tensor(one[k]), torch.as_tensor(two[k])) for k in one)


def test_half_and_half_is_the_whole_to_the_bit(settings, tiny_library, tmp_path):
    part = dataclasses.replace(settings, accumulate=2, drop=0.5)
    train([tiny_library], tmp_path / "whole", part)
    train([tiny_library], tmp_path / "halves", dataclasses.replace(part, steps=3))
    half = state_of(tmp_path / "halves")
    card = train([tiny_library], tmp_path / "halves", part)
    whole, halves = state_of(tmp_path / "whole"), state_of(tmp_path / "halves")
    assert same(whole, halves)
    assert not same(whole, half)
    assert losses_of(tmp_path / "whole") == losses_of(tmp_path / "halves")
    assert len(losses_of(tmp_path / "whole")) == 6
    assert card["steps"] == 6
    assert card["pictures_seen"] > 6 * 2  # two passes a step, and some batches are short


def test_the_loss_falls_and_what_is_kept_is_the_average(settings, tiny_library, tmp_path):
    more = dataclasses.replace(settings, steps=60, every=60, lr=3e-3, ema=0.9, drop=0.0)
    card = train([tiny_library], tmp_path / "run", more)
    told = losses_of(tmp_path / "run")
    assert sum(told[-20:]) < 0.9 * sum(told[:20])
    folder = tmp_path / "run" / "controlnet"
    assert read_card(folder) == card
    assert card["style"] == tiny_sd.STYLE
    assert card["averaged"]
    from diffusers import ControlNetModel

    kept = dict(ControlNetModel.from_pretrained(str(folder)).named_parameters())
    there = read_checkpoint(tmp_path / "run")
    for name, value in there["average"].items():
        assert torch.equal(kept[name], value)
    assert any(not torch.equal(kept[name], value) for name, value in there["weights"].items())


def test_an_injected_nan_leads_back_and_is_counted(settings, tiny_library, tmp_path, monkeypatch):
    calm = dataclasses.replace(settings, every=2)
    right = training._loss
    count = {"steps": 0}

    def spoilt(session, batch):
        count["steps"] += 1
        if count["steps"] == 4:  # behind the checkpoint of step 2: every weight is lost
            with torch.no_grad():
                for one in networks.learned(session.net.control).values():
                    one.fill_(math.nan)
        return right(session, batch)

    monkeypatch.setattr(training, "_loss", spoilt)
    told = []
    card = train([tiny_library], tmp_path / "run", calm, tell=told.append)
    assert card["back"] == 1
    assert card["skipped"] == calm.patience
    assert [one["done"] for one in told] == ["step"] * 3 + ["skip", "back"] + ["step"] * 4
    assert all(bool(torch.isfinite(one).all()) for one in state_of(tmp_path / "run").values())
    events = (tmp_path / "run" / "log.jsonl").read_text()
    assert '"event": "back", "at": 3, "step": 2' in events
    assert read_checkpoint(tmp_path / "run")["counts"]["back"] == 1


def test_one_bad_step_is_skipped_and_a_run_of_them_ends(
    settings, tiny_library, tmp_path, monkeypatch
):
    right = training._loss
    bad = {3}
    count = {"steps": 0}

    def spoilt(session, batch):
        count["steps"] += 1
        return right(session, batch) * (math.inf if count["steps"] in bad else 1.0)

    monkeypatch.setattr(training, "_loss", spoilt)
    card = train([tiny_library], tmp_path / "one", settings)
    assert (card["skipped"], card["back"], card["steps"]) == (1, 0, 6)
    bad |= set(range(1000))
    with pytest.raises(UserError, match="2 steps in a row were not finite, again after 3 ways"):
        train([tiny_library], tmp_path / "all", settings)


def test_low_rank_additions_learn_and_end_up_in_a_plain_controlnet(
    settings, tiny_library, tmp_path
):
    from diffusers import ControlNetModel

    few = dataclasses.replace(settings, lora=2, lr=1e-2, min_snr=0.0, checkpointing=True)
    train([tiny_library], tmp_path / "first", dataclasses.replace(settings, ema=0.0))
    start = tmp_path / "first" / "controlnet"
    train([tiny_library], tmp_path / "lora", dataclasses.replace(few, start=str(start), ema=0.0))
    there = read_checkpoint(tmp_path / "lora")["weights"]
    assert any("lora_" in name for name in there)
    assert all("lora_" in name or name.startswith(networks.WHOLE) for name in there)
    before = dict(ControlNetModel.from_pretrained(str(start)).named_parameters())
    after = dict(
        ControlNetModel.from_pretrained(str(tmp_path / "lora" / "controlnet")).named_parameters()
    )
    assert before.keys() == after.keys()
    name = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight"
    added = [there[f"{name.removesuffix('.weight')}.lora_{k}.default.weight"] for k in "BA"]
    assert torch.allclose(after[name], before[name] + added[0] @ added[1], atol=1e-6)
    assert not torch.equal(after[name], before[name])


def test_kept_latents_and_texts_give_the_same_run_stopped_or_not(settings, tiny_library, tmp_path):
    kept = dataclasses.replace(settings, cache=True)
    train([tiny_library], tmp_path / "whole", kept)
    train([tiny_library], tmp_path / "halves", dataclasses.replace(kept, steps=3))
    train([tiny_library], tmp_path / "halves", kept)
    assert same(state_of(tmp_path / "whole"), state_of(tmp_path / "halves"))
    names = {p.name for p in (tmp_path / "whole" / "cache").iterdir()}
    assert names == {"latents-64x64.f16", "latents-64x64.done", "texts.f16", "texts.done"}
    train([tiny_library], tmp_path / "plain", settings)
    for one, two in zip(losses_of(tmp_path / "plain"), losses_of(tmp_path / "whole"), strict=True):
        assert one == pytest.approx(two, rel=2e-3)


def test_held_out_pictures_go_to_the_page_and_the_board(settings, tiny_library, tmp_path):
    train([tiny_library], tmp_path / "run", dataclasses.replace(settings, look=3, shown=1))
    text = (tmp_path / "run" / "validation.html").read_text()
    assert text.index("Step 6") < text.index("Step 3")
    assert text.count("data:image/jpeg") == 2
    assert list((tmp_path / "run" / "tensorboard").glob("events.*"))
    held = [json.loads(one) for one in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [one["step"] for one in held if "held_out" in one] == [3, 6]


def test_a_folder_of_another_run_and_wrong_settings_are_refused(settings, tiny_library, tmp_path):
    one = dataclasses.replace(settings, steps=1, every=1)
    train([tiny_library], tmp_path / "run", one)
    with pytest.raises(UserError, match=r"settings.lr: 0.001 there, 0.5 here"):
        train([tiny_library], tmp_path / "run", dataclasses.replace(one, lr=0.5))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("mine")
    with pytest.raises(UserError, match=r"holds other files \(thesis.tex\)"):
        train([tiny_library], tmp_path / "other", one)
    with pytest.raises(UserError, match="adamw8bit needs bitsandbytes"):
        train([tiny_library], tmp_path / "eight", dataclasses.replace(one, optimizer="adamw8bit"))


def test_half_precision_learns_and_is_kept_whole(settings, tiny_library, tmp_path):
    from accelerate.state import AcceleratorState
    from diffusers import ControlNetModel

    half = dataclasses.replace(settings, steps=2, every=2, precision="bfloat16", shown=1)
    AcceleratorState._reset_state(True)  # it holds one precision a process
    try:
        train([tiny_library], tmp_path / "run", half)
    finally:
        AcceleratorState._reset_state(True)
    kept = ControlNetModel.from_pretrained(str(tmp_path / "run" / "controlnet"))
    assert {p.dtype for p in kept.parameters()} == {torch.float32}
    there = read_checkpoint(tmp_path / "run")["average"]
    assert all(torch.equal(dict(kept.named_parameters())[k], v) for k, v in there.items())
    assert (tmp_path / "run" / "validation.html").exists()
