"""The authors' HRNet and SimpleBaseline files: our networks carry the same names.

Source: github.com/leoxiaobin/deep-high-resolution-net.pytorch (MIT), lib/models and lib/core; files
such as pose_hrnet_w32_256x192.pth and pose_resnet_50_256x192.pth hold bare tensors, checkpoint.pth
of a run holds them as ``state_dict``. Inputs 192x256 for people; --size says another.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tetrapose.weights.importers.common import WRAPPERS, Choice, Network, unwrap
from tetrapose.weights.importers.convolutional import network

KEYS = ("best_state_dict", *WRAPPERS)


def read(content: Mapping[str, Any], path: Path, choice: Choice) -> Network:
    """The network of a file of theirs."""
    keys = (choice.part,) if choice.part else KEYS
    return network(unwrap(content, path, keys), path, size=(192, 256))
