"""The order in which other systems put the keypoints of a skeleton of ours.

Source: mmpose animal_pose: github.com/open-mmlab/mmpose, configs/_base_/datasets/animalpose.py;
awa_pose: github.com/DeepLabCut/DeepLabCut, modelzoo/project_configs/superanimal_quadruped.yaml,
whose 39 points are AwA-Pose's in another order.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from tetrapose.skeletons import Skeleton
from tetrapose.weights.files import WeightsError
from tetrapose.weights.importers.common import Network, some

MMPOSE_ANIMAL_POSE = (
    "left_eye", "right_eye", "left_ear", "right_ear", "nose", "throat", "tailbase", "withers",
    "left_front_elbow", "right_front_elbow", "left_back_elbow", "right_back_elbow",
    "left_front_knee", "right_front_knee", "left_back_knee", "right_back_knee",
    "left_front_paw", "right_front_paw", "left_back_paw", "right_back_paw",
)  # fmt: skip
SUPERANIMAL = (
    "nose", "upper_jaw", "lower_jaw", "mouth_end_right", "mouth_end_left", "right_eye",
    "right_earbase", "right_earend", "right_antler_base", "right_antler_end", "left_eye",
    "left_earbase", "left_earend", "left_antler_base", "left_antler_end", "neck_base", "neck_end",
    "throat_base", "throat_end", "back_base", "back_end", "back_middle", "tail_base", "tail_end",
    "front_left_thai", "front_left_knee", "front_left_paw", "front_right_thai",
    "front_right_knee", "front_right_paw", "back_left_paw", "back_left_thai", "back_right_thai",
    "back_left_knee", "back_right_knee", "back_right_paw", "belly_bottom", "body_middle_right",
    "body_middle_left",
)  # fmt: skip
# (kind, skeleton): other pairs are in the skeleton's own order
ORDERS = {
    ("mmpose", "animal_pose"): MMPOSE_ANIMAL_POSE,
    ("mmpose", "awa_pose"): SUPERANIMAL,
    ("deeplabcut", "awa_pose"): SUPERANIMAL,
}
HEAD = re.compile(r"(?:keypoint_head\.)?final_layer\.(?:weight|bias)")
PART = re.compile(r"part_layers\.(\d+)\.(.+)")


def arrange(
    network: Network, skeleton: Skeleton, given: Sequence[str] | None, kind: str, path: Path
) -> Network:
    """The network with its maps in the skeleton's order.

    ``given`` are the names of the skeleton in the file's order; None takes what is known of that
    kind of file. Raises WeightsError where names and skeleton are not the same set.
    """
    order = tuple(given or ORDERS.get((kind, skeleton.name), skeleton.names))
    if len(order) != len(skeleton) or set(order) != set(skeleton.names):
        odd = set(order) ^ set(skeleton.names)
        told = some(odd) if odd else "one stands twice"
        raise WeightsError(
            f"{path}: the order does not name every keypoint of {skeleton.name!r} once ({told})"
        )
    if order == skeleton.names:
        return network
    rows = [order.index(name) for name in skeleton.names]
    heads = [n for n in network.tensors if HEAD.fullmatch(n) or PART.fullmatch(n)]
    if not heads:
        raise WeightsError(
            f"{path}: its points cannot be put in another order; name a skeleton in the file's own"
        )
    tensors = {n: v for n, v in network.tensors.items() if n not in heads}
    for name in heads:
        part = PART.fullmatch(name)
        if part:
            tensors[f"part_layers.{rows.index(int(part[1]))}.{part[2]}"] = network.tensors[name]
        else:
            tensors[name] = network.tensors[name][torch.tensor(rows)]
    told = "from the file's order" if given else f"from the order of {kind}'s files"
    return replace(network, tensors=tensors, notes=(*network.notes, f"keypoints put {told}"))
