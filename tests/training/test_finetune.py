"""Fine-tuning by steps: its recipe, both looks, pictures held, and going on where it stopped."""

from __future__ import annotations

import numpy as np
import own_frames
import pytest
import torch

from tetrapose.codecs import Distribution
from tetrapose.data import open_set
from tetrapose.errors import UserError
from tetrapose.training import finetune as tuning
from tetrapose.training.transplant import transplanted
from tetrapose.weights import card


@pytest.fixture(scope="module")
def pose_set(tmp_path_factory):
    root = own_frames.deeplabcut(tmp_path_factory.mktemp("dlc"), count=6)
    return open_set(f"deeplabcut:{root}", sizes=True)


def test_more_frames_are_worth_more_steps_within_bounds():
    steps = [tuning.recipe_for(frames).steps for frames in (2, 20, 60, 93, 200, 5000)]
    assert steps == sorted(steps)
    assert steps[0] >= 300
    assert steps[3] == 550  # what was measured on 93 frames
    assert steps[-1] == tuning.recipe_for(10_000).steps == 1000
    assert tuning.recipe_for(50, steps=7, lr=None).steps == 7
    assert tuning.recipe_for(50, lr=None).lr == tuning.Recipe().lr
    with pytest.raises(UserError, match="batches of 1"):
        tuning.recipe_for(50, batch=1)


def test_the_input_suits_the_network():
    lite, vit = (
        "tetrapose.models.efficientnet:efficientnet_lite",
        "tetrapose.models.vitpose:vitpose",
    )
    assert tuning.input_size((224, 224), lite) == (160, 160)
    assert tuning.input_size((128, 128), lite) == (128, 128)
    assert tuning.input_size((224, 224), lite, 256) == (256, 256)
    assert tuning.input_size((192, 256), vit) == (192, 256)
    with pytest.raises(UserError, match="made for 192x256"):
        tuning.input_size((192, 256), vit, 160)


def test_both_looks_stand_beside_each_other(pose_set):
    both, shares = tuning.looks(pose_set, 0.25)
    count = len(pose_set)
    assert len(both) == 2 * count
    np.testing.assert_allclose(shares, [0.75] * count + [0.25] * count)
    np.testing.assert_array_equal(both.bboxes[:count], pose_set.bboxes)
    np.testing.assert_array_equal(both.bboxes[count:], [[-0.5, -0.5, 95.5, 71.5]] * count)
    np.testing.assert_array_equal(both.keypoints[count:], both.keypoints[:count])
    assert len(set(both.annotation_ids.tolist())) == 2 * count
    alone, shares = tuning.looks(pose_set, 0.0)
    assert len(alone) == count
    assert (shares == 1).all()


def test_pictures_are_held_within_bounds(pose_set):
    size = 96 * 72 * 3
    held = tuning.Held(pose_set, most=2 * size)
    pixels, full = held.read(0, 0.1)
    assert pixels.shape == (72, 96, 3)
    assert full == (96, 72)
    for image in (1, 0, 2):
        held.read(image, 1.0)
    assert list(held.kept) == [0, 2]  # the one not asked for longest went
    assert held.bytes == 2 * size
    assert held.read(0, 1.0)[0] is pixels


def tuned(pose_set, folder, recipe, start):
    model, _ = transplanted(card.load(start), pose_set.skeleton)
    codec = Distribution(4, input_size=(64, 64))
    torch.manual_seed(0)
    return tuning.finetune(model, codec, pose_set, recipe, folder)


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(tuning, "EPOCH", 3)
    return tuning.Recipe(steps=6, batch=4, frozen=("stem", "no.such.part"))


def test_it_learns_and_leaves_what_is_frozen(pose_set, tmp_path, monkeypatch):
    monkeypatch.setattr(tuning, "EPOCH", 20)
    start = own_frames.start(tmp_path)
    recipe = tuning.Recipe(steps=40, batch=4, lr=5e-3, frozen=("stem",))
    module = tuned(pose_set, tmp_path / "run", recipe, start)
    before = card.load(start).model.state_dict()
    after = module.model.state_dict()
    for name, value in after.items():
        if name.startswith("stem."):
            torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    rows = (tmp_path / "run" / "curves.csv").read_text().splitlines()
    column = rows[0].split(",").index("train/loss")
    losses = [float(row.split(",")[column]) for row in rows[1:]]
    assert losses[-1] < 0.95 * losses[0]


def test_a_run_goes_on_where_it_stopped_to_the_bit(pose_set, tmp_path, few):
    start = own_frames.start(tmp_path)
    whole = tuned(pose_set, tmp_path / "whole", few, start).model.state_dict()

    class Stop(Exception):
        pass

    class After(tuning.L.Callback):
        def on_train_batch_end(self, trainer, *_):
            if trainer.global_step == 5:
                raise Stop

    model, _ = transplanted(card.load(start), pose_set.skeleton)
    every = tuning.Checkpoints
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning, "Checkpoints", lambda *a, **k: every(*a, **{**k, "every": 1}))
        with pytest.raises(Stop):
            tuning.finetune(
                model, Distribution(4, input_size=(64, 64)), pose_set, few, tmp_path / "cut",
                extra=[After()],
            )  # fmt: skip
    assert (tmp_path / "cut" / "last.ckpt").exists()
    again = tuned(pose_set, tmp_path / "cut", few, start).model.state_dict()
    for name, value in whole.items():
        torch.testing.assert_close(again[name], value, rtol=0, atol=0)
    # and a run that is done stays as it is
    done = tuned(pose_set, tmp_path / "cut", few, start).model.state_dict()
    for name, value in whole.items():
        torch.testing.assert_close(done[name], value, rtol=0, atol=0)
