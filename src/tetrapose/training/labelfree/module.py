"""The thin Lightning module around a label-free method: views, turns, guard and optimizers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from tetrapose.codecs import Heatmap
from tetrapose.data.crops import Batch
from tetrapose.skeletons import Skeleton
from tetrapose.training.guard import Guard
from tetrapose.training.labelfree.step import Moment, Step, Views, everywhere, look
from tetrapose.training.labelfree.strong import Strong
from tetrapose.training.schedules import prepare

TAGS = {"labelled": 0, "pool": 1}


@dataclass(frozen=True)
class Feed:
    """What makes the loaders, once the processes of a run know of one another.

    ``train`` gives loaders by name: ``labelled`` and, where there is one, ``pool``; ``val`` the
    validation set in its order.
    """

    train: Callable[[], dict[str, DataLoader]]
    val: Callable[[], DataLoader]


@dataclass(frozen=True)
class Learning:
    """What the module is made of; ``optimizer`` and ``scheduler`` still want their arguments.

    ``total`` is the run's number of steps; ``patience`` how many may be skipped in a row for not
    being finite. ``clip`` bounds the norm of a network's gradient, None does not.
    """

    step: Step
    codec: Heatmap
    skeleton: Skeleton
    optimizer: Callable[..., torch.optim.Optimizer]
    total: int
    scheduler: Callable[..., Any] | None = None
    strong: Strong = Strong()
    seed: int = 0
    patience: int = 20
    clip: float | None = None


class LabelFreeModule(L.LightningModule):
    """One step of a method a batch; validation decodes ``answer``, and a callback scores."""

    def __init__(self, learning: Learning, feed: Feed) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.learning, self.feed = learning, feed
        self.networks = learning.step.networks.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        state = getattr(learning.step, "state", None)
        self.state = state if state is not None else nn.Module()
        self.guard = Guard(self.networks, learning.patience)
        self.done = 0
        self.unreadable: dict[str, set[int]] = {name: set() for name in TAGS}
        self.outputs: list[tuple[Tensor, Tensor, Tensor]] = []
        for name, network in self.networks.items():
            if name not in learning.step.trained:
                network.requires_grad_(False)

    @property
    def answer(self) -> nn.Module:
        """The network that is evaluated."""
        return self.networks[self.learning.step.answer]

    @property
    def skipped(self) -> int:
        """Steps that were skipped so far for not being finite."""
        return self.guard.skipped

    def train(self, mode: bool = True) -> LabelFreeModule:
        """As ever, but networks without an optimizer go by their running statistics."""
        super().train(mode)
        for name, network in self.networks.items():
            if name not in self.learning.step.trained:
                network.eval()
        return self

    def train_dataloader(self) -> dict[str, DataLoader]:
        """Labelled batches and those of the pool side by side."""
        return self.feed.train()

    def val_dataloader(self) -> DataLoader:
        """The validation set."""
        return self.feed.val()

    def views(self, batch: Batch, name: str) -> Views:
        """Weak and strong pictures of the crops that ``batch`` holds."""
        weak = batch["image"].float() / 255
        bad = ~batch["readable"]
        if bad.any():
            self.unreadable[name].update(batch["index"][bad].tolist())
        key = (self.learning.seed, TAGS[name], self.done)
        with torch.autocast(self.device.type, enabled=False):
            strong = self.learning.strong(weak, batch["index"].tolist(), key)
        return Views(
            weak, strong, batch["keypoints"], batch["weights"], batch["visibility"],
            batch["index"], batch["readable"],
        )  # fmt: skip

    def training_step(self, batch: Mapping[str, Batch], batch_index: int) -> None:
        """All turns of one step; what is not finite ends it and changes nothing."""
        learning = self.learning
        at = Moment(self.done, learning.total, learning.seed)
        torch.manual_seed(learning.seed * 1_000_003 + self.done)  # dropout, and what else draws
        labelled = self.views(batch["labelled"], "labelled")
        pool = self.views(batch["pool"], "pool") if "pool" in batch else None
        self.guard.begin(labelled.index.tolist())
        turns = learning.step.turns(labelled, pool, at)
        for name, losses in turns:
            if not self._stepped(name, losses, at):
                break
        self.done += 1
        for scheduler in self._schedulers():
            scheduler.step()
        values = {f"train/{name}": value for name, value in at.notes.items()}
        for name, value in values.items():
            self.log(name, value, on_step=False, on_epoch=True, batch_size=1, sync_dist=True)

    def _stepped(self, name: str, losses: dict[str, Tensor], at: Moment) -> bool:
        """Step one network by its losses; False where they, or its gradients, are not finite."""
        loss = torch.stack([one.float() for one in losses.values()]).sum()
        # one process must not skip what the others do: the mean of all is finite or none goes on
        if self.guard.loss(everywhere(loss)) is None:
            return False
        optimizer = self._optimizers()[self.learning.step.trained.index(name)]
        optimizer.zero_grad(set_to_none=True)
        self.manual_backward(loss)
        network = self.networks[name]
        before = self.guard.skipped
        self.guard.gradients()
        if self.guard.skipped > before:
            return False
        if self.learning.clip is not None:
            nn.utils.clip_grad_norm_(network.parameters(), self.learning.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        for kind, value in losses.items():
            at.note(f"{name}/{kind}_loss", value)
        return True

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Decode with flip test; the callback that scores reads ``outputs``."""
        pictures = batch["image"].float() / 255
        self.outputs.append((batch["index"].cpu(), *self.decoded(self.answer, pictures)))

    def decoded(self, network: nn.Module, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Points (B, K, 2) in crop pixels and scores (B, K), with flip test, on the CPU."""
        codec = self.learning.codec
        plain, mirrored = look(network, torch.cat([pictures, pictures.flip(-1)])).chunk(2)
        flip = torch.as_tensor(self.learning.skeleton.flip_indices, device=pictures.device)
        with torch.autocast(self.device.type, enabled=False):
            points, scores = codec.decode((plain + codec.mirror(mirrored, flip)) / 2)
        return points.cpu(), scores.cpu()

    def configure_optimizers(self) -> Any:
        """An optimizer and a schedule by step for each trained network."""
        learning, made = self.learning, []
        for name in learning.step.trained:
            rate = float(learning.step.rates.get(name, 1.0))
            plain = prepare(self.networks[name], learning.optimizer, None, learning.total)
            for group in plain.param_groups:
                group["lr"] = group["lr"] * rate
            if learning.scheduler is None:
                made.append({"optimizer": plain})
                continue
            schedule = learning.scheduler(plain, learning.total)
            made.append({"optimizer": plain, "lr_scheduler": schedule})
        return made

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Counts travel with the checkpoint."""
        unreadable = {name: sorted(rows) for name, rows in self.unreadable.items()}
        checkpoint["label_free"] = {
            "done": self.done, "skipped": self.skipped, "unreadable": unreadable
        }  # fmt: skip

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Counts come back."""
        kept = checkpoint["label_free"]
        self.done, self.guard.skipped = kept["done"], kept["skipped"]
        self.unreadable = {name: set(rows) for name, rows in kept["unreadable"].items()}

    def _optimizers(self) -> list[Any]:
        made: Any = self.optimizers()
        return made if isinstance(made, list) else [made]

    def _schedulers(self) -> list[Any]:
        made: Any = self.lr_schedulers()
        return [] if made is None else made if isinstance(made, list) else [made]
