"""`tetrapose train` as a subprocess: a whole run, a killed one, wrong use."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import miniatures
import numpy as np
import pytest

from tetrapose import skeletons
from tetrapose.cli import main
from tetrapose.codecs import SimCC
from tetrapose.models.onnx_graph import onnx_graph
from tetrapose.weights.card import describe, save

TINY = [
    "dataset=custom", "dataset.batch_size=4", "dataset.workers=0", "input_size=[64,64]",
    "model=small", "model.channels=[8,8,8,8]", "model.blocks=[1,1,1,1]", "model.neck=8",
    "logger=none",
    "trainer.accelerator=cpu", "trainer.check_val_every_n_epoch=1", "trainer.precision=32-true",
    "trainer.enable_progress_bar=false",
]  # fmt: skip


@pytest.fixture(scope="module")
def labels(tmp_path_factory) -> Path:
    """Eight noise pictures with labels, in COCO's form; one more whose file is cut short."""
    folder = tmp_path_factory.mktemp("set")
    rng = np.random.default_rng(0)
    skeleton = skeletons.load("ap10k")
    images, annotations = [], []
    for i in range(9):
        picture = rng.integers(0, 255, (40, 50, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{i}.jpg"), picture)
        images.append({"id": i + 1, "file_name": f"{i}.jpg", "width": 50, "height": 40})
        points = np.c_[rng.uniform(5, 35, (len(skeleton), 2)), np.full(len(skeleton), 2)]
        annotations.append(
            {
                "id": i + 1, "image_id": i + 1, "category_id": 1, "iscrowd": 0, "area": 1200.0,
                "bbox": [2, 2, 45, 36], "keypoints": points.round(2).ravel().tolist(),
                "num_keypoints": len(skeleton),
            }
        )  # fmt: skip
    broken = folder / "8.jpg"
    broken.write_bytes(broken.read_bytes()[:200])
    category = {"id": 1, "name": "thing", "keypoints": list(skeleton.names), "skeleton": []}
    path = folder / "labels.json"
    path.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": [category]})
    )
    return path


def command(labels: Path, folder: Path, *more: str) -> list[str]:
    sets = [f"dataset.{part}=coco:{labels},skeleton=ap10k" for part in ("train", "val")]
    sets = [one.replace("=coco", "='coco").replace("ap10k", "ap10k'") for one in sets]
    return [
        sys.executable, "-m", "tetrapose", "train", *TINY, *sets, f"run_dir={folder}", *more,
    ]  # fmt: skip


def run(*args, **more) -> subprocess.CompletedProcess:
    return subprocess.run(*args, capture_output=True, text=True, timeout=300, check=False, **more)


def test_a_run_leaves_its_folder_and_names_what_it_left_out(labels, tmp_path):
    done = run(command(labels, tmp_path / "run", "trainer.max_epochs=1"))
    assert done.returncode == 1, done.stderr  # the picture that is cut short
    assert "8.jpg" in done.stderr
    assert "Traceback" not in done.stderr
    have = {path.name for path in (tmp_path / "run").iterdir()}
    assert have >= {
        "config.yaml", "curves.csv", "curves.png", "last.ckpt", "model.safetensors", "model.json"
    }  # fmt: skip
    card = json.loads((tmp_path / "run" / "model.json").read_text())
    assert card["skeleton"]["name"] == "ap10k"


@pytest.mark.parametrize(
    "number, status", [(signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGINT, 130)]
)
def test_a_run_that_is_ended_is_not_told_as_done_and_goes_on(labels, tmp_path, number, status):
    folder = tmp_path / "run"
    epochs = ["trainer.max_epochs=15", "trainer.check_val_every_n_epoch=15"]
    process = subprocess.Popen(
        command(labels, folder, *epochs), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    limit = time.monotonic() + 90
    while not (folder / "last.ckpt").exists() and time.monotonic() < limit:
        time.sleep(0.05)
    os.kill(process.pid, number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == status, told
    assert number == signal.SIGKILL or "tetrapose: stopped" in told.splitlines()[-1]
    before = (folder / "curves.csv").read_text().splitlines()
    assert 2 <= len(before) < 16, "the run was to be killed in its midst"
    done = run(command(labels, folder, *epochs))
    assert done.returncode == 1, done.stderr
    after = (folder / "curves.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in after[1:]] == [str(i) for i in range(1, 16)]
    assert after[1].split(",")[:2] == before[1].split(",")[:2]


@pytest.mark.parametrize(
    "more, words",
    [
        (["modle=small"], "modle"),
        (["dataset.batch_size=64"], "do not fill a batch of 64"),
        (["dataset.train=coco:nowhere.json"], "nowhere.json"),
        (["checkpoint_path=nothing.safetensors"], "nothing.safetensors"),
    ],
)
def test_wrong_use_is_one_line(labels, tmp_path, more, words):
    done = run(command(labels, tmp_path / "run", *more))
    assert done.returncode == 2
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert words in lines[0]


@pytest.mark.parametrize(
    "network",
    [["model=small", "codec=distribution"], ["model=hrnet_w32", "codec=heatmap"]],
    ids=["small", "hrnet_w32"],
)
def test_a_mix_of_conventions_trains_from_one_command(tmp_path, network):
    one, other = tmp_path / "a", tmp_path / "b"
    miniatures.animal_pose(one)
    miniatures.akd_cats(other)
    sets = f"{{a: {{set: 'animal_pose:{one}'}}, b: {{set: 'akd_cats:{other}', share: 2}}}}"
    tiny = [word for word in TINY if not word.startswith("model.") or "model=small" in network]
    done = run(
        [
            sys.executable, "-m", "tetrapose", "train", *network, *tiny, f"dataset.train={sets}",
            f"dataset.val=akd_cats:{other}", "dataset.skeleton=quadruped",
            "dataset.batch_size=4", "trainer.max_epochs=1", f"run_dir={tmp_path / 'run'}",
        ]
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert done.returncode == 0, done.stderr
    assert "b: 3 animals, 16 of 32 points, 6 drawn an epoch" in done.stderr
    card = json.loads((tmp_path / "run" / "model.json").read_text())
    assert card["skeleton"]["name"] == "quadruped"
    assert card["training"]["data"] == {"a": "animal_pose", "b": "akd_cats"}
    assert str(tmp_path) not in json.dumps(card["training"])
    curve = (tmp_path / "run" / "curves.csv").read_text()
    assert "val/AP" in curve, "scored on the cats' own points"


def test_overrides_may_stand_behind_an_option(capsys):
    show = ["train", "experiment=alone", "--show", "dataset.root=/somewhere"]
    assert main(show) == 0
    assert "/somewhere" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([*show, "--shwo"])
    assert "unrecognized arguments: dataset.root=/somewhere --shwo" in capsys.readouterr().err


def test_a_files_card_brings_its_network_along(labels, tmp_path, capsys):
    """Small, and narrower than any configuration: what is trained is what the file holds."""
    first = run(command(labels, tmp_path / "first", "trainer.max_epochs=1"))
    file = tmp_path / "first" / "model.safetensors"
    assert file.exists(), first.stderr
    silent = [word for word in TINY if not word.startswith("model")]
    labels = f"dataset.train='coco:{labels},skeleton=ap10k'"
    words = [*silent, labels, f"checkpoint_path={file}", "trainer.max_epochs=1"]
    folder = tmp_path / "second"
    assert main(["train", *words, f"run_dir={folder}"]) == 1  # the picture that is cut short
    told = capsys.readouterr().out
    assert "start from" not in told, "nothing stayed as it was"
    cards = [json.loads((tmp_path / run / "model.json").read_text()) for run in ("first", "second")]
    assert cards[0]["architecture"] == cards[1]["architecture"]
    # said on the command line, another one is another one
    assert main(["train", *words, "model=small", f"run_dir={tmp_path / 'other'}"]) == 2
    assert "another network?" in capsys.readouterr().err
    assert main(["train", *words, "experiment=small_128", f"run_dir={tmp_path / 'third'}"]) == 2
    assert "another network?" in capsys.readouterr().err


def test_a_graph_is_not_trained_on(tmp_path, capsys):
    graph = onnx_graph(17, size=4)
    skeleton = skeletons.load("ap10k")
    card = describe(
        "tetrapose.models.onnx_graph:onnx_graph", {"size": 4}, skeleton=skeleton,
        codec=SimCC(17), crop={"padding": 1.25},
        normalisation={"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
    )  # fmt: skip
    save(tmp_path / "graph.safetensors", graph, card)
    words = [f"checkpoint_path={tmp_path / 'graph.safetensors'}", "--show"]
    assert main(["train", "dataset=custom", "dataset.train=x", *words]) == 2
    assert "cannot be trained on" in capsys.readouterr().err
