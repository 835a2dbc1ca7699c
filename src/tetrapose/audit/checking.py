"""All checks over one sheet, in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tetrapose.audit import entries, lists, pictures, places, swaps
from tetrapose.audit.findings import RULES, Finding
from tetrapose.audit.pictures import Fact
from tetrapose.audit.raw import Sheet
from tetrapose.audit.view import View, view

CHECKS = (
    entries.not_finite,
    entries.keypoint_count,
    entries.visibility_codes,
    entries.num_keypoints,
    entries.no_visible_point,
    entries.repeated,
    places.axis_order,
    places.corner_boxes,
    places.boxes,
    places.areas,
    places.points,
    swaps.swaps,
    lists.value_lists,
    lists.mirror_lists,
    lists.edges,
)


@dataclass(frozen=True)
class Settings:
    """What is told: codes to leave out or to keep to, and the ratio of ``species-imbalance``."""

    only: frozenset[str] = frozenset()
    ignore: frozenset[str] = frozenset()
    imbalance: float = 50.0

    def wanted(self, code: str) -> bool:
        """Whether findings of this code are told."""
        return code not in self.ignore and (not self.only or code in self.only)


def check(
    sheet: Sheet, facts: Sequence[Fact] | None, settings: Settings
) -> tuple[list[Finding], View]:
    """Findings on one file, in the order of ``RULES``, and how its numbers were read.

    ``facts`` are those of the sheet's pictures, in its order, or None where none are at hand.
    """
    found = list(sheet.early)
    if facts:
        found += pictures.there(sheet, facts)
        sheet = pictures.with_sizes(sheet, facts)
    seen = view(sheet)
    if sheet.layout != "definition":
        found += pictures.copies(sheet, facts)
        found += entries.species_imbalance(sheet, seen, ratio=settings.imbalance)
    for one in CHECKS:
        found += one(sheet, seen)
    order = list(RULES)
    wanted = [finding for finding in found if settings.wanted(finding.code)]
    return sorted(wanted, key=lambda finding: order.index(finding.code)), seen
