"""A network under another system's names comes in as the network that it was, or not at all."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import checkpoints as made
import numpy as np
import pytest
import torch
from checkpoints import bring, own_head
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from tetrapose import skeletons
from tetrapose.errors import UserError
from tetrapose.inference.predictor import load as load_predictor
from tetrapose.weights import card as cards
from tetrapose.weights.importers import KINDS, Meaning
from tetrapose.weights.importers.common import Network
from tetrapose.weights.importers.orders import ORDERS, arrange

AP10K = skeletons.load("ap10k")
ANIMAL_POSE = skeletons.load("animal_pose")
SUPERANIMAL = skeletons.load("awa_pose")


@torch.no_grad()
def difference(path: Path, model: nn.Module, size: tuple[int, int] = (64, 64)) -> float:
    images = torch.randn(1, 3, size[1], size[0], generator=torch.Generator().manual_seed(1))
    loaded = cards.load(path)
    theirs = model(images)
    assert theirs.std() > 1e-3  # else there is nothing to compare
    return float((loaded.model(images) - theirs).abs().max())


def refused(kind: str, path: Path, *words: str, **more: Any) -> str:
    """The one line with which a file is refused; nothing is written then."""
    out = path.parent / "out.safetensors"
    for left in (out, out.with_suffix(".json")):
        left.unlink(missing_ok=True)
    with pytest.raises(UserError) as caught:
        bring(kind, path, **more)
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 450
    for word in words:
        assert word in line
    assert not out.exists()
    assert not out.with_suffix(".json").exists()
    return line


def bare(state: made.State) -> Any:
    return state


def parallel(state: made.State) -> Any:
    return {"state_dict": made.prefixed(state, "module."), "epoch": 3}


WRITTEN: dict[str, tuple[str, Callable[[made.State], Any], dict[str, Any]]] = {
    "authors' bare": ("hrnet", bare, {}),
    "authors' run": ("hrnet", parallel, {}),
    "MMPose 0.x": ("mmpose", made.as_mmpose, {}),
    "MMPose 1.x": ("mmpose", lambda s: made.as_mmpose(s, "head."), {}),
    "FreeNet's best": ("freenet", bare, {}),
    "FreeNet's student": ("freenet", lambda s: {"student_model": s, "teacher_model": zeros(s)}, {}),
    "FreeNet's teacher": (
        "freenet", lambda s: {"student_model": zeros(s), "teacher_model": s}, {"part": "teacher"},
    ),
    "ScarceNet's EMA": ("scarcenet", lambda s: {"model": "pose_hrnet", "state_dict": s}, {}),
    "ScarceNet's final": ("scarcenet", lambda s: made.prefixed(s, "module."), {"part": "student"}),
    "DeepLabCut": ("deeplabcut", made.as_deeplabcut, {}),
}  # fmt: skip


def zeros(state: made.State) -> made.State:
    return {name: torch.zeros_like(value) for name, value in state.items()}


@pytest.mark.parametrize("case", WRITTEN)
def test_hrnet_comes_in_from_every_system_that_writes_it(case, hrnet, tmp_path):
    kind, write, choice = WRITTEN[case]
    path = made.save(tmp_path / "theirs.pth", write(made.state(hrnet)))
    done = bring(kind, path, **choice)
    assert difference(done.path, hrnet) == 0
    assert done.card["architecture"]["arguments"]["width"] == 4
    assert done.card["training"]["imported_from"] == kind
    grid = "borders" if kind == "deeplabcut" else "origin"
    assert done.card["codec"]["grid"] == grid
    assert done.card["crop"]["padding"] == (1.0 if kind == "deeplabcut" else 1.25)


def test_what_a_file_says_beyond_the_network_is_listed(hrnet, tmp_path):
    path = made.save(tmp_path / "a.pt", made.as_deeplabcut(made.state(hrnet)))
    done = bring("deeplabcut", path)
    assert done.network.left_out == tuple(
        f"backbone.model.stage4.2.fuse_layers.{i}.0.0.0.weight" for i in (1, 2, 3)
    )
    assert done.card["training"]["left_out"] == list(done.network.left_out)


def test_heads_of_parts_come_in(tmp_path):
    model = made.small_hrnet(parts=True)
    path = made.save(tmp_path / "a.pth", {"state_dict": made.state(model)})
    done = bring("scarcenet", path)
    assert done.card["architecture"]["arguments"] == {"parts": True, "width": 4}
    assert difference(done.path, model) == 0


@pytest.mark.parametrize("kind, write", [("hrnet", bare), ("mmpose", made.as_mmpose)])
def test_simple_baseline_comes_in_without_its_counts_of_batches(kind, write, tmp_path):
    model = made.small_resnet(3)
    old = {n: v for n, v in made.state(model).items() if not n.endswith("num_batches_tracked")}
    three = skeletons.from_dict(
        {
            "name": "three", "edges": [["a", "b"], ["b", "c"]], "source": {"keypoints": "made"},
            "keypoints": [
                {"name": n, "sigma": 0.1, "part": "head", "site": "made"} for n in ("a", "b", "c")
            ],
        }
    )  # fmt: skip
    done = bring(kind, made.save(tmp_path / "a.pth", write(old)), meaning=Meaning(skeleton=three))
    assert done.card["architecture"]["arguments"] == {"depth": 18}
    assert difference(done.path, model) == 0


def test_safetensors_come_in_too(hrnet, tmp_path):
    save_file(made.state(hrnet), tmp_path / "a.safetensors")
    assert difference(bring("hrnet", tmp_path / "a.safetensors").path, hrnet) == 0


@pytest.mark.parametrize("kind, name", ORDERS)
def test_other_orders_are_the_skeletons_own_in_the_end(kind, name, tmp_path):
    skeleton = skeletons.load(name)
    order = ORDERS[kind, name]
    assert set(order) == set(skeleton.names)
    model = made.small_hrnet(len(skeleton), width=2)
    write = made.as_mmpose if kind == "mmpose" else lambda s: made.as_deeplabcut(s, 2)
    path = made.save(tmp_path / "a.pth", write(made.state(model)))
    done = bring(kind, path, meaning=Meaning(skeleton=skeleton))
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        theirs, ours = model(images)[0], cards.load(done.path).model(images)[0]
    for row, point in enumerate(order):
        torch.testing.assert_close(ours[skeleton.index(point)], theirs[row], rtol=0, atol=0)


@given(st.permutations(range(17)), st.booleans())
@settings(max_examples=25)
def test_any_order_is_undone(shuffled, parts):
    names = [AP10K.names[i] for i in shuffled]
    rows = torch.tensor(shuffled)
    tensors = (
        {f"part_layers.{i}.2.bias": torch.tensor([float(n)]) for i, n in enumerate(shuffled)}
        if parts
        else {"final_layer.weight": rows[:, None, None, None].float(), "final_layer.bias": rows}
    )
    network = Network("b", {}, tensors, 17)
    done = arrange(network, AP10K, names, "hrnet", Path("a")).tensors
    if parts:
        assert [float(done[f"part_layers.{i}.2.bias"]) for i in range(17)] == list(range(17))
    else:
        assert done["final_layer.bias"].tolist() == list(range(17))
        assert done["final_layer.weight"].flatten().tolist() == list(range(17))


def test_an_imported_model_predicts(hrnet, tmp_path):
    path = made.save(tmp_path / "a.pth", made.as_mmpose(made.state(hrnet)))
    done = bring("mmpose", path, size=(64, 64))
    predictor = load_predictor(done.path)
    picture = np.random.default_rng(0).integers(0, 255, (80, 100, 3), dtype=np.uint8)
    points = predictor.predict(picture, np.array([[10.0, 10, 80, 70]])).keypoints
    assert points.shape == (1, 17, 2)
    assert np.isfinite(points).all()


def test_what_is_said_replaces_the_systems_habit(hrnet, tmp_path):
    path = made.save(tmp_path / "a.pth", made.state(hrnet))
    meaning = Meaning(
        skeleton=AP10K, padding=1.1, mean=(0.5, 0.5, 0.5), codec={"decoder": "dark", "sigma": 3},
        about={"licence": "MIT"},
    )  # fmt: skip
    card = bring("hrnet", path, meaning=meaning, size=(128, 96)).card
    assert card["codec"]["decoder"] == "dark"
    assert card["codec"]["sigma"] == 3
    assert card["codec"]["input_size"] == [128, 96]
    assert card["crop"]["padding"] == 1.1
    assert card["normalisation"]["mean"] == [0.5, 0.5, 0.5]
    assert card["training"]["licence"] == "MIT"
    refused(
        "hrnet", path, "decoder must be one of",
        meaning=Meaning(skeleton=AP10K, codec={"decoder": "magic"}),
    )  # fmt: skip


# ViTPose


VITS: dict[str, tuple[str, Callable[[made.State], Any], dict[str, Any]]] = {
    "authors'": ("vitpose", lambda s: {"state_dict": s}, {}),
    "authors' ++": (
        "vitpose", lambda s: {"state_dict": made.as_vitpose_plus(s)}, {"expert": "ap10k"},
    ),
    "authors' ++ with rows to spare": (
        "vitpose", lambda s: made.as_vitpose_plus(s, spare=116), {"expert": "3"},
    ),
    "MMPose 0.x": ("mmpose", lambda s: {"state_dict": s}, {}),
    "MMPose 1.x": ("mmpose", lambda s: {"state_dict": made.as_mmpretrain(s)}, {}),
    "transformers": ("huggingface", made.as_transformers, {}),
    "transformers ++": (
        "huggingface", lambda s: made.as_transformers(own_head(made.as_vitpose_plus(s), s)),
        {"expert": "ap10k", "own_head": True},
    ),
}  # fmt: skip


@pytest.mark.parametrize("head", ["classic", "simple"])
@pytest.mark.parametrize("case", VITS)
def test_vitpose_comes_in_from_every_system_that_writes_it(case, head, tiny, tmp_path):
    kind, write, choice = VITS[case]
    model = made.small_vitpose(head=head)
    path = made.save(tmp_path / "a.pth", write(made.state(model)))
    done = bring(kind, path, size=(48, 64), **choice)
    limit = 1e-5 if "mmpretrain" in case or case == "MMPose 1.x" else 0  # sums in another order
    assert difference(done.path, model, (48, 64)) <= limit
    assert done.card["architecture"]["arguments"]["head"] == head
    assert done.card["codec"]["grid"] == "centres"
    assert done.card["codec"]["decoder"] == "dark_udp"


def test_an_expert_wants_to_be_told_and_to_be_there(tiny, tmp_path):
    state = made.state(made.small_vitpose())
    plain = made.save(tmp_path / "plain.pth", state)
    plus = made.save(tmp_path / "plus.pth", made.as_vitpose_plus(state))
    published = made.save(
        tmp_path / "hf.pth", made.as_transformers(own_head(made.as_vitpose_plus(state), state))
    )
    refused("vitpose", plus, "choose an expert", "ap10k", size=(48, 64))
    refused("vitpose", plus, "no expert 'cats'", size=(48, 64), expert="cats")
    refused("vitpose", plain, "has no experts", size=(48, 64), expert="ap10k")
    refused("mmpose", plus, "import it by vitpose with --expert", size=(48, 64))
    refused("huggingface", published, "COCO", "--backbone", size=(48, 64), expert="ap10k")
    refused("vitpose", plain, "say --size")
    half = made.as_vitpose_plus(state)
    del half["backbone.blocks.1.mlp.experts.3.bias"]
    refused(
        "vitpose", made.save(tmp_path / "half.pth", half), "expert 3 lacks its part",
        size=(48, 64), expert="ap10k",
    )  # fmt: skip


# Refusals


def test_another_number_of_keypoints_is_refused(hrnet, tmp_path):
    path = made.save(tmp_path / "a.pth", made.state(hrnet))
    refused("hrnet", path, "gives 17 keypoints", "'animal_pose' has 20",
            meaning=Meaning(skeleton=ANIMAL_POSE))  # fmt: skip
    refused("hrnet", path, "--skeleton NAME", meaning=Meaning())


def test_another_network_is_refused(hrnet, tmp_path):
    state = made.state(hrnet)
    path = made.save(tmp_path / "a.pth", {"encoder.weight": torch.zeros(3, 3)})
    for kind in KINDS:
        if kind != "rtmpose":
            refused(kind, path, "a.pth")
    refused("mmpose", made.save(tmp_path / "b.pth", state), "no head.*")
    refused("deeplabcut", made.save(tmp_path / "b.pth", made.as_mmpose(state)), "DeepLabCut")
    refused("huggingface", made.save(tmp_path / "b.pth", state), "no ViTPose")
    refused("hrnet", made.save(tmp_path / "b.pth", {"epoch": 3}), "no weights by name", "epoch")
    simcc = made.as_mmpose(state)
    simcc["state_dict"]["head.cls_x.weight"] = torch.zeros(2, 2)
    refused("mmpose", made.save(tmp_path / "b.pth", simcc), "ONNX")
    refused("freenet", made.save(tmp_path / "b.pth", {"student_model": state}),
            "no 'teacher_model'", part="teacher")  # fmt: skip


@pytest.mark.parametrize(
    "spoil, words",
    [
        (lambda s: s.pop("stage3.1.branches.0.0.conv1.weight"), "missing stage3.1"),
        (lambda s: s.update({"extra.weight": torch.zeros(2)}), "left over extra.weight"),
        (lambda s: s.update({"conv1.weight": torch.zeros(64, 3, 7, 7)}), "[64, 3, 7, 7]"),
        (lambda s: s.update({"bn1.bias": torch.zeros(64, dtype=torch.int64)}), "kind of number"),
        (lambda s: s.update({"bn1.bias": torch.full((64,), torch.nan)}), "not finite"),
    ],
)  # fmt: skip
def test_a_half_network_is_refused(spoil, words, hrnet, tmp_path):
    state = made.state(hrnet)
    spoil(state)
    refused("hrnet", made.save(tmp_path / "a.pth", state), words)


def test_a_file_cut_short_or_spoilt_is_refused(hrnet, tmp_path):
    path = made.save(tmp_path / "a.pth", made.state(hrnet))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    refused("hrnet", path, "not a whole torch file")
    path.write_bytes(b"")
    refused("hrnet", path, "the file is empty")
    path.write_bytes(b"<html>404</html>")
    refused("hrnet", path, "a.pth")
    save_file(made.state(hrnet), tmp_path / "b.safetensors")
    cut = tmp_path / "b.safetensors"
    cut.write_bytes(cut.read_bytes()[:-100])
    refused("hrnet", cut, "not a whole safetensors file")
    refused("hrnet", tmp_path / "none.pth", "no such file")


class Trap:
    """A pickle that would make a file when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path):
    sprung = tmp_path / "sprung"
    for kind in KINDS:
        if kind != "rtmpose":
            content = {"state_dict": {"conv1.weight": torch.zeros(2)}, "meta": Trap(sprung)}
            refused(kind, made.save(tmp_path / "a.pth", content), "refused")
    (tmp_path / "raw.pkl").write_bytes(pickle.dumps(Trap(sprung)))
    refused("hrnet", tmp_path / "raw.pkl", "raw.pkl")
    assert not sprung.exists()


def test_a_tampered_model_is_refused(hrnet, tmp_path):
    done = bring("hrnet", made.save(tmp_path / "a.pth", made.state(hrnet)))
    data = bytearray(done.path.read_bytes())
    data[-1] ^= 1
    done.path.write_bytes(data)
    with pytest.raises(UserError, match="sha256 differs"):
        cards.load(done.path)
