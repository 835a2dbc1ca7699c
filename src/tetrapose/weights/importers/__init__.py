"""Checkpoints of other systems made models of ours: one file a source, one way in.

What a file does not tell (skeleton, and where it differs from its system's habit: input, padding,
normalisation, codec) is told by whoever imports it. Names and shapes are checked against our
network before anything is written, and what is left out is listed.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tetrapose import codecs
from tetrapose.codecs import Codec
from tetrapose.skeletons import Skeleton
from tetrapose.weights import backbone, card
from tetrapose.weights.files import SUFFIX, WeightsError, read_bytes
from tetrapose.weights.importers.common import MEAN, STD, Choice, Network, open_checkpoint
from tetrapose.weights.importers.orders import arrange

# kind: its module here, and what its files are
KINDS = {
    "hrnet": (
        "original",
        "authors' HRNet and SimpleBaseline (pose_hrnet_*.pth, pose_resnet_*.pth)",
    ),
    "mmpose": ("mmpose", "MMPose 0.x and 1.x: HRNet, ResNet, ViTPose"),
    "rtmpose": ("rtmpose", "MMPose's RTMPose as ONNX (needs onnxruntime)"),
    "freenet": ("freenet", "FreeNet: --part student (the default) or teacher"),
    "scarcenet": ("scarcenet", "ScarceNet: heads a keypoint or plain, averaged or the student's"),
    "deeplabcut": ("deeplabcut", "DeepLabCut 3, HRNet top-down: SuperAnimal-Quadruped"),
    "vitpose": ("vitpose", "authors' ViTPose and ViTPose++ (--expert)"),
    "huggingface": ("huggingface", "ViTPose and ViTPose++ as transformers writes them (--expert)"),
    "torchvision": ("imagenet", "ImageNet ResNets, to start training from"),
    "timm": ("imagenet", "ImageNet ResNet, HRNet, ViT, to start training from"),
    "efficientnet_lite": (
        "efficientnet_lite",
        "ImageNet EfficientNet-Lite, to start training from",
    ),
}


@dataclass(frozen=True)
class Meaning:
    """What whoever imports a file says of it; None takes the habit of its system.

    ``order`` are the skeleton's names in the file's order; ``codec`` fields that replace the
    importer's (decoder, sigma, grid); ``about`` goes to the card's ``training`` (address, licence)
    and ``scores`` to its scores.
    """

    skeleton: Skeleton | None = None
    order: Sequence[str] | None = None
    padding: float | None = None
    mean: Sequence[float] = MEAN
    std: Sequence[float] = STD
    codec: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Imported:
    """What became of a file: where it lies, the card, and what was said and left out on the way."""

    path: Path
    card: dict[str, Any]
    network: Network

    @property
    def is_model(self) -> bool:
        """Whether it predicts, or is a backbone to start from."""
        return self.network.num_keypoints is not None


def import_file(
    kind: str,
    path: Path,
    out: Path,
    *,
    choice: Choice | None = None,
    meaning: Meaning | None = None,
    dtype: torch.dtype = torch.float32,
) -> Imported:
    """Make a model (or a backbone) of ours from a file of another system, and write it to ``out``.

    Weights keep their values unless ``dtype`` is a shorter one. Raises WeightsError, and then
    nothing has been written.
    """
    if out.suffix != SUFFIX:
        raise WeightsError(f"{out}: a model's file ends in {SUFFIX}")
    meaning = meaning or Meaning()
    network = read(kind, path, choice or Choice())
    about = {
        "imported_from": kind,
        "file": path.name,
        "file_sha256": hashlib.sha256(read_bytes(path)).hexdigest(),
        "left_out": list(network.left_out),
        "notes": list(network.notes),
        **meaning.about,
    }
    normalisation = {"mean": list(meaning.mean), "std": list(meaning.std)}
    if network.num_keypoints is None:
        written = backbone.save(
            out, network.tensors, builder=network.builder, arguments=network.arguments,
            normalisation=normalisation, training=about, dtype=dtype,
        )  # fmt: skip
        return Imported(out, written, network)
    skeleton = _skeleton(network, meaning, path)
    network = arrange(network, skeleton, meaning.order, kind, path)
    codec = _codec(network, meaning, choice, path)
    described = card.describe(
        network.builder, network.arguments, skeleton=skeleton, codec=codec,
        normalisation=normalisation, training=about, scores=meaning.scores,
        crop={"padding": network.padding if meaning.padding is None else meaning.padding},
    )  # fmt: skip
    model = _fill(network, described, path)
    return Imported(out, card.save(out, model, described, dtype=dtype), network)


def read(kind: str, path: Path, choice: Choice) -> Network:
    """What the importer of that kind makes of a file. Raises WeightsError."""
    if kind not in KINDS:
        raise WeightsError(f"no importer {kind!r}; there are: {', '.join(KINDS)}")
    module = importlib.import_module(f"{__name__}.{KINDS[kind][0]}")
    content = open_checkpoint(path) if path.suffix != ".onnx" else {}
    return module.read(content, path, choice)


def _skeleton(network: Network, meaning: Meaning, path: Path) -> Skeleton:
    count = network.num_keypoints
    if meaning.skeleton is None:
        raise WeightsError(
            f"{path}: gives {count} keypoints; name their skeleton (--skeleton NAME)"
        )
    if len(meaning.skeleton) != count:
        raise WeightsError(
            f"{path}: gives {count} keypoints, the skeleton {meaning.skeleton.name!r} has"
            f" {len(meaning.skeleton)}"
        )
    return meaning.skeleton


def _codec(network: Network, meaning: Meaning, choice: Choice | None, path: Path) -> Codec:
    size = (choice.size if choice else None) or network.size
    fields = {**network.codec, **meaning.codec}
    try:
        return codecs.from_dict(
            {**fields, "num_keypoints": network.num_keypoints, "input_size": list(size)}
        )
    except ValueError as error:
        raise WeightsError(f"{path}: {error}") from None


def _fill(network: Network, described: dict[str, Any], path: Path) -> nn.Module:
    """Our network with the file's weights; every name and shape is checked first."""
    model = card.build_network(described["architecture"], path, num_keypoints=network.num_keypoints)
    card.demand_match(model.state_dict(), network.tensors, path, what=network.builder)
    weights = {n: v.float() if v.is_floating_point() else v for n, v in network.tensors.items()}
    model.load_state_dict(weights, assign=True)
    return model
