"""Checks of where things lie: boxes, areas, points."""

from __future__ import annotations

import numpy as np

from tetrapose.audit.entries import picked
from tetrapose.audit.findings import Finding, finding, number
from tetrapose.audit.raw import Sheet
from tetrapose.audit.view import View
from tetrapose.geometry import box_area, points_box

ROUNDING = 1.0  # px a box may reach over its picture: corners counted from 1


def corner_boxes(sheet: Sheet, seen: View) -> list[Finding]:
    """x1, y1, x2, y2 where x, y, width, height are due."""
    found = seen.corner_boxes
    ids, rows = picked(sheet, found)
    out = int((seen.leaves & found).sum())
    whole = "all" if found.all() else f"{found.sum():,} of"
    return finding(
        "boxes-xyxy",
        ids,
        f"{whole} {len(sheet):,} boxes are x1, y1, x2, y2; read as x, y, width, height, {out:,} "
        "leave their picture",
        rows=rows,
    )


def axis_order(sheet: Sheet, seen: View) -> list[Finding]:
    """y, x where x, y is due."""
    ids, rows = picked(sheet, seen.swapped)
    return finding(
        "xy-order",
        ids,
        f"the points of {number(len(ids), 'animal')} fit box and picture only as y, x",
        rows=rows,
    )


def boxes(sheet: Sheet, seen: View) -> list[Finding]:
    """Boxes without extent, beyond their picture, or drawn out to (0, 0)."""
    box, size = seen.corners, seen.size
    with np.errstate(invalid="ignore"):
        finite = np.isfinite(box).all(axis=1)
        empty = finite & (box[:, 2:] <= box[:, :2]).any(axis=1)
        known = np.isfinite(size).all(axis=1)
        over = (box[:, :2] < -ROUNDING).any(axis=1) | (
            known & (box[:, 2:] > size + ROUNDING).any(axis=1)
        )
    outside = finite & ~empty & over
    missing = finite & ~empty & ~outside & _over_missing(sheet, seen)
    found = []
    for code, mask, what in (
        ("box-empty", empty, "without width or height"),
        ("box-outside", outside, "that leave their picture"),
        ("box-over-missing", missing, "from (0, 0) to the last labelled point"),
    ):
        ids, rows = picked(sheet, mask)
        message = f"{number(len(ids), 'box')} {what}"
        shown = [_box_text(sheet.boxes[i]) for i in np.flatnonzero(mask)]
        found += finding(code, ids, message, details=shown, rows=rows)
    return found


def _over_missing(sheet: Sheet, seen: View) -> np.ndarray:
    """(N,) boxes that are the extent of all points, the zeros of unlabelled ones among them."""
    own = np.arange(sheet.flags.shape[1]) < sheet.counts[:, None]
    if not sheet.flags.shape[1]:
        return np.zeros(len(sheet), dtype=bool)
    zeros = (own & ~seen.labelled & (np.nan_to_num(sheet.points) == 0).all(axis=-1)).any(axis=1)
    tight = points_box(seen.points)
    side = seen.corners[:, 2:] - seen.corners[:, :2]
    with np.errstate(invalid="ignore"):
        at_zero = (np.abs(seen.corners[:, :2]) < 1.5).all(axis=1)
        to_last = (np.abs(seen.corners[:, 2:] - tight[:, 2:]) < 1.5).all(axis=1)
        away = (tight[:, :2] - seen.corners[:, :2] > 0.05 * side).any(axis=1)
    return zeros & at_zero & to_last & away


def areas(sheet: Sheet, seen: View) -> list[Finding]:
    """Areas of nothing, larger than the box, or less than a hundredth of it; masks are smaller."""
    due = box_area(seen.corners)
    with np.errstate(invalid="ignore", divide="ignore"):
        usable = np.isfinite(due) & (due > 0) & np.isfinite(sheet.areas)
        factor = sheet.areas / due
        wrong = usable & ((sheet.areas > 1.01 * due + 1) | (sheet.areas < 0.01 * due))
    ids, rows = picked(sheet, wrong)
    if not ids:
        return []
    large = int((factor[wrong] > 1).sum())
    parts = [f"{large:,} larger than the box"] if large else []
    parts += [f"{len(ids) - large:,} under a hundredth of it"] if large < len(ids) else []
    return finding(
        "area-wrong",
        ids,
        f"{number(len(ids), 'area')} cannot be the animal's: {' and '.join(parts)}; the median is "
        f"{np.median(factor[wrong]):.3g} times the box's",
        details=[f"{factor[i]:.3g} times the box" for i in np.flatnonzero(wrong)],
        rows=rows,
    )


def points(sheet: Sheet, seen: View) -> list[Finding]:
    """Labelled points at (0, 0), beyond their picture, or upon its far edge."""
    place = seen.points
    zero, beyond, edge = point_masks(seen)
    found = []
    for code, mask, what in (
        ("point-at-zero", zero, "labelled at (0, 0)"),
        ("point-outside", beyond, "outside the picture"),
        ("point-on-edge", edge, "upon the far edge of the picture, past the last pixel's middle"),
    ):
        who, which = np.nonzero(mask)
        animals = len(np.unique(who))
        found += finding(
            code,
            [sheet.ids[i] for i in who],
            f"{number(len(who), 'point')} of {number(animals, 'animal')} {what}",
            details=[
                f"{name_of(sheet, int(i), int(k))} ({place[i, k, 0]:g}, {place[i, k, 1]:g})"
                for i, k in zip(who, which, strict=True)
            ],
            rows=sheet.rows[who],
        )
    return found


def point_masks(seen: View) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(N, K) labelled points at (0, 0), beyond their picture, upon its far edge."""
    place, limit = seen.points, seen.size[:, None]
    with np.errstate(invalid="ignore"):
        zero = seen.labelled & (place == 0).all(axis=-1)
        beyond = seen.labelled & ((place < -0.5) | (place > limit)).any(axis=-1)
        edge = seen.labelled & ~beyond & (place > limit - 0.5).any(axis=-1)
    return zero, beyond, edge


def name_of(sheet: Sheet, animal: int, point: int) -> str:
    """The name of an animal's point, or its number."""
    names = sheet.keypoint_names[sheet.species[animal]]
    return names[point] if point < len(names) else f"point {point}"


def _box_text(box: np.ndarray) -> str:
    return "[" + ", ".join(f"{value:g}" for value in box) + "]"
