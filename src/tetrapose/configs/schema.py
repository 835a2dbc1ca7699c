"""The fields a training run has; an unknown one is refused before anything is built."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class TrainConfig:
    """Groups are mappings with ``_target_``; see the YAML of each group for its fields."""

    lit_module: dict[str, Any]
    model: dict[str, Any]
    codec: dict[str, Any]
    loss: dict[str, Any]
    metric: dict[str, Any]
    optimizer: dict[str, Any]
    scheduler: dict[str, Any]
    dataset: dict[str, Any]
    trainer: dict[str, Any]
    logger: dict[str, Any]
    train_augmentations: dict[str, Any]
    test_augmentations: dict[str, Any]
    callbacks: dict[str, Any]
    head: dict[str, Any] = field(default_factory=dict)
    name: str = "run"
    run_dir: str = "runs/run"
    input_size: list[int] = field(default_factory=lambda: [192, 192])
    padding: float = 1.25
    seed: int = 0
    checkpoint_path: str | None = None
    overwrite: bool = False
