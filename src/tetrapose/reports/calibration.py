"""The reliability plot: how often a point of that score is right."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tetrapose.evaluation import calibration
from tetrapose.evaluation.calibration import Judged
from tetrapose.evaluation.predictions import Predictions
from tetrapose.reports import page
from tetrapose.structures import PoseSet

NOTE = (
    "Right is a point nearer to its label than 0.1 of the square root of the box area. On the line,"
    " scores are what they promise; bars below show how many points score so."
)


def reliability_section(truth: PoseSet, predictions: Predictions) -> str:
    """The scores of one evaluation against what became of them."""
    judged = calibration.judge(truth, predictions)
    if not judged.counted.any():
        return ""
    return page.section(
        "Can a point's score be trusted?",
        reliability_plot({"score": judged}),
        note=NOTE,
    )


def calibration_page(
    before: Judged, after: Judged, names: Sequence[str], *, title: str, lead: str
) -> str:
    """Scores before and after a map that was fitted on other pictures; every keypoint."""
    old, new = (calibration.figures(judged, names) for judged in (before, after))
    headline = {
        "points": f"{old['count']:,}",
        "error before": _number(old["ece"]),
        "error after": _number(new["ece"]),
        "Brier before": _number(old["brier"]),
        "Brier after": _number(new["brier"]),
    }
    return page.document(
        title,
        f'<h1>{html.escape(title)}</h1><p class="lead">{html.escape(lead)}</p>',
        page.headline_figures(headline),
        page.plots(
            page.section(
                "Reliability", reliability_plot({"before": before, "calibrated": after}), note=NOTE
            ),
        ),
        page.section(
            "Every keypoint",
            page.table(
                [
                    "keypoint",
                    "labelled",
                    "share right",
                    "mean score",
                    "calibrated",
                    "error",
                    "after",
                ],
                [
                    _row(name, old["per_keypoint"][name], new["per_keypoint"][name])
                    for name in names
                ],
            ),
            note="Errors of a single keypoint rest on few points a bin, and are never 0 for that.",
        ),
    )


def _row(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return [
        name.replace("_", " "),
        f"{old['count']:,}",
        *(_number(v) for v in (old["share"], old["mean_score"], new["mean_score"])),
        *(_number(each["ece"]) for each in (old, new)),
    ]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def reliability_plot(series: Mapping[str, Judged]) -> str:
    """Share right by score for each of the named scores, with the number of points below."""
    figure, axes = page.new_plot(height=4.2)
    axes.plot([0, 1], [0, 1], color=page.SOFT, linewidth=1, linestyle="--")
    tables = {name: calibration.reliability(judged) for name, judged in series.items()}
    most = max(1, *(int(table.counts.max()) for table in tables.values()))
    for (name, table), colour in zip(tables.items(), page.COLOURS, strict=False):
        there = table.counts > 0
        label = f"{name}, error {table.expected_error:.3f}"
        axes.plot(
            table.scores[there], table.shares[there], "o-", color=colour, linewidth=1.8,
            markersize=4, label=label,
        )  # fmt: skip
        axes.bar(
            table.edges[:-1], 0.18 * table.counts / most, width=np.diff(table.edges), align="edge",
            color=colour, alpha=0.25, linewidth=0,
        )  # fmt: skip
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.01)
    axes.set_xlabel("score")
    axes.set_ylabel("share right")
    axes.legend(frameon=False, fontsize=8.5, labelcolor=page.INK, loc="upper left")
    return page.plot(figure, "reliability of the scores")
