"""Laws of a finder's training, on rectangles: found, resumed to the bit, unlabelled, refused."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import cv2
import lightning as L
import numpy as np
import pytest
import torch

from tetrapose.codecs.boxes import Boxes
from tetrapose.data.photometric import Blur, Colour
from tetrapose.data.whole import Look, PictureSet, WholeDataset
from tetrapose.errors import UserError
from tetrapose.models.efficientnet import efficientnet_lite
from tetrapose.models.finder import finder
from tetrapose.training.callbacks import Checkpoints, Curves
from tetrapose.training.finding import (
    FinderModule,
    FinderParts,
    coco_boxes,
    finish_finder,
    fit_finder,
    start_stages,
)
from tetrapose.training.fit import Plan
from tetrapose.training.kinds import box_features, fit_kinds, fitted
from tetrapose.training.schedules import warmup_cosine
from tetrapose.weights import finder as weights
from tetrapose.weights.files import WeightsError

GROUPS = ("cat", "dog")
SIDE = 64
WIDTHS = {"widths": (16, 16, 16)}


@pytest.fixture
def rectangles(tmp_path: Path) -> PictureSet:
    """Eight pictures with red (cat) and blue (dog) rectangles on grey; the last has none."""
    rng = np.random.default_rng(0)
    starts, boxes, kinds = [0], [], []
    for i in range(8):
        picture = rng.integers(90, 120, (80, 100, 3)).astype(np.uint8)
        for k in range(2 if i < 7 else 0):
            w, h = (int(v) for v in rng.integers(20, 36, 2))
            x, y = 5 + 48 * k, int(rng.integers(2, 40))
            picture[y : y + h, x : x + w] = (40, 40, 220) if k else (220, 60, 40)
            boxes.append([x - 0.5, y - 0.5, x + w - 0.5, y + h - 0.5])
            kinds.append(0 if k else 1)
        starts.append(len(boxes))
        cv2.imwrite(str(tmp_path / f"{i}.png"), picture)
    return PictureSet(
        paths=tuple(tmp_path / f"{i}.png" for i in range(8)), sizes=np.zeros((8, 2), np.int64),
        starts=np.array(starts), bboxes=np.array(boxes), groups=np.array(kinds),
        crowd=np.zeros(len(boxes), bool), background=np.ones(8), draws=np.ones(8),
        group_names=GROUPS,
    )  # fmt: skip


def make_parts(**changes) -> FinderParts:
    torch.manual_seed(0)
    return FinderParts(
        **{
            "model": finder(len(GROUPS), **WIDTHS),
            "codec": Boxes(groups=GROUPS, bounds=(24, 48)),
            "optimizer": functools.partial(torch.optim.AdamW, lr=1e-2),
            "scheduler": warmup_cosine,
            "image_changes": (Colour(), Blur()),
            **changes,
        }
    )


def run(folder: Path, data: PictureSet, *, epochs: int, look=None, every=2, **more) -> FinderModule:
    trainer = functools.partial(
        L.Trainer, max_epochs=epochs, accelerator="cpu", num_sanity_val_steps=0,
        enable_progress_bar=False, deterministic=True, check_val_every_n_epoch=every,
    )  # fmt: skip
    own = [
        L.pytorch.callbacks.EMAWeightAveraging(decay=0.9), Curves(folder),
        Checkpoints(folder, monitor="val/AP50", every=every), *more.pop("callbacks", ()),
    ]  # fmt: skip
    plan = Plan(folder, trainer, coco_boxes, own, batch_size=4, workers=0)
    look = look or Look(side=SIDE, mosaic=0.3)
    val = WholeDataset(data, side=SIDE)
    return fit_finder(
        more.pop("parts", None) or make_parts(), WholeDataset(data, look=look), val, plan
    )


class StopAfter(L.Callback):
    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_epoch_start(self, trainer, pl_module) -> None:
        if trainer.current_epoch == self.epoch:
            raise SystemExit("killed")


def test_the_layer_that_tells_groups_finds_what_separates_them():
    torch.manual_seed(3)
    groups = torch.tensor([0] * 90 + [2] * 10)
    features = torch.randn(100, 6) * torch.tensor([1.0, 50.0, 1.0, 1.0, 1.0, 0.0]) + 7
    features[:, 1] += 600.0 * (groups == 2)
    weight, bias, right = fitted(features, groups, 3)
    assert right == 1.0
    odds = features @ weight.T + bias
    assert (odds.argmax(1) == groups).all()  # and the one that was never seen is never told
    assert odds.isfinite().all()


def test_boxes_without_a_known_group_are_refused_in_words(rectangles):
    nothing = replace(rectangles, groups=np.full_like(rectangles.groups, -1))
    with pytest.raises(UserError, match=r"no box's group is known"):
        fit_kinds(make_parts().model, nothing, SIDE)


def test_resumed_equals_uninterrupted_to_the_bit(rectangles, tmp_path):
    whole = run(tmp_path / "whole", rectangles, epochs=4)
    with pytest.raises(SystemExit):
        run(tmp_path / "cut", rectangles, epochs=4, callbacks=[StopAfter(2)])
    resumed = run(tmp_path / "cut", rectangles, epochs=4)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_it_finds_what_it_saw_and_tells_groups(rectangles, tmp_path):
    look = Look(side=SIDE, zoom=(0.9, 1.1), stretch=0.0, mosaic=0.0, empty=0.0)
    parts = make_parts(image_changes=())
    module = run(tmp_path, rectangles, epochs=40, look=look, every=40, parts=parts)
    lines = [line.split(",") for line in (tmp_path / "curves.csv").read_text().splitlines()]
    values = dict(zip(lines[0], lines[-1], strict=True))
    assert float(values["val/AP50"]) > 0.9
    assert float(values["val/AP50_cat"]) > 0.9
    assert float(values["val/AP50_dog"]) > 0.9
    config = {
        "model": {"_target_": "tetrapose.models.finder.finder", **WIDTHS},
        "dataset": {"train": {"made": {"set": "made:/some/where"}}}, "input_size": [SIDE, SIDE],
    }  # fmt: skip
    train = WholeDataset(rectangles, look=look)
    loaded = weights.load(finish_finder(tmp_path, module, train, config))
    assert loaded.card["training"]["data"] == {"made": "made"}
    assert loaded.card["scores"]["val/AP50"] > 0.9
    assert loaded.codec == module.parts.codec
    assert not loaded.model.kinds.out.weight.any()  # nothing was named to learn groups from
    again = {**config, "dataset": {**config["dataset"], "workers": 0}}
    told = weights.load(finish_finder(tmp_path / "told", module, train, again, rectangles))
    features, groups = box_features(told.model, rectangles, SIDE)
    assert (told.model.kinds.out(features).argmax(1) == groups).float().mean() > 0.95
    assert "where" not in (tmp_path / "model.json").read_text()


def test_pictures_that_cannot_be_read_and_crowds_teach_nothing(rectangles, tmp_path):
    data = PictureSet(
        **{**vars(rectangles), "crowd": np.ones(len(rectangles.bboxes), bool),
           "bboxes": np.tile([-1.0, -1.0, 101.0, 101.0], (len(rectangles.bboxes), 1))}
    )  # fmt: skip
    data.paths[7].write_bytes(b"")
    parts = make_parts(optimizer=functools.partial(torch.optim.SGD, lr=1.0), scheduler=None)
    before = {name: p.detach().clone() for name, p in parts.model.named_parameters()}
    look = Look(side=SIDE, zoom=(1.5, 2.0), mosaic=0.0, empty=0.0, stretch=0.0)
    module = run(tmp_path, data, epochs=1, look=look, parts=parts)
    assert 7 in module.unreadable
    change = max(
        float((p.detach() - before[name]).abs().max()) for name, p in parts.model.named_parameters()
    )
    assert change < 1e-4  # the grey margins of the canvas are known to be empty, and no more


def test_steps_that_are_not_finite_end_the_run_in_words(rectangles, tmp_path):
    parts = make_parts(patience=2)
    with torch.no_grad():
        parts.model.heads[0].out.weight.fill_(float("nan"))
    with pytest.raises(UserError, match="2 steps in a row were not finite"):
        run(tmp_path, rectangles, epochs=2, parts=parts)


def test_too_few_pictures_are_refused(rectangles, tmp_path):
    few = PictureSet(**{**vars(rectangles), "draws": np.full(8, 0.25)})
    with pytest.raises(UserError, match="do not fill a batch of 4"):
        run(tmp_path, few, epochs=1)


def test_stages_start_from_a_pose_network_and_from_a_finder(rectangles, tmp_path):
    pose = efficientnet_lite(5, variant=0, widths=(8, 8, 8, 8))
    torch.save({"state_dict": {f"model.{k}": v for k, v in pose.state_dict().items()}},
               tmp_path / "run.ckpt")  # fmt: skip
    model = finder(2, **WIDTHS)
    assert "start from" in start_stages(model, tmp_path / "run.ckpt")
    for name, value in model.state_dict().items():
        if name.startswith("backbone."):
            assert torch.equal(value, pose.state_dict()[name]), name
    card = {
        "architecture": {"builder": "tetrapose.models.finder:finder", "arguments": WIDTHS},
        "codec": Boxes(groups=GROUPS).to_dict(), "input": {"side": SIDE},
        "normalisation": {"mean": [0, 0, 0], "std": [1, 1, 1]},
    }  # fmt: skip
    weights.save(tmp_path / "f.safetensors", model, card)
    other = finder(2, **WIDTHS)
    assert "100%" in start_stages(other, tmp_path / "f.safetensors")
    with pytest.raises(UserError, match="another network"):
        start_stages(finder(2, variant=4), tmp_path / "run.ckpt")


@pytest.mark.parametrize(
    "change, words",
    [
        ({"kind": "pose"}, "no finder's card"),
        ({"kind": "pose", "skeleton": {}}, "a pose model's card"),
        ({"codec": {"kind": "boxes", "strides": [4, 8]}}, "levels have 1 bounds"),
        ({"codec": {"kind": "boxes", "colour": 1}}, "colour"),
        ({"codec": {"kind": "heatmap"}}, "must be boxes"),
        ({"input": {"side": 100}}, "multiple of 32"),
        ({"normalisation": {"mean": [0, 0, 0], "std": [0, 1, 1]}}, "above 0"),
        ({"architecture": {"builder": "os:system", "arguments": {}}}, "refused"),
        ({"sha256": "0"}, "sha256 differs"),
    ],
)
def test_cards_that_are_wrong_are_refused_in_a_line(tmp_path, change, words):
    import json

    path = tmp_path / "f.safetensors"
    card = {
        "architecture": {"builder": "tetrapose.models.finder:finder", "arguments": WIDTHS},
        "codec": Boxes(groups=GROUPS).to_dict(), "input": {"side": SIDE},
        "normalisation": {"mean": [0, 0, 0], "std": [1, 1, 1]},
    }  # fmt: skip
    weights.save(path, finder(2, **WIDTHS), card)
    weights.load(path)
    beside = path.with_suffix(".json")
    beside.write_text(json.dumps({**json.loads(beside.read_text()), **change}))
    with pytest.raises(WeightsError) as caught:
        weights.load(path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
