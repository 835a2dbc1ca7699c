"""Steps with a loss or gradients that are not finite: they change nothing and are counted."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tetrapose.errors import UserError


class Guard:
    """Keeps what a bad step must not change: running statistics, and parameters by their gradients.

    ``patience`` is how many steps in a row may be skipped before UserError names their rows.
    """

    def __init__(self, model: nn.Module, patience: int) -> None:
        self.model, self.patience = model, patience
        self.skipped = 0
        self.in_a_row: list[list[int]] = []
        self._rows: list[int] = []
        self._before: list[Tensor] = []

    def begin(self, rows: list[int]) -> None:
        """Before the network sees a batch of these rows."""
        self._rows = rows
        self._before = [buffer.clone() for buffer in self.model.buffers()]

    def loss(self, loss: Tensor) -> Tensor | None:
        """The loss, or None (which skips the step) when it is not finite."""
        if torch.isfinite(loss):
            return loss
        self._skip()
        return None

    def gradients(self) -> None:
        """Before the optimizer's step: parameters without a gradient are left alone by it."""
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        if not gradients:  # the step was skipped before its backward pass
            return
        if all(bool(torch.isfinite(g).all()) for g in gradients):
            self.in_a_row.clear()
            return
        for parameter in self.model.parameters():
            parameter.grad = None
        self._skip()

    def _skip(self) -> None:
        with torch.no_grad():
            for buffer, before in zip(self.model.buffers(), self._before, strict=True):
                buffer.copy_(before)
        self.skipped += 1
        self.in_a_row.append(self._rows)
        if len(self.in_a_row) >= self.patience:
            rows = sorted({row for rows in self.in_a_row[-3:] for row in rows})
            raise UserError(
                f"{self.patience} steps in a row were not finite; rows of the last three: "
                f"{', '.join(map(str, rows))}; lower optimizer.lr or look at these samples"
            )
