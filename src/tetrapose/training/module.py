"""The thin Lightning module: one step, guarded against numbers that are not finite."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from tetrapose.codecs import Codec
from tetrapose.data.crops import Batch
from tetrapose.errors import UserError
from tetrapose.skeletons import Skeleton

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
ImageChange = Callable[[Tensor, torch.Generator], Tensor]
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Parts:
    """What a module is made of; ``optimizer`` and ``scheduler`` still want their first arguments.

    ``loss`` None means the codec's own. ``patience`` is how many steps in a row may be skipped for
    not being finite before the run stops.
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


class PoseModule(L.LightningModule):
    """Supervised training: encode on the device, loss, skip what is not finite."""

    mean: Tensor
    std: Tensor

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.model = parts.model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.parts = parts
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)
        self.skipped = 0
        self.skipped_in_a_row: list[list[int]] = []
        self.unreadable: set[int] = set()
        self.outputs: list[tuple[Tensor, Tensor, Tensor]] = []
        self._rows: list[int] = []
        self._buffers_before: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) float 0..1 -> what the codec reads."""
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
        self._rows = batch["index"].tolist()
        self._note_unreadable(batch)
        self._buffers_before = [buffer.clone() for buffer in self.model.buffers()]
        output = self(images)
        with self.full_precision():
            target, weights = parts.codec.encode(batch["keypoints"], batch["weights"])
            loss = (parts.loss or parts.codec.loss)(output, target, weights)
        if not torch.isfinite(loss):
            self._skip()
            return None
        self.log("train/loss", loss, on_step=False, on_epoch=True, batch_size=len(images))
        return loss

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Drop gradients that are not finite: parameters without one are left alone."""
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        if not gradients:  # the step was skipped before its backward pass
            return
        if all(bool(torch.isfinite(g).all()) for g in gradients):
            self.skipped_in_a_row.clear()
            return
        for parameter in self.model.parameters():
            parameter.grad = None
        self._skip()

    def _skip(self) -> None:
        with torch.no_grad():
            for buffer, before in zip(self.model.buffers(), self._buffers_before, strict=True):
                buffer.copy_(before)
        self.skipped += 1
        self.skipped_in_a_row.append(self._rows)
        if len(self.skipped_in_a_row) >= self.parts.patience:
            ids = sorted({row for rows in self.skipped_in_a_row[-3:] for row in rows})
            raise UserError(
                f"{self.parts.patience} steps in a row were not finite; rows of the last three: "
                f"{', '.join(map(str, ids))}; lower optimizer.lr or look at these samples"
            )

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
            target, weights = codec.encode(batch["keypoints"], batch["weights"])
            loss = (self.parts.loss or codec.loss)(plain, target, weights)
        self.log("val/loss", loss, batch_size=len(images))
        self._note_unreadable(batch)
        self.outputs.append((batch["index"].cpu(), points.cpu(), scores.cpu()))

    def configure_optimizers(self) -> Any:
        """The optimizer over weights with decay and vectors without, and a schedule by step."""
        decay = [p for p in self.model.parameters() if p.requires_grad and p.ndim > 1]
        plain = [p for p in self.model.parameters() if p.requires_grad and p.ndim <= 1]
        groups: list[dict[str, Any]] = [{"params": decay}, {"params": plain}]
        if not self.parts.weight_decay_on_vectors:
            groups[1]["weight_decay"] = 0.0
        optimizer = self.parts.optimizer(groups)
        if self.parts.scheduler is None:
            return optimizer
        total = int(self.trainer.estimated_stepping_batches)
        scheduler = self.parts.scheduler(optimizer, total)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Counts travel with the checkpoint."""
        checkpoint["tetrapose"] = {"skipped": self.skipped, "unreadable": sorted(self.unreadable)}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Counts come back."""
        kept = checkpoint.get("tetrapose", {})
        self.skipped = kept.get("skipped", 0)
        self.unreadable = set(kept.get("unreadable", []))
