"""Fine-tuning on a few of one's own frames: a schedule in steps, two sizes of look, one network.

With 20 to 200 frames an epoch says nothing, so everything is counted in steps of a batch. Where a
frame shows one animal the network learns it twice over: in boxes around its points, and in the
whole frame, so that the same network can say where the animal is before it looks closer
(inference/looks.py). What each choice brought is measured in docs/finetune.md.
"""

from __future__ import annotations

import sys
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch import nn

from tetrapose import geometry
from tetrapose.codecs import Codec
from tetrapose.data.augment import Jitter, Mirror
from tetrapose.data.crops import CropDataset, Files
from tetrapose.data.photometric import Blur, Colour, Cutout
from tetrapose.errors import UserError
from tetrapose.structures import PoseSet
from tetrapose.training.callbacks import Checkpoints, Curves
from tetrapose.training.fit import Plan, best_precision, fit
from tetrapose.training.module import Parts, PoseModule
from tetrapose.training.schedules import warmup_cosine

EPOCH = 25  # steps between two checkpoints
SIDE = 160  # input in px: a step takes 0.57 of the time it takes at 224 (docs/finetune.md)
ELASTIC = ("efficientnet", "small")  # files of models/ that take pictures of any size
HELD = 1 << 30  # bytes of decoded pictures kept in memory


@dataclass(frozen=True)
class Recipe:
    """How a model is fine-tuned; ``recipe_for`` chooses by the number of frames.

    ``whole`` is the share of samples that show the whole frame, the rest are boxes around the
    points; ``scale``, ``shift`` and ``rotation`` as in ``data.augment.Jitter``; ``frozen`` names
    parts that keep their weights and statistics; ``decay`` is that of the averaged weights.
    """

    steps: int = 550
    batch: int = 8
    lr: float = 1e-3
    warmup: float = 0.05
    weight_decay: float = 0.01
    decay: float = 0.99
    whole: float = 0.35
    scale: tuple[float, float] = (0.7, 1.6)
    shift: float = 0.12
    rotation: float = 30.0
    mirror: float = 0.5
    frozen: tuple[str, ...] = ("backbone.stem", "backbone.stages.0", "backbone.stages.1")
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 2:
            raise UserError(f"{self.steps} steps in batches of {self.batch}: 1 and 2 are the least")
        if not 0 <= self.whole <= 1:
            raise ValueError(f"whole is a share, not {self.whole}")

    @property
    def epochs(self) -> int:
        """Times that ``EPOCH`` steps go by, at the end perhaps a few more than asked for."""
        return max(-(-self.steps // EPOCH), 1)


def recipe_for(frames: int, **given: Any) -> Recipe:
    """The recipe for so many training frames; ``given`` fields take the place of its own.

    More frames are worth more steps, up to 1,000: for many more ``tetrapose train`` is due.
    """
    steps = int(np.clip(50 * round((300 + 2.5 * frames) / 50), 300, 1000))
    own: dict[str, Any] = {"steps": steps}
    return Recipe(**{**own, **{name: value for name, value in given.items() if value is not None}})


def input_size(start: tuple[int, int], builder: str, side: int | None = None) -> tuple[int, int]:
    """(width, height) of the input: ``side`` squared, or what suits the network of ``builder``.

    Networks that take pictures of any size get ``SIDE``, unless they began smaller; others keep
    what they were made for. UserError for a ``side`` that such a network cannot take.
    """
    elastic = builder.partition(":")[0].rpartition(".")[2] in ELASTIC
    if side is not None and not elastic and (side, side) != start:
        raise UserError(f"--input-size {side}: this network was made for {start[0]}x{start[1]}")
    if side is None and not elastic:
        return start
    chosen = side or min(SIDE, max(start))
    return chosen, chosen


def looks(pose_set: PoseSet, whole: float) -> tuple[PoseSet, np.ndarray]:
    """Rows for both looks and how often each is drawn: the animals in their boxes, then in full.

    In the second half every animal's box is its whole frame's. Without whole looks (``whole`` 0,
    or 1 for nothing else) the others are not there. Sizes of pictures must be known.
    """
    count = len(pose_set)
    shares = np.concatenate([np.full(count, 1 - whole), np.full(count, whole)])
    rows = np.tile(np.arange(count), 2)
    both = pose_set.select_instances(rows)
    sizes = pose_set.sizes[pose_set.image_index]
    frames = np.stack([geometry.whole_picture_box(*size) for size in sizes])
    both = replace(
        both,
        bboxes=np.concatenate([pose_set.bboxes, frames]).astype(np.float32),
        annotation_ids=np.arange(1, 2 * count + 1, dtype=np.int64),
    )
    kept = shares > 0
    return both.select_instances(kept), shares[kept]


class Held:
    """Decoded pictures kept in memory, up to ``HELD`` bytes: a ``crops.Pictures``."""

    def __init__(self, pose_set: PoseSet, most: int = HELD) -> None:
        self.files, self.most, self.bytes = Files(pose_set), most, 0
        self.kept: OrderedDict[int, tuple[np.ndarray, tuple[int, int]]] = OrderedDict()

    def read(self, image: int, scale: float) -> tuple[np.ndarray, tuple[int, int]]:
        """The picture at its full size, whatever ``scale`` would do."""
        if image in self.kept:
            self.kept.move_to_end(image)
            return self.kept[image]
        read = self.files.read(image, 1.0)
        self.kept[image] = read
        self.bytes += read[0].nbytes
        while self.bytes > self.most:
            _, (pixels, _) = self.kept.popitem(last=False)
            self.bytes -= pixels.nbytes
        return read


class Progress(L.Callback):
    """A line every few epochs: steps, loss, time left."""

    def __init__(self, every: int = 4) -> None:
        self.every, self.began, self.first = every, 0.0, 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Note when, and at which step, this run began or went on."""
        self.began, self.first = time.monotonic(), trainer.global_step

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Print what is due."""
        epoch, epochs = trainer.current_epoch + 1, trainer.max_epochs or 1
        if epoch % self.every and epoch != epochs:
            return
        total = epochs * EPOCH
        done = trainer.global_step
        each = (time.monotonic() - self.began) / max(done - self.first, 1)
        minutes, seconds = divmod(int(each * (total - done)), 60)
        loss = float(trainer.callback_metrics.get("train/loss", float("nan")))
        print(
            f"step {done}/{total}  loss {loss:.3f}  {minutes}:{seconds:02d} left",
            file=sys.stderr,
        )


def finetune(
    model: nn.Module,
    codec: Codec,
    train: PoseSet,
    recipe: Recipe,
    folder: Path,
    *,
    padding: float = 1.25,
    extra: Sequence[L.Callback] = (),
) -> PoseModule:
    """Train ``model`` on the animals of ``train``; goes on from ``last.ckpt`` in ``folder``.

    The module returned holds the averaged weights. Raises UserError where steps are not finite
    again and again.
    """
    pose_set, shares = looks(train, recipe.whole)
    names = dict(model.named_modules())  # a network of another kind has no such parts
    # an epoch is EPOCH batches, whatever the number of frames
    draws = shares * (EPOCH * recipe.batch / shares.sum())
    crops = CropDataset(
        pose_set,
        size=codec.input_size,
        padding=padding,
        changes=(
            Jitter(recipe.scale, recipe.shift, recipe.rotation, 0.8),
            Mirror(recipe.mirror),
        ),
        seed=recipe.seed,
        warp=codec.warp,
        pictures=Held(pose_set),
    )
    parts = Parts(
        model=model,
        codec=codec,
        skeleton=train.skeleton,
        optimizer=partial(
            torch.optim.AdamW, lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True
        ),
        scheduler=partial(warmup_cosine, warmup=recipe.warmup),
        image_changes=(Colour(), Blur(), Cutout()),
        seed=recipe.seed,
        frozen=[name for name in recipe.frozen if name in names],
    )
    plan = Plan(
        folder=folder,
        trainer=partial(
            L.Trainer,
            max_epochs=recipe.epochs,
            accelerator="auto",
            devices=1,
            precision=best_precision(),  # pyright: ignore[reportArgumentType]
            num_sanity_val_steps=0,
            enable_progress_bar=False,
        ),
        metric=_no_metric,
        callbacks=[
            EMAWeightAveraging(decay=recipe.decay),
            Curves(folder),
            Checkpoints(folder, monitor="", every=2),
            Progress(),
            *extra,
        ],
        batch_size=recipe.batch,
        workers=0,
        seed=recipe.seed,
        draws=draws,
    )
    still = {
        name: value.clone()
        for name, value in model.state_dict().items()
        if name.startswith(tuple(f"{part}." for part in parts.frozen))
    }
    module = fit(parts, crops, None, plan)
    # the mean of equal numbers is not quite that number
    module.model.load_state_dict(still, strict=False)
    return module


def _no_metric(*_: Any) -> dict[str, float]:
    return {}
