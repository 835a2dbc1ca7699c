"""Recipes: what the papers set is set, every network can be built, and some are started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import miniatures
import numpy as np
import pytest
import torch

from tetrapose.commands import train
from tetrapose.inference import predictor

PLACES = ["dataset.root=somewhere"]
# size, model's target and what it is told, optimizer's rate, epochs, batch, sigma, blur, keypoints
RECIPES: dict[str, tuple[list[int], str, dict[str, Any], float, int, int, float, int]] = {
    "cats_cpm": ([360, 360], "cpm", {"stages": 7}, 1e-5, 500, 8, 1.5, 16),
    "darkpose_r50_128x96": ([96, 128], "simple_baseline", {"depth": 50}, 1e-3, 140, 128, 1, 20),
    "darkpose_r101_128x96": ([96, 128], "simple_baseline", {"depth": 101}, 1e-3, 140, 128, 1, 20),
    "darkpose_r152_128x96": ([96, 128], "simple_baseline", {"depth": 152}, 1e-3, 140, 128, 1, 20),
    "darkpose_hourglass4_128x96": ([96, 128], "hourglass", {"stacks": 4}, 2.5e-4, 140, 8, 1, 20),
    "darkpose_hourglass8_128x96": ([96, 128], "hourglass", {"stacks": 8}, 2.5e-4, 140, 8, 2, 20),
    "darkpose_hrnet_w32_128x96": ([96, 128], "hrnet_w32", {}, 1e-3, 210, 128, 1, 20),
    "darkpose_hrnet_w48_128x96": ([96, 128], "hrnet_w48", {}, 1e-3, 210, 128, 1, 20),
    "ap10k_hrnet_w32": ([256, 256], "hrnet_w32", {}, 5e-4, 210, 64, 2, 17),
    "animalpose_hrnet_w32": ([256, 256], "hrnet_w32", {}, 5e-4, 210, 64, 2, 20),
    "mix26_hrnet_w32": ([256, 256], "hrnet_w32", {}, 5e-4, 10, 32, 2, 26),
}
DROPS = {140: (90, 120), 210: (170, 200), 10: (5, 8)}  # epochs of a run to those of its drops
TINY_RUN = [
    "trainer.accelerator=cpu", "trainer.precision=32-true", "trainer.enable_progress_bar=false",
    "trainer.max_epochs=1", "trainer.check_val_every_n_epoch=1", "logger=none",
    "dataset.workers=0", "dataset.batch_size=2",
]  # fmt: skip


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_the_papers_and_its_network_is_built(name: str) -> None:
    size, target, told, rate, epochs, batch, sigma, points = RECIPES[name]
    config = train.compose([f"experiment={name}", *PLACES])
    assert config.input_size == size
    assert config.model._target_.rpartition(".")[2] == target
    assert {key: config.model[key] for key in told} == told
    assert config.optimizer.lr == rate
    assert config.trainer.max_epochs == epochs
    assert config.dataset.batch_size == batch
    assert config.codec.sigma == sigma
    if "drops" in config.scheduler:
        drops = [round(share * epochs, 2) for share in config.scheduler.drops]
        assert drops == pytest.approx(DROPS[epochs], abs=0.01)
    codec = train._make(config.codec, num_keypoints=points)
    with torch.device("meta"):
        model = train._make(config.model, num_keypoints=points).eval()
        answer = model(torch.empty(1, 3, size[1], size[0]))
    width, height = codec.map_size
    assert answer.shape == (1, points, height, width)


def test_blur_is_narrow_where_the_papers_is() -> None:
    def blur(name: str) -> int:
        return train.compose([f"experiment=darkpose_{name}_128x96", *PLACES]).codec.blur_kernel

    narrow, wide = ("r50", "r101", "r152", "hrnet_w32"), ("hrnet_w48", "hourglass4", "hourglass8")
    assert [blur(name) for name in narrow] == [3] * 4
    assert [blur(name) for name in wide] == [11] * 3


def started(folder: Path, name: str, *overrides: str) -> Path:
    """The model that a recipe leaves after an epoch on a miniature set."""
    given = [f"experiment={name}", f"run_dir={folder}", *TINY_RUN, *overrides]
    assert train._train(train.compose(given)) == 0
    return folder / "model.safetensors"


def found(model: Path, picture: Path) -> torch.Tensor:
    loaded = predictor.load(model, batch_size=2)
    assert not loaded.model.training
    instances = loaded.predict(picture, np.array([[4.0, 4.0, 40.0, 44.0]]))
    return torch.from_numpy(instances.keypoints)


def test_cats_cpm_starts_and_answers(tmp_path: Path) -> None:
    root = miniatures.akd_cats(tmp_path / "akd_cats") / "train"
    model = started(
        tmp_path / "run", "cats_cpm", f"dataset.root={root}", "input_size=[64,64]",
        "model.width=8", "model.features=4", "model.stages=3",
    )  # fmt: skip
    assert found(model, root / "images" / "a.jpg").shape == (1, 16, 2)


def test_stacked_hourglasses_start_and_answer(tmp_path: Path) -> None:
    root = miniatures.animal_pose(tmp_path / "animal_pose")
    model = started(
        tmp_path / "run", "darkpose_hourglass4_128x96", f"dataset.root={root}",
        "dataset.train_split=null", "dataset.val_split=null", "input_size=[64,64]",
        "model.stacks=2", "model.width=16",
    )  # fmt: skip
    assert found(model, root / "images" / "a.jpg").shape == (1, 20, 2)


def test_cpm_with_its_background_starts(tmp_path: Path) -> None:
    root = miniatures.animal_pose(tmp_path / "animal_pose")
    model = started(
        tmp_path / "run", "darkpose_r50_128x96", f"dataset.root={root}", "model=cpm_paper",
        "dataset.train_split=null", "dataset.val_split=null", "input_size=[64,64]",
        "codec.stride=8", "model.width=8", "model.features=4", "model.stages=2",
    )  # fmt: skip
    assert found(model, root / "images" / "a.jpg").shape == (1, 20, 2)


def test_the_mix_of_26_points_starts(tmp_path: Path) -> None:
    miniatures.animal_pose(tmp_path / "animal_pose")
    (tmp_path / "ap10k" / "annotations").mkdir(parents=True)
    labels = miniatures.coco(tmp_path / "coco")
    for part in ("train", "val"):
        file = tmp_path / "ap10k" / "annotations" / f"ap10k-{part}-split1.json"
        file.write_bytes(labels.read_bytes())
    (tmp_path / "coco" / "images").rename(tmp_path / "ap10k" / "data")
    model = started(
        tmp_path / "run", "mix26_hrnet_w32", f"dataset.root={tmp_path}", "input_size=[64,64]",
        "dataset.train.horse=null", "dataset.train.tiger=null", "dataset.animal_pose_split=null",
        "model=simple_baseline_18",
    )  # fmt: skip
    assert found(model, tmp_path / "ap10k" / "data" / "a.jpg").shape == (1, 26, 2)
