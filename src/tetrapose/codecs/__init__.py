"""What a network's output means: encode, loss, decode and mirror of one representation a file."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from tetrapose.codecs.distribution import Distribution
from tetrapose.codecs.heatmap import Heatmap


class Codec(Protocol):
    """The four verbs; ``encode`` gives what a perfect network would put out."""

    # ruff: noqa: D102 - the verbs are described where they are built

    @property
    def num_keypoints(self) -> int: ...
    @property
    def input_size(self) -> tuple[int, int]: ...
    def encode(self, keypoints: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]: ...
    def loss(self, output: Tensor, target: Tensor, weights: Tensor) -> Tensor: ...
    def decode(self, output: Tensor) -> tuple[Tensor, Tensor]: ...
    def mirror(self, output: Tensor, flip_indices: Tensor) -> Tensor: ...
    def to_dict(self) -> dict[str, Any]: ...


KINDS = {"heatmap": Heatmap, "distribution": Distribution}


def from_dict(values: dict[str, Any]) -> Codec:
    """The codec that ``to_dict`` described; a ValueError names an unknown kind or field."""
    values = dict(values)
    kind = values.pop("kind", None)
    if kind not in KINDS:
        raise ValueError(f"unknown codec {kind!r}; there are: {', '.join(KINDS)}")
    try:
        return KINDS[kind](**values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"codec {kind!r}: {error}") from None
