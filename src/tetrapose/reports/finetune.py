"""The page of one fine-tuning: errors in pixels on train and test frames, and the worst of them."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tetrapose.evaluation.pixels import STEPS, PixelErrors
from tetrapose.reports import page
from tetrapose.reports.crops import crop_with_points
from tetrapose.structures import PoseSet, Problem

WORST = 8  # animals drawn
PROBLEMS_SHOWN = 30
PARTS = {"test": "test frames", "train": "training frames"}
TONES = {"test": page.COLOURS[0], "train": page.COLOURS[5]}


@dataclass(frozen=True)
class Judged:
    """One part of the frames, predicted as ``tetrapose predict`` would: points and their errors."""

    truth: PoseSet
    keypoints: np.ndarray
    errors: PixelErrors
    figures: Mapping[str, Any]


def finetune_page(
    parts: Mapping[str, Judged],
    *,
    title: str,
    settings: Mapping[str, str],
    ways: Mapping[str, Mapping[str, float]],
    problems: Sequence[Problem] = (),
) -> str:
    """The page as HTML.

    ``parts`` are train and test, or train alone; ``settings`` what was done, in words; ``ways``
    the mean error of each part by how the animal was looked at.
    """
    shown = {name: parts[name] for name in PARTS if name in parts}
    first = next(iter(shown.values()))
    lead = " and ".join(f"{len(one.truth.files)} {PARTS[name]}" for name, one in shown.items())
    names = list(first.truth.skeleton.names)
    lead = f"{lead}, {len(names)} points; errors are distances to the labels in px of the frame"
    return page.document(
        title,
        f'<h1>{html.escape(title)}</h1><p class="lead">{html.escape(lead)}</p>',
        page.headline_figures(_headline(shown)),
        page.plots(
            page.section("Errors", _histogram(shown)),
            page.section(
                "With a cut-off", _by_cutoff(shown),
                note="Mean error of the points whose score reaches the cut-off, and the share of "
                "points that do (dashed).",
            ),
        ),
        page.section(
            "Every keypoint", _keypoint_table(shown, names),
            note="Mean distance, as DeepLabCut reports it under the name RMSE; rms is the root of "
            f"the mean square; with cut-off: points scored {first.figures['cutoff']:g} or more.",
        ),
        page.section(
            "By look", _ways_table(ways),
            note="Two looks: the model sees the whole frame first, then the animal. In labelled "
            "boxes is what a perfect finder would give.",
        ) if len(ways) > 1 else "",
        *(
            page.section(
                f"Worst {PARTS[name]}", page.tiles(worst(one)),
                note="White rings are labels, red lines lead to what was predicted. Look at the "
                "labels too: some of these are slips of the hand.",
            )
            for name, one in shown.items()
        ),
        page.section("What was done", page.table([], [list(p) for p in settings.items()],
                                                 words=True)),
        _problems(problems),
    )  # fmt: skip


def worst(part: Judged, count: int = WORST) -> list[tuple[np.ndarray, str, str]]:
    """The animals with the largest mean error, drawn, with captions."""
    means = part.errors.of_animals()
    order = np.argsort(-np.nan_to_num(means, nan=-1.0), kind="stable")[:count]
    drawn = []
    for row in order.tolist():
        if not np.isfinite(means[row]):
            continue
        picture = crop_with_points(part.truth, row, part.keypoints[row], part.errors.scores[row])
        if picture is not None:
            file = part.truth.files[int(part.truth.image_index[row])]
            drawn.append((picture, f"{means[row]:.1f} px", file))
    return drawn


def _headline(parts: Mapping[str, Judged]) -> dict[str, str]:
    told: dict[str, str] = {}
    for name, one in parts.items():
        figures = one.figures
        told[f"mean error, {name}"] = _px(figures["mean"])
        told[f"median, {name}"] = _px(figures["median"])
        cut = figures["with_cutoff"]
        told[f"score ≥ {figures['cutoff']:g}, {name}"] = _px(cut["mean"])
    return told


def _histogram(parts: Mapping[str, Judged]) -> str:
    figure, axes = page.new_plot()
    values = {n: p.errors.distances[np.isfinite(p.errors.distances)] for n, p in parts.items()}
    held = [v for v in values.values() if len(v)]
    high = max([1.0, *(float(np.percentile(v, 99)) for v in held)])
    edges = np.linspace(0, high, 31)
    for name, one in values.items():
        if len(one):
            share = np.full(len(one), 1 / len(one))
            axes.hist(np.minimum(one, high), edges.tolist(), weights=share, histtype="stepfilled",
                      color=TONES[name], alpha=0.45, label=PARTS[name])  # fmt: skip
    axes.set_xlabel("error in px; the last bar holds all beyond")
    axes.set_ylabel("share of points")
    axes.legend(frameon=False, fontsize=8.5, labelcolor=page.INK)
    return page.plot(figure, "how often an error of so many pixels occurs")


def _by_cutoff(parts: Mapping[str, Judged]) -> str:
    figure, axes = page.new_plot()
    other = axes.twinx()
    other.spines[["top", "right", "left", "bottom"]].set_visible(False)
    other.tick_params(colors=page.SOFT, labelsize=9, length=0)
    for name, one in parts.items():
        rows = [one.figures["by_cutoff"][str(step)] for step in STEPS]
        means = [np.nan if row["mean"] is None else row["mean"] for row in rows]
        shares = [np.nan if row["kept"] is None else row["kept"] for row in rows]
        axes.plot(STEPS, means, "o-", color=TONES[name], markersize=4, label=PARTS[name])
        other.plot(STEPS, shares, "--", color=TONES[name], linewidth=1.2)
    axes.set_ylim(bottom=0)
    other.set_ylim(0, 1.02)
    axes.set_xlabel("cut-off on the score")
    axes.set_ylabel("mean error in px")
    other.set_ylabel("share kept", color=page.SOFT)
    axes.legend(frameon=False, fontsize=8.5, labelcolor=page.INK)
    return page.plot(figure, "mean error and share of points kept, by cut-off")


def _keypoint_table(parts: Mapping[str, Judged], names: Sequence[str]) -> str:
    header = ["keypoint"]
    for part in parts:
        header += [f"{part}: points", "mean", "median", "rms", "worst", "with cut-off", "kept"]
    rows = []
    for name in ["all", *names]:
        row = [name.replace("_", " ")]
        for one in parts.values():
            figures = one.figures if name == "all" else one.figures["per_keypoint"][name]
            cut = figures["with_cutoff"]
            row += [f"{figures['count']:,}"]
            row += [_number(figures[key]) for key in ("mean", "median", "rms", "max")]
            row += [_number(cut["mean"]), "–" if cut["kept"] is None else f"{cut['kept']:.0%}"]
        rows.append(row)
    return page.table(header, rows)


def _ways_table(ways: Mapping[str, Mapping[str, float]]) -> str:
    names = [name for name in PARTS if any(name in one for one in ways.values())]
    rows = [[way, *(_number(one.get(name)) for name in names)] for way, one in ways.items()]
    return page.table(["mean error in px", *names], rows)


def _problems(problems: Sequence[Problem]) -> str:
    if not problems:
        return ""
    rows = [[p.where, p.what, p.fix] for p in problems[:PROBLEMS_SHOWN]]
    if len(problems) > PROBLEMS_SHOWN:
        rows.append([f"and {len(problems) - PROBLEMS_SHOWN} more", "", ""])
    return page.section("Left out or in doubt", page.table(["where", "what", "fix"], rows,
                                                           words=True))  # fmt: skip


def _px(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f} px"


def _number(value: float | None) -> str:
    return "–" if value is None or not np.isfinite(value) else f"{value:.2f}"
