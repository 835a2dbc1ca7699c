"""Each thing that can be wrong with a run is one line before anything is loaded."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest

from tetrapose.controlnet import preflight as looking
from tetrapose.controlnet.base import find_base, find_controlnet
from tetrapose.controlnet.preflight import preflight
from tetrapose.controlnet.settings import Settings
from tetrapose.errors import UserError
from tetrapose.triplets.library import Library


@pytest.fixture
def settings(tiny_base) -> Settings:
    return Settings(base=str(tiny_base), batch=2, shown=1)


def wrong(libraries, out, settings):
    return {
        c.name: c.said for c in preflight(libraries, out, settings, memory=False) if not c.right
    }


def edited(folder, change):
    content = json.loads(folder.read_text())
    change(content)
    folder.write_text(json.dumps(content))


def test_a_run_that_can_begin_has_nothing_wrong_and_nothing_is_written(
    settings, tiny_library, tmp_path
):
    checks = preflight([tiny_library], tmp_path / "run", settings)
    assert [check.name for check in checks] == [
        "packages", "base", "triplets", "shards", "sizes", "output", "memory",
    ]  # fmt: skip
    assert [check.name for check in checks if not check.right] == []
    assert "12 in 3 shards, animal_controlnet-v1, on animal_pose" in checks[2].said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "spoil, told",
    [
        (lambda base: shutil.rmtree(base / "vae"), "lacks vae/"),
        (lambda base: next((base / "unet").glob("*.safetensors")).unlink(), "weights are missing"),
        (
            lambda base: (base / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(
                (base / "unet" / "diffusion_pytorch_model.safetensors").read_bytes()[:-9]
            ),
            "not a whole safetensors file",
        ),
        (
            lambda base: (base / "text_encoder" / "model.safetensors").rename(
                base / "text_encoder" / "pytorch_model.bin"
            ),
            "pytorch_model.bin, a pickle, which is not opened",
        ),
        (
            lambda base: edited(
                base / "unet" / "config.json", lambda c: c.update(addition_embed_type="text_time")
            ),
            "lacks text_encoder_2/, tokenizer_2/",
        ),
        (
            lambda base: edited(
                base / "unet" / "config.json", lambda c: c.update(addition_embed_type="image")
            ),
            "its UNet is told 'image'; bases are",
        ),
        (
            lambda base: edited(
                base / "text_encoder" / "config.json", lambda c: c.update(hidden_size=32)
            ),
            "text encoders give 32 numbers where its UNet reads 16",
        ),
        (
            lambda base: edited(base / "unet" / "config.json", lambda c: c.update(in_channels=9)),
            "inpainting",
        ),
        (lambda base: (base / "unet" / "config.json").write_text("{"), "cannot be read"),
        (lambda base: (base / "tokenizer" / "vocab.json").unlink() or (
            base / "tokenizer" / "tokenizer_config.json").unlink(), "no vocabulary"),
    ],
)  # fmt: skip
def test_a_base_that_lacks_something_is_told(tiny_base, tmp_path, spoil, told):
    base = shutil.copytree(tiny_base, tmp_path / "base")
    spoil(base)
    with pytest.raises(UserError, match=told):
        find_base(base)


def test_a_base_that_is_not_here_says_how_to_fetch_it(settings, tiny_library, tmp_path):
    far = dataclasses.replace(settings, base="someone/gated-model")
    found = wrong([tiny_library], tmp_path / "run", far)
    assert list(found) == ["base"]
    assert "hf download someone/gated-model" in found["base"]
    assert (
        "no such folder"
        in wrong([tiny_library], tmp_path / "run", dataclasses.replace(settings, base="./nowhere"))[
            "base"
        ]
    )


def test_every_fault_is_told_at_once(settings, tiny_library, tmp_path):
    lib = shutil.copytree(tiny_library, tmp_path / "lib")
    shard = Library(lib).shards()[1]
    shard.write_bytes(shard.read_bytes() + b"\0" * 512)
    (tmp_path / "file").write_text("")
    bad = dataclasses.replace(settings, start=str(tmp_path / "none"), optimizer="adamw8bit")
    found = wrong([lib], tmp_path / "file", bad)
    assert "needs bitsandbytes" in found["packages"]
    assert "no ControlNet" in found["start"]
    assert "its ledger tells of" in found["shards"]
    assert "a file, where a folder is due" in found["output"]


def test_triplets_that_do_not_fit_are_told(settings, tiny_library, tmp_path, monkeypatch):
    found = wrong([tiny_library], tmp_path / "run", dataclasses.replace(settings, skeleton="ap10k"))
    assert "stand on animal_pose, not on ap10k" in found["triplets"]
    found = wrong([tiny_library], tmp_path / "run", dataclasses.replace(settings, batch=50))
    assert "11 triplets are fewer than --batch 50" in found["triplets"]
    assert "no library" in wrong([], tmp_path / "run", settings)["triplets"]
    base = find_base(settings.base)
    monkeypatch.setattr(type(base), "multiple", property(lambda self: 96))
    assert "multiples of 96" in wrong([tiny_library], tmp_path / "run", settings)["sizes"]


def test_a_controlnet_of_another_base_is_told(tiny_base, tmp_path):
    unet = shutil.copytree(tiny_base / "unet", tmp_path / "control")
    edited(unet / "config.json", lambda c: c.update(cross_attention_dim=1024))
    with pytest.raises(UserError, match=r"cross_attention_dim 1024, the base's UNet has 16"):
        find_controlnet(unet, find_base(tiny_base))


def test_too_little_memory_is_told_with_what_to_do(settings, tiny_library, tmp_path, monkeypatch):
    from tetrapose.controlnet import memory

    monkeypatch.setattr(memory, "available", lambda device: 1e8)
    checks = preflight([tiny_library], tmp_path / "run", settings)
    assert not checks[-1].right
    assert "0.1 GB free; give a smaller --batch" in checks[-1].said
    monkeypatch.undo()
    free = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(looking.shutil, "disk_usage", lambda path: free)
    assert "two checkpoints take" in preflight([tiny_library], tmp_path / "run", settings)[-1].said


def test_the_estimate_counts_what_learns_and_what_is_kept(settings):
    from tetrapose.controlnet.memory import estimate

    base = find_base(settings.base)
    plain = estimate(base, settings, (64, 64))
    assert plain.frozen == 4 * sum(base.parameters.values())
    assert plain.optimizer == 8 * plain.learned
    assert plain.weights == 8 * plain.learned
    twice = estimate(base, dataclasses.replace(settings, batch=4), (64, 64))
    assert 1.8 < twice.activations / plain.activations <= 2.01
    again = estimate(base, dataclasses.replace(settings, checkpointing=True), (64, 64))
    assert again.activations < 0.9 * plain.activations
    low = estimate(base, dataclasses.replace(settings, lora=2, ema=0.0), (64, 64))
    assert low.learned < plain.learned
    assert low.average == 0


def test_kept_tensors_are_those_of_the_real_networks(settings, tiny_base):
    """The count on the meta device against a pass with numbers."""
    import torch
    from torch.autograd.graph import saved_tensors_hooks

    from tetrapose.controlnet import memory

    base = find_base(settings.base)
    unet, control, _ = memory._networks(base, settings)
    counted = memory._held(unet, control, base, settings, (64, 64))
    from diffusers import ControlNetModel, UNet2DConditionModel

    unet = UNet2DConditionModel.from_pretrained(str(tiny_base / "unet")).requires_grad_(False)
    control = ControlNetModel.from_unet(unet).requires_grad_(True)
    tally = memory._Tally({id(p) for net in (unet, control) for p in net.parameters()})
    latents, steps = torch.randn(2, 4, 8, 8), torch.tensor([3, 5])
    text = torch.randn(2, memory.TEXT, 16)
    with memory._fused(), saved_tensors_hooks(tally.hold, memory._same):
        down, middle = control(
            latents, steps, encoder_hidden_states=text, controlnet_cond=torch.rand(2, 3, 64, 64),
            return_dict=False,
        )  # fmt: skip
        unet(
            latents, steps, encoder_hidden_states=text, down_block_additional_residuals=down,
            mid_block_additional_residual=middle, return_dict=False,
        )  # fmt: skip
    assert counted == pytest.approx(tally.total, rel=0.02)
