"""What a label-free method is made of: the protocol, what it sees, and what every one needs."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Generator, Tensor, nn

from tetrapose.codecs import Codec, Heatmap
from tetrapose.codecs.gaussian import draw_gaussians
from tetrapose.codecs.peaks import find_peaks
from tetrapose.errors import UserError
from tetrapose.skeletons import Skeleton
from tetrapose.structures import PoseSet
from tetrapose.training.module import MEAN, STD

Turn = tuple[str, dict[str, Tensor]]
SAID: set[str] = set()


@dataclass(frozen=True)
class Views:
    """A batch of crops, each seen weakly and strongly in the same geometry: one decode, one warp.

    weak, strong (B, 3, H, W) float 0..1; keypoints (B, K, 2) crop pixels, NaN where there is no
    label; weights (B, K), 0 there and for pictures that could not be read; visibility (B, K);
    index (B,) rows of their set; readable (B,).
    """

    weak: Tensor
    strong: Tensor
    keypoints: Tensor
    weights: Tensor
    visibility: Tensor
    index: Tensor
    readable: Tensor

    def __len__(self) -> int:
        return len(self.weak)


def joined(one: Views, other: Views) -> Views:
    """Two batches as one, the second behind the first."""
    parts = ([getattr(views, field.name) for views in (one, other)] for field in fields(Views))
    return Views(*(torch.cat(part) for part in parts))


@dataclass(frozen=True)
class Moment:
    """Where a run stands: ``step`` of ``total`` from 0 on; figures that a method notes for it."""

    step: int
    total: int
    seed: int = 0
    notes: dict[str, Tensor | float] = field(default_factory=dict)

    @property
    def progress(self) -> float:
        """0 at the first step, 1 at the last."""
        return min(self.step / max(self.total - 1, 1), 1.0)

    @property
    def generator(self) -> Generator:
        """Fresh at each asking, on the CPU: the same numbers for a seed and step."""
        return Generator().manual_seed(self.seed * 1_000_003 + self.step)

    def note(self, name: str, value: Tensor | float) -> None:
        """A figure for the curves, averaged over the steps of an interval."""
        self.notes[name] = value.detach() if isinstance(value, Tensor) else value

    def warn(self, key: str, line: str) -> None:
        """Tell ``line`` on stderr, once a program for each key."""
        if key not in SAID:
            SAID.add(key)
            if processes()[0]:
                return
            print(f"label-free: step {self.step}: {line}", file=sys.stderr)


@dataclass(frozen=True)
class Start:
    """What a method is built from: ``Method(start, **its own settings)``.

    ``network`` as the run starts it, ``fresh`` the same architecture as it is without labels
    (random or ImageNet weights). ``taught`` (K,) is False for points of the skeleton that no label
    shows: nothing a network says of them is to be believed.
    """

    network: nn.Module
    fresh: nn.Module
    codec: Codec
    skeleton: Skeleton
    taught: tuple[bool, ...]


class Step(Protocol):
    """A method; see the package's first page for how one is written.

    ``trained`` names the networks that have an optimizer, in the order of their turns; the others
    follow by themselves and are always in evaluation mode. ``rates`` multiplies the run's learning
    rate for a network, 1 where it names none. ``answer`` names the network that is evaluated and
    written. ``needs_pool`` says that there is nothing to do without unlabelled pictures,
    ``keeps_shown`` that animals of the pool which show labels in training show them here too.
    """

    # ruff: noqa: D102 - told above
    networks: nn.ModuleDict

    @property
    def trained(self) -> tuple[str, ...]: ...
    @property
    def rates(self) -> Mapping[str, float]: ...
    @property
    def answer(self) -> str: ...
    @property
    def needs_pool(self) -> bool: ...
    @property
    def keeps_shown(self) -> bool: ...
    def turns(self, labelled: Views, pool: Views | None, at: Moment) -> Iterator[Turn]: ...


@runtime_checkable
class Prepares(Protocol):
    """A method that labels the pool once, before its first batch; its crops then carry that."""

    def prepare(self, pool: PoseSet, folder: Path) -> PoseSet:
        """The unlabelled pool with what the method says of it; ``folder`` is the run's."""
        ...


def look(network: nn.Module, pictures: Tensor) -> Tensor:
    """Pictures (B, 3, H, W) float 0..1 -> maps (B, K, h, w) float32, whatever the precision.

    Raises UserError for a network that is taught at several places.
    """
    mean, std = (pictures.new_tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
    normal = ((pictures - mean) / std).contiguous(memory_format=torch.channels_last)
    out = network(normal)
    if not isinstance(out, Tensor):
        raise UserError(
            "model: this network is taught at several places; label-free methods want one with one "
            "output, as small, hrnet_w32, simple_baseline_50, efficientnet_lite2 and vitpose_s are"
        )
    return out.float()


def demand_maps(codec: Codec) -> Heatmap:
    """The codec, if it is one of heatmaps: peaks are the confidences that methods go by."""
    if not isinstance(codec, Heatmap):
        raise UserError(
            f"codec {codec.to_dict()['kind']!r}: label-free methods read confidences from the "
            "peaks of heatmaps; take codec=heatmap"
        )
    return codec


def labels(codec: Heatmap, views: Views) -> tuple[Tensor, Tensor]:
    """Targets (B, K, h, w) and weights (B, K) of the labels that a batch shows."""
    return codec.encode(views.keypoints, views.weights, views.visibility)


def mean_square(output: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Squared error, mean over each map, times ``weights`` (B, K), summed, over the batch's size.

    1/B sum_bk w_bk 1/(hw) sum_xy (o - t)^2: not over the number of points, so that an animal with
    more labels teaches more, and the mean over equal parts of a batch is that of the whole.
    Source: AvgImgMSELoss of FreeNet (github.com/yzrs/FreeNet, train_utils/utils.py).
    """
    error = (output.float() - target).square().mean((-2, -1))
    return (error * weights).sum() / max(len(output), 1)


def peaks(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Whole cells (B, K, 2) of the highest values and these values (B, K), NaN read as 0."""
    with torch.no_grad():
        return find_peaks(maps.detach(), "argmax")


def drawn_at(codec: Heatmap, cells: Tensor) -> Tensor:
    """Gaussians (B, K, h, w) of the codec's sigma and peak 1 over the whole map, at cells.

    Source: pseudo heatmaps of FreeNet, at the integer arg-max.
    """
    whole = torch.ones_like(cells[..., 0])
    return draw_gaussians(codec.cells.to_pixels(cells), whole, codec.cells, sigma=codec.sigma)[0]


def processes() -> tuple[int, int]:
    """This process's number and how many there are."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def together() -> None:
    """Wait until every process is here."""
    import torch.distributed as dist

    if processes()[1] > 1:
        dist.barrier()


def pooled(values: Tensor) -> Tensor:
    """``values`` (B, ...) of all processes, one after the other; without gradient."""
    import torch.distributed as dist

    values = values.detach().contiguous()
    _, count = processes()
    if count == 1:
        return values
    parts = [torch.empty_like(values) for _ in range(count)]
    dist.all_gather(parts, values)
    return torch.cat(parts)


def everywhere(value: Tensor) -> Tensor:
    """The mean of a scalar over the processes, without gradient."""
    return pooled(value.reshape(1)).mean()
