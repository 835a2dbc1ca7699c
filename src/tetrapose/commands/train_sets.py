"""The labelled sets of a training run: one, or several brought onto one skeleton and mixed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from tetrapose.data.crops import CropDataset
    from tetrapose.structures import PoseSet


def training_sets(data: dict[str, Any]) -> tuple[PoseSet, np.ndarray | None]:
    """The set to train on, and how often each row is drawn in an epoch (None: once each).

    ``data["train"]`` is a set, or names to ``{set, split, share}``; ``skeleton`` brings all onto
    one, ``near`` is the weight of points that only come near, ``balance`` says what is evened out:
    any of sets, species and points.
    """
    import numpy as np

    from tetrapose import skeletons
    from tetrapose.data import open_set
    from tetrapose.data.mix import join, onto
    from tetrapose.errors import UserError

    given = data["train"]
    wanted = data.get("skeleton")
    near = float(data.get("near", 1.0))
    if isinstance(given, str):
        pose_set = open_set(given, split=data.get("train_split"))
        pose_set = onto(pose_set, skeletons.load(wanted), near=near) if wanted else pose_set
        rows = len(pose_set)
        return pose_set, _evened(pose_set, np.zeros(rows, int), np.ones(rows), data)
    if not wanted:
        raise UserError("a mix of sets wants dataset.skeleton=NAME, the skeleton that holds all")
    skeleton = skeletons.load(wanted)
    sets, shares, names = [], [], []
    for name, one in given.items():
        if one is None:
            continue  # dataset.train.NAME=null leaves a set out
        opened = onto(open_set(one["set"], split=one.get("split")), skeleton, near=near)
        sets.append(opened)
        shares.append(float(one.get("share", 1.0)))
        names.append(name)
        _tell(name, opened, shares[-1])
    mix = join(sets, names)
    return mix.pose_set, _evened(mix.pose_set, mix.part, np.array(shares)[mix.part], data)


def _evened(
    pose_set: PoseSet, part: np.ndarray, draws: np.ndarray, data: dict[str, Any]
) -> np.ndarray | None:
    """The draws with what ``balance`` names evened out; None where each row is drawn once.

    Sets and species are balanced within the shares that were given, points by
    ``samplers.per_point`` to ``points_target`` labelled samples each.
    """
    from tetrapose.data import samplers
    from tetrapose.errors import UserError

    wanted = data.get("balance") or []
    wanted = [wanted] if isinstance(wanted, str) else list(wanted)
    odd = [name for name in wanted if name not in ("sets", "species", "points")]
    if odd:
        raise UserError(f"dataset.balance={odd[0]}: choose among sets, species, points")
    for name, labels in (("sets", part), ("species", pose_set.species)):
        if name in wanted:
            draws = draws * samplers.balanced(labels)
    if "points" in wanted:
        target = float(data.get("points_target") or samplers.TARGET)
        draws = samplers.per_point(pose_set.labelled, target=target, start=draws)
        seen = samplers.seen_labels(pose_set.labelled, draws)
        seen = seen[pose_set.labelled.any(axis=0)]
        print(
            f"balanced points: {seen.min():,.0f} to {seen.max():,.0f} labelled samples each in "
            f"{draws.sum():,.0f} draws an epoch",
            file=sys.stderr,
        )
    return None if (draws == 1).all() else draws


def with_cache(dataset: CropDataset, folder: str | None, name: str) -> CropDataset:
    """The crops, with pictures out of the cache ``name`` in ``folder`` where one is given."""
    if folder:
        from tetrapose.data.cache import cached

        dataset.pictures = cached(
            dataset.pose_set, dataset.scales(), folder, name,
            tell=lambda line: print(line, file=sys.stderr),
        )  # fmt: skip
    return dataset


def _tell(name: str, pose_set: PoseSet, share: float) -> None:
    points = int((pose_set.labelled.sum(axis=0) > 0).sum())
    print(
        f"{name}: {len(pose_set):,} animals, {points} of {len(pose_set.skeleton)} points, "
        f"{share * len(pose_set):,.0f} drawn an epoch",
        file=sys.stderr,
    )
