"""What happens around the steps: scores, curves, checkpoints that survive a kill."""

from __future__ import annotations

import csv
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback

from tetrapose import geometry
from tetrapose.data.crops import CropDataset
from tetrapose.skeletons.mapping import between, carried
from tetrapose.structures import PoseSet
from tetrapose.training.module import PoseModule

Metric = Callable[[PoseSet, np.ndarray, np.ndarray], dict[str, float]]


class Score(Callback):
    """After each validation ``metric`` over the whole set, in picture pixels, logged as val/*.

    ``truth`` is the set that is scored where the crops come from one brought onto another
    skeleton: predictions are carried back, so that figures are those of the set's own points.
    """

    def __init__(self, dataset: CropDataset, metric: Metric, truth: PoseSet | None = None) -> None:
        self.dataset, self.metric = dataset, metric
        self.truth = truth or dataset.pose_set
        self.back = between(dataset.pose_set.skeleton, self.truth.skeleton)

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forget the last pass."""
        assert isinstance(pl_module, PoseModule)
        pl_module.outputs.clear()

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Score the pass that ended."""
        assert isinstance(pl_module, PoseModule)
        if trainer.sanity_checking or not pl_module.outputs:
            return
        data, pose_set = self.dataset, self.dataset.pose_set
        rows, points, scores = (torch.cat(c).numpy() for c in zip(*pl_module.outputs, strict=True))
        placed = np.full(pose_set.keypoints.shape, np.nan)
        valued = np.zeros(placed.shape[:2])
        for row, crop_points, crop_scores in zip(rows, points, scores, strict=True):
            back = geometry.invert(data.matrix(row))
            placed[row] = geometry.transform_points(back, crop_points)
            valued[row] = crop_scores
        placed = carried(placed, self.back, empty=np.nan)
        valued = carried(valued, self.back, empty=0.0)
        for name, value in self.metric(self.truth, placed, valued).items():
            pl_module.log(f"val/{name}", value)


class Curves(Callback):
    """``curves.csv`` and ``curves.png`` in the run folder, a row an epoch; resumed runs go on."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.rows: list[dict[str, float]] = []
        self.began = time.monotonic()
        self.before = 0.0

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Add the epoch and write both files."""
        values = {k: float(v) for k, v in trainer.callback_metrics.items() if "/" in k}
        row = {
            "epoch": trainer.current_epoch + 1,
            "step": trainer.global_step,
            "seconds": round(self.before + time.monotonic() - self.began, 1),
            "lr": trainer.optimizers[0].param_groups[0]["lr"],
            "skipped": getattr(pl_module, "skipped", 0),
        }
        validated = any(k.startswith("val/") for k in values)
        period = trainer.check_val_every_n_epoch or 1
        if validated and (trainer.current_epoch + 1) % period:
            values = {k: v for k, v in values.items() if not k.startswith("val/")}
        self.rows.append({**row, **values})
        scored = validated and not (trainer.current_epoch + 1) % period
        self.write(plot=scored or trainer.current_epoch + 1 == trainer.max_epochs)
        if scored:
            print(_line(self.rows[-1], trainer.max_epochs or 0), file=sys.stderr)

    def write(self, *, plot: bool = True) -> None:
        """Write the curve as it stands; drawing it takes longer than a small epoch."""
        self.folder.mkdir(parents=True, exist_ok=True)
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        temporary = self.folder / "curves.csv.part"
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(self.rows)
        temporary.replace(self.folder / "curves.csv")
        if plot:
            plot_curves(self.rows, self.folder / "curves.png")

    def state_dict(self) -> dict[str, Any]:
        """The curve travels with the checkpoint."""
        return {"rows": self.rows, "seconds": self.before + time.monotonic() - self.began}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The curve goes on where the checkpoint was taken."""
        self.rows = list(state_dict["rows"])
        self.before, self.began = state_dict["seconds"], time.monotonic()


class Checkpoints(Callback):
    """``last.ckpt`` every few epochs and ``best.ckpt`` by ``monitor``, written beside and renamed.

    A kill at any moment leaves the last whole file. ``monitor`` "" keeps no best.
    """

    def __init__(
        self, folder: str | Path, *, monitor: str = "val/AP", mode: str = "max", every: int = 1
    ) -> None:
        if mode not in ("max", "min"):
            raise ValueError(f"mode must be max or min, not {mode!r}")
        self.folder, self.monitor, self.every = Path(folder), monitor, every
        self.sign = 1.0 if mode == "max" else -1.0
        self.best = -math.inf
        self.best_epoch = 0

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save what is due."""
        epoch = trainer.current_epoch + 1
        period = trainer.check_val_every_n_epoch or 1
        value = math.nan  # no figure is better than this
        if self.monitor in trainer.callback_metrics and epoch % period == 0:
            value = self.sign * float(trainer.callback_metrics[self.monitor])
        last = epoch == trainer.max_epochs or trainer.should_stop
        better = value > self.best
        if better:
            self.best, self.best_epoch = value, epoch
        if not (better or last or epoch % self.every == 0):
            return
        temporary = self.folder / "last.ckpt.part"
        self.folder.mkdir(parents=True, exist_ok=True)
        trainer.save_checkpoint(temporary)
        if better:
            hard = self.folder / "best.ckpt.part"
            hard.unlink(missing_ok=True)
            os.link(temporary, hard)
            hard.replace(self.folder / "best.ckpt")
        temporary.replace(self.folder / "last.ckpt")

    @property
    def value(self) -> float:
        """The monitored figure at its best."""
        return self.sign * self.best

    def state_dict(self) -> dict[str, Any]:
        """The best so far."""
        return {"best": self.best, "best_epoch": self.best_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The best so far comes back."""
        self.best, self.best_epoch = state_dict["best"], state_dict["best_epoch"]


def _line(row: dict[str, float], epochs: int) -> str:
    """One validated epoch in words, for runs that nobody watches."""
    minutes, seconds = divmod(int(row["seconds"]), 60)
    figures = [f"{key.split('/')[1]} {row[key]:.3f}" for key in row if key.startswith("val/")]
    loss = f"{row['train/loss']:.3f}" if "train/loss" in row else "none"
    return (
        f"epoch {int(row['epoch'])}/{epochs} {minutes}:{seconds:02d} "
        f"loss {loss}; validation: {', '.join(figures)}"
    )


def plot_curves(rows: list[dict[str, float]], path: Path) -> None:
    """Losses on the left, scores on the right, against epochs."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name in dict.fromkeys(name for row in rows for name in row if "/" in name):
        drawn = [(row["epoch"], row[name]) for row in rows if name in row]
        axis = left if name.endswith("loss") else right
        axis.plot(*zip(*drawn, strict=True), marker="." if len(drawn) < 60 else "", label=name)
    for axis, title in ((left, "loss"), (right, "scores on the validation set")):
        axis.set(title=title, xlabel="epoch")
        axis.grid(alpha=0.3)
        if axis.lines:
            axis.legend(fontsize=8)
    right.set_ylim(0, 1)
    figure.savefig(path.with_suffix(".part.png"), dpi=110)
    path.with_suffix(".part.png").replace(path)
