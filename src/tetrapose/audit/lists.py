"""Checks of what a definition tells beside its names: values a point, edges, mirror pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tetrapose.audit.definitions import Definition
from tetrapose.audit.findings import Finding, finding, number
from tetrapose.audit.raw import Sheet
from tetrapose.audit.sided import mirrored, partners, side
from tetrapose.audit.view import View

# COCO's edges of people, counted from 1, which many animal files carry along unread.
# Source: person category of COCO's person_keypoints_*2017.json.
PEOPLE_EDGES = (
    (16, 14), (14, 12), (17, 15), (15, 13), (12, 13), (6, 12), (7, 13), (6, 7), (6, 8), (7, 9),
    (8, 10), (9, 11), (2, 3), (1, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 7),
)  # fmt: skip
PEOPLE_WORDS = {5: "shoulder", 6: "shoulder", 11: "hip", 12: "hip", 15: "ankle", 16: "ankle"}
BASE = {"coco": 1, "animal_pose": 0}  # the number of the first point, by a layout's own rule
CROSSING = 2  # edges from one side's point to the other side's next, as no animal has them


def value_lists(sheet: Sheet, seen: View) -> list[Finding]:
    """Sigmas, weights and flip indices that are not one a point, or differ between the sides."""
    del seen
    found = []
    for code, what in (
        ("list-length", "of another length than the points"),
        ("list-uneven", "in which left and right differ"),
    ):
        told = [
            (_field(one, key), fault)
            for one in sheet.definitions
            for key, fault in value_faults(one, code)
        ]
        found += _told(code, told, what)
    return found


def value_faults(one: Definition, code: str) -> list[tuple[str, str]]:
    """Fields of a definition with the fault of that code, each with what is wrong."""
    count, found = len(one.names), []
    for key, values in {**one.values, **one.flip_indices}.items():
        if code == "list-length" and len(values) != count:
            found.append((key, f"{len(values)} for {count} points"))
        if code == "list-uneven" and len(values) == count and key in one.values:
            odd = _uneven(one.names, values)
            found += [(key, f"{', '.join(odd[:3])} differ from their partner")] if odd else []
    return found


def _told(code: str, pairs: list[tuple[str, str]], what: str) -> list[Finding]:
    shown = "; ".join(f"{name}: {detail}" for name, detail in pairs[:4])
    return finding(
        code,
        [name for name, _ in pairs],
        f"{number(len(pairs), 'list')} {what}: {shown}",
        details=[detail for _, detail in pairs],
        about="list",
    )


def _uneven(names: Sequence[str], values: Sequence[Any]) -> list[str]:
    """Left points whose value is not their partner's; all of them where a value is no number."""
    index, _ = partners(names)
    return [
        names[i]
        for i, other in enumerate(index)
        if i < other and (not _is_number(values[i]) or values[i] != values[other])
    ]


def mirror_lists(sheet: Sheet, seen: View) -> list[Finding]:
    """Mirror lists that do not lead back, or pair other points than the names do."""
    del seen
    faults = [
        (_field(one, key), what) for one in sheet.definitions for key, what in mirror_faults(one)
    ]
    alone = [
        (name, f"no {mirrored(name)} in {one.label}")
        for one in sheet.definitions
        for name in partners(one.names)[1]
    ]
    return [
        *_told("flip-not-involution", faults, "that do not exchange left and right"),
        *finding(
            "flip-partner-missing",
            [name for name, _ in alone],
            f"{number(len(alone), 'point')} of one side only: "
            + "; ".join(f"{name}: {what}" for name, what in alone[:3]),
            details=[what for _, what in alone],
            about="list",
        ),
    ]


def mirror_faults(one: Definition) -> list[tuple[str, str]]:
    """Mirror lists of a definition that are wrong, each with what is."""
    due, found = partners(one.names)[0], []
    for key, values in one.flip_indices.items():
        if len(values) == len(one.names) and (what := _index_fault(values, due, one.names)):
            found.append((key, what))
    for key, pairs in one.flip_pairs.items():
        if what := _pair_fault(pairs, due, one.names):
            found.append((key, what))
    return found


def _index_fault(values: Sequence[Any], due: np.ndarray, names: Sequence[str]) -> str:
    count = len(values)
    if not all(_is_index(v, count) for v in values):
        return f"an index is not in 0..{count - 1}"
    if any(values[values[i]] != i for i in range(count)):
        lost = next(i for i in range(count) if values[values[i]] != i)
        return f"twice mirrored, {names[lost]} is {names[values[values[lost]]]}"
    return _against_names(np.array(values), due, names)


def _pair_fault(pairs: Sequence[Any], due: np.ndarray, names: Sequence[str]) -> str:
    count = len(names)
    places = [names.index(p) if p in names else p for pair in pairs for p in _pair(pair)]
    if len(places) != 2 * len(pairs) or not all(_is_index(p, count) for p in places):
        return f"an entry is no pair of indices in 0..{count - 1}"
    if len(set(places)) < len(places):
        twice = next(p for p in places if places.count(p) > 1)
        return f"{names[twice]} stands in two pairs"
    index = np.arange(count)
    index[places[0::2]], index[places[1::2]] = places[1::2], places[0::2]
    return _against_names(index, due, names)


def _against_names(index: np.ndarray, due: np.ndarray, names: Sequence[str]) -> str:
    """What the list pairs otherwise than the names; silent where the names tell no sides."""
    if (due == np.arange(len(due))).all():
        return ""
    wrong = np.flatnonzero(index != due)
    if not len(wrong):
        return ""
    i = int(wrong[0])
    return (
        f"{names[i]} is paired with {names[int(index[i])]}, by the names with {names[int(due[i])]}"
    )


def _pair(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) and len(value) == 2 else []


def edges(sheet: Sheet, seen: View) -> list[Finding]:
    """Edge lists counted from another number than the layout's, or made for other points."""
    del seen
    base: list[tuple[str, str]] = []
    foreign: list[tuple[str, str]] = []
    for one in sheet.definitions:
        if not one.edges:
            continue
        what, rebased = judge_edges(one, BASE.get(sheet.layout))
        if what:
            (foreign if rebased is None else base).append((_field(one, "skeleton"), what))
    return [
        *_told("edges-base", base, "of edges counted from another number than the layout's"),
        *_told("edges-foreign", foreign, "of edges that belong to other points"),
    ]


def judge_edges(one: Definition, due: int | None) -> tuple[str, int | None]:
    """What is wrong with the edges, and the base they are counted from; "" where nothing is.

    ``due`` is 1 in COCO files and 0 in the official Animal-Pose layout; a bare definition may take
    either. A base fits if no index is out of range and hardly an edge joins a point of the left to
    another one of the right, which no animal has.
    """
    pairs = [_pair(edge) for edge in one.edges or ()]
    flat = [value for pair in pairs for value in pair]
    if set(flat) & set(one.names):  # by name: no base, and wrong only if a name is unknown
        odd = [value for value in flat if value not in one.names]
        return (f"{odd[0]!r} is no point", None) if odd else ("", None)
    if not all(pairs) or not all(isinstance(v, int) for v in flat):
        return "an edge is no pair of indices", None
    if _peoples(pairs, one.names):
        return "the edges of COCO's people, on an animal's points", None
    fits = {base: _fit(pairs, one.names, base) for base in (0, 1)}
    good = [base for base in (0, 1) if fits[base] is not None and _few(fits[base], len(pairs))]
    if not good:
        return f"indices {min(flat)} to {max(flat)} do not fit {len(one.names)} points", None
    if due is None or (due in good and not (len(good) == 2 and _clearly_better(fits, due))):
        return "", due
    other = good[0] if due not in good else 1 - (due or 0)
    return f"counted from {other}, where {due} is due", other


def _fit(pairs: list[list[int]], names: Sequence[str], base: int) -> int | None:
    """How many edges cross from side to side under this base; None where an index is out."""
    count = len(names)
    if any(not base <= value < count + base for pair in pairs for value in pair):
        return None
    sides, (partner, _) = [side(name) for name in names], partners(names)
    return sum(
        {sides[a - base], sides[b - base]} == {"left", "right"} and partner[a - base] != b - base
        for a, b in pairs
    )


def _few(crossing: int | None, count: int) -> bool:
    return crossing is not None and (crossing < CROSSING or crossing < 0.1 * count)


def _clearly_better(fits: dict[int, int | None], due: int) -> bool:
    """Whether the other base explains the list better: it crosses nowhere, the due one does."""
    return fits[1 - due] == 0 and (fits[due] or 0) > 0


def _peoples(pairs: list[list[int]], names: Sequence[str]) -> bool:
    """COCO's edges of people, from 0 or 1, though the points are not people's."""
    given = {frozenset(pair) for pair in pairs}
    for shift in (0, 1):
        people = {frozenset((a - shift, b - shift)) for a, b in PEOPLE_EDGES}
        if len(given & people) >= 0.8 * len(people):
            return not all(
                i < len(names) and word in names[i].lower() for i, word in PEOPLE_WORDS.items()
            )
    return False


def _is_index(value: Any, count: int) -> bool:
    return isinstance(value, int) and 0 <= value < count


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _field(one: Definition, key: str) -> str:
    return f"{one.label}: {key}"
