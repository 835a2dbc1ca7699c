"""ScarceNet: pseudo-labels made once, trusted or replaced as training goes, averaged teacher.

It begins with a network that the labels alone have taught (``start``). That looks at every animal
of the pool several times (``pseudo_labels``), once, and what it says most surely becomes the pool's
labels. Then one step is

1. pool, weak and moved views -> answers of the network (no gradient, running statistics); those
   that lie within 0.6 cells of one another agree
2. network, strong labelled and strong pool -> the points whose pseudo-labels have a small loss are
   trusted; of the others those that agree learn the network's own answer, the rest nothing
3. teacher, moved views of all -> its answers, carried back, are learnt where there is a label or a
   pseudo-label, with a weight that rises
4. the network is stepped by 4 L(labels) + L(trusted and reused) + w L(teacher); the teacher follows

Source: Li and Lee, ScarceNet, CVPR 2023; formulas and constants after its code
(github.com/chaneyddtt/ScarceNet, lib/core/function1.py): ``selection``.

What the released code does and this does not: pseudo-labels are kept by place in the set, so that
another order gives animals each other's points; the teacher begins with random weights, and its
running statistics are its own while its weights are averaged; the agreement check compares a whole
cell with a point half a cell aside, and moves the running statistics; boxes are jittered once, when
the set is read; half-body crops take the upper half two times in three. Its answers come from three
crops of one picture; here from one crop and a turned, scaled, mirrored copy of it, made on the
device: the moved view shows no more than the crop does, and points that it loses do not count.
"""

from __future__ import annotations

import copy
import hashlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tetrapose.errors import UserError
from tetrapose.skeletons import Skeleton
from tetrapose.structures import PoseSet
from tetrapose.training.labelfree import selection, thresholds
from tetrapose.training.labelfree.freenet import tell, usable
from tetrapose.training.labelfree.moves import (
    Moves,
    at_rest,
    carried_back,
    moved_views,
    transformed,
)
from tetrapose.training.labelfree.pseudo_files import Work, pseudo_labels
from tetrapose.training.labelfree.pseudo_labels import Looks, PseudoLabels
from tetrapose.training.labelfree.step import (
    Moment,
    Start,
    Turn,
    Views,
    demand_maps,
    look,
    mean_square,
    pooled,
    processes,
)
from tetrapose.training.labelfree.teacher import decay_at, follow, follower
from tetrapose.training.module import MEAN, STD
from tetrapose.weights.card import Loaded

FILE = "pseudo_labels.safetensors"
VISIBLE = 2
MOVES = 7  # sets the moved views' draws apart from those of the strong views


@dataclass(frozen=True)
class Made:
    """How pseudo-labels are made: ``looks`` cuts of an animal, each mirrored too.

    The ``dropped`` share of them all, the least sure, is left out. Boxes are grown by ``padding``.
    ``file`` names another place for them than the run's folder, for runs that share them;
    ``precision`` and ``workers`` as in ``pseudo_labels.look_often``.
    """

    looks: int = 5
    dropped: float = selection.DROPPED
    padding: float = 1.25
    file: str | None = None
    precision: str = "float32"
    workers: int = 0


@dataclass(frozen=True)
class Rules:
    """Constants of a step (``selection``). A run counts as ``epochs`` epochs, whatever its length.

    The share of small losses falls to ``least`` over ``ramp`` epochs; answers closer than ``near``
    cells agree (0: none does, nothing is reused); the teacher's weight rises to ``consistency``
    over ``rise`` epochs. ``label_weight`` is a label's beside a pseudo-label's: the released code
    multiplies both maps by true_label_w = 2 before it squares, which makes 4.
    """

    epochs: float = 150.0
    ramp: float = selection.RAMP
    least: float = selection.LEAST
    near: float = selection.NEAR
    consistency: float = selection.CONSISTENCY
    rise: float = selection.RISE
    label_weight: float = 4.0


class ScarceNet:
    """The method; the averaged teacher answers. Settings: fields of ``Made``, ``Rules``, ``Moves``.

    Raises UserError where the run starts with nothing that labels have taught.
    """

    needs_pool = True
    keeps_shown = False
    trained = ("network",)
    answer = "teacher"
    rates: Mapping[str, float] = {}

    def __init__(
        self,
        start: Start,
        *,
        made: Made | Mapping[str, Any] | None = None,
        rules: Rules | Mapping[str, Any] | None = None,
        moves: Moves | Mapping[str, Any] | None = None,
        decay: float = 0.999,
    ) -> None:
        demand_taught(start)
        self.codec = demand_maps(start.codec)
        self.made = made if isinstance(made, Made) else Made(**made or {})
        self.rules = rules if isinstance(rules, Rules) else Rules(**rules or {})
        self.moves = moves if isinstance(moves, Moves) else Moves(**moves or {})
        # a run that goes on loads other weights into the networks: pseudo-labels are this one's
        self.first = copy.deepcopy(start.network).requires_grad_(False).eval()
        self.networks = nn.ModuleDict(
            {"network": start.network, "teacher": follower(start.network)}
        )
        self.skeleton, self.decay = start.skeleton, decay
        self.taught = torch.tensor(start.taught)
        self.flip = torch.as_tensor(start.skeleton.flip_indices)
        self.groups = thresholds.without(thresholds.groups_of(start.skeleton), start.taught)

    def prepare(self, pool: PoseSet, folder: Path) -> PoseSet:
        """The pool with its pseudo-labels as labels, from the file in ``folder`` or made now.

        Several processes make a part each. Raises UserError for a file that is stale or not whole,
        and where no pseudo-label is sure at all.
        """
        path = Path(self.made.file) if self.made.file else folder / FILE
        device = next(self.networks.parameters()).device
        loaded = as_loaded(self.first.to(device), self.codec, self.skeleton, self.made.padding)
        mine, count = processes()
        settings = (loaded, pool, Looks(count=self.made.looks))
        work = Work(workers=self.made.workers, share=(mine, count), tell=_say)
        labels = pseudo_labels(path, *settings, precision=self.made.precision, work=work)
        if count > 1:
            import torch.distributed as dist

            dist.barrier()  # all shards are there now, and one process at least may join them
            whole = replace(work, share=(0, 1), tell=None)
            labels = pseudo_labels(path, *settings, precision=self.made.precision, work=whole)
        assert labels is not None
        return taught_by(pool, labels, self.taught.numpy(), dropped=self.made.dropped)

    def turns(self, labelled: Views, pool: Views | None, at: Moment) -> Iterator[Turn]:
        """One turn; the teacher follows after it."""
        assert pool is not None
        network, rules = self.networks["network"], self.rules
        epoch = at.progress * rules.epochs
        both = torch.cat([labelled.weak, pool.weak])
        matrices, mirrored = self._moved(labelled, pool, at)
        moved = moved_views(both, matrices)
        first = len(labelled)
        weak, other, sure = self._answers(pool, moved[first:], matrices[first:], mirrored[first:])
        output = look(network, torch.cat([labelled.strong, pool.strong]))
        points, trusted, reused = self._taught(pool, output[first:].detach(), weak, other, epoch)
        self._tell(at, usable(sure, pool, self.taught), trusted, reused)
        labels = self.codec.encode(labelled.keypoints, labelled.weights * rules.label_weight)
        pseudo = self.codec.encode(points, (trusted | reused).float())
        share = selection.consistency_weight(epoch, most=rules.consistency, rise=rules.rise)
        theirs = self._teacher(labelled, pool, moved, matrices, mirrored)
        part = first / len(both)
        yield (
            "network",
            {
                "labelled": part * mean_square(output[:first], *labels),
                "pseudo": (1 - part) * mean_square(output[first:], *pseudo),
                "consistency": share * mean_square(output, *theirs),
            },
        )
        follow(self.networks["teacher"], network, decay_at(at.step, self.decay))

    def _moved(self, labelled: Views, pool: Views, at: Moment) -> tuple[Tensor, Tensor]:
        """Matrices (B, 2, 3) to the moved views of labelled and pool, and who is mirrored."""
        size = self.codec.input_size
        drawn = [
            self.moves.draw(views.index.tolist(), (at.seed, MOVES + tag, at.step), size)
            for tag, views in enumerate((labelled, pool))
        ]
        matrices, mirrored = (np.concatenate(column) for column in zip(*drawn, strict=True))
        device = pool.weak.device
        return (
            torch.as_tensor(matrices, dtype=torch.float32, device=device),
            torch.as_tensor(mirrored, device=device),
        )

    @torch.no_grad()
    def _answers(
        self, pool: Views, moved: Tensor, matrices: Tensor, mirrored: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What the network says of the pool's crops, weak and moved (B, K, 2), and how surely."""
        network = self.networks["network"]
        with at_rest(network):
            maps = look(network, torch.cat([pool.weak, moved]))
        points, scores = self.codec.decode(maps)
        weak, other = points.chunk(2)
        return weak, carried_back(other, matrices, mirrored, self.flip), scores.chunk(2)[0]

    def _taught(
        self, pool: Views, output: Tensor, weak: Tensor, other: Tensor, epoch: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Points (B, K, 2) that the pool teaches, and which are trusted, which reused."""
        rules, stride = self.rules, self.codec.stride
        there = (pool.weights > 0) & torch.isfinite(pool.keypoints).all(-1)
        target, shown = self.codec.encode(pool.keypoints, there.float())
        losses = (output - target).square().mean((-2, -1))
        share = selection.small_loss_share(epoch, ramp=rules.ramp, least=rules.least)
        mine, _ = processes()
        everyone = selection.small_losses(pooled(losses), pooled(shown) > 0, share)
        trusted = everyone[mine * len(pool) : (mine + 1) * len(pool)]
        known = pool.readable[:, None] & self.taught.to(trusted.device)
        reusable = selection.agreeing(weak, other, cells=stride, near=rules.near) & known
        points, _ = selection.targets(pool.keypoints, trusted, weak, reusable)
        return points, trusted, reusable & ~trusted

    @torch.no_grad()
    def _teacher(
        self, labelled: Views, pool: Views, moved: Tensor, matrices: Tensor, mirrored: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Targets and weights of the teacher's answers on moved views, in the crops' places.

        Where there is a label or a pseudo-label that the moved view shows.
        """
        answers, _ = self.codec.decode(look(self.networks["teacher"], moved))
        back = carried_back(answers, matrices, mirrored, self.flip)
        known = torch.cat([labelled.keypoints, pool.keypoints])
        weights = torch.cat([labelled.weights, pool.weights]) > 0
        at = transformed(matrices, known)
        size = torch.tensor(self.codec.input_size, device=at.device)
        shown = ((at > -0.5) & (at < size - 0.5)).all(-1)  # False for NaN
        return self.codec.encode(back, (weights & shown).float())

    def _tell(self, at: Moment, sure: Tensor, trusted: Tensor, reused: Tensor) -> None:
        tell(at, sure, trusted | reused, self.groups)
        at.note("selection/trusted", trusted.float().mean())
        at.note("selection/reused", reused.float().mean())


def demand_taught(start: Start) -> None:
    """Raise UserError where the network is what it was before any label."""
    fresh = start.fresh.state_dict()
    if all(torch.equal(value, fresh[name]) for name, value in start.network.state_dict().items()):
        raise UserError(
            "this method begins with a network that the labels have taught: run the preset with "
            "method=supervised first, then give start=RUN/model.safetensors"
        )


def as_loaded(network: nn.Module, codec: Any, skeleton: Skeleton, padding: float) -> Loaded:
    """A network of a run as if it had been read from a file: named by the sum of its weights."""
    made = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        made.update(name.encode())
        made.update(value.detach().cpu().contiguous().numpy().tobytes())
    card = {
        "sha256": made.hexdigest(),
        "normalisation": {"mean": list(MEAN), "std": list(STD)},
        "crop": {"padding": padding},
    }
    return Loaded(network, codec, skeleton, card)


def taught_by(
    pool: PoseSet, labels: PseudoLabels, taught: np.ndarray, *, dropped: float
) -> PoseSet:
    """The pool labelled by its pseudo-labels, less the ``dropped`` share and points never taught.

    Raises UserError where no confidence is above 0, or no picture could be read.
    """
    if tuple(labels.names) != pool.skeleton.names:
        raise UserError(
            f"the pseudo-labels name other keypoints than {pool.skeleton.name}; make them anew"
        )
    if not labels.readable.any():
        raise UserError("no picture of the pool can be read; look at its folder")
    sure = np.where(np.asarray(taught, dtype=bool), labels.confidence, np.nan)
    # what no label ever taught is not among the least sure: it is not asked at all
    columns = np.flatnonzero(taught)
    kept = np.zeros(sure.shape, dtype=bool)
    kept[:, columns] = selection.confident(sure[:, columns], dropped=dropped)
    if not kept.any():
        raise UserError(
            f"no pseudo-label is sure: all {sure[:, columns].size} confidences are 0 or no number; "
            "has the starting model learnt anything?"
        )
    return replace(
        pool,
        keypoints=np.where(kept[..., None], labels.keypoints, np.nan).astype(pool.keypoints.dtype),
        visibility=np.where(kept, VISIBLE, 0).astype(pool.visibility.dtype),
        weights=None,
    )


def _say(line: str) -> None:
    print(line, file=sys.stderr)
