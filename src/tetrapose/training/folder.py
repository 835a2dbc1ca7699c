"""The run folder: claimed by one config, finished with a model and its card."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tetrapose.data.crops import CropDataset
from tetrapose.errors import UserError
from tetrapose.training.callbacks import Checkpoints
from tetrapose.training.module import MEAN, STD, PoseModule

# what may differ when a run goes on: where it reads and how it is shown, not what it learns
PROTOCOL = "validation set, labelled boxes, flip test, {}, averaged weights where they are kept"
BEFORE = {"config.yaml", "splits", "tensorboard"}  # what a run makes before its first checkpoint
FREE = ("overwrite:", "  workers:", "  root:", "  enable_progress_bar:", "  cache: null")


def claim(folder: Path, config: str, *, overwrite: bool = False) -> None:
    """Write ``config.yaml`` into the folder; refuse one that holds a run with other settings.

    With ``overwrite`` such a folder is emptied.
    """
    path = folder / "config.yaml"
    if path.exists() and not overwrite:
        old, new = (_fixed(text) for text in (path.read_text(encoding="utf-8"), config))
        changed = [line.strip() for line in new if line not in old][:3]
        if old != new:
            raise UserError(
                f"{folder} holds a run with other settings ({'; '.join(changed) or 'fewer'}); "
                "choose another name=..., or overwrite=true to begin anew"
            )
    if overwrite and path.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(config, encoding="utf-8")


@contextmanager
def claimed(folder: Path, config: str, *, overwrite: bool = False) -> Iterator[None]:
    """``claim``, given back where a UserError follows before anything is learnt.

    So a mistyped name keeps nobody from trying again. A folder that had anything in it stays.
    """
    fresh = not folder.exists() or not any(folder.iterdir())
    claim(folder, config, overwrite=overwrite)
    try:
        yield
    except UserError:
        if fresh and {one.name for one in folder.iterdir()} <= BEFORE:
            shutil.rmtree(folder, ignore_errors=True)  # of several processes another may be first
        raise


def _fixed(config: str) -> list[str]:
    """The lines that must stay; of a cache that there is one (its pixels differ), not where."""
    lines = [line for line in config.splitlines() if not line.startswith(FREE)]
    return ["  cache: kept" if line.startswith("  cache: ") else line for line in lines]


def finish(folder: Path, module: PoseModule, train: CropDataset, config: dict[str, Any]) -> Path:
    """Write ``model.safetensors`` with its card from the module as it stands; returns its path.

    Where ``best.ckpt`` is of another epoch, ``best.safetensors`` is written from it as well, and
    the module then holds those weights.
    """
    from tetrapose.weights import card as cards

    trainer = module.trainer
    card = describe(module, train, config)
    keeper = next((c for c in _callbacks(trainer) if isinstance(c, Checkpoints)), None)
    scores = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("val/")}
    protocol = PROTOCOL.format(card["codec"]["decoder"])
    last = {"epoch": trainer.current_epoch, "protocol": protocol if scores else "", **scores}
    path = folder / "model.safetensors"
    cards.save(path, module.model, {**card, "scores": last})
    best = folder / "best.ckpt"
    if keeper and best.exists() and keeper.best_epoch != trainer.current_epoch:
        module.load_state_dict(cards.load_checkpoint(best)["state_dict"])
        scores = {"epoch": keeper.best_epoch, "protocol": protocol, keeper.monitor: keeper.value}
        cards.save(folder / "best.safetensors", module.model, {**card, "scores": scores})
    return path


def describe(module: PoseModule, train: CropDataset, config: dict[str, Any]) -> dict[str, Any]:
    """The card of a run's model but for its scores."""
    module_name, _, function = config["model"]["_target_"].rpartition(".")
    arguments = {k: v for k, v in config["model"].items() if not k.startswith("_")}
    skeleton = module.parts.skeleton
    return {
        "architecture": {
            "builder": f"{module_name}:{function}",
            "arguments": {"num_keypoints": len(skeleton), **arguments},
        },
        "skeleton": skeleton.to_dict(),
        "codec": module.parts.codec.to_dict(),
        "normalisation": {"mean": list(MEAN), "std": list(STD)},
        "crop": {"padding": float(config["padding"])},
        "training": {
            **_data(config["dataset"]),
            "start": config.get("checkpoint_path"),
            "instances": len(train),
            "pictures": len(train.pose_set.files),
            "epochs": module.trainer.current_epoch,
            "steps": module.trainer.global_step,
            "skipped_steps": module.skipped,
            "licence": train.pose_set.licence,
        },
    }


def _data(dataset: dict[str, Any]) -> dict[str, Any]:
    """What was trained on, by name and without the paths of one machine."""
    train = dataset["train"]
    if isinstance(train, str):
        return {"data": train.partition(":")[0], "split": _named(dataset.get("train_split"))}
    used = {name: one for name, one in train.items() if one}
    return {
        "data": {name: one["set"].partition(":")[0] for name, one in used.items()},
        "split": {name: _named(one.get("split")) for name, one in used.items()},
        "share": {name: one.get("share", 1.0) for name, one in used.items()},
        "near": dataset.get("near"),
    }


def _named(split: Any) -> Any:
    """A split's file names without the folders they lie in."""
    if isinstance(split, list):
        return [_named(one) for one in split]
    return split if split is None else str(split).replace("\\", "/").rpartition("/")[2]


def _callbacks(trainer: Any) -> list[Any]:
    return list(trainer.callbacks)
