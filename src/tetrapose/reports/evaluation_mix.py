"""The page of several sets scored as one mix: the table of all, then each set in full."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from tetrapose.evaluation.mix import Part
from tetrapose.reports import page
from tetrapose.reports.evaluation import number, problem_table, set_parts
from tetrapose.structures import Problem

COLUMNS = ("AP", "AP50", "AP75", "AR")


def mix_page(
    parts: Sequence[Part],
    whole: Mapping[str, Any],
    *,
    title: str,
    problems: Sequence[Problem] = (),
) -> str:
    """The page as HTML; ``whole`` holds ``sets`` (a result a part) and ``overall``."""
    sets, overall = whole["sets"], whole["overall"]
    counts = overall["counts"]
    rules = next(iter(sets.values()))["protocol"]
    lead = (
        f"{len(parts)} sets, {counts['instances_scored']:,} animals with {counts['keypoints']:,} "
        f"labelled points in {counts['pictures']:,} pictures; protocol {rules['name']}"
    )
    body = [
        f'<h1>{html.escape(title)}</h1><p class="lead">{html.escape(lead)}</p>',
        page.headline_figures(
            {
                **{key: number(overall[key]) for key in COLUMNS},
                "PCK@0.05 by area": number(overall["pck"]["box_area"]["0.05"]),
                "NME": number(overall["nme"]),
            }
        ),
        _sets(sets, overall),
        *_protocols(sets, overall),
    ]
    for part in parts:
        body.append(f'<h1 id="{html.escape(part.name)}">{html.escape(part.name)}</h1>')
        body += set_parts(part.truth, part.predictions, sets[part.name])
    return page.document(title, *body, problem_table(problems))


def _sets(sets: Mapping[str, Any], overall: Mapping[str, Any]) -> str:
    header = ["set", "skeleton", "sigmas", "animals", "points", *COLUMNS]
    header += ["PCK@0.05 by area", "NME"]
    rows = [
        [name, result["protocol"]["skeleton"], result["protocol"]["sigmas"]["set"], *_row(result)]
        for name, result in sets.items()
    ]
    rows.append(["overall", "", "", *_row(overall)])
    note = f"Each set in its own skeleton. Overall: {overall['rule']}."
    return page.section("Every set", page.table(header, rows), note=note)


def _row(result: Mapping[str, Any]) -> list[str]:
    counts = result["counts"]
    return [
        f"{counts['instances_scored']:,}",
        f"{counts['keypoints']:,}",
        *(number(result[key]) for key in COLUMNS),
        number(result["pck"]["box_area"]["0.05"]),
        number(result["nme"]),
    ]


def _protocols(sets: Mapping[str, Any], overall: Mapping[str, Any]) -> list[str]:
    if "protocols" not in overall:
        return []
    rows = []
    for protocol, each in overall["protocols"].items():
        own = each["headline"]
        rows.append(
            [protocol, *(number(one["protocols"][protocol]["AP"]) for one in sets.values())]
            + [number(each["AP"]), f"{own['name']}: {number(own['value'])}" if own else "–"]
        )
    header = ["AP", *sets, "overall", "its own figure, overall"]
    return [page.section("Under every protocol", page.table(header, rows))]
