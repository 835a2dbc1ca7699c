"""The recipes by name, and a split made by one of them from a set."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

import numpy as np

from tetrapose.data import packs
from tetrapose.data.splits import pictures, points
from tetrapose.data.splits.files import SplitFile
from tetrapose.data.splits.pictures import Made
from tetrapose.errors import UserError
from tetrapose.structures import PoseSet

RECIPES: dict[str, Callable[..., Made]] = {
    "folds": pictures.fold_parts,
    "ratio": pictures.ratio,
    "n-shot": pictures.n_shot,
    "fraction": pictures.fraction,
    "front-back": points.front_back,
    "25-to-5": points.many_to_few,
    "conventions": points.conventions,
}


def options_of(recipe: str) -> dict[str, Any]:
    """A recipe's options with their defaults."""
    if recipe not in RECIPES:
        near = get_close_matches(recipe, RECIPES, n=1) or RECIPES
        raise UserError(f"no recipe {recipe!r}; there is {', '.join(near)}")
    known = inspect.signature(RECIPES[recipe]).parameters
    return {
        name: one.default
        for name, one in known.items()
        if name not in ("pose_set", "seed", "groups")
    }


def make(
    pose_set: PoseSet,
    recipe: str,
    *,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    groups: np.ndarray | None = None,
    spec: str = "",
    within: Sequence[str] = (),
) -> SplitFile:
    """A split of a set, as a file holds it.

    ``options`` may be texts, as on a command line. ``groups`` (M,) takes the place of the set's
    own. ``within`` names the splits through which the set was opened: parts that would be of all
    pictures are then of its pictures alone. UserError for options that mean nothing.
    """
    known = options_of(recipe)
    given = dict(options or {})
    for name in given:
        if name not in known:
            told = f"it has {', '.join(known)}" if known else "it has none"
            raise UserError(f"{recipe} has no option {name!r}; {told}")
    given = {name: _value(recipe, name, value, known[name]) for name, value in given.items()}
    source = source_of(pose_set, spec, within)
    pose_set = replace(pose_set, files=packs.original_names(pose_set))
    made = RECIPES[recipe](pose_set, seed=seed, groups=groups, **given)
    parts = made.parts
    empty = [
        name for name, part in parts.items() if part.pictures is not None and not part.pictures
    ]
    if empty:
        made.report["empty"] = empty
    if within:
        names = tuple(sorted(pose_set.files))
        parts = {
            name: replace(part, pictures=names if part.pictures is None else part.pictures)
            for name, part in parts.items()
        }
    return SplitFile(recipe, {**known, **given}, seed, source, parts, made.report)


def source_of(pose_set: PoseSet, spec: str, within: Sequence[str] = ()) -> dict[str, Any]:
    """What a split file tells of the set it was made from."""
    if not pose_set.digest:
        raise UserError("a split is made of a set as it was opened, not of one put together")
    return {
        "set": spec,
        "pictures": len(pose_set.files),
        "animals": len(pose_set),
        "digest": pose_set.digest,
    } | ({"within": list(within)} if within else {})


def _value(recipe: str, name: str, value: Any, default: Any) -> Any:
    """A text as the kind of value that the default is."""
    if not isinstance(value, str) or isinstance(default, (str, tuple)):
        return value
    try:
        if isinstance(default, bool):
            return {"true": True, "false": False}[value.lower()]
        return int(value) if isinstance(default, int) else value
    except (KeyError, ValueError):
        due = "true or false" if isinstance(default, bool) else "a whole number"
        raise UserError(f"{recipe}: {name}={value}, where {due} is due") from None
