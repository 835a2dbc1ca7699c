"""Sets whose labels are partial: what is shown to learn from, what is pool, what is held out.

Each set is split, shown in part by a recipe of ``data.splits``, and then brought onto one skeleton
and joined. The splits are written down where a folder is given, and read from there again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tetrapose import skeletons
from tetrapose.data import open_set
from tetrapose.data.mix import join, onto
from tetrapose.data.splits import files, recipes
from tetrapose.errors import UserError
from tetrapose.structures import PoseSet

Where = tuple[str, Any]  # how a set is written, and its split
BY_POINT = ("front-back", "conventions")  # recipes under which every animal shows a part of itself


@dataclass(frozen=True)
class Partial:
    """What a label-free run has, all on one skeleton.

    ``labelled`` shows what may be learnt from; ``pool`` are the pictures that are seen without
    labels (they still carry them here). ``val`` and ``test`` have the whole truth, and
    ``val_shown``, ``test_shown`` (N, K) say which of it the animal's own labelling would show.
    ``known`` is the pool with the labels that its animals show all the same: those of ``labelled``
    are in it too where the pool is all training pictures.
    ``taught`` (K,) is False for points that no animal of ``labelled`` shows.
    """

    labelled: PoseSet
    pool: PoseSet
    val: PoseSet
    test: PoseSet
    val_shown: np.ndarray
    test_shown: np.ndarray
    known: PoseSet

    @property
    def taught(self) -> np.ndarray:
        """(K,) True for points that some animal shows."""
        return np.asarray(self.labelled.labelled.any(axis=0))

    def counts(self) -> dict[str, Any]:
        """Animals and points of each part, for a result."""
        names = self.labelled.skeleton.names
        seen = self.labelled.labelled.sum(axis=0)
        return {
            **{name: len(getattr(self, name)) for name in ("labelled", "pool", "val", "test")},
            "labels": int(seen.sum()),
            "labels_per_point": dict(zip(names, seen.tolist(), strict=True)),
            "never_labelled": [n for n, k in zip(names, seen, strict=True) if not k],
        }


@dataclass(frozen=True)
class Labelling:
    """What of the training animals is shown: a recipe with its options, and what the pool is.

    ``pool`` is "all" training pictures, a part of the recipe ("unlabelled"), or "none". ``recipe``
    "" shows every label of the sets. ``whole`` shows them too, but tells figures apart as the
    recipe would: what partial labels are to come near.
    """

    recipe: str = ""
    options: Mapping[str, Any] | None = None
    pool: str = "all"
    whole: bool = False


def open_partial(
    sets: Mapping[str, Mapping[str, Any]],
    folder: Path,
    *,
    labelling: Labelling | None = None,
    skeleton: str | None = None,
    near: float = 1.0,
    shares: str = "8:1:1",
    seed: int = 0,
) -> Partial:
    """The sets of a label-free run; splits are kept in ``folder``.

    ``sets`` is names to ``{set, split, val, val_split, test, test_split}``: what is held out is
    named, or dealt by ``shares`` (train:val:test, less what is named), by seed 0 whatever ``seed``,
    which draws the labels. Raises UserError for what cannot be.
    """
    labelling = labelling or Labelling()
    wanted = {name: one for name, one in sets.items() if one}
    if not wanted:
        raise UserError("data.sets names no set; a preset or data.sets.NAME.set=... does")
    if len(wanted) > 1 and not skeleton:
        raise UserError("several sets want data.skeleton=NAME, the skeleton that holds all")
    folder.mkdir(parents=True, exist_ok=True)
    made = [
        _one(name, one, folder, labelling=labelling, shares=shares, seed=seed)
        for name, one in wanted.items()
    ]
    target = skeletons.load(skeleton) if skeleton else made[0]["train"].skeleton

    def joined(part: str) -> PoseSet:
        moved = [onto(one[part], target, near=near) for one in made if one[part] is not None]
        return join(moved, list(wanted)[: len(moved)]).pose_set if moved else _empty(made, target)

    val, test = joined("val"), joined("test")
    shown = {part: joined(f"{part}_shown").labelled for part in ("val", "test")}
    labelled, pool, known = (joined(part) for part in ("labelled", "pool", "known"))
    # an animal without a label left teaches nothing, and a crowd is no animal
    labelled = labelled.select_instances(labelled.labelled.any(axis=1) & ~labelled.crowd)
    if not len(labelled):
        raise UserError("no animal shows a label under this recipe")
    alone = ~np.asarray(pool.crowd, dtype=bool)
    return Partial(
        labelled,
        pool.select_instances(alone),
        val,
        test,
        shown["val"],
        shown["test"],
        known.select_instances(alone),
    )


def _one(
    name: str,
    given: Mapping[str, Any],
    folder: Path,
    *,
    labelling: Labelling,
    shares: str,
    seed: int,
) -> dict[str, Any]:
    """The parts of one set on its own skeleton."""
    held = _held(name, given, folder, shares)
    opened = {part: open_set(where, split=how) for part, (where, how) in held.items()}
    parts: dict[str, Any] = {**opened, "labelled": opened["train"], "pool": opened["train"]}
    parts |= {f"{part}_shown": opened[part] for part in ("val", "test")}
    if labelling.recipe:
        parts |= _labels(name, held, folder, labelling, seed)
    if labelling.whole:
        parts["labelled"] = opened["train"]
    if labelling.pool == "none":
        parts["pool"] = None
    return parts | {"known": _known(parts["pool"], parts["labelled"])}


def _known(pool: PoseSet | None, labelled: PoseSet) -> PoseSet | None:
    """The pool with the labels that the same animals show in ``labelled``, and no others."""
    if pool is None:
        return None
    place = {int(one): row for row, one in enumerate(labelled.annotation_ids)}
    rows = np.array([place.get(int(one), -1) for one in pool.annotation_ids], dtype=np.int64)
    shown = labelled.labelled[rows] & (rows >= 0)[:, None]
    return replace(
        pool,
        visibility=np.where(shown, pool.visibility, 0).astype(np.uint8),
        keypoints=np.where(shown[..., None], pool.keypoints, np.nan),
    )


def _held(name: str, given: Mapping[str, Any], folder: Path, shares: str) -> dict[str, Where]:
    """Where train, val and test are: named, or dealt by ``shares``."""
    spec, split = str(given["set"]), given.get("split")
    held: dict[str, Where] = {"train": (spec, split)}
    for part in ("val", "test"):
        if given.get(part) or given.get(f"{part}_split"):
            held[part] = (str(given.get(part) or spec), given.get(f"{part}_split"))
    due = ["train", *(part for part in ("val", "test") if part not in held)]
    if len(due) == 1:
        return held
    numbers: dict[str, str] = dict(zip(("train", "val", "test"), shares.split(":"), strict=False))
    if len(numbers) != 3 or shares.count(":") != 2:
        raise UserError(f"data.shares={shares}: due are three numbers, train:val:test, as 8:1:1")
    options = {"shares": ":".join(numbers[part] for part in due)}
    file = _kept((spec, split), folder / f"{name}_parts.json", "ratio", options, 0)
    for part, called in zip(due, ("train", "val", "test"), strict=False):  # the recipe's names
        held[part] = (spec, [f"{file}:{called}"])
    return held


def _labels(
    name: str, held: Mapping[str, Where], folder: Path, labelling: Labelling, seed: int
) -> dict[str, Any]:
    """What the recipe shows of a set, and what it would of the animals held out."""
    recipe, options = labelling.recipe, dict(labelling.options or {})
    spec = held["train"][0]
    file = _kept(held["train"], folder / f"{name}_labels.json", recipe, options, seed)
    parts: dict[str, Any] = {"labelled": open_set(spec, split=[f"{file}:labelled"])}
    if labelling.pool not in ("all", "none"):
        parts["pool"] = _part(spec, file, labelling.pool)
    if recipe in BY_POINT:
        options.pop("share", None)  # all that is held out is judged
        for part in ("val", "test"):
            own = folder / f"{name}_{part}_shown.json"
            file = _kept(held[part], own, recipe, options, seed)
            parts[f"{part}_shown"] = open_set(held[part][0], split=[f"{file}:labelled"])
    return parts


def _part(spec: str, file: Path, part: str) -> PoseSet | None:
    """A part of a split file; None where it is empty."""
    there = files.load(file).parts
    if part not in there:
        raise UserError(f"data.labels.pool={part}: the recipe makes {', '.join(there)}, or all")
    chosen = there[part]
    if chosen.pictures is not None and not chosen.pictures:
        return None
    return open_set(spec, split=[f"{file}:{part}"])


def _kept(where: Where, file: Path, recipe: str, options: Mapping[str, Any], seed: int) -> Path:
    """A split file of that recipe, made where it is not there yet."""
    if not file.exists():
        spec, within = where[0], _several(where[1])
        pose_set = open_set(spec, split=within) if within else open_set(spec)
        made = recipes.make(
            pose_set, recipe, seed=seed, options=options, spec=spec.partition(":")[0],
            within=[Path(one).name for one in within],
        )  # fmt: skip
        files.write(made, file)
    return file


def _several(split: Any) -> list[str]:
    if not split:
        return []
    return [str(split)] if isinstance(split, (str, Path)) else [str(one) for one in split]


def _empty(made: Sequence[Mapping[str, Any]], target: skeletons.Skeleton) -> PoseSet:
    """A set of no picture on the target skeleton."""
    one = onto(made[0]["train"], target)
    nothing = one.select_instances(np.zeros(len(one), dtype=bool))
    return nothing.select_images(np.zeros(len(one.files), dtype=bool))
