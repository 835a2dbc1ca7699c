"""Which skeleton a file's keypoint names mean, and in which order it writes them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import yaml

from tetrapose import skeletons
from tetrapose.errors import UserError
from tetrapose.skeletons import Skeleton, SkeletonError
from tetrapose.structures import Problem


@cache
def aliases() -> dict[str, dict[str, str]]:
    """Alias -> name, by skeleton."""
    text = (resources.files("tetrapose.data") / "aliases.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)


def order_in(skeleton: Skeleton, names: Sequence[str]) -> np.ndarray | None:
    """(K,) where each keypoint of the skeleton stands among ``names``; None if they differ."""
    known = aliases().get(skeleton.name, {})
    plain = [known.get(name.strip(), name.strip()) for name in names]
    if sorted(plain) != sorted(skeleton.names):
        return None
    return np.array([plain.index(name) for name in skeleton.names], dtype=np.int64)


def match(names: Sequence[str]) -> Skeleton:
    """The shipped skeleton with these keypoints, in any order; a UserError tells the nearest."""
    shipped = [skeletons.load(name) for name in skeletons.available()]
    for skeleton in shipped:
        if order_in(skeleton, names) is not None:
            return skeleton
    advice = "write them as a skeleton file and name it with skeleton=FILE.yaml"
    given = {name.strip() for name in names}
    near = max(shipped, key=lambda s: len(given & set(s.names)) / len(given | set(s.names)))
    if 2 * len(given & set(near.names)) < len(given):
        shown = f"{', '.join(sorted(given)[:3])} ..."
        raise UserError(
            f"its {len(names)} keypoints ({shown}) are those of no skeleton at hand; {advice}"
        )
    odd = sorted(given - set(near.names))
    lack = sorted(set(near.names) - given)
    differs = [f"has {', '.join(odd[:4])} beside it"] if odd else []
    differs += [f"lacks {', '.join(lack[:4])}"] if lack else []
    raise UserError(
        f"its {len(names)} keypoints are those of no skeleton at hand; the nearest is {near.name}: "
        f"the file {' and '.join(differs) or 'repeats a name'}; {advice}"
    )


def skeleton_of(
    categories: list[dict[str, Any]], given: str | Skeleton | None, where: str
) -> tuple[Skeleton, list[np.ndarray | None]]:
    """The skeleton, and for each category where the skeleton's points stand in its entries."""
    named = [list(map(str, c.get("keypoints") or ())) for c in categories]
    first = next((names for names in named if names), None)
    if isinstance(given, str):
        try:
            given = skeletons.load(given)
        except SkeletonError as error:
            raise UserError(f"skeleton={given}: {error}") from None
    if given is None:
        if first is None:
            shipped = ", ".join(skeletons.available())
            raise UserError(
                f"{where}: its categories name no keypoints; add skeleton=NAME ({shipped}) or "
                "skeleton=FILE.yaml"
            )
        try:
            given = match(first)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
    if first is None:
        return given, [np.arange(len(given))] * len(categories)
    orders = [order_in(given, names) if names else None for names in named]
    if all(order is None for order in orders):
        raise UserError(
            f"{where}: its keypoints ({', '.join(first[:3])} ...) are not {given.name}'s"
        )
    return given, orders


def of_categories(
    entries: list[Any],
    categories: list[dict[str, Any]],
    orders: list[np.ndarray | None],
    where: str,
) -> tuple[list[Any], list[Problem]]:
    """Entries without those of categories on other keypoints, one problem a category."""
    foreign = {c["id"]: c for c, order in zip(categories, orders, strict=True) if order is None}
    if not foreign:
        return entries, []
    counts = dict.fromkeys(foreign, 0)
    kept = []
    for entry in entries:
        category = entry.get("category_id") if isinstance(entry, dict) else None
        if category in foreign:
            counts[category] += 1
        else:
            kept.append(entry)
    return kept, [
        Problem(
            f"{where}: category {foreign[key]['name']}",
            f"its {count} annotations have no keypoints of this skeleton",
            "open them by themselves with a skeleton of their own",
        )
        for key, count in counts.items()
        if count
    ]


def in_order(
    points: np.ndarray, species: np.ndarray, orders: list[np.ndarray | None]
) -> np.ndarray:
    """Points (N, K, 3) of the file in the skeleton's order."""
    plain = np.arange(points.shape[1])
    table = np.array([plain if order is None else order for order in orders]).reshape(
        -1, len(plain)
    )
    if (table == plain).all():
        return points
    return np.take_along_axis(points, table[species][..., None], axis=1)
