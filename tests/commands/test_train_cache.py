"""`tetrapose train dataset.cache=DIR`: the same run each time, cut short or not."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file

from tetrapose import cli

TINY = [
    "dataset=custom", "dataset.batch_size=4", "dataset.workers=0", "input_size=[64,64]",
    "model=small", "model.channels=[8,8,8,8]", "model.blocks=[1,1,1,1]", "model.neck=8",
    "logger=none",
    "trainer.accelerator=cpu", "trainer.check_val_every_n_epoch=9", "trainer.precision=32-true",
    "trainer.enable_progress_bar=false",
]  # fmt: skip


def train(labels: Path, folder: Path, *more: str) -> dict:
    sets = [f"dataset.{part}=coco:{labels}" for part in ("train", "val")]
    assert cli.main(["train", *TINY, *sets, f"run_dir={folder}", *more]) == 0
    return load_file(folder / "model.safetensors")


def same(one: dict, other: dict) -> bool:
    return all(one[name].equal(other[name]) for name in one) and one.keys() == other.keys()


def test_with_a_cache_a_rerun_is_equal_to_the_bit_whatever_the_workers(tiny_coco, tmp_path, capsys):
    cache = f"dataset.cache={tmp_path / 'cache'}"
    first = train(tiny_coco, tmp_path / "first", cache, "trainer.max_epochs=2")
    told = capsys.readouterr().err
    assert all(f"cache/{name}: none is there" in told for name in ("train", "val"))
    cut = [cache, "trainer.max_epochs=2", "dataset.workers=1"]
    again = train(tiny_coco, tmp_path / "again", *cut)
    assert "cache" not in capsys.readouterr().err
    assert same(first, again)


def test_a_run_goes_on_with_its_cache_moved_and_not_without(tiny_coco, tmp_path, capsys):
    folder, two = tmp_path / "run", "trainer.max_epochs=1"
    train(tiny_coco, folder, f"dataset.cache={tmp_path / 'here'}", two)
    train(tiny_coco, folder, f"dataset.cache={tmp_path / 'there'}", two)
    capsys.readouterr()
    sets = [f"dataset.{part}=coco:{tiny_coco}" for part in ("train", "val")]
    assert cli.main(["train", *TINY, *sets, f"run_dir={folder}", two]) == 2
    assert "other settings" in capsys.readouterr().err


def test_a_run_from_before_there_were_caches_goes_on(tiny_coco, tmp_path):
    folder = tmp_path / "run"
    train(tiny_coco, folder, "trainer.max_epochs=1")
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("  cache: null\n", ""))
    train(tiny_coco, folder, "trainer.max_epochs=1")


def test_a_cache_that_cannot_be_written_is_one_line(tiny_coco, tmp_path, capsys):
    (tmp_path / "file").touch()
    sets = [f"dataset.{part}=coco:{tiny_coco}" for part in ("train", "val")]
    more = [f"run_dir={tmp_path / 'run'}", f"dataset.cache={tmp_path / 'file'}"]
    assert cli.main(["train", *TINY, *sets, *more]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert "file: cannot be written" in lines[0]
