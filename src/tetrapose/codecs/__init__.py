"""What a network's output means: encode, loss, decode and mirror of one representation a file.

docs/codecs.md says what each is, which decoder goes with it, and what it is good to.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from tetrapose.codecs.distribution import Distribution
from tetrapose.codecs.heatmap import Heatmap
from tetrapose.codecs.signed import Signed
from tetrapose.codecs.simcc import SimCC


class Codec(Protocol):
    """The four verbs; ``encode`` gives what a perfect network would put out.

    ``warp`` names the way crops are cut (``geometry.crop_matrix``), in training and after.
    ``visibility`` (B, K) as in COCO is for codecs that teach it; the others look past it.
    """

    # ruff: noqa: D102 - the verbs are described where they are built

    @property
    def num_keypoints(self) -> int: ...
    @property
    def input_size(self) -> tuple[int, int]: ...
    @property
    def warp(self) -> str: ...
    def encode(
        self, keypoints: Tensor, weights: Tensor, visibility: Tensor | None = None
    ) -> tuple[Tensor, Tensor]: ...
    def loss(self, output: Tensor, target: Tensor, weights: Tensor) -> Tensor: ...
    def decode(self, output: Tensor) -> tuple[Tensor, Tensor]: ...
    def mirror(self, output: Tensor, flip_indices: Tensor) -> Tensor: ...
    def to_dict(self) -> dict[str, Any]: ...


@runtime_checkable
class TellsVisibility(Protocol):
    """A codec whose outputs also say which points are hidden."""

    def visibility(self, output: Tensor) -> Tensor:
        """(B, K) uint8: 1 for hidden points, 2 for those that are seen."""
        ...


KINDS = {"heatmap": Heatmap, "distribution": Distribution, "signed": Signed, "simcc": SimCC}


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
