"""Steps that are not finite: they change nothing, are counted, and after too many lead back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tetrapose.errors import UserError

SHOWN = 4  # keys that an error names


@dataclass
class Guard:
    """Says what becomes of a step, and keeps count.

    ``patience`` steps in a row that are not finite lead back to the last good state; after
    ``most_back`` ways back without a checkpoint between them the run ends with a UserError.
    """

    patience: int
    most_back: int
    skipped: int = 0
    back: int = 0
    unreadable: int = 0
    in_a_row: int = 0
    since_good: int = 0
    keys: list[str] = field(default_factory=list)

    def judge(self, finite: bool, keys: Sequence[str]) -> Literal["step", "skip", "back"]:
        """What to do with a step on the triplets of these keys."""
        if finite:
            self.in_a_row = 0
            self.keys.clear()
            return "step"
        self.skipped += 1
        self.in_a_row += 1
        self.keys = [*self.keys, *keys][-SHOWN:]
        if self.in_a_row < self.patience:
            return "skip"
        return self._go_back(f"{self.patience} steps in a row were not finite")

    def spoilt(self) -> Literal["back"]:
        """The weights themselves are not finite."""
        return self._go_back("the weights are no longer finite")

    def good(self) -> None:
        """A checkpoint of finite weights was written after steps that were."""
        self.since_good = 0

    def counts(self) -> dict[str, int]:
        """Plain values, as checkpoints and cards carry them."""
        return {"skipped": self.skipped, "back": self.back, "unreadable": self.unreadable}

    def restore(self, counts: dict[str, Any]) -> None:
        """Go on with the counts of a checkpoint."""
        self.skipped, self.back = int(counts["skipped"]), int(counts["back"])
        self.unreadable = int(counts["unreadable"])

    def _go_back(self, why: str) -> Literal["back"]:
        if self.since_good >= self.most_back:
            raise UserError(
                f"{why}, again after {self.since_good} ways back to the last checkpoint (triplets"
                f" {', '.join(self.keys) or 'unknown'}); lower --lr, train in --precision float32"
                " or bfloat16, or look at these triplets"
            )
        self.back += 1
        self.since_good += 1
        self.in_a_row = 0
        return "back"
