"""Networks without a head of keypoints: what a training starts from, and no model by itself."""

from __future__ import annotations

import checkpoints as made
import pytest
import torch
from checkpoints import bring, own_head

from tetrapose import skeletons
from tetrapose.errors import UserError
from tetrapose.models import vitpose as vit
from tetrapose.training.start import start_from
from tetrapose.weights import card as cards
from tetrapose.weights import files
from tetrapose.weights.importers import Meaning

AP10K = skeletons.load("ap10k")


@pytest.mark.parametrize("kind", ["torchvision", "timm"])
def test_an_imagenet_resnet_starts_a_training(kind, tmp_path):
    model = made.small_resnet()
    state = {
        n: v
        for n, v in made.state(model).items()
        if not n.startswith(("final_layer.", "deconv_layers."))
    }
    released = {**state, "fc.weight": torch.zeros(10, 512), "fc.bias": torch.zeros(10)}
    done = bring(kind, made.save(tmp_path / "resnet18.pth", released), meaning=Meaning())
    assert set(done.network.left_out) == {"fc.bias", "fc.weight"}
    fresh = made.scrambled(made.simple_baseline(17, depth=18), seed=9)
    lines = start_from(fresh, done.path, AP10K)
    assert torch.equal(fresh.state_dict()["layer4.1.bn2.bias"], state["layer4.1.bn2.bias"])
    assert any("not in the file: deconv_layers.0.weight" in line for line in lines)
    with pytest.raises(UserError, match="a backbone to start training from"):
        cards.load(done.path)


def test_a_fetched_backbone_starts_a_training_by_its_name(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    state = made.state(made.small_resnet())
    released = {n: v for n, v in state.items() if not n.startswith(("final_layer.", "deconv_"))}
    path = made.save(tmp_path / "resnet18.pth", released)
    done = bring("torchvision", path, meaning=Meaning())
    files.fetched_folder().mkdir(parents=True)
    for one in (done.path, done.path.with_suffix(".json")):
        one.rename(files.fetched_folder() / f"imagenet_resnet18{one.suffix}")
    fresh = made.scrambled(made.simple_baseline(17, depth=18), seed=9)
    start_from(fresh, "imagenet_resnet18", AP10K)
    assert torch.equal(fresh.state_dict()["conv1.weight"], state["conv1.weight"])


def test_an_imagenet_hrnet_leaves_its_classifier_behind(hrnet, tmp_path):
    state = {n: v for n, v in made.state(hrnet).items() if not n.startswith("final_layer.")}
    released = {
        **state,
        "stage4.2.fuse_layers.1.1.weight": torch.zeros(8, 8),
        "incre_modules.0.0.conv1.weight": torch.zeros(4, 4),
        "final_layer.0.weight": torch.zeros(8, 4, 1, 1),
        "classifier.weight": torch.zeros(10, 8),
    }
    done = bring("timm", made.save(tmp_path / "hrnet.pth", released), meaning=Meaning())
    assert set(done.network.left_out) == released.keys() - state.keys()
    fresh = made.scrambled(made.hrnet(17, width=4), seed=9)
    start_from(fresh, done.path, AP10K)
    assert all(torch.equal(fresh.state_dict()[name], value) for name, value in state.items())


def test_a_vits_places_are_resampled(tiny, tmp_path):
    state = made.state(made.small_vitpose())
    released = {
        n.removeprefix("backbone.").replace("last_norm.", "norm."): v
        for n, v in state.items()
        if n.startswith("backbone.")
    }
    places = torch.zeros(1, 1 + 14 * 14, 16)
    places[:, 1:] = torch.arange(14.0).repeat(14)[None, :, None]  # grows from left to right
    released |= {"pos_embed": places, "cls_token": torch.zeros(1, 1, 16)}
    released |= {"head.weight": torch.zeros(10, 16)}
    done = bring("timm", made.save(tmp_path / "v.pth", released), size=(48, 64), meaning=Meaning())
    cells = done.network.tensors["backbone.pos_embed"][0, 1:, 0].reshape(4, 3)
    torch.testing.assert_close(cells, cells[:1].expand(4, 3))
    assert cells[0, 1] == pytest.approx(6.5)  # the middle stays the middle
    assert (cells[:, 1:] > cells[:, :-1]).all()
    assert "backbone.cls_token" in done.network.left_out


def test_an_experts_backbone_starts_a_training(tiny, tmp_path):
    state = made.state(made.small_vitpose(head="simple"))
    path = made.save(
        tmp_path / "a.pth", made.as_transformers(own_head(made.as_vitpose_plus(state), state))
    )
    done = bring("huggingface", path, expert="ap10k", head=False, size=(48, 64))
    assert not done.is_model
    fresh = vit.vitpose(17, size="tiny", head="simple", input_size=(48, 64))
    lines = start_from(fresh, done.path, AP10K)
    for name, value in fresh.backbone.state_dict().items():
        torch.testing.assert_close(value, state[f"backbone.{name}"], rtol=0, atol=0)
    assert any("keypoint_head" in line for line in lines)


def test_a_tampered_backbone_is_refused(hrnet, tmp_path):
    state = {n: v for n, v in made.state(hrnet).items() if not n.startswith("final_layer.")}
    done = bring("timm", made.save(tmp_path / "a.pth", state), meaning=Meaning())
    data = bytearray(done.path.read_bytes())
    data[-1] ^= 1
    done.path.write_bytes(data)
    with pytest.raises(UserError, match="sha256 differs"):
        start_from(made.hrnet(17, width=4), done.path, AP10K)
