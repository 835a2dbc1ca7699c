"""``tetrapose label-free run``: presets compose, a run goes from pictures to a result and stops."""

from __future__ import annotations

import importlib
import inspect
import json
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from tetrapose.cli import main
from tetrapose.commands import label_free_run
from tetrapose.errors import UserError
from tetrapose.synth import folder as drawn

PRESETS = label_free_run.choices("preset")
METHODS = label_free_run.choices("method")


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A folder with a menagerie of sixteen small pictures."""
    place = tmp_path_factory.mktemp("root")
    drawn.write(place / "menagerie", 16, size=48, animals=1, skeletons=("union24",))
    return place


def words(root: Path, folder: Path, *more: str) -> list[str]:
    return [
        "label-free", "run", "menagerie", f"root={root}", f"run_dir={folder}",
        "input_size=[32,32]", "model.channels=[8,8,8,8]", "model.blocks=[1,1,1,1]", "model.neck=8",
        "codec.sigma=1.0", "steps=4", "every=2", "batch=2", "pool_batch=2", "loading.workers=0",
        "data.shares=2:1:1", "trainer.accelerator=cpu", *more,
    ]  # fmt: skip


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_compose_and_begin_with_their_command(preset):
    config = label_free_run.compose(preset, ["root=somewhere"])
    assert config.preset == preset
    assert config.data.sets
    folder = Path(label_free_run.__file__).parents[1] / "configs" / "label_free" / "preset"
    assert f"tetrapose label-free run {preset} root=DIR" in (folder / f"{preset}.yaml").read_text()
    assert OmegaConf.to_yaml(config, resolve=True)


@pytest.mark.parametrize("method", METHODS)
def test_methods_bind_and_are_called_by_their_name(method):
    config = label_free_run.compose("menagerie", ["root=x", f"method={method}"])
    assert config.method_name == method
    module, _, name = config.method._target_.rpartition(".")
    target = getattr(importlib.import_module(module), name)
    given = {k: v for k, v in config.method.items() if not k.startswith("_")}
    inspect.signature(target).bind(None, **given)


@pytest.mark.parametrize(
    "preset, overrides, told",
    [
        ("menageri", [], "there is menagerie"),
        ("menagerie", ["method=freenett"], "there is freenet"),
        ("menagerie", ["root=x", "stepps=3"], "stepps"),
        ("menagerie", [], "missing: root=..."),
    ],
)
def test_wrong_words_are_told_in_one_line(preset, overrides, told):
    with pytest.raises(UserError) as caught:
        label_free_run.compose(preset, overrides)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_run_leaves_a_result_and_is_not_run_twice(root, tmp_path, capsys):
    folder = tmp_path / "run"
    assert main(words(root, folder, "method=two_looks")) == 0
    assert "PCK@0.1 on the test part" in capsys.readouterr().out
    result = json.loads((folder / "result.json").read_text())
    assert (result["preset"], result["method"], result["steps"]) == ("menagerie", "two_looks", 4)
    assert result["seed"] == 0
    assert result["test"]["parts"]["head"]["0.1"].keys() == {"overall", "labelled", "unlabelled"}
    assert result["chosen"]["by"] == "val/pck_0.1_labelled"
    assert {"config.yaml", "curves.csv", "curves.png", "model.safetensors", "splits"} <= {
        path.name for path in folder.iterdir()
    }
    assert main(words(root, folder, "method=two_looks")) == 0
    assert "has its result already" in capsys.readouterr().err
    assert main(words(root, folder, "method=fixmatch")) == 2
    assert "other settings" in capsys.readouterr().err


def test_a_method_goes_on_from_a_first_stage(root, tmp_path, capsys):
    assert main(words(root, tmp_path / "first", "method=supervised")) == 0
    start = f"start={tmp_path / 'first' / 'model.safetensors'}"
    assert main(words(root, tmp_path / "second", "method=freenet", start)) == 0
    result = json.loads((tmp_path / "second" / "result.json").read_text())
    assert result["answer"] == "adaptation"
    assert "base" in result["other_networks"]
    assert main(words(root, tmp_path / "odd", "method=freenet", "+method.speed=3")) == 2
    assert "speed" in capsys.readouterr().err


def test_lists_name_all(capsys):
    assert main(["label-free", "run", "--list"]) == 0
    told = capsys.readouterr().out
    assert all(name in told for name in (*PRESETS, *METHODS))
    assert main(["label-free", "run"]) == 2
