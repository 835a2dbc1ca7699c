"""Every YAML names something that exists and gives it arguments that it takes."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from tetrapose.commands import train
from tetrapose.errors import UserError

ROOT = Path(train.__file__).parents[1] / "configs"
FILES = sorted(ROOT.rglob("*.yaml"))
EXPERIMENTS = sorted(path.stem for path in (ROOT / "experiment").glob("*.yaml"))
GIVEN = [
    "dataset.root=somewhere", "dataset.train=coco:a.json", "dataset.val=coco:b.json"
]  # fmt: skip


def parts(node: Any) -> list[dict[str, Any]]:
    """Every mapping with a ``_target_`` in it, however deep."""
    if isinstance(node, dict):
        own = [node] if node.get("_target_") else []
        return own + [part for value in node.values() for part in parts(value)]
    if isinstance(node, list):
        return [part for value in node for part in parts(value)]
    return []


def test_there_are_files():
    assert len(FILES) > 20


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_arguments_bind(path: Path):
    for part in parts(yaml.safe_load(path.read_text())):
        module, _, name = part["_target_"].rpartition(".")
        target = getattr(importlib.import_module(module), name)
        arguments = {key: value for key, value in part.items() if not key.startswith("_")}
        signature = inspect.signature(target)
        signature.bind_partial(**arguments)
        unknown = [key for key in arguments if key not in signature.parameters]
        takes_any = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
        assert takes_any or not unknown


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiments_compose(name: str):
    text = (ROOT / "experiment" / f"{name}.yaml").read_text()
    assert "tetrapose train experiment=" in text, "an experiment begins with its command"
    overrides = [one for one in GIVEN if "root" in one or "custom" in text]
    if "custom" in text:
        overrides = overrides[1:]
    if "dataset.menagerie=" in text:
        overrides = [*overrides, "dataset.menagerie=drawn"]
    config = train.compose([f"experiment={name}", *overrides])
    assert config.name == name
    assert OmegaConf.to_yaml(config, resolve=True)


@pytest.mark.parametrize(
    "overrides, words",
    [
        (["modell=small"], "modell"),
        (["model=smal"], "smal"),
        (["optimizer.lrr=1"], "lrr"),
        ([], "missing: dataset.root=..."),
        (["dataset=custom"], "dataset.train=..."),
        (["+colour=red", "dataset.root=x"], "colour"),
        (["seed=red", "dataset.root=x"], "seed"),
    ],
)
def test_wrong_overrides_are_told_in_one_line(overrides: list[str], words: str):
    with pytest.raises(UserError) as caught:
        train.compose(overrides)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_groups_of_the_cat_system_are_there():
    groups = train._groups()
    for name in (
        "lit_module", "model", "loss", "metric", "optimizer", "scheduler", "dataset", "trainer",
        "logger", "train_augmentations", "test_augmentations", "callbacks",
    ):  # fmt: skip
        assert groups[name], name
