"""Checks of single animals that need no geometry: flags, counts, copies, numbers; and species."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from tetrapose.audit.findings import Finding, finding, number
from tetrapose.audit.raw import Sheet
from tetrapose.audit.view import View


def picked(sheet: Sheet, mask: Any) -> tuple[list[object], np.ndarray]:
    """Ids and file rows of the animals of a mask (N,)."""
    where = np.flatnonzero(mask)
    return [sheet.ids[i] for i in where], sheet.rows[where]


def not_finite(sheet: Sheet, seen: View) -> list[Finding]:
    """NaN, infinity or null in a labelled point, a flag, a box or an area."""
    own = np.arange(sheet.flags.shape[1]) < sheet.counts[:, None]
    bad_flag = own & ~np.isfinite(sheet.flags)
    bad_point = seen.labelled & ~np.isfinite(sheet.points).all(axis=-1)
    bad_box = ~np.asarray(np.isfinite(sheet.boxes).all(axis=1))
    bad_area = np.isinf(sheet.areas)
    bad_points = np.asarray((bad_flag | bad_point).any(axis=1))
    bad = bad_points | bad_box | bad_area
    ids, rows = picked(sheet, bad)
    details = [
        " and ".join(
            name
            for name, mask in (("points", bad_points), ("box", bad_box),
                               ("area", bad_area))
            if mask[i]
        )
        for i in np.flatnonzero(bad)
    ]  # fmt: skip
    return finding(
        "not-finite",
        ids,
        f"{number(len(ids), 'animal')} with NaN, infinity or null among the numbers",
        details=details,
        rows=rows,
    )


def visibility_codes(sheet: Sheet, seen: View) -> list[Finding]:
    """Flags that are none of 0, 1, 2; and files in which 1 stands for visible.

    The official Animal-Pose layout has a rule of its own, 1 for labelled, and is not judged.
    """
    finite = np.isfinite(sheet.flags)
    odd = (finite & ~np.isin(sheet.flags, (0, 1, 2))).any(axis=1)
    ids, rows = picked(sheet, odd)
    if len(ids):
        codes = np.unique(sheet.flags[finite & ~np.isin(sheet.flags, (0, 1, 2))])
        shown = ", ".join(f"{code:g}" for code in codes[:5])
        return finding(
            "visibility-code",
            ids,
            f"{number(len(ids), 'animal')} with flags that are none of 0, 1, 2: {shown}",
            rows=rows,
        )
    if sheet.layout != "coco" or (sheet.flags == 2).any():
        return []
    ids, rows = picked(sheet, seen.labelled.any(axis=1))
    if len(ids) < 2 or (sheet.flags == 1).sum() < 5:
        return []
    return finding(
        "visibility-code",
        ids,
        f"no point of the file has flag 2: all {int(seen.labelled.sum()):,} labelled ones have 1, "
        "which means hidden",
        rows=rows,
    )


def num_keypoints(sheet: Sheet, seen: View) -> list[Finding]:
    """num_keypoints that is not the number of flags above 0.

    The official Animal-Pose layout writes 20 everywhere, by a rule of its own.
    """
    if sheet.layout != "coco":
        return []
    due = seen.labelled.sum(axis=1)
    wrong = ~np.isnan(sheet.num_keypoints) & (sheet.num_keypoints != due)
    ids, rows = picked(sheet, wrong)
    return finding(
        "num-keypoints",
        ids,
        f"{number(len(ids), 'animal')} whose num_keypoints is not the number of labelled points",
        details=[
            f"{sheet.num_keypoints[i]:g} written, {due[i]} labelled" for i in np.flatnonzero(wrong)
        ],
        rows=rows,
    )


def no_visible_point(sheet: Sheet, seen: View) -> list[Finding]:
    """Animals without one labelled point."""
    ids, rows = picked(sheet, ~seen.labelled.any(axis=1))
    return finding(
        "no-visible-point", ids, f"{number(len(ids), 'animal')} without a labelled point", rows=rows
    )


def repeated(sheet: Sheet, seen: View) -> list[Finding]:
    """Animals whose box and points stood before in the same picture."""
    count = len(sheet)
    if not count:
        return []
    table = np.concatenate(
        [
            sheet.image_index[:, None],
            sheet.boxes,
            np.where(seen.labelled[..., None], seen.points, 0).reshape(count, -1),
        ],
        axis=1,
    )
    keys = [row.tobytes() for row in np.nan_to_num(table)]
    first: dict[bytes, int] = {}
    copies = np.array([first.setdefault(key, i) != i for i, key in enumerate(keys)])
    ids, rows = picked(sheet, copies & seen.labelled.any(axis=1))
    return finding(
        "instance-repeated",
        ids,
        f"{number(len(ids), 'animal')} with the box and points of another of the same picture",
        rows=rows,
    )


def keypoint_count(sheet: Sheet, seen: View) -> list[Finding]:
    """Animals with another number of points than their category names.

    Where no names are told, animals that differ from most.
    """
    del seen
    due = _due(sheet)
    wrong = (due > 0) & (sheet.counts != due)
    ids, rows = picked(sheet, wrong)
    if not ids:
        return []
    had, named = sheet.counts[wrong], due[wrong]
    pairs = Counter(zip(had.tolist(), named.tolist(), strict=True)).most_common(3)
    told = "; ".join(f"{number(n, 'animal')} with {a} points for {b} names" for (a, b), n in pairs)
    return finding(
        "keypoint-count",
        ids,
        told,
        details=[f"{a} points, {b} names" for a, b in zip(had, named, strict=True)],
        rows=rows,
    )


def _due(sheet: Sheet) -> np.ndarray:
    """(N,) the number of points each animal should have, 0 where nothing tells."""
    named = np.array([len(names) for names in sheet.keypoint_names] or [0], dtype=np.int64)
    if not named.any() and len(sheet):
        values, counts = np.unique(sheet.counts[sheet.counts > 0], return_counts=True)
        named[:] = values[counts.argmax()] if len(values) else 0
    return named[sheet.species]


def species_imbalance(sheet: Sheet, seen: View, *, ratio: float) -> list[Finding]:
    """Species with fewer animals than a ``ratio``-th of the commonest's; absent ones are not told.

    Honest sets are unequal too: AP-10K's training file has 36 dogs for every animal of its rarest
    species, and passes at the default ratio of 50.
    """
    del seen
    counts = np.bincount(sheet.species, minlength=len(sheet.species_names))
    if not counts.any() or ratio <= 0:
        return []
    most = int(counts.argmax())
    rare = np.flatnonzero((counts > 0) & (counts * ratio < counts[most]))
    return finding(
        "species-imbalance",
        [sheet.species_names[i] for i in rare],
        f"{len(rare)} of {int((counts > 0).sum())} species have less than one animal for every "
        f"{ratio:g} of the commonest ({sheet.species_names[most]}, {counts[most]:,})",
        details=[number(int(counts[i]), "animal") for i in rare],
        about="species",
    )
