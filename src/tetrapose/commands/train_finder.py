"""The part of ``tetrapose train`` that trains a finder (``lit_module=finder``)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from tetrapose.data.whole import PictureSet
    from tetrapose.structures import Problem
    from tetrapose.training.fit import Plan

TARGET = "tetrapose.training.finding.FinderParts"


def is_finder(config: Any) -> bool:
    """Whether a composed config trains a finder."""
    return config.lit_module.get("_target_") == TARGET


def train_finder(config: dict[str, Any], make: Callable[..., Any], plan: Plan) -> int:
    """Open the sets, build the parts, train, write the model; the exit status.

    ``config`` is plain and resolved, ``make`` instantiates one of its parts.
    """
    from tetrapose.data.whole import Look, WholeDataset
    from tetrapose.errors import UserError
    from tetrapose.training.finding import finish_finder, fit_finder, start_stages

    groups = config["codec"]["groups"]
    side = int(config["input_size"][0])
    if config["input_size"][1] != side or side % 32:
        raise UserError(f"input_size={config['input_size']}: a finder's is square, in steps of 32")
    pictures, problems = open_sets(config["dataset"], groups)
    unknown = set(config["dataset"].get("kinds") or ()) - set(named_sets(config["dataset"]))
    if unknown:
        raise UserError(f"dataset.kinds: {', '.join(sorted(unknown))} is none of dataset.train")
    model = make(config["model"], num_groups=len(groups))
    if config["checkpoint_path"]:
        print(start_stages(model, config["checkpoint_path"]))
    parts = make(
        config["lit_module"],
        model=model,
        codec=make(config["codec"]),
        optimizer=make(config["optimizer"]),
        scheduler=make(config["scheduler"]) if config["scheduler"].get("_target_") else None,
        image_changes=[make(one) for one in config["train_augmentations"]["image"]],
        seed=config["seed"],
    )
    try:
        looks = [make(one) for one in config["train_augmentations"]["all"]]
    except ValueError as error:
        raise UserError(f"train_augmentations: {error}") from None
    look = looks[0] if len(looks) == 1 and isinstance(looks[0], Look) else None
    if look is None:
        raise UserError("train_augmentations=finder is due: one tetrapose.data.whole.Look")
    train = WholeDataset(pictures, look=look, seed=config["seed"])
    val = None
    if config["dataset"]["val"]:
        truth, more = open_val(config["dataset"], groups)
        val, problems = WholeDataset(truth, side=side), problems + more
    module = fit_finder(parts, train, val, plan)
    dataset = {**config["dataset"], "train": named_sets(config["dataset"])}
    kinds = telling_sets(config["dataset"], groups)
    path = finish_finder(plan.folder, module, train, {**config, "dataset": dataset}, kinds)
    left_out = [problem for problem in problems if problem.left_out]
    for problem in left_out:
        print(f"left out: {problem}", file=sys.stderr)
    for row in sorted(module.unreadable):
        print(f"left out: {train.data.paths[row]}: cannot be decoded", file=sys.stderr)
    print(f"{module.skipped} steps skipped; model: {path}")
    return 1 if left_out or module.unreadable else 0


def open_sets(data: dict[str, Any], groups: list[str]) -> tuple[PictureSet, list[Problem]]:
    """The training pictures: all sets of ``train``, and a folder of pictures without animals."""
    from tetrapose.data import open_set
    from tetrapose.data.whole import joined, picture_set, without_animals
    from tetrapose.errors import UserError

    parts, problems = [], []
    for name, one in named_sets(data).items():
        if one is None:
            continue  # dataset.train.NAME=null leaves a set out
        if one.get("group") not in (None, *groups):
            raise UserError(f"dataset.train.{name}.group={one['group']}: none of codec.groups")
        opened = open_set(one["set"], split=one.get("split"))
        problems += opened.problems
        more = {key: one[key] for key in ("share", "herd", "group") if one.get(key) is not None}
        parts.append(picture_set(opened, groups, **more))
        _tell(name, parts[-1])
    if data.get("empty"):
        paths = _pictures_below(Path(data["empty"]))
        parts.append(without_animals(paths, groups, share=float(data.get("empty_share", 1.0))))
        _tell("empty", parts[-1])
    if not parts:
        raise UserError("dataset.train names no set")
    return joined(parts), problems


def telling_sets(data: dict[str, Any], groups: list[str]) -> PictureSet | None:
    """The sets that groups are learnt from: those of ``kinds``, else all that are not drawn."""
    named = {name: one for name, one in named_sets(data).items() if one}
    chosen = data.get("kinds")
    if chosen is None:
        chosen = [n for n, one in named.items() if not one["set"].startswith("menagerie:")]
    used = {name: one for name, one in named.items() if name in chosen}
    return open_sets({"train": used}, groups)[0] if used else None


def named_sets(data: dict[str, Any]) -> dict[str, Any]:
    """The sets of ``train`` by name; one set alone may be given as it is."""
    given = data["train"]
    if isinstance(given, str):
        return {given.partition(":")[0]: {"set": given, "split": data.get("train_split")}}
    return given


def open_val(data: dict[str, Any], groups: list[str]) -> tuple[PictureSet, list[Problem]]:
    """The pictures to score on."""
    from tetrapose.data import open_set
    from tetrapose.data.whole import picture_set

    opened = open_set(data["val"], split=data["val_split"])
    return picture_set(opened, groups), list(opened.problems)


def _pictures_below(folder: Path) -> list[Path]:
    from tetrapose.errors import UserError
    from tetrapose.images import SUFFIXES

    if not folder.is_dir():
        raise UserError(f"dataset.empty={folder}: no such folder")
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not paths:
        raise UserError(f"dataset.empty={folder}: holds no picture")
    return paths


def _tell(name: str, one: PictureSet) -> None:
    known = int((one.groups >= 0).sum())
    print(
        f"{name}: {len(one):,} pictures, {len(one.bboxes):,} animals, {known:,} of a known group, "
        f"{one.draws.sum():,.0f} drawn an epoch",
        file=sys.stderr,
    )
