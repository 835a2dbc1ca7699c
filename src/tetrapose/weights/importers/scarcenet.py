"""ScarceNet: HRNet-W32, with a head of its own for each keypoint or, in stage 1, the plain one.

``checkpoint.pth`` and ``model_best.pth`` hold the averaged (EMA) weights as ``state_dict``;
``final_state.pth`` holds the student's, bare.
Source: github.com/chaneyddtt/ScarceNet (tools/train_mt_part.py, lib/models/pose_hrnet_part.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tetrapose.weights.files import WeightsError
from tetrapose.weights.importers.common import WRAPPERS, Choice, Network, unwrap
from tetrapose.weights.importers.convolutional import network

KEYS = ("best_state_dict", *WRAPPERS)


def read(content: Mapping[str, Any], path: Path, choice: Choice) -> Network:
    """The averaged network of a checkpoint, the student's of a final state."""
    averaged = any(isinstance(content.get(key), Mapping) for key in KEYS)
    if choice.part not in (None, "ema" if averaged else "student"):
        here = "ema (averaged) weights" if averaged else "one network, the student's"
        raise WeightsError(f"{path}: holds {here}, no {choice.part!r}")
    note = "averaged (EMA) weights" if averaged else "one network, by this source the student's"
    return network(unwrap(content, path, KEYS), path, size=(256, 256), notes=(note,))
