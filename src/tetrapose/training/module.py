"""The thin Lightning module: one step, guarded against numbers that are not finite."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from tetrapose.codecs import Codec
from tetrapose.data.crops import Batch
from tetrapose.errors import UserError
from tetrapose.skeletons import Skeleton
from tetrapose.training.guard import Guard
from tetrapose.training.schedules import prepare
from tetrapose.training.supervision import demand_background, supervised

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
ImageChange = Callable[[Tensor, torch.Generator], Tensor]
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Parts:
    """What a module is made of; ``optimizer`` and ``scheduler`` still want their first arguments.

    ``loss`` None means the codec's own. ``patience`` is how many steps in a row may be skipped for
    not being finite before the run stops. ``frozen`` names parts of the model that keep the
    weights and statistics they start with (``backbone.stages.0``).
    """

    model: nn.Module
    codec: Codec
    skeleton: Skeleton
    optimizer: Callable[..., torch.optim.Optimizer]
    scheduler: Callable[..., Any] | None = None
    loss: Loss | None = None
    image_changes: Sequence[ImageChange] = ()
    seed: int = 0
    patience: int = 20
    weight_decay_on_vectors: bool = False
    frozen: Sequence[str] = ()


class PoseModule(L.LightningModule):
    """Supervised training: encode on the device, loss, skip what is not finite."""

    mean: Tensor
    std: Tensor

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        demand_background(parts.model, parts.codec)
        self.model = parts.model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.parts = parts
        self.still = freeze(self.model, parts.frozen)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)
        self.guard = Guard(self.model, parts.patience)
        self.unreadable: set[int] = set()
        self.outputs: list[tuple[Tensor, Tensor, Tensor]] = []

    def train(self, mode: bool = True) -> PoseModule:
        """As ever, but what is frozen goes by its running statistics."""
        super().train(mode)
        for part in self.still:
            part.eval()
        return self

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """(B, 3, H, W) float 0..1 -> what the codec reads; in training perhaps a tuple of it."""
        normal = (images - self.mean) / self.std
        return self.model(normal.contiguous(memory_format=torch.channels_last))

    def full_precision(self) -> torch.autocast:
        """Mixed precision is for the network alone: colours, targets and losses stay in float32."""
        return torch.autocast(self.device.type, enabled=False)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor | None:
        """The loss, or None (which skips the step) when it is not finite."""
        parts = self.parts
        images = batch["image"].float() / 255
        generator = torch.Generator().manual_seed(parts.seed * 1_000_003 + self.global_step)
        with self.full_precision():
            for change in parts.image_changes:
                images = change(images, generator)
        self._note_unreadable(batch)
        self.guard.begin(batch["index"].tolist())
        output = self(images)
        with self.full_precision():
            target, weights = encoded(parts.codec, batch)
            loss = supervised(parts.loss or parts.codec.loss, output, target, weights)
        if self.guard.loss(loss) is None:
            return None
        self.log("train/loss", loss, on_step=False, on_epoch=True, batch_size=len(images))
        return loss

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Drop gradients that are not finite."""
        self.guard.gradients()

    @property
    def skipped(self) -> int:
        """Steps that were skipped so far."""
        return self.guard.skipped

    def _note_unreadable(self, batch: Batch) -> None:
        bad = ~batch["readable"]
        if bad.any():
            self.unreadable.update(batch["index"][bad].tolist())

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Decode with flip test; the callback that scores reads ``outputs``."""
        images = batch["image"].float() / 255
        both = self(torch.cat([images, images.flip(-1)]))
        plain, mirrored = both.float().chunk(2)
        codec = self.parts.codec
        flip = torch.as_tensor(self.parts.skeleton.flip_indices, device=images.device)
        with self.full_precision():
            points, scores = codec.decode((plain + codec.mirror(mirrored, flip)) / 2)
            target, weights = encoded(codec, batch)
            loss = (self.parts.loss or codec.loss)(plain, target, weights)
        self.log("val/loss", loss, batch_size=len(images))
        self._note_unreadable(batch)
        self.outputs.append((batch["index"].cpu(), points.cpu(), scores.cpu()))

    def configure_optimizers(self) -> Any:
        """The optimizer over weights with decay and vectors without, and a schedule by step."""
        parts, total = self.parts, int(self.trainer.estimated_stepping_batches)
        decay = parts.weight_decay_on_vectors
        return prepare(self.model, parts.optimizer, parts.scheduler, total, decay_vectors=decay)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Counts travel with the checkpoint."""
        checkpoint["tetrapose"] = {"skipped": self.skipped, "unreadable": sorted(self.unreadable)}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Counts come back."""
        kept = checkpoint.get("tetrapose", {})
        self.guard.skipped = kept.get("skipped", 0)
        self.unreadable = set(kept.get("unreadable", []))


def encoded(codec: Codec, batch: Batch) -> tuple[Tensor, Tensor]:
    """Targets and weights of a batch's labels."""
    return codec.encode(batch["keypoints"], batch["weights"], batch["visibility"])


def freeze(model: nn.Module, names: Sequence[str]) -> list[nn.Module]:
    """Take the named parts out of training, weights and statistics, and give them back.

    Raises UserError for a part that the network lacks.
    """
    parts = dict(model.named_modules())
    for name in names:
        if name not in parts:
            near = get_close_matches(name, parts, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise UserError(f"lit_module.frozen: the network has no part {name!r}{hint}")
        parts[name].requires_grad_(False).eval()
    return [parts[name] for name in names]
