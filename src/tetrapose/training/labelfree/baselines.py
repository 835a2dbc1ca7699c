"""What label-free methods are measured against, under the same trainer, views and loss."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import nn

from tetrapose.codecs import Codec
from tetrapose.training.labelfree.step import (
    Moment,
    Turn,
    Views,
    demand_maps,
    labels,
    look,
    mean_square,
)


class Supervised:
    """The labels alone, on strong or weak views: what every other method has to beat.

    Strong ones by default, so that augmentation is no method's private advantage.
    """

    needs_pool = False
    trained = ("network",)
    answer = "network"
    rates: Mapping[str, float] = {}

    def __init__(self, network: nn.Module, codec: Codec, *, strong: bool = True) -> None:
        self.networks = nn.ModuleDict({"network": network})
        self.codec = demand_maps(codec)
        self.strong = strong

    def turns(self, labelled: Views, pool: Views | None, at: Moment) -> Iterator[Turn]:
        """One turn: L_s."""
        pictures = labelled.strong if self.strong else labelled.weak
        target, weights = labels(self.codec, labelled)
        output = look(self.networks["network"], pictures)
        yield "network", {"labelled": mean_square(output, target, weights)}
