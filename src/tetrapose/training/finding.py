"""Training of the animal finder: its Lightning module, what validation reports, the model written.

What happens around the steps (averaged weights, checkpoints, curves, runs that go on) is that of
pose networks, from ``training.fit`` and ``training.callbacks``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor, nn

from tetrapose import geometry, images
from tetrapose.codecs.boxes import Boxes, Found
from tetrapose.data.crops import EpochSampler
from tetrapose.data.photometric import Colour
from tetrapose.data.whole import PictureBatch, PictureSet, WholeDataset, collate, fitting
from tetrapose.data.whole import moved_boxes as moved
from tetrapose.errors import UserError
from tetrapose.evaluation.boxes import BoxDetections, BoxTruth, box_figures
from tetrapose.training.callbacks import Checkpoints
from tetrapose.training.fit import Plan, carry_out, loader
from tetrapose.training.guard import Guard
from tetrapose.training.kinds import fit_kinds
from tetrapose.training.module import MEAN, STD, freeze
from tetrapose.training.schedules import prepare

PROTOCOL = "boxes of all animals as one class, COCO's rules, one look at the whole picture"
BoxMetric = Callable[[BoxTruth, BoxDetections, Sequence[str]], dict[str, float]]


@dataclass(frozen=True)
class FinderParts:
    """What a finder's module is made of; optimizer and scheduler still want their arguments.

    ``frozen`` names parts of the model that keep what they start with.
    """

    model: nn.Module
    codec: Boxes
    optimizer: Callable[..., torch.optim.Optimizer]
    scheduler: Callable[..., Any] | None = None
    image_changes: Sequence[Callable[[Tensor, torch.Generator], Tensor]] = (Colour(),)
    seed: int = 0
    patience: int = 20
    frozen: Sequence[str] = ()


class FinderModule(L.LightningModule):
    """One step a batch of canvases; validation decodes, and a callback scores."""

    mean: Tensor
    std: Tensor

    def __init__(self, parts: FinderParts) -> None:
        super().__init__()
        self.model = parts.model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.parts = parts
        self.still = freeze(self.model, parts.frozen)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)
        self.guard = Guard(self.model, parts.patience)
        self.unreadable: set[int] = set()
        self.outputs: list[tuple[int, Found]] = []

    def train(self, mode: bool = True) -> FinderModule:
        """As ever, but what is frozen goes by its running statistics."""
        super().train(mode)
        for part in self.still:
            part.eval()
        return self

    @property
    def skipped(self) -> int:
        """Steps that were skipped for not being finite."""
        return self.guard.skipped

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """(B, 3, H, W) float 0..1 -> a map a level."""
        normal = (pictures - self.mean) / self.std
        return self.model(normal.contiguous(memory_format=torch.channels_last))

    def full_precision(self) -> torch.autocast:
        """Mixed precision is for the network alone."""
        return torch.autocast(self.device.type, enabled=False)

    def training_step(self, batch: PictureBatch, batch_index: int) -> Tensor | None:
        """The loss, or None (which skips the step) when it is not finite."""
        pictures = batch["image"].float() / 255
        generator = torch.Generator().manual_seed(self.parts.seed * 1_000_003 + self.global_step)
        with self.full_precision():
            for change in self.parts.image_changes:
                pictures = change(pictures, generator)
        self._note_unreadable(batch)
        self.guard.begin(batch["index"].tolist())
        output = self(pictures)
        loss = self._loss(output, batch)
        if self.guard.loss(loss) is None:
            return None
        self.log("train/loss", loss, on_step=False, on_epoch=True, batch_size=len(pictures))
        return loss

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Drop gradients that are not finite."""
        self.guard.gradients()

    def validation_step(self, batch: PictureBatch, batch_index: int) -> None:
        """Decode; the callback that scores reads ``outputs``."""
        pictures = batch["image"].float() / 255
        output = self(pictures)
        self.log("val/loss", self._loss(output, batch), batch_size=len(pictures))
        self._note_unreadable(batch)
        found = self.parts.codec.decode([one.float() for one in output])
        self.outputs += zip(batch["index"].tolist(), found, strict=True)

    def configure_optimizers(self) -> Any:
        """The optimizer over weights with decay and vectors without, and a schedule by step."""
        total = int(self.trainer.estimated_stepping_batches)
        return prepare(self.model, self.parts.optimizer, self.parts.scheduler, total)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Counts travel with the checkpoint."""
        checkpoint["tetrapose"] = {"skipped": self.skipped, "unreadable": sorted(self.unreadable)}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Counts come back."""
        kept = checkpoint.get("tetrapose", {})
        self.guard.skipped = kept.get("skipped", 0)
        self.unreadable = set(kept.get("unreadable", []))

    def _loss(self, output: Sequence[Tensor], batch: PictureBatch) -> Tensor:
        codec = self.parts.codec
        with self.full_precision():
            maps = [one.float() for one in output]
            shapes = [(one.shape[-2], one.shape[-1]) for one in maps]
            targets = codec.encode(batch["boxes"], batch["groups"], batch["regions"], shapes)
            return codec.loss(maps, targets)

    def _note_unreadable(self, batch: PictureBatch) -> None:
        bad = ~batch["readable"]
        if bad.any():
            self.unreadable.update(batch["index"][bad].tolist())


class BoxScore(L.Callback):
    """After each validation ``metric`` over the whole set, in picture pixels, logged as val/*."""

    def __init__(self, dataset: WholeDataset, metric: BoxMetric) -> None:
        self.dataset, self.metric = dataset, metric

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forget the last pass."""
        assert isinstance(pl_module, FinderModule)
        pl_module.outputs.clear()

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Score the pass that ended."""
        assert isinstance(pl_module, FinderModule)
        if trainer.sanity_checking or not pl_module.outputs:
            return
        side = self.dataset.side
        found = [
            (row, back_to_picture(one, self.dataset.data, row, side))
            for row, one in pl_module.outputs
        ]
        truth, detections = columns(self.dataset.data, found)
        names = self.dataset.data.group_names
        for name, value in self.metric(truth, detections, names).items():
            pl_module.log(f"val/{name}", value)


def coco_boxes(
    truth: BoxTruth, detections: BoxDetections, groups: Sequence[str]
) -> dict[str, float]:
    """AP, AP50, AP75, by size, recall at 10 a picture, and AP50 of each group."""
    every = box_figures(truth, detections, groups)
    shown = ("AP", "AP50", "AP75", "APS", "APM", "APL", "AR10")
    return {k: v for k, v in every.items() if k in shown or k.startswith("AP50_")}


def back_to_picture(found: Found, data: PictureSet, row: int, side: int) -> Found:
    """Boxes found on a square canvas that shows a whole picture, in the picture's own pixels."""
    size = data.sizes[row]
    if min(size) <= 0:
        try:
            size = np.array(images.read_size(data.paths[row]))
        except images.ImageError:
            return Found(found.boxes[:0], found.scores[:0], found.odds[:0])
    matrix = geometry.crop_matrix((size - 1) / 2, fitting(size, (side, side)), (side, side))
    boxes = moved(found.boxes, geometry.invert(matrix))
    limit = np.tile(size - 0.5, 2)
    return Found(np.clip(boxes, -0.5, limit), found.scores, found.odds)


def columns(data: PictureSet, found: Sequence[tuple[int, Found]]) -> tuple[BoxTruth, BoxDetections]:
    """A set's boxes and what was found in pictures by row, as box AP wants them."""
    image = np.repeat(np.arange(len(data)), np.diff(data.starts))
    truth = BoxTruth(
        bboxes=data.bboxes,
        areas=geometry.box_area(data.bboxes),
        image=image,
        category=data.groups,
        crowd=data.crowd,
    )
    counts = [len(one.scores) for _, one in found]
    kinds = [
        one.odds.argmax(axis=1) if one.odds.shape[1] else np.full(len(one.scores), -1)
        for _, one in found
    ]
    detections = BoxDetections(
        bboxes=np.concatenate([np.zeros((0, 4)), *(one.boxes for _, one in found)]),
        scores=np.concatenate([np.zeros(0), *(one.scores for _, one in found)]),
        image=np.repeat(np.array([row for row, _ in found], dtype=np.int64), counts),
        category=np.concatenate([np.zeros(0, np.int64), *kinds]),
    )
    return truth, detections


def fit_finder(
    parts: FinderParts, train: WholeDataset, val: WholeDataset | None, plan: Plan
) -> FinderModule:
    """Train to the trainer's end; the module holds averaged weights where they are kept.

    ``plan.metric`` is a ``BoxMetric``. Raises UserError when a set is smaller than a batch.
    """
    draws = train.data.draws
    sampler = EpochSampler(len(train), seed=plan.seed, draws=None if (draws == 1).all() else draws)
    if len(sampler) < plan.batch_size:
        raise UserError(
            f"{len(sampler)} training pictures do not fill a batch of {plan.batch_size}; "
            "lower dataset.batch_size"
        )
    module = FinderModule(parts)
    metric: Any = plan.metric
    scorers = [] if val is None else [BoxScore(val, metric)]
    loaders = (
        loader(train, plan, sampler, collate),
        None if val is None else loader(val, plan, None, collate),
    )
    carry_out(module, loaders, plan, scorers)
    return module


def start_stages(model: nn.Module, source: str | Path) -> str:
    """Give the stages of a finder the weights of a pose network's or another finder's, by name.

    ``source`` is a shipped model's name, a .safetensors file or a run's .ckpt. Says in a line what
    was taken; a UserError when less than a tenth of the network's values fit.
    """
    from tetrapose.training.start import _read as read_pose
    from tetrapose.weights import finder as finders

    path = Path(source)
    if (
        path.suffix == ".safetensors"
        and path.with_suffix(".json").is_file()
        and (
            json.loads(path.with_suffix(".json").read_text(encoding="utf-8")).get("kind")
            == "finder"
        )
    ):
        state = dict(finders.load(path).model.state_dict())
    else:
        state, _ = read_pose(source)
    own = model.state_dict()
    taken = 0
    for name, tensor in own.items():
        given = state.get(name)
        if given is not None and given.shape == tensor.shape:
            tensor.copy_(given)
            taken += tensor.numel()
    share = taken / max(sum(tensor.numel() for tensor in own.values()), 1)
    if share < 0.1:
        raise UserError(f"{source}: only {share:.0%} of the finder's values fit; another network?")
    return f"start from {source}: {share:.0%} of the finder's values"


def finish_finder(
    folder: Path,
    module: FinderModule,
    train: WholeDataset,
    config: dict[str, Any],
    kinds: PictureSet | None = None,
) -> Path:
    """Write ``model.safetensors`` with its card; and ``best.safetensors`` of a better epoch.

    Groups are learnt from the boxes of ``kinds`` first (``training.kinds``), if there are any.
    """
    from tetrapose.weights import card as cards
    from tetrapose.weights import finder as finders

    trainer: Any = module.trainer
    card = describe_finder(module, train, config)
    keeper = next((c for c in trainer.callbacks if isinstance(c, Checkpoints)), None)
    scores = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("val/")}
    last = {"epoch": trainer.current_epoch, "protocol": PROTOCOL if scores else "", **scores}
    path = folder / "model.safetensors"
    learn_kinds(module, kinds, config)
    finders.save(path, module.model, {**card, "scores": last})
    best = folder / "best.ckpt"
    if keeper and best.exists() and keeper.best_epoch != trainer.current_epoch:
        module.load_state_dict(cards.load_checkpoint(best)["state_dict"])
        learn_kinds(module, kinds, config)
        scores = {"epoch": keeper.best_epoch, "protocol": PROTOCOL, keeper.monitor: keeper.value}
        finders.save(folder / "best.safetensors", module.model, {**card, "scores": scores})
    return path


def learn_kinds(module: FinderModule, data: PictureSet | None, config: dict[str, Any]) -> None:
    """The layer that tells groups, where there are boxes of known groups to learn them from."""
    if data is not None and (data.groups >= 0).any():
        side, workers = int(config["input_size"][0]), int(config["dataset"].get("workers", 0))
        fit_kinds(module.model, data, side, workers=workers)


def describe_finder(
    module: FinderModule, train: WholeDataset, config: dict[str, Any]
) -> dict[str, Any]:
    """The card of a run's finder but for its scores."""
    builder, _, function = config["model"]["_target_"].rpartition(".")
    arguments = {k: v for k, v in config["model"].items() if not k.startswith("_")}
    used = {name: one for name, one in config["dataset"]["train"].items() if one}
    return {
        "architecture": {"builder": f"{builder}:{function}", "arguments": arguments},
        "codec": module.parts.codec.to_dict(),
        "normalisation": {"mean": list(MEAN), "std": list(STD)},
        "input": {"side": int(config["input_size"][0])},
        "training": {
            "data": {name: one["set"].partition(":")[0] for name, one in used.items()},
            "split": {name: one.get("split") for name, one in used.items()},
            "share": {name: one.get("share", 1.0) for name, one in used.items()},
            "start": config.get("checkpoint_path"),
            "pictures": len(train.data),
            "boxes": len(train.data.bboxes),
            "epochs": module.trainer.current_epoch,
            "steps": module.trainer.global_step,
            "skipped_steps": module.skipped,
        },
    }
