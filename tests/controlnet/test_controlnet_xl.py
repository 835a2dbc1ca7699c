"""SDXL in miniature: what it is told beside a picture, and the line from triplets to scores."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest
import tiny_sd
import torch

pytest.importorskip("diffusers")

from tetrapose.cli import main  # noqa: E402
from tetrapose.controlnet import memory, networks  # noqa: E402
from tetrapose.controlnet.base import SD, XL, find_base, find_controlnet  # noqa: E402
from tetrapose.controlnet.conditions import Told, given  # noqa: E402
from tetrapose.controlnet.folder import read_card, read_checkpoint  # noqa: E402
from tetrapose.controlnet.painter import load_painter  # noqa: E402
from tetrapose.controlnet.preflight import preflight  # noqa: E402
from tetrapose.controlnet.settings import Settings  # noqa: E402
from tetrapose.controlnet.training import train  # noqa: E402
from tetrapose.errors import UserError  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
CAPTIONS = ["a dog on a lawn", "two cats", ""]


@pytest.fixture
def settings(tiny_xl) -> Settings:
    return Settings(
        base=str(tiny_xl), steps=4, batch=2, lr=1e-3, warmup=2, ema=0.99, every=2, look=10**6,
        shown=0, look_steps=2, workers=0, drop=0.3, cache=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(tiny_xl, tiny_library, tmp_path_factory):
    """A finished run of four steps, latents and texts kept."""
    out = tmp_path_factory.mktemp("xl") / "animals"
    rules = Settings(
        base=str(tiny_xl), steps=4, batch=2, lr=1e-3, warmup=2, ema=0.99, every=2, look=4,
        shown=1, look_steps=2, workers=0, drop=0.3, cache=True,
    )  # fmt: skip
    train([tiny_library], out, rules)
    return out, rules


def parts_of(folder, dtype=torch.float32):
    return networks.open_base(find_base(folder), device=torch.device("cpu"), dtype=dtype)


@pytest.mark.parametrize("base", ["tiny_base", "tiny_xl"])
def test_words_are_read_as_the_pipeline_of_diffusers_reads_them(base, request):
    from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline

    readers = parts_of(request.getfixturevalue(base))["readers"]
    told = dataclasses.replace(readers, silence=False).read(CAPTIONS)
    names = ("text_encoder", "tokenizer"), ("text_encoder_2", "tokenizer_2")
    held = {}
    for pair, encoder, words in zip(names, readers.encoders, readers.tokenizers, strict=False):
        held |= {pair[0]: encoder, pair[1]: words}
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel.from_pretrained(str(request.getfixturevalue(base) / "unet"))
    kind = StableDiffusionXLPipeline if base == "tiny_xl" else StableDiffusionPipeline
    more = {} if base == "tiny_xl" else {"safety_checker": None, "feature_extractor": None}
    if base == "tiny_base":
        more["requires_safety_checker"] = False
    pipe = kind(vae=None, unet=unet, scheduler=None, **held, **more)
    asked = {"device": "cpu", "num_images_per_prompt": 1, "do_classifier_free_guidance": False}
    found = pipe.encode_prompt(CAPTIONS, **asked)
    assert torch.equal(told.words, found[0])
    if base == "tiny_base":
        assert told.summary is None
        return
    assert torch.equal(told.summary, found[2])
    numbers = pipe._get_add_time_ids((96, 64), (0, 0), (96, 64), torch.float32, 24)
    assert torch.equal(given(told, (64, 96))["added_cond_kwargs"]["time_ids"][1:2], numbers)


def test_a_caption_left_out_is_told_as_zeros_and_only_it(tiny_xl):
    readers = parts_of(tiny_xl)["readers"]
    assert readers.silence
    told = readers.read(CAPTIONS)
    assert not told.words[2].any()
    assert not told.summary[2].any()
    spoken = dataclasses.replace(readers, silence=False).read(CAPTIONS)
    assert torch.equal(told.words[:2], spoken.words[:2])
    assert torch.equal(told.summary[:2], spoken.summary[:2])
    assert spoken.words[2].any()


def test_summary_and_sizes_reach_the_networks(tiny_xl):
    from diffusers import ControlNetModel

    unet = parts_of(tiny_xl)["unet"]
    control = ControlNetModel.from_unet(unet)
    for name, one in control.named_parameters():
        if name.startswith(networks.WHOLE):
            torch.nn.init.normal_(one, std=0.1)  # fresh ones are zero and say nothing
    draw = torch.Generator().manual_seed(0)
    latents, pose = (torch.randn(1, c, s, s, generator=draw) for c, s in ((4, 8), (3, 64)))
    plain = Told(torch.randn(1, 16, 32, generator=draw), torch.randn(1, 24, generator=draw))
    other = Told(plain.words, plain.summary + 1)

    def middle(told, size):
        with torch.no_grad():
            return control(
                latents, torch.tensor([5]), controlnet_cond=pose, return_dict=False,
                **given(told, size),
            )[1]  # fmt: skip

    first = middle(plain, (64, 64))
    assert torch.equal(first, middle(plain, (64, 64)))
    assert not torch.allclose(first, middle(other, (64, 64)))
    assert not torch.allclose(first, middle(plain, (64, 128)))


def test_half_and_half_is_the_whole_and_so_it_is_without_the_cache(run, tiny_library, tmp_path):
    whole, rules = run
    train([tiny_library], tmp_path / "halves", dataclasses.replace(rules, steps=2))
    train([tiny_library], tmp_path / "halves", rules)
    one, two = read_checkpoint(whole), read_checkpoint(tmp_path / "halves")
    for part in ("weights", "average"):
        assert one[part].keys() == two[part].keys()
        assert all(torch.equal(one[part][name], two[part][name]) for name in one[part])
    names = {path.name for path in (whole / "cache").iterdir()}
    assert {"texts.f16", "summaries.f16", "latents-64x64.f16"} < names
    train([tiny_library], tmp_path / "plain", dataclasses.replace(rules, cache=False))

    def losses(folder):
        lines = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
        return [line["loss"] for line in lines if "loss" in line]

    assert losses(tmp_path / "plain") == pytest.approx(losses(whole), rel=2e-3)
    assert (whole / "validation.html").read_text().count("data:image/jpeg") == 1
    assert read_card(whole / "controlnet")["family"] == XL


def test_it_paints_and_is_scored(run, tiny_xl, tiny_base, tiny_library, tmp_path, capsys):
    whole, _ = run
    asked = ["--base", str(tiny_xl), "--controlnet", str(whole), "--steps", "2", "--batch", "2"]
    many = ["--triplets", str(tiny_library), "--limit", "2", "--out", str(tmp_path / "many")]
    assert main(["controlnet", "generate", *asked, *many]) == 0
    assert main(["controlnet", "score", str(tmp_path / "many")]) == 0
    pictures = [tiny_sd.pixels(tmp_path / "many" / f"00000{i}.png") for i in range(2)]
    assert [one.shape for one in pictures] == [(64, 64, 3)] * 2
    assert not np.array_equal(*pictures)
    figures = json.loads((tmp_path / "many" / "score" / "score.json").read_text())
    assert figures["painted"]["pictures"] == 2
    capsys.readouterr()
    wrong = ["--base", str(tiny_base), "--controlnet", str(whole), "--out", str(tmp_path / "no")]
    pose = ["--pose", str(tiny_sd.pose_json(tmp_path / "pose.json")), "--prompt", "a dog"]
    assert main(["controlnet", "generate", *wrong, *pose]) == 2
    assert "was made for another base" in capsys.readouterr().err


def test_it_goes_on_from_a_controlnet_and_as_low_rank_additions(
    run, settings, tiny_library, tmp_path
):
    from diffusers import ControlNetModel

    start = run[0] / "controlnet"
    few = dataclasses.replace(
        settings, steps=2, start=str(start), lora=2, lr=1e-2, ema=0.0, checkpointing=True
    )
    train([tiny_library], tmp_path / "lora", few)
    there = read_checkpoint(tmp_path / "lora")["weights"]
    assert any("lora_" in name for name in there)
    folders = start, tmp_path / "lora" / "controlnet"
    before, after = (dict(ControlNetModel.from_pretrained(f).named_parameters()) for f in folders)
    assert before.keys() == after.keys()
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert "add_embedding.linear_1.weight" in same  # neither added to nor learned whole
    assert "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight" not in same


def test_the_vae_that_overflows_stays_in_float32(tiny_xl, tiny_base, run, tmp_path):
    half = torch.bfloat16
    assert parts_of(tiny_xl, half)["vae"].dtype == torch.float32
    assert parts_of(tiny_xl, half)["unet"].dtype == half
    assert parts_of(tiny_base, half)["vae"].dtype == half
    mended = shutil.copytree(tiny_xl, tmp_path / "mended")
    config = json.loads((mended / "vae" / "config.json").read_text()) | {"force_upcast": False}
    (mended / "vae" / "config.json").write_text(json.dumps(config))
    assert parts_of(mended, half)["vae"].dtype == half
    painter = load_painter(tiny_xl, run[0], precision="bfloat16", device="cpu")
    painter.how = dataclasses.replace(painter.how, steps=2, negative="")
    black = np.zeros((64, 64, 3), np.uint8)
    (made,) = painter.paint(["a dog"], [black], [0])
    assert made.shape == (64, 64, 3)


def test_half_precision_learns_paints_and_is_kept_whole(settings, tiny_library, tmp_path):
    from accelerate.state import AcceleratorState
    from diffusers import ControlNetModel

    half = dataclasses.replace(
        settings, steps=1, precision="bfloat16", shown=1, cache=False, look_steps=1
    )
    AcceleratorState._reset_state(True)  # it holds one precision a process
    try:
        train([tiny_library], tmp_path / "run", half)
    finally:
        AcceleratorState._reset_state(True)
    kept = ControlNetModel.from_pretrained(str(tmp_path / "run" / "controlnet"))
    assert {p.dtype for p in kept.parameters()} == {torch.float32}
    assert (tmp_path / "run" / "validation.html").read_text().count("data:image/jpeg") == 1


def test_preflight_finds_nothing_wrong_and_says_what_it_is(settings, tiny_library, tmp_path):
    checks = preflight([tiny_library], tmp_path / "run", settings)
    assert [check.name for check in checks if not check.right] == []
    told = {check.name: check.said for check in checks}
    assert ": SDXL, unet " in told["base"]
    assert "text_encoder_2 " in told["base"]
    assert "about 1.0 GB" in told["memory"]  # the miniature is nothing beside the rule of thumb


@pytest.mark.parametrize(
    "part, change, told",
    [
        ("text_encoder_2", {"projection_dim": 20}, "give 20 numbers where its UNet reads 24"),
        ("text_encoder", {"hidden_size": 20}, "give 40 numbers where its UNet reads 32"),
        ("vae", {"latents_mean": [0, 0, 0, 0]}, "shifts latents"),
    ],
)
def test_parts_that_do_not_belong_together_are_told(tiny_xl, tmp_path, part, change, told):
    base = shutil.copytree(tiny_xl, tmp_path / "base")
    path = base / part / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=told):
        find_base(base)


def test_folders_say_their_family(tiny_xl, tiny_base, run):
    assert [find_base(one).family for one in (tiny_base, tiny_xl)] == [SD, XL]
    controlnet = run[0] / "controlnet"
    assert find_controlnet(controlnet, find_base(tiny_xl))["addition_embed_type"] == "text_time"
    with pytest.raises(UserError, match="was made for another base"):
        find_controlnet(controlnet, find_base(tiny_base))


def test_the_estimate_counts_the_second_encoder_and_the_wide_vae(settings, tiny_xl):
    base = find_base(tiny_xl)
    half = dataclasses.replace(settings, precision="bfloat16")
    plain, low = (memory.estimate(base, one, (64, 64)) for one in (settings, half))
    assert set(base.parameters) == {"unet", "vae", "text_encoder", "text_encoder_2"}
    assert plain.frozen == 4 * sum(base.parameters.values())
    assert low.frozen == plain.frozen / 2 + 2 * base.parameters["vae"]
    assert plain.activations > 0
