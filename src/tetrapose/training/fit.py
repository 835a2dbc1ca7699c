"""One training run: objects in, a run folder out."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from torch.utils.data import DataLoader

from tetrapose.data.crops import CropDataset, EpochSampler, to_batch
from tetrapose.errors import UserError
from tetrapose.structures import PoseSet
from tetrapose.training.callbacks import Checkpoints, Curves, Metric, Score
from tetrapose.training.ended import not_as_done
from tetrapose.training.module import Parts, PoseModule
from tetrapose.weights.card import load_checkpoint

# said by Lightning at every run of ours, and answered elsewhere
HARMLESS = (
    # frozen parts are meant to be
    ".*module\\(s\\) in eval mode at the start of training.*",
    ".*does not have many workers.*",
    ".*DataLoader will create .* worker processes.*",
    ".*smaller than the logging interval.*",
    ".*defined a `validation_step` but have no `val_dataloader`.*",
    ".*isinstance.treespec, LeafSpec.*",
    ".*`training_step` returned `None`.*",
    ".*`weights_only` was not set.*",
    ".*Checkpoint directory .* exists and is not empty.*",
    # a step that is skipped for not being finite leaves the schedule one step ahead, on purpose
    ".*lr_scheduler.step.*before.*optimizer.step.*",
)


@dataclass(frozen=True)
class Plan:
    """How a run goes, beside its parts.

    ``trainer`` makes a Lightning Trainer from the arguments that ``fit`` adds (callbacks, logger,
    folder). ``truth`` is the validation set in its own skeleton, where its crops are on another;
    ``draws`` (N,) how often each training row is seen in an epoch.
    """

    folder: Path
    trainer: Callable[..., L.Trainer]
    metric: Metric
    callbacks: Sequence[L.Callback] = ()
    loggers: Sequence[Any] = ()
    batch_size: int = 32
    workers: int = 2
    seed: int = 0
    truth: PoseSet | None = None
    draws: np.ndarray | None = None


def fit(parts: Parts, train: CropDataset, val: CropDataset | None, plan: Plan) -> PoseModule:
    """Train to the trainer's end; the module returned holds averaged weights where they are kept.

    Goes on from ``last.ckpt`` in the folder when there is one. Raises UserError when a set is
    smaller than a batch.
    """
    sampler = EpochSampler(len(train), seed=plan.seed, draws=plan.draws)
    if len(sampler) < plan.batch_size:
        raise UserError(
            f"{len(sampler)} training instances do not fill a batch of {plan.batch_size}; "
            "lower dataset.batch_size"
        )
    module = PoseModule(parts)
    scorer = [] if val is None else [Score(val, plan.metric, plan.truth)]
    loaders = (
        loader(train, plan, sampler, to_batch),
        None if val is None else loader(val, plan, None, to_batch),
    )
    carry_out(module, loaders, plan, scorer)
    return module


def carry_out(
    module: L.LightningModule,
    loaders: tuple[DataLoader, DataLoader | None],
    plan: Plan,
    scorers: Sequence[L.Callback],
) -> None:
    """Train a module to the trainer's end, on from ``last.ckpt`` in the folder if there is one.

    ``loaders`` are those of training and validation; ``scorers`` run before the plan's callbacks.
    """
    plan.folder.mkdir(parents=True, exist_ok=True)
    callbacks: list[L.Callback] = [*plan.callbacks, *scorers]
    # files last: they write what the others reported
    callbacks.sort(key=lambda one: isinstance(one, Curves) + 2 * isinstance(one, Checkpoints))
    began = Began()
    trainer = _quiet(plan.trainer)(
        callbacks=[*callbacks, began],
        logger=list(plan.loggers) or False,
        default_root_dir=plan.folder,
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    last = plan.folder / "last.ckpt"
    if last.exists():
        print(f"going on from {last}", file=sys.stderr)
    with warnings.catch_warnings(), not_as_done():
        for known in HARMLESS:
            warnings.filterwarnings("ignore", known)
        trainer.fit(
            module,
            *loaders,
            ckpt_path=str(last) if last.exists() else None,
            weights_only=True,
        )
    if last.exists() and not began.stepped:
        # a run that was done already: averages are handed over at the end of training alone
        module.load_state_dict(load_checkpoint(last)["state_dict"])


class Began(L.Callback):
    """Whether a step was taken."""

    stepped = False

    def on_train_batch_start(self, *_: Any) -> None:
        """One was."""
        self.stepped = True


def best_precision() -> str:
    """Half precision where the processor has it, whole where it would only be imitated."""
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    # asked by name, since older and other builds of torch do not know each of them
    asked = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    native = any(getattr(torch.cpu, name, bool)() for name in asked)
    return "bf16-mixed" if native else "32-true"


def _quiet(make: Callable[..., L.Trainer]) -> Callable[..., L.Trainer]:
    """Without Lightning's notes on hardware and products: our own lines say what a user needs."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return make


def loader(
    data: Any, plan: Plan, sampler: EpochSampler | None, collate: Callable[..., Any]
) -> DataLoader:
    """Batches of the sampler's rows; without one all rows in their order, in larger batches.

    ``data`` is a dataset addressed by (epoch, row); ``collate`` makes a batch of its samples.
    """
    return DataLoader(
        data,
        batch_size=plan.batch_size if sampler else 2 * plan.batch_size,
        sampler=sampler or EpochSampler(len(data), shuffle=False),
        drop_last=sampler is not None,
        collate_fn=collate,
        num_workers=plan.workers,
        persistent_workers=plan.workers > 0,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_one_thread,
        generator=torch.Generator().manual_seed(plan.seed),
    )


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)
    import cv2

    cv2.setNumThreads(0)
