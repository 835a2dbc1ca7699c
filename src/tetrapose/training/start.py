"""Starting from trained weights: what fits is taken, heads by keypoint name, the rest is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor, nn

from tetrapose.errors import UserError
from tetrapose.skeletons import Skeleton
from tetrapose.skeletons.mapping import between

INNER = "network."  # the names within a head that was put around a network (models/simcc.py)

PART = "part_layers."


def start_from(model: nn.Module, source: str | Path, skeleton: Skeleton) -> list[str]:
    """Load ``source`` into ``model``: a shipped name, a .safetensors, a run's .ckpt, imagenet:NAME.

    A tensor whose first side counts keypoints is filled row by row for the keypoints that both
    skeletons have, near ones too (``skeletons.mapping``). Returns a line a thing that stayed as it
    was; a UserError when under half of the values fit, which is another network.
    """
    state, theirs = _read(source)
    state = _heads_by_keypoint(state, theirs, skeleton)
    own = model.state_dict()
    if any(name.startswith(INNER) for name in own) and not any(n.startswith(INNER) for n in state):
        state = {f"{INNER}{name}": tensor for name, tensor in state.items()}
    fresh: list[str] = []
    unknown: list[str] = []
    taken = 0
    for name, tensor in own.items():
        given = state.get(name)
        if given is None:
            unknown.append(name)
        elif given.shape == tensor.shape and (theirs is None or _same(theirs, skeleton, tensor)):
            tensor.copy_(given)
            taken += tensor.numel()
        elif theirs is not None and _is_head(given, tensor, theirs, skeleton):
            index = between(theirs, skeleton).index
            for here in np.flatnonzero(index >= 0):
                tensor[here].copy_(given[index[here]])
            taken += tensor.numel()
            known = np.count_nonzero(index >= 0)
            fresh.append(f"{name}: {known} of {len(skeleton)} keypoints known")
        else:
            fresh.append(f"{name}: {tuple(given.shape)} in the file, {tuple(tensor.shape)} here")
    share = taken / max(sum(t.numel() for t in own.values()), 1)
    if share < 0.5:
        raise UserError(
            f"{source}: only {share:.0%} of this network's values fit; another network?"
        )
    if unknown:
        fresh.append(f"not in the file: {_some(unknown)}")
    unused = sorted(set(state) - set(own))
    if unused:
        fresh.append(f"not used: {_some(unused)}")
    return [f"start from {source}: {line}" for line in fresh]


def _read(source: str | Path) -> tuple[dict[str, Tensor], Skeleton | None]:
    from tetrapose.weights import backbone, imagenet
    from tetrapose.weights import card as cards

    if str(source).startswith(imagenet.PREFIX):
        return imagenet.backbone(str(source)), None
    if str(source).endswith((".ckpt", ".pth", ".pt", ".bin")):
        checkpoint = cards.load_checkpoint(source)
        state = checkpoint.get("state_dict", checkpoint)
        prefix = "model."
        inner = {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}
        tensors = inner or {k: v for k, v in state.items() if isinstance(v, Tensor)}
        return tensors, None
    if backbone.is_backbone(source):
        return backbone.load(source), None
    loaded = cards.load(source)
    return dict(loaded.model.state_dict()), loaded.skeleton


def _heads_by_keypoint(
    state: dict[str, Tensor], theirs: Skeleton | None, ours: Skeleton
) -> dict[str, Tensor]:
    """Heads of single keypoints (``models.hrnet``, parts) under the numbers they have here."""
    if theirs is None:
        return state
    moved = {name: value for name, value in state.items() if not name.startswith(PART)}
    for here, there in enumerate(between(theirs, ours).index):
        prefix = f"{PART}{there}."
        for name in [name for name in state if name.startswith(prefix)]:
            moved[f"{PART}{here}.{name.removeprefix(prefix)}"] = state[name]
    return moved


def _same(theirs: Skeleton, ours: Skeleton, tensor: Tensor) -> bool:
    """Equal shapes are not enough for a head: its rows must mean the same keypoints."""
    counts_keypoints = tensor.ndim > 0 and tensor.shape[0] == len(ours)
    return theirs.names == ours.names or not counts_keypoints


def _is_head(given: Tensor, tensor: Tensor, theirs: Skeleton, ours: Skeleton) -> bool:
    return (
        tensor.ndim > 0
        and tensor.shape[0] == len(ours)
        and given.shape[0] == len(theirs)
        and given.shape[1:] == tensor.shape[1:]
    )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{', '.join(names[:5])}{more}"
