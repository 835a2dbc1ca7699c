"""Keypoint definitions as files carry them: names, edges, flip lists, one value a point."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

FLIP_PAIRS = ("flip_pairs", "flip_pair", "swap_pairs", "symmetry")
FLIP_INDICES = ("flip_indices", "flip_idx", "flip_index", "flip_map")
A_VALUE_A_POINT = ("sigma", "weight", "sensitive")  # fields with such a word in their name


@dataclass(frozen=True)
class Definition:
    """One list of keypoint names with what is told of it.

    ``path`` leads to the object that holds it in the file's content, and ``shared`` to every other
    object that holds the same; ``values`` are lists with one value a point, by field name.
    """

    label: str
    path: tuple[str | int, ...]
    names: tuple[str, ...]
    edges: tuple[Any, ...] | None
    flip_pairs: dict[str, Any]
    flip_indices: dict[str, Any]
    values: dict[str, list[Any]]
    shared: tuple[tuple[str | int, ...], ...] = ()


def of_categories(categories: list[Any]) -> list[Definition]:
    """The definitions of a label file's categories, equal ones as one."""
    groups: dict[str, list[int]] = {}
    for index, category in enumerate(categories):
        if isinstance(category, Mapping) and "keypoints" in category:
            told = {k: v for k, v in category.items() if isinstance(v, (list, dict))}
            groups.setdefault(json.dumps(told, default=str), []).append(index)
    found = []
    for members in groups.values():
        first = categories[members[0]]
        more = f" and {len(members) - 1} more" if len(members) > 1 else ""
        label = f"category {first.get('name', first.get('id', members[0]))}{more}"
        paths = [("categories", index) for index in members]
        found += _definition(first, label, paths[0], tuple(paths[1:]))
    return found


def of_object(content: Mapping[str, Any], label: str) -> list[Definition]:
    """The definition that an object is, and those that stand in it."""
    return [one for path, held in _holders(content, ()) for one in _at(held, label, path)]


def with_lists(content: Mapping[str, Any], categories: list[Definition]) -> list[Definition]:
    """Lists at the top of a label file, which go with its categories' names."""
    names = next((one.names for one in categories), ())
    if not names or isinstance(content.get("keypoints"), list):
        return []
    found = _definition({**content, "keypoints": list(names)}, "top level", (), ())
    return [one for one in found if one.flip_pairs or one.flip_indices or one.values or one.edges]


def _holders(
    held: Mapping[str, Any], path: tuple[str | int, ...]
) -> Iterator[tuple[tuple[str | int, ...], Mapping[str, Any]]]:
    if _is_names(held.get("keypoints")):
        yield path, held
    for key, value in held.items():
        if isinstance(value, Mapping) and len(path) < 4:
            yield from _holders(value, (*path, str(key)))


def _at(held: Mapping[str, Any], label: str, path: tuple[str | int, ...]) -> list[Definition]:
    return _definition(held, ".".join(map(str, path)) or label, path, ())


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(isinstance(v, str) for v in value)


def _definition(
    held: Mapping[str, Any],
    label: str,
    path: tuple[str | int, ...],
    shared: tuple[tuple[str | int, ...], ...],
) -> list[Definition]:
    names = held.get("keypoints")
    if not _is_names(names):
        return []
    assert isinstance(names, list)
    edges = held.get("skeleton")
    return [
        Definition(
            label=label,
            path=path,
            names=tuple(names),
            edges=tuple(edges) if isinstance(edges, list) else None,
            flip_pairs={k: held[k] for k in FLIP_PAIRS if isinstance(held.get(k), list)},
            flip_indices={k: held[k] for k in FLIP_INDICES if isinstance(held.get(k), list)},
            values={
                key: value
                for key, value in held.items()
                if isinstance(value, list) and any(word in key.lower() for word in A_VALUE_A_POINT)
            },
            shared=shared,
        )
    ]
