"""Corrected copies of label files: what is done about each code, and that it was."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tetrapose.audit import lists, places, swaps
from tetrapose.audit.checking import Settings, check
from tetrapose.audit.draft import Draft
from tetrapose.audit.findings import RULES, Finding
from tetrapose.audit.pictures import Fact
from tetrapose.audit.raw import Sheet, sheet_of
from tetrapose.audit.sided import partners
from tetrapose.audit.view import View
from tetrapose.geometry import box_iou

ROUNDS = 8  # one mending uncovers the next: a converted box shows that its area is wrong
SAME_ANIMAL = 0.7  # IoU from which boxes of two copies of a picture are one animal


@dataclass(frozen=True)
class Change:
    """What was done about one code, and to how many entries."""

    code: str
    count: int
    what: str

    def __str__(self) -> str:
        return f"{self.code}: {self.count:,} mended ({self.what})"


def mend(
    sheet: Sheet, facts: dict[str, Fact] | None, settings: Settings, leaks: Sequence[Finding] = ()
) -> tuple[Any, list[Change]]:
    """The corrected content of a file, and what was changed; the sheet's own is left as it is.

    Checked anew after each round, until nothing is left that can be mended. ``facts`` are those of
    its pictures by name. ``leaks`` are findings of ``splits.leaks``.
    """
    counts: dict[str, int] = {}
    content = sheet.content
    gone: dict[str, int] = {}  # found at first, and mended along with something else
    for turn in range(ROUNDS):
        known = None if facts is None else [facts[name] for name in sheet.image_names]
        found, seen = check(sheet, known, settings)
        found = [*(leaks if turn == 0 else ()), *found]
        todo = [one for one in found if RULES[one.code].fix and (one.rows or one.about != "animal")]
        todo = [one for one in todo if one.code != "split-leak" or one.rows]
        gone = gone or {one.code: one.count for one in todo}
        if not todo:
            break
        draft = Draft(sheet)
        for one in _first_things(todo):
            one = _left(draft, one)
            MENDERS[one.code](draft, one, seen)
            counts[one.code] = counts.get(one.code, 0) + one.count
        content = draft.finished()
        sheet = sheet_of(content, sheet.name)
    along = [Change(c, n, "went with the rest") for c, n in gone.items() if c not in counts]
    done = [Change(code, count, RULES[code].fix) for code, count in counts.items()]
    return content, [*done, *along]


def _left(draft: Draft, one: Finding) -> Finding:
    """The finding without entries that an earlier mending has removed."""
    held = draft.images if one.about == "picture" else draft.annotations
    kept = [i for i, row in enumerate(one.rows) if held[row] is not None]
    if len(kept) == len(one.rows):
        return one
    details = tuple(one.details[i] for i in kept) if one.details else ()
    rows = tuple(one.rows[i] for i in kept)
    return replace(one, count=len(rows), rows=rows, details=details)


def _first_things(todo: list[Finding]) -> list[Finding]:
    """What must be settled before the rest can be judged, alone; else all."""
    for stage in STAGES:
        chosen = [one for one in todo if one.code in stage]
        if chosen:
            return chosen
    return todo


STAGES = (
    {"entry-broken", "dangling", "id-missing", "id-repeated", "keypoint-count"},
    {"picture-missing", "picture-broken", "picture-size", "split-leak"},
    {"picture-duplicate"},
    {"picture-near-duplicate"},
    {"not-finite", "visibility-code"},
    {"boxes-xyxy", "xy-order"},
)


def _removed(draft: Draft, one: Finding, seen: View) -> None:
    del seen
    for row in one.rows:
        (draft.images if one.about == "picture" else draft.annotations)[row] = None


def _pictures_removed(draft: Draft, one: Finding, seen: View) -> None:
    del seen
    draft.remove_pictures(one.rows)


def _copies_removed(draft: Draft, one: Finding, seen: View) -> None:
    del seen
    draft.remove_pictures([row for group in one.groups for row in group[1:]])


def _copies_gathered(draft: Draft, one: Finding, seen: View) -> None:
    """Animals of the copies go to the first picture, unless it has them."""
    del seen
    for group in one.groups:
        ids = [str(draft.images[row]["id"]) for row in group]
        first = draft.images[group[0]]["id"]
        rows = [
            row
            for row, entry in enumerate(draft.annotations)
            if isinstance(entry, dict) and str(entry["image_id"]) in ids
        ]
        rows.sort(key=lambda row: ids.index(str(draft.annotations[row]["image_id"])))
        kept: list[np.ndarray] = []
        for row in rows:
            entry, box = draft.annotations[row], draft.corners(row)
            other = str(entry["image_id"]) != ids[0]
            if other and kept and box_iou(box[None], np.stack(kept)).max() >= SAME_ANIMAL:
                draft.annotations[row] = None
                continue
            kept.append(box)
            entry["image_id"] = int(first) if draft.keyed else first
        for row in group[1:]:
            draft.images[row] = None


def _new_ids(draft: Draft, one: Finding, seen: View) -> None:
    del seen
    held = draft.images if one.about == "picture" else draft.annotations
    numbers = [e["id"] for e in held if isinstance(e, dict) and isinstance(e.get("id"), int)]
    free = max(numbers, default=0) + 1
    for row in one.rows:
        entry = held[row]
        if entry is None:
            continue
        twin = next(e for e in held if isinstance(e, dict) and e.get("id") == entry.get("id"))
        same = one.about == "picture" and twin.get("file_name") == entry["file_name"]
        if same:
            held[row] = None
        else:
            entry["id"], free = free, free + 1


def _names_dropped(draft: Draft, one: Finding, seen: View) -> None:
    """Drop the names where most animals have one other count; else remove those that differ."""
    sheet = draft.sheet
    had = sheet.counts[[draft.place[row] for row in one.rows]]
    if 2 * len(had) > len(sheet) and len(np.unique(had)) == 1:
        for category in draft.content["categories"]:
            for key in ("keypoints", "skeleton"):
                category.pop(key, None)
    else:
        _removed(draft, one, seen)


def _finite(draft: Draft, one: Finding, seen: View) -> None:
    for row in one.rows:
        entry, points = draft.annotations[row], draft.points(row)
        points[~np.isfinite(points).all(axis=1)] = 0
        draft.set_points(row, points)
        if not np.isfinite(seen.corners[draft.place[row]]).all():
            _box_from_points(draft, row)
        elif "area" in entry and not _finite_number(entry["area"]):
            draft.set_corners(row, draft.corners(row))


def _finite_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and bool(np.isfinite(value))


def _box_from_points(draft: Draft, row: int) -> None:
    """The extent of the labelled points; the entry is removed where they span nothing."""
    points = draft.points(row)
    points = points[points[:, 2] > 0, :2]
    if len(points) < 2 or (np.ptp(points, axis=0) <= 0).any():
        draft.annotations[row] = None
    else:
        draft.set_corners(row, np.concatenate([points.min(axis=0), points.max(axis=0)]))


def _boxes_from_points(draft: Draft, one: Finding, seen: View) -> None:
    del seen
    for row in one.rows:
        _box_from_points(draft, row)


def _flags(draft: Draft, one: Finding, seen: View) -> None:
    del seen
    for row in one.rows:
        points = draft.points(row)
        points[:, 2] = np.where(points[:, 2] > 0, 2, 0)
        draft.set_points(row, points)


def _counted(draft: Draft, one: Finding, seen: View) -> None:
    del seen
    for row in one.rows:
        draft.annotations[row]["num_keypoints"] = int((draft.points(row)[:, 2] > 0).sum())


def _axes(draft: Draft, one: Finding, seen: View) -> None:
    del seen
    for row in one.rows:
        draft.set_points(row, draft.points(row)[:, [1, 0, 2]])


def _boxes(draft: Draft, one: Finding, seen: View) -> None:
    for row in one.rows:
        draft.set_corners(row, seen.corners[draft.place[row]])


def _areas(draft: Draft, one: Finding, seen: View) -> None:
    del seen
    for row in one.rows:
        draft.set_corners(row, draft.corners(row))


def _clipped(draft: Draft, one: Finding, seen: View) -> None:
    for row in one.rows:
        limit = np.nan_to_num(seen.size[draft.place[row]], nan=np.inf)
        corners = draft.corners(row).reshape(2, 2)
        draft.set_corners(row, np.clip(corners, 0, limit).reshape(4))


def _points_unlabelled(draft: Draft, one: Finding, seen: View) -> None:
    zero, beyond, _ = places.point_masks(seen)
    mask = zero if one.code == "point-at-zero" else beyond
    for row in _once(one.rows):
        points = draft.points(row)
        points[mask[draft.place[row], : len(points)]] = 0
        draft.set_points(row, points)


def _points_moved(draft: Draft, one: Finding, seen: View) -> None:
    _, _, edge = places.point_masks(seen)
    for row in _once(one.rows):
        points, place = draft.points(row), draft.place[row]
        chosen = edge[place, : len(points)]
        points[chosen, :2] = np.minimum(points[chosen, :2], seen.size[place] - 1)
        draft.set_points(row, points)


def _once(rows: Iterable[int]) -> list[int]:
    return list(dict.fromkeys(rows))


def _sides(draft: Draft, one: Finding, seen: View) -> None:
    del seen
    sheet = draft.sheet
    for row, part in zip(one.rows, one.details, strict=True):
        names = sheet.keypoint_names[sheet.species[draft.place[row]]]
        points = draft.points(row)[None]
        draft.set_points(row, swaps.exchanged(points, swaps.part_pairs(names, part))[0])


def _picture_sizes(draft: Draft, one: Finding, seen: View) -> None:
    del seen
    for row, told in zip(one.rows, one.details, strict=True):
        width, height = told.removeprefix("is ").partition(",")[0].split("x")
        draft.images[row] |= {"width": int(width), "height": int(height)}


def _lists_dropped(draft: Draft, one: Finding, seen: View) -> None:
    del seen
    for definition in draft.sheet.definitions:
        for key, _ in lists.value_faults(definition, one.code):
            for held in draft.holders(definition):
                held.pop(key, None)


def _mirrors(draft: Draft, one: Finding, seen: View) -> None:
    del one, seen
    for definition in draft.sheet.definitions:
        index, _ = partners(definition.names)
        pairs = [[i, int(j)] for i, j in enumerate(index) if i < j]
        for key, _ in lists.mirror_faults(definition):
            for held in draft.holders(definition):
                held[key] = index.tolist() if key in definition.flip_indices else pairs


def _edges(draft: Draft, one: Finding, seen: View) -> None:
    del seen
    due = lists.BASE.get(draft.sheet.layout)
    for definition in draft.sheet.definitions:
        what, base = lists.judge_edges(definition, due)
        if not what or (base is None) != (one.code == "edges-foreign"):
            continue
        for held in draft.holders(definition):
            if base is None:
                held.pop("skeleton", None)
            else:
                step = (due or 0) - base
                held["skeleton"] = [[a + step, b + step] for a, b in held["skeleton"]]


MENDERS: dict[str, Callable[[Draft, Finding, View], None]] = {
    "entry-broken": _removed,
    "id-missing": _new_ids,
    "id-repeated": _new_ids,
    "dangling": _removed,
    "instance-repeated": _removed,
    "num-keypoints": _counted,
    "keypoint-count": _names_dropped,
    "not-finite": _finite,
    "visibility-code": _flags,
    "no-visible-point": _removed,
    "point-at-zero": _points_unlabelled,
    "xy-order": _axes,
    "point-outside": _points_unlabelled,
    "point-on-edge": _points_moved,
    "boxes-xyxy": _boxes,
    "box-empty": _boxes_from_points,
    "box-outside": _clipped,
    "box-over-missing": _boxes_from_points,
    "area-wrong": _areas,
    "left-right-swap": _sides,
    "list-length": _lists_dropped,
    "list-uneven": _lists_dropped,
    "flip-not-involution": _mirrors,
    "edges-base": _edges,
    "edges-foreign": _edges,
    "picture-missing": _pictures_removed,
    "picture-broken": _pictures_removed,
    "picture-size": _picture_sizes,
    "picture-duplicate": _copies_gathered,
    "picture-near-duplicate": _copies_removed,
    "split-leak": _pictures_removed,
}
