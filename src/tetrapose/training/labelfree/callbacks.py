"""Around the steps of a label-free run: scores, curves, and checkpoints, of one process or many."""

from __future__ import annotations

import csv
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
from lightning.pytorch.callbacks import Callback

from tetrapose import geometry
from tetrapose.data.crops import CropDataset
from tetrapose.training.labelfree.figures import figures, flat
from tetrapose.training.labelfree.module import LabelFreeModule
from tetrapose.training.labelfree.step import processes


def placed(outputs: list[tuple[Any, Any, Any]], data: CropDataset) -> tuple[np.ndarray, np.ndarray]:
    """(N, K, 2) points in pictures and (N, K) scores of what was decoded in crops, row by row.

    What other processes decoded is fetched first; a row that nobody did is NaN.
    """
    rows = _gathered([tuple(np.asarray(one) for one in batch) for batch in outputs])
    points = np.full(data.keypoints.shape, np.nan)
    scores = np.zeros(points.shape[:2])
    for batch in rows:
        for row, crop_points, crop_scores in zip(*batch, strict=True):
            back = geometry.invert(data.matrix(int(row)))
            points[row] = geometry.transform_points(back, crop_points)
            scores[row] = crop_scores
    return points, scores


def _gathered(mine: list[Any]) -> list[Any]:
    _, count = processes()
    if count == 1:
        return mine
    import torch.distributed as dist

    parts: list[Any] = [None] * count
    dist.all_gather_object(parts, mine)
    return [batch for part in parts for batch in part]


class Judge(Callback):
    """After each interval the answering network's figures on the validation part, as val/*."""

    def __init__(self, data: CropDataset, shown: np.ndarray) -> None:
        self.data, self.shown = data, shown

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forget the last pass."""
        assert isinstance(pl_module, LabelFreeModule)
        pl_module.outputs.clear()

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Score the pass that ended."""
        assert isinstance(pl_module, LabelFreeModule)
        points, scores = placed(pl_module.outputs, self.data)
        found = flat(figures(self.data.pose_set, self.shown, points, scores))
        for name, value in found.items():
            pl_module.log(f"val/{name}", value, sync_dist=True)  # all processes have the same


class History(Callback):
    """``curves.csv`` in the run folder, a row an interval; a run's end draws them (``plot``)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: list[dict[str, float]] = []
        self.before, self.began = 0.0, time.monotonic()

    @property
    def seconds(self) -> float:
        """Time spent so far, that of earlier starts too."""
        return self.before + time.monotonic() - self.began

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Add the interval's row and write the table."""
        assert isinstance(pl_module, LabelFreeModule)
        values = {k: float(v) for k, v in trainer.callback_metrics.items() if "/" in k}
        row = {
            "step": pl_module.done,
            "seconds": round(self.seconds, 1),
            "lr": trainer.optimizers[0].param_groups[0]["lr"],
            "skipped": pl_module.skipped,
        }
        self.rows.append({**row, **values})
        if processes()[0]:
            return
        write_table(self.rows, self.folder / "curves.csv")
        print(_line(self.rows[-1], pl_module.learning.total), file=sys.stderr)

    def state_dict(self) -> dict[str, Any]:
        """The curve travels with the checkpoint."""
        return {"rows": self.rows, "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The curve goes on where the checkpoint was taken."""
        self.rows = list(state_dict["rows"])
        self.before, self.began = state_dict["seconds"], time.monotonic()


class Keeper(Callback):
    """``last.ckpt`` after every interval and ``best.ckpt`` by ``monitor``, written whole or not."""

    def __init__(self, folder: Path, monitor: str) -> None:
        self.folder, self.monitor = folder, monitor
        self.best, self.best_step = -math.inf, 0

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save; every process takes part, the first one names the files."""
        assert isinstance(pl_module, LabelFreeModule)
        value = float(trainer.callback_metrics.get(self.monitor, math.nan))
        better = value > self.best
        if better:
            self.best, self.best_step = value, pl_module.done
        temporary = self.folder / "last.ckpt.part"
        trainer.save_checkpoint(temporary)
        if processes()[0]:
            return
        if better:
            hard = self.folder / "best.ckpt.part"
            hard.unlink(missing_ok=True)
            os.link(temporary, hard)
            hard.replace(self.folder / "best.ckpt")
        temporary.replace(self.folder / "last.ckpt")

    def state_dict(self) -> dict[str, Any]:
        """The best so far."""
        return {"best": self.best, "best_step": self.best_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The best so far comes back."""
        self.best, self.best_step = state_dict["best"], state_dict["best_step"]


def write_table(rows: list[dict[str, float]], path: Path) -> None:
    """Rows as csv, a column for every name that any of them has."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    temporary = path.with_name(f"{path.name}.part")
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
    temporary.replace(path)


def plot(rows: list[dict[str, float]], path: Path) -> None:
    """Losses, confidence and kept share of each part, PCK by kind and PCK by part."""
    from matplotlib.figure import Figure

    panels = {
        "losses": "_loss", "confidence in the pool": "train/confidence/",
        "share of the pool learnt from": "train/kept/", "PCK@0.1 on validation": "val/pck_0.1_",
        "PCK@0.1 by part": "val/pck/",
    }  # fmt: skip
    figure = Figure(figsize=(18, 3.6), layout="constrained")
    for axis, (title, mark) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        for name in dict.fromkeys(name for row in rows for name in row if mark in name):
            drawn = [(row["step"], row[name]) for row in rows if name in row]
            label = name.removeprefix("train/").removeprefix("val/")
            axis.plot(*zip(*drawn, strict=True), label=label)
        axis.set(title=title, xlabel="step")
        axis.grid(alpha=0.3)
        if axis.lines:
            axis.legend(fontsize=7)
    figure.savefig(path.with_suffix(".part.png"), dpi=100)
    path.with_suffix(".part.png").replace(path)


def _line(row: dict[str, float], total: int) -> str:
    told = ", ".join(
        f"{kind} {row[f'val/pck_0.1_{kind}']:.3f}"
        for kind in ("overall", "labelled", "unlabelled")
        if f"val/pck_0.1_{kind}" in row
    )
    minutes, seconds = divmod(int(row["seconds"]), 60)
    return f"step {int(row['step'])}/{total} {minutes}:{seconds:02d} PCK@0.1 {told}"
