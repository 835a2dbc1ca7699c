"""HRNet and SimpleBaseline under the authors' names, as every importer of them ends up with.

Source of the names: github.com/leoxiaobin/deep-high-resolution-net.pytorch (MIT), pose_hrnet.py and
pose_resnet.py; of the parts: github.com/chaneyddtt/ScarceNet, pose_hrnet_part.py.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tetrapose.models.simple_baseline import RESNETS
from tetrapose.weights.files import WeightsError
from tetrapose.weights.importers.common import Network, Tensors, count_batches, depth_of, some

NAMED_WIDTHS = (18, 32, 48)
# peaks on whole cells, first cell over first pixel, read with a quarter shift, as all of them did
CODEC = {"kind": "heatmap", "sigma": 2.0, "unbiased": False, "decoder": "shift", "grid": "origin"}
# of the last exchange unit only the finest output is read
UNREAD = re.compile(r"stage4\.2\.fuse_layers\.[123]\.")


def network(tensors: Tensors, path: Path, **meaning: Any) -> Network:
    """The pose network that these names and shapes are of; ``meaning`` are fields of ``Network``.

    Raises WeightsError for any other network. Shapes are checked when it is built.
    """
    tensors = count_batches(tensors)
    if "stage4.0.branches.0.0.conv1.weight" in tensors:
        return _hrnet(tensors, path, meaning)
    if "layer4.0.conv1.weight" in tensors:
        return _resnet(tensors, path, meaning)
    raise WeightsError(
        f"{path}: neither HRNet nor SimpleBaseline; its tensors are {some(tensors, 4)}"
    )


def _hrnet(tensors: dict[str, Any], path: Path, meaning: dict[str, Any]) -> Network:
    width = len(tensors["stage4.0.branches.0.0.conv1.weight"])
    parts = depth_of(tensors, "part_layers.")
    builder, arguments = f"hrnet_w{width}", {"parts": True} if parts else {}
    if width not in NAMED_WIDTHS:
        builder, arguments = "hrnet", {"width": width, **arguments}
    left = [name for name in tensors if UNREAD.match(name)]
    count = parts or _keypoints(tensors, path)
    return _made(f"tetrapose.models.hrnet:{builder}", arguments, tensors, left, count, meaning)


def _resnet(tensors: dict[str, Any], path: Path, meaning: dict[str, Any]) -> Network:
    blocks = tuple(depth_of(tensors, f"layer{i}.") for i in (1, 2, 3, 4))
    wide = "layer1.0.conv3.weight" in tensors
    depths = [
        depth
        for depth, (block, counts) in RESNETS.items()
        if counts == blocks and (block.expansion == 4) == wide
    ]
    if not depths:
        raise WeightsError(
            f"{path}: a ResNet of {'-'.join(map(str, blocks))} {'bottleneck' if wide else 'basic'}"
            f" blocks; simple_baseline has depths {', '.join(map(str, RESNETS))}"
        )
    left = [name for name in tensors if name.startswith("fc.")]
    builder = "tetrapose.models.simple_baseline:simple_baseline"
    return _made(builder, {"depth": depths[0]}, tensors, left, _keypoints(tensors, path), meaning)


def _keypoints(tensors: Tensors, path: Path) -> int:
    head = tensors.get("final_layer.weight")
    if head is None or head.ndim != 4:
        raise WeightsError(
            f"{path}: has no head that gives a map a keypoint (final_layer.weight); a backbone"
            " comes in by torchvision or timm"
        )
    return len(head)


def _made(
    builder: str,
    arguments: dict[str, Any],
    tensors: dict[str, Any],
    left: list[str],
    count: int,
    meaning: dict[str, Any],
) -> Network:
    kept = {name: value for name, value in tensors.items() if name not in left}
    known = {name for name in left if not name.endswith("num_batches_tracked")}
    codec = {**CODEC, **meaning.pop("codec", {})}
    return Network(
        builder, arguments, kept, count, codec=codec, left_out=tuple(sorted(known)), **meaning
    )
