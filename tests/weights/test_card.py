"""A saved model comes back as it was; a file not whole or not honest is refused in one line."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tetrapose import skeletons
from tetrapose.codecs import Distribution, Heatmap
from tetrapose.errors import UserError
from tetrapose.models.small import small
from tetrapose.weights import card as cards
from tetrapose.weights import files

SMALL = {"channels": [8, 8, 8, 8], "blocks": [1, 1, 1, 1], "neck": 16}
SKELETON = skeletons.load("ap10k")
K = len(SKELETON)


def make_card(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "skeleton": SKELETON,
        "codec": Heatmap(K, (64, 96), sigma=1.5),
        "normalisation": {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.25]},
        "crop": {"padding": 1.25},
    }
    return cards.describe("tetrapose.models.small:small", SMALL, **{**values, **changes})


def make_model(seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    model = small(K, **SMALL)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.running_var, 0.5, 1e5)  # beyond half precision
    return model.eval()


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "cat.v1.safetensors"
    cards.save(path, make_model(), make_card())
    return path


@pytest.fixture
def saved(original: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    for suffix in (".safetensors", ".json"):
        shutil.copy(original.with_suffix(suffix), tmp_path)
    return tmp_path / original.name


def refused(path: str | Path, *words: str) -> str:
    """The one line with which ``load`` refuses a path, which must hold the words."""
    with pytest.raises(UserError) as caught:
        cards.load(path)
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 400
    for word in words:
        assert word in line
    return line


def edit_card(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    beside = path.with_suffix(".json")
    card = json.loads(beside.read_text())
    change(card)
    beside.write_text(json.dumps(card))


def resign(path: Path) -> None:
    """Make the card's sha256 that of the tensors file, as a forger would."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    edit_card(path, lambda card: card.update(sha256=digest))


# What is saved comes back


@pytest.mark.parametrize("dtype", (torch.float32, torch.float16))
def test_outputs_come_back(tmp_path: Path, dtype: torch.dtype) -> None:
    model, path = make_model(), tmp_path / "m.safetensors"
    cards.save(path, model, make_card(), dtype=dtype)
    loaded = cards.load(path)
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        before, after = model(images), loaded.model(images)
    assert {p.dtype for p in loaded.model.parameters()} == {torch.float32}
    assert not loaded.model.training
    assert before.std() > 0
    if dtype == torch.float32:
        assert torch.equal(before, after)
    else:
        assert not torch.equal(before, after)
        assert float((before - after).abs().max()) < 0.01 * float(before.abs().max())


def test_half_precision_halves_the_file_and_spares_the_statistics(
    original: Path, tmp_path: Path
) -> None:
    cards.save(tmp_path / "full.safetensors", make_model(), make_card(), dtype=torch.float32)
    full, half = load_file(tmp_path / "full.safetensors"), load_file(original)
    assert {half[n].dtype for n in half if half[n].ndim >= 2} == {torch.float16}
    for name in (n for n in full if full[n].ndim < 2):
        assert torch.equal(full[name], half[name])
    assert max(float(half[n].max()) for n in half if n.endswith("running_var")) > 65504


def test_a_kernel_that_half_precision_cannot_hold_stays_whole(tmp_path: Path) -> None:
    model = make_model()
    with torch.no_grad():
        model.head.weight.fill_(1e5)
    cards.save(tmp_path / "m.safetensors", model, make_card())
    assert torch.equal(cards.load(tmp_path / "m.safetensors").model.head.weight, model.head.weight)


@pytest.mark.parametrize("codec", (Heatmap(K, (64, 96), sigma=3.0), Distribution(K, (96, 64))))
def test_skeleton_codec_and_words_come_back(tmp_path: Path, codec: Any) -> None:
    path = tmp_path / "m.safetensors"
    scores = {"AP": np.float64(0.5), "pck": np.array([0.25, np.nan]), "sizes": (1, 2)}
    written = cards.save(path, make_model(), make_card(codec=codec, scores=scores))
    loaded = cards.load(path)
    assert loaded.skeleton == SKELETON
    assert loaded.codec == codec
    assert loaded.card == written == cards.read(path)
    assert loaded.card["scores"] == {"AP": 0.5, "pck": [0.25, None], "sizes": [1, 2]}
    assert loaded.card["normalisation"]["mean"] == [0.5, 0.4, 0.3]


def test_a_loaded_model_learns_on(saved: Path) -> None:
    model = cards.load(saved).model.train()
    model(torch.randn(2, 3, 64, 64)).sum().backward()
    assert all(p.requires_grad and p.grad is not None for p in model.parameters())


def test_the_weights_are_no_view_of_the_file(saved: Path) -> None:
    model = cards.load(saved).model
    before = model.head.weight.clone()
    saved.write_bytes(bytes(saved.stat().st_size))
    assert torch.equal(model.head.weight, before)


def test_a_card_may_be_named_in_place_of_its_tensors(saved: Path) -> None:
    assert cards.load(saved.with_suffix(".json")).card == cards.load(saved).card


def test_saving_leaves_two_files_alone(saved: Path) -> None:
    cards.save(saved, make_model(1), make_card())
    assert sorted(f.name for f in saved.parent.iterdir()) == ["cat.v1.json", "cat.v1.safetensors"]
    assert torch.equal(
        cards.load(saved).model.stem[0][1].running_var, make_model(1).stem[0][1].running_var
    )


# What must not be saved


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    model = make_model()
    with torch.no_grad():
        model.head.bias[0] = torch.nan
    with pytest.raises(UserError, match="not finite: head.bias"):
        cards.save(tmp_path / "m.safetensors", model, make_card())
    assert list(tmp_path.iterdir()) == []


def test_a_card_that_does_not_fit_its_model_is_not_saved(tmp_path: Path) -> None:
    card = make_card()
    card["architecture"]["arguments"]["neck"] = 32
    with pytest.raises(UserError, match="another shape"):
        cards.save(tmp_path / "m.safetensors", make_model(), card)
    incomplete = {key: value for key, value in make_card().items() if key != "crop"}
    with pytest.raises(UserError, match="lacks crop"):
        cards.save(tmp_path / "m.safetensors", make_model(), incomplete)
    with pytest.raises(UserError, match=r"ends in \.safetensors"):
        cards.save(tmp_path / "m.pt", make_model(), make_card())
    assert list(tmp_path.iterdir()) == []


# Files that are not whole


def test_empty_short_and_foreign_tensors(saved: Path) -> None:
    whole = saved.read_bytes()
    for spoiled in (b"", whole[:7], whole[:100], whole[:-1], b"\x89PNG" + whole, os.urandom(500)):
        saved.write_bytes(spoiled)
        refused(saved, str(saved))


def test_one_changed_bit_is_noticed(saved: Path) -> None:
    data = bytearray(saved.read_bytes())
    data[-100] ^= 1
    saved.write_bytes(data)
    refused(saved, "sha256", "fetch both again")


def test_no_such_file_or_name(tmp_path: Path) -> None:
    refused(tmp_path / "none.safetensors", "no such file")
    refused("defualt", "no model 'defualt'")
    refused(tmp_path, "a model is a .safetensors file")


def test_tensors_without_a_card(saved: Path) -> None:
    saved.with_suffix(".json").unlink()
    refused(saved, "its card cat.v1.json is not beside it")


@pytest.mark.parametrize("text", ("", "{", "[]", "null", "\xff\xfe", '{"format": 1}', "[" * 10**5))
def test_a_card_that_is_no_card(saved: Path, text: str) -> None:
    saved.with_suffix(".json").write_bytes(text.encode("latin-1"))
    refused(saved, "cat.v1.json")


@pytest.mark.parametrize(
    "change, word",
    (
        (lambda c: c.pop("codec"), "lacks codec"),
        (lambda c: c.update(format=2), "format 2"),
        (lambda c: c.update(format="1"), "format must be"),
        (lambda c: c.update(crop=[1]), "crop must be"),
        (lambda c: c["normalisation"].pop("std"), "normalisation.std"),
        (lambda c: c["normalisation"].update(std=[0, 1, 1]), "normalisation.std"),
        (lambda c: c["normalisation"].update(mean=["a", 1, 1]), "normalisation.mean"),
        (lambda c: c["normalisation"].update(mean=[float("nan"), 1, 1]), "normalisation.mean"),
        (lambda c: c["codec"].update(kind="pickle"), "unknown codec 'pickle'"),
        (lambda c: c["codec"].update(radius=3), "radius"),
        (lambda c: c["codec"].update(sigma="wide"), "sigma"),
        (lambda c: c["codec"].update(input_size=[64]), "input_size"),
        (lambda c: c["codec"].update(stride=0), "stride"),
        (lambda c: c["codec"].pop("num_keypoints"), "num_keypoints"),
        (lambda c: c["codec"].update(num_keypoints=3), "3 keypoints"),
        (lambda c: c["skeleton"]["keypoints"].pop(), "skeleton"),
        (lambda c: c["skeleton"].update(keypoints=[{}]), "cat.v1.json"),
        (lambda c: c["skeleton"].update(edges=5), "cat.v1.json"),
        (lambda c: c["architecture"].update(arguments=None), "arguments"),
        (lambda c: c["architecture"]["arguments"].update(depth=50), "depth"),
        (lambda c: c["architecture"]["arguments"].update(num_keypoints=3), "gives 3 keypoints"),
        (lambda c: c["architecture"]["arguments"].update(neck="wide"), "cannot be built"),
    ),
)
def test_a_wrong_entry_of_the_card(saved: Path, change: Callable[..., Any], word: str) -> None:
    edit_card(saved, change)
    refused(saved, str(saved.parent), word)


def test_a_card_of_another_model(saved: Path) -> None:
    other = saved.with_name("other.safetensors")
    cards.save(other, make_model(seed=1), make_card())
    shutil.copy(other.with_suffix(".json"), saved.with_suffix(".json"))
    refused(saved, "not the file that cat.v1.json was written for")


def test_another_number_of_keypoints_throughout(saved: Path) -> None:
    """The card agrees with itself and only the tensors know better."""
    twenty = skeletons.load("animal_pose")
    edit_card(
        saved, lambda c: c.update(make_card(skeleton=twenty, codec=Heatmap(len(twenty), (64, 64))))
    )
    refused(saved, "head.weight [17, 8, 1, 1] where [20, 8, 1, 1] is due")


def test_missing_left_over_and_wrong_tensors_are_all_named(saved: Path) -> None:
    tensors = load_file(saved)
    tensors["head.offset"] = tensors.pop("head.bias")
    tensors["head.weight"] = tensors["head.weight"][:, :4].contiguous()
    tensors["stem.0.1.bias"] = torch.zeros(4, dtype=torch.int64)
    save_file(tensors, saved)
    resign(saved)
    line = refused(saved, "missing head.bias", "left over head.offset", "[17, 4, 1, 1]")
    assert "another kind of number stem.0.1.bias" in line


# Files that are not honest


@pytest.mark.parametrize(
    "builder",
    (
        "os:system",
        "tetrapose.models.small:torch",
        "tetrapose.models.small:functional.relu",
        "tetrapose.models.small:Small",
        "tetrapose.models.small:_private",
        "tetrapose.models.blocks.os:system",
        "tetrapose.models:small",
        "tetrapose.models.hrnet:reduce",
        "tetrapose.models.hrnet:layer",
        "tetrapose.models.nothing:small",
        "tetrapose.cli:main",
        "tetrapose.models.small.small",
        "tetrapose.models.small:small\n",
        "",
        None,
        ["tetrapose.models.small:small"],
    ),
)
def test_a_card_names_no_code_but_a_network(saved: Path, builder: Any) -> None:
    edit_card(saved, lambda card: card["architecture"].update(builder=builder))
    line = refused(saved, "cat.v1.json")
    assert "is refused" in line or "has no network" in line


def test_a_function_that_builds_no_network(saved: Path) -> None:
    edit_card(
        saved,
        lambda card: card.update(
            architecture={"builder": "tetrapose.models.blocks:demand_multiple", "arguments": {}}
        ),
    )
    refused(saved, "cannot be built")


def test_a_card_cannot_ask_for_more_memory_than_its_file(saved: Path) -> None:
    wide = [10**5] * 4
    edit_card(saved, lambda card: card["architecture"]["arguments"].update(channels=wide))
    refused(saved, "another shape")  # at 10 GB a layer, building it would have been noticed


class Malicious:
    """Runs a command the moment it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


def write_malicious(folder: Path, form: str) -> tuple[Path, Path]:
    """A checkpoint that makes a folder when it is unpickled, and that folder."""
    path, trace = folder / "model.pt", folder / "the code ran"
    content = {"state_dict": {"weight": torch.zeros(2)}, "extra": Malicious(trace)}
    if form == "pickle":
        path.write_bytes(pickle.dumps(Malicious(trace), protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    return path, trace


@pytest.fixture(params=("zip", "legacy", "pickle"))
def malicious(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path]:
    return write_malicious(tmp_path, request.param)


def test_a_malicious_pickle_is_refused_and_never_run(malicious: tuple[Path, Path]) -> None:
    path, trace = malicious
    with pytest.raises(UserError, match=r"refused, since it asks to run \w+\.mkdir") as caught:
        cards.load_checkpoint(path)
    assert "\n" not in str(caught.value)
    refused(path, "pickles are not opened")
    assert not trace.exists()
    with contextlib.suppress(
        RuntimeError
    ):  # the bare pickle is no torch file, which shows too late
        torch.load(path, weights_only=False)
    assert trace.exists()


def test_a_pickle_under_a_safe_name_is_refused(malicious: tuple[Path, Path], saved: Path) -> None:
    path, trace = malicious
    shutil.copy(path, saved)
    refused(saved, "not a whole safetensors file")
    resign(saved)
    refused(saved, "not a whole safetensors file")
    assert not trace.exists()


def test_a_checkpoint_of_tensors_and_plain_values_is_read(tmp_path: Path) -> None:
    content = {"state_dict": {"w": torch.arange(3)}, "epoch": 4, "names": ["a"], "lr": 1e-3}
    torch.save(content, tmp_path / "last.ckpt")
    read = cards.load_checkpoint(tmp_path / "last.ckpt")
    assert torch.equal(read.pop("state_dict")["w"], content.pop("state_dict")["w"])
    assert read == content


def test_broken_checkpoints(tmp_path: Path) -> None:
    path = tmp_path / "x.ckpt"
    torch.save({"w": torch.zeros(1000)}, path)
    whole = path.read_bytes()
    torch.save([1, 2], path)
    spoiled = (b"", whole[:10], whole[:1000], whole[:-10], b"no pickle", b"\x80\x02", bytes(99))
    for data in (*spoiled, pickle.dumps({"a": 1}), path.read_bytes(), b"\x80\x02K\x01."):
        path.write_bytes(data)
        with pytest.raises(UserError, match=r"x\.ckpt: ") as caught:
            cards.load_checkpoint(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="no such file"):
        cards.load_checkpoint(tmp_path / "none.ckpt")


# What ships


def test_shipped_models_are_listed_and_load(
    saved: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(files, "shipped_folder", lambda: tmp_path)
    (tmp_path / "half.safetensors").write_bytes(b"no card, so it is no model")
    assert cards.available() == ("cat.v1",)
    assert cards.load("cat.v1").skeleton == SKELETON
    refused("cat.v2", "did you mean cat.v1?")


@pytest.mark.parametrize("name", cards.available())
def test_every_shipped_model_is_whole_and_small(name: str) -> None:
    loaded = cards.load(name)
    assert files.locate(name).stat().st_size <= 16 * 2**20
    assert loaded.card["scores"]
    assert loaded.card["training"]
