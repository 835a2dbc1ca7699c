"""Where the time goes, by step."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field


def now() -> float:
    """Seconds of the wall's clock; benchmarks put the processor's in its place."""
    return time.perf_counter()


@dataclass
class Clock:
    """Seconds and pictures by step; clocks of several workers add up."""

    seconds: dict[str, float] = field(default_factory=dict)
    pictures: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def step(self, name: str, pictures: int = 1) -> Iterator[None]:
        """Time what is inside as a step of so many pictures."""
        began = now()
        try:
            yield
        finally:
            self.note(name, now() - began, pictures)

    def note(self, name: str, seconds: float, pictures: int) -> None:
        """So much more time in a step, for so many pictures."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds
        self.pictures[name] += pictures

    def add(self, other: Clock) -> None:
        """Take in another's times."""
        for name, seconds in other.seconds.items():
            self.note(name, seconds, other.pictures[name])

    def table(self, order: Mapping[str, str]) -> str:
        """A line a step in the given order: name, pictures, seconds, ms a picture, share."""
        total = sum(self.seconds.values()) or 1.0
        lines = [f"{'step':<30}{'pictures':>9}{'seconds':>10}{'ms each':>9}{'share':>7}"]
        for name, words in order.items():
            if name not in self.seconds:
                continue
            seconds, count = self.seconds[name], self.pictures[name]
            each = 1000 * seconds / count if count else 0.0
            share = seconds / total
            lines.append(f"{words:<30}{count:>9,}{seconds:>10.2f}{each:>9.2f}{share:>7.1%}")
        return "\n".join(lines)
