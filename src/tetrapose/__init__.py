"""tetrapose: keypoints of four-legged animals, from labelled pictures to points on a new one."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"
__all__ = ["load"]


def load(model: str = "default", **options: Any) -> Any:
    """A predictor for a shipped model or a weights file; see ``inference.predictor.load``."""
    from tetrapose.inference.predictor import load as load_predictor  # torch is imported late

    return load_predictor(model, **options)
