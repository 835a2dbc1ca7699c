"""The page of one evaluation: figures, plots, the best and the worst animals, and the protocol."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tetrapose.evaluation import oks, pck
from tetrapose.evaluation.predictions import Predictions, pairs_of
from tetrapose.evaluation.protocols import Protocol, protocol
from tetrapose.evaluation.score import instance_oks
from tetrapose.reports import page
from tetrapose.reports.calibration import reliability_section
from tetrapose.reports.crops import crop_with_points
from tetrapose.structures import PoseSet, Problem

SHOWN = 8  # animals in each gallery
ENOUGH_POINTS = 5  # labelled points that make an instance worth showing
CURVE = np.linspace(0.0, 0.3, 61)
PROBLEMS_SHOWN = 30


def evaluation_page(
    truth: PoseSet,
    predictions: Predictions,
    result: Mapping[str, Any],
    *,
    title: str,
    problems: Sequence[Problem] = (),
) -> str:
    """The page as HTML; ``result`` is what ``evaluation.score.score`` gave for the same pair.

    With ``result["protocols"]`` (``side_by_side``) they are shown beside one another.
    """
    counts = result["counts"]
    lead = (
        f"{counts['instances_scored']:,} animals with {counts['keypoints']:,} labelled points in "
        f"{counts['pictures']:,} pictures; protocol {result['protocol']['name']}, "
        f"sigmas {result['protocol']['sigmas']['set']}"
    )
    return page.document(
        title,
        f'<h1>{html.escape(title)}</h1><p class="lead">{html.escape(lead)}</p>',
        *set_parts(truth, predictions, result),
        problem_table(problems),
    )


def set_parts(
    truth: PoseSet, predictions: Predictions, result: Mapping[str, Any]
) -> tuple[str, ...]:
    """All that a page shows of one set: figures, plots, animals, tables and rules."""
    pairs = pairs_of(predictions, truth)
    likeness = instance_oks(truth, pairs, _rules(result))
    return (
        page.headline_figures(_headline(result)),
        *side_by_side_tables(result.get("protocols", {})),
        page.plots(
            *_plots(result, pck.tables(pairs), predictions, likeness),
            reliability_section(truth, predictions),
        ),
        *_galleries(truth, predictions, likeness),
        _keypoint_table(result),
        _species_table(result),
        _pck_table(result),
        _protocol(result),
    )


def _rules(result: Mapping[str, Any]) -> Protocol:
    """As much of the protocol as likeness needs."""
    told = result["protocol"]
    return protocol(told["name"], sigmas=told["sigmas"]["set"], area=told["area"]["rule"])


def _headline(result: Mapping[str, Any]) -> dict[str, str]:
    return {
        "AP": number(result["AP"]),
        "AP50": number(result["AP50"]),
        "AP75": number(result["AP75"]),
        "AR": number(result["AR"]),
        "PCK@0.05 by area": number(result["pck"]["box_area"]["0.05"]),
        "PCK@0.1 by area": number(result["pck"]["box_area"]["0.1"]),
        "NME": number(result["nme"]),
        "swapped sides": number(result["swap_rate"], percent=True),
    }


def side_by_side_tables(protocols: Mapping[str, dict[str, Any]]) -> list[str]:
    """The same predictions under several protocols, and what each does; nothing for none."""
    if not protocols:
        return []
    columns = ("AP", "AP50", "AP75", "AR")
    rows, words = [], []
    for name, each in protocols.items():
        own = each["headline"]
        rows.append(
            [name, *(number(each[key]) for key in columns), number(each["oks"])]
            + [f"{own['name']}: {number(own['value'])}" if own else "–"]
        )
        rules = each["protocol"]
        text = [
            f"{rules['source']}",
            f"sigmas {rules['sigmas']['set']}",
            f"area {rules['area']['means']}",
            f"matched {rules['matching']}",
            f"AP: {rules['average_precision']}",
            f"{rules['pooling']}",
            f"not counted: {rules['not_counted']}",
        ]
        words.append([name, "; ".join(text)])
        words.append(["", f"departs from its source: {rules['differs']}"])
    return [
        page.section(
            "The same predictions under every protocol",
            page.table(["protocol", *columns, "mean OKS", "its own figure"], rows),
            page.table((), words, words=True),
        )
    ]


def number(value: float | None, *, percent: bool = False) -> str:
    """A figure in three decimals; a dash for none, which is COCO's -1 too."""
    if value is None or value == -1:
        return "–"
    return f"{100 * value:.1f}%" if percent else f"{value:.3f}"


def _plots(
    result: Mapping[str, Any],
    tables: dict[str, np.ndarray],
    predictions: Predictions,
    likeness: np.ndarray,
) -> list[str]:
    keypoints = {
        name: figures["pck"]["box_area"]["0.1"] for name, figures in result["per_keypoint"].items()
    }
    species = {
        f"{name} ({figures['instances']})": figures["AP"]
        for name, figures in result["per_species"].items()
        if figures["AP"] >= 0
    }
    return [
        page.section("Keypoints", _bars(keypoints, "PCK@0.1 by box area")),
        page.section("Species", _bars(species, "AP", ranked=True)),
        page.section("Correct points by threshold", _curves(tables)),
        page.section("Likeness of the animals", _histogram(likeness)),
        page.section(
            "Does the score tell?",
            _reliability(predictions, likeness),
            note="Each dot is an animal; the line is the mean OKS of a tenth of them.",
        ),
    ]


def _bars(values: dict[str, float | None], label: str, *, ranked: bool = False) -> str:
    """Horizontal bars, in the given order or by rank; at most 30, the rest as their mean."""
    pairs = [(name, value) for name, value in values.items() if value is not None]
    if not pairs:
        return "<p>nothing to show</p>"
    if ranked:
        pairs.sort(key=lambda pair: -pair[1])
    if len(pairs) > 30:
        middle = float(np.mean([value for _, value in pairs[15:-14]]))
        pairs = [*pairs[:15], (f"mean of {len(pairs) - 29} more", middle), *pairs[-14:]]
    figure, axes = page.new_plot(height=0.9 + 0.21 * len(pairs))
    names, lengths = zip(*pairs, strict=True)
    places = np.arange(len(pairs))[::-1]
    axes.barh(places, lengths, height=0.66, color=page.COLOURS[0])
    for place, length in zip(places, lengths, strict=True):
        axes.text(length + 0.01, place, f"{length:.2f}", va="center", fontsize=8, color=page.SOFT)
    axes.set_yticks(places, [name.replace("_", " ") for name in names])
    axes.set_xlim(0, 1.08)
    axes.set_ylim(-0.6, len(pairs) - 0.4)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(label)
    return page.plot(figure, f"{label} by name")


def _curves(tables: dict[str, np.ndarray]) -> str:
    figure, axes = page.new_plot()
    for (name, table), colour in zip(tables.items(), page.COLOURS, strict=False):
        mean = pck.DEFINITIONS[name].mean
        shares = [pck.shares(table, threshold)[mean] for threshold in CURVE]
        axes.plot(CURVE, shares, color=colour, linewidth=1.8, label=name.replace("_", " "))
    axes.set_xlim(0, CURVE[-1])
    axes.set_ylim(0, 1.01)
    axes.set_xlabel("threshold, in the definition's own length")
    axes.set_ylabel("share of points")
    axes.legend(frameon=False, fontsize=8.5, labelcolor=page.INK, loc="lower right")
    return page.plot(figure, "PCK by threshold and definition")


def _histogram(likeness: np.ndarray) -> str:
    values = likeness[np.isfinite(likeness)]
    figure, axes = page.new_plot()
    axes.hist(values, bins=40, range=(0.0, 1.0), color=page.COLOURS[1])
    if len(values):
        middle = float(np.median(values))
        axes.axvline(middle, color=page.INK, linewidth=1.2)
        side = "right" if middle > 0.5 else "left"
        axes.annotate(
            f"median {middle:.2f}", (middle, 0.96), xycoords=("data", "axes fraction"),
            xytext=(-6 if side == "right" else 6, 0), textcoords="offset points", ha=side, va="top",
            fontsize=9, color=page.INK,
        )  # fmt: skip
    axes.set_xlim(0, 1)
    axes.set_xlabel("OKS of an animal with its prediction")
    axes.set_ylabel("animals")
    return page.plot(figure, "histogram of OKS")


def _reliability(predictions: Predictions, likeness: np.ndarray) -> str:
    own = np.flatnonzero(predictions.instance >= 0)
    scores = predictions.instance_scores[own]
    reached = likeness[predictions.instance[own]]
    scores, reached = scores[np.isfinite(reached)], reached[np.isfinite(reached)]
    figure, axes = page.new_plot()
    shown = np.linspace(0, max(len(scores) - 1, 0), min(len(scores), 2000)).astype(int)
    axes.plot(
        scores[shown], reached[shown], ".", markersize=3, alpha=0.35, color=page.COLOURS[0],
        markeredgewidth=0, rasterized=True,
    )  # fmt: skip
    if len(scores) >= 20:
        tenths = np.array_split(np.argsort(scores, kind="stable"), 10)
        means = [(scores[part].mean(), reached[part].mean()) for part in tenths]
        axes.plot(*zip(*means, strict=True), "o-", color=page.COLOURS[2], linewidth=1.8)
    axes.set_ylim(0, 1.01)
    axes.set_xlabel("score of the prediction")
    axes.set_ylabel("OKS")
    return page.plot(figure, "OKS against score")


def _galleries(truth: PoseSet, predictions: Predictions, likeness: np.ndarray) -> list[str]:
    """The animals predicted best and worst, among those with points enough to tell."""
    row_of = np.full(len(truth), -1)
    own = predictions.instance >= 0
    row_of[predictions.instance[own]] = np.flatnonzero(own)
    labelled = truth.labelled.sum(axis=1)
    worth = np.flatnonzero(np.isfinite(likeness) & (row_of >= 0) & (labelled >= ENOUGH_POINTS))
    order = worth[np.argsort(-likeness[worth], kind="stable")]
    number_each = min(SHOWN, (len(order) + 1) // 2)
    note = (
        "White rings are the truth, joined by red lines to the predicted points. Animals with "
        f"{ENOUGH_POINTS} labelled points or more."
    )
    parts = []
    for title, rows in (
        ("Best", order[:number_each]),
        ("Worst", order[::-1][: len(order) - number_each][:SHOWN]),
    ):
        pictures = []
        for row in rows:
            guess = row_of[row]
            crop = crop_with_points(
                truth, int(row), predictions.keypoints[guess], predictions.scores[guess]
            )
            if crop is None:
                continue
            name = truth.files[truth.image_index[row]].rsplit("/", 1)[-1]
            species = truth.species_names[truth.species[row]]
            pictures.append((crop, f"OKS {likeness[row]:.2f}", f"{species}, {name}"))
        body = page.tiles(pictures) if pictures else "<p>No picture of these could be read.</p>"
        parts.append(page.section(title, body, note=note))
    return parts


def _keypoint_table(result: Mapping[str, Any]) -> str:
    definitions = list(result["pck"])
    header = ["keypoint", "labelled", *(f"{d.replace('_', ' ')} @0.05" for d in definitions)]
    header += ["NME", "OKS term", "swapped"]
    rows = [
        [name.replace("_", " "), f"{f['count']:,}"]
        + [number(f["pck"][d]["0.05"]) for d in definitions]
        + [number(f["nme"]), number(f["oks"]), number(f["swap_rate"], percent=True)]
        for name, f in result["per_keypoint"].items()
    ]
    return page.section("Every keypoint", page.table(header, rows))


def _species_table(result: Mapping[str, Any]) -> str:
    header = ["species", "animals", *oks.FIGURES, "PCK@0.05 by area", "NME"]
    rows = [
        [name, f"{f['instances']:,}", *(number(f[key]) for key in oks.FIGURES)]
        + [number(f["pck"]["box_area"]["0.05"]), number(f["nme"])]
        for name, f in result["per_species"].items()
    ]
    rows.append(["all", f"{result['counts']['instances_scored']:,}"])
    rows[-1] += [number(result[key]) for key in oks.FIGURES]
    rows[-1] += [number(result["pck"]["box_area"]["0.05"]), number(result["nme"])]
    return page.section("Every species", page.table(header, rows))


def _pck_table(result: Mapping[str, Any]) -> str:
    rows = [
        [definition.replace("_", " "), mean]
        + [number(result["pck_by_mean"][definition][mean][str(t)]) for t in pck.THRESHOLDS]
        + ["its own" if result["protocol"]["pck"][definition]["mean"] == mean else ""]
        for definition in result["pck"]
        for mean in ("points", "instances", "types")
    ]
    header = ["length", "mean over", *(f"@{t}" for t in pck.THRESHOLDS), ""]
    return page.section("PCK in every definition", page.table(header, rows))


def _protocol(result: Mapping[str, Any]) -> str:
    rows = []
    for key, value in result["protocol"].items():
        if key == "pck":
            for name in result["pck"]:
                rules = value[name]
                text = (
                    f"over {rules['length']}; counts {rules['counts']}; mean over {rules['mean']}"
                )
                text += f"; {rules['source']}"
                if rules["differs"]:
                    text += f"; {rules['differs']}"
                rows.append([f"pck {name}", text])
        else:
            rows.append([key.replace("_", " "), _words(value)])
    rows += [[f"count: {key.replace('_', ' ')}", f"{n:,}"] for key, n in result["counts"].items()]
    return page.section("Protocol", page.table((), rows, words=True))


def _words(value: Any) -> str:
    if value is None:
        return "not known"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return "; ".join(f"{key} {_words(inner)}" for key, inner in value.items() if inner != "")
    if isinstance(value, list | tuple):
        return ", ".join(_words(inner) for inner in value) or "none"
    return str(value)


def problem_table(problems: Sequence[Problem]) -> str:
    """What was left out or is in doubt; nothing where all is well."""
    if not problems:
        return ""
    rows = [[p.where, f"{p.what} ({p.fix})"] for p in problems[:PROBLEMS_SHOWN]]
    if len(problems) > PROBLEMS_SHOWN:
        rows.append(["…", f"{len(problems) - PROBLEMS_SHOWN} more"])
    return page.section(f"Problems ({len(problems)})", page.table((), rows, words=True))
