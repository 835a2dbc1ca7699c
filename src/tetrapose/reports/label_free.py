"""The page of label-free runs: a table with spreads, body parts, curves, dense points."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tetrapose.reports import page
from tetrapose.reports.runs import BASE, COLUMNS, Group, Run, spread, table, told

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DASHES = ("-", "--", ":", "-.")
Tile = tuple[np.ndarray, str, str]


def label_free_page(
    groups: Sequence[Group],
    *,
    title: str,
    tiles: Mapping[str, Sequence[Tile]] | None = None,
    notes: Sequence[str] = (),
) -> str:
    """The page as HTML, a chapter a preset; ``tiles`` are pictures by preset, ``notes`` remarks."""
    runs = sum(len(group.runs) for group in groups)
    presets = list(dict.fromkeys(group.preset for group in groups))
    lead = (
        f"{runs} runs of {len(groups)} experiments on {len(presets)} "
        f"{'preset' if len(presets) == 1 else 'presets'}. Every network was chosen by its labelled "
        "points on the validation part; all figures are of the test part, which chose nothing."
    )
    chapters = [
        part
        for preset in presets
        for part in _chapter(
            preset, [g for g in groups if g.preset == preset], (tiles or {}).get(preset, ())
        )
    ]
    remarks = [page.section("Left out", page.table((), [["", n] for n in notes], words=True))]
    return page.document(
        title,
        f'<h1>{html.escape(title)}</h1><p class="lead">{html.escape(lead)}</p>',
        *chapters,
        _runs_table(groups),
        *(remarks if notes else ()),
    )


def _chapter(preset: str, groups: Sequence[Group], tiles: Sequence[Tile]) -> list[str]:
    first = groups[0].runs[0].result
    data = first.get("data", {})
    sizes = ", ".join(
        f"{data[name]:,} {said}"
        for name, said in (
            ("labelled", "animals with labels"), ("pool", "in the pool"), ("val", "to choose by"),
            ("test", "to judge by"),
        )
        if name in data
    )  # fmt: skip
    never = data.get("never_labelled") or []
    lacking = f" No label shows {', '.join(_plain(n) for n in never)}." if never else ""
    header, rows = table(groups)
    note = (
        f"Mean ± standard deviation over seeds; above {BASE}: on how many of the common seeds. "
        "Figures are shares of points nearer to the truth than the "
        "threshold times the square root of the animal's area. Labelled points are those that the "
        "animal's own labelling would show, unlabelled ones the others."
    )
    parts = [
        f"<h2>{html.escape(_plain(preset))}</h2>"
        f'<p class="lead">{html.escape(f"{sizes}; {_labels(first)}.{lacking}")}</p>',
        page.section(
            "All figures",
            page.table(header[1:], [[_plain(row[1]), *row[2:]] for row in rows]),
            note=note,
        ),
        page.plots(
            _by_seed(groups, "unlabelled", "Points that the animal's set does not label"),
            _by_seed(groups, "PCK@0.1", "All points"),
        ),
        _by_part(groups, "unlabelled", "Unlabelled points by body part"),
        _by_part(groups, "overall", "All points by body part"),
        _points(groups),
        *_curves(groups),
    ]
    if tiles:
        told_of = (
            "Test pictures. Left: the points that the animal's own set labels. Right: all that the "
            "model puts from a confidence of 0.3 on, the unlabelled ones ringed."
        )
        shown = page.tiles(tiles, least=420)
        parts.append(page.section("Points that no dataset labelled", shown, note=told_of))
    return parts


def _labels(result: Mapping[str, Any]) -> str:
    told_of = result.get("labels") or {}
    options = ", ".join(f"{k} {v}" for k, v in (told_of.get("options") or {}).items())
    recipe = told_of.get("recipe") or "every label shown"
    return f"recipe {recipe}{f' ({options})' if options else ''}"


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _look(place: int) -> tuple[str, str]:
    """Colour and dash of the n-th method."""
    count = len(page.COLOURS)
    return page.COLOURS[place % count], DASHES[place // count % len(DASHES)]


def _by_seed(groups: Sequence[Group], column: str, title: str) -> str:
    """A line a method: a dot for every seed, a stroke at their mean; nothing where none counts."""
    there = [group for group in groups if len(group.values(column))]
    if not there:
        return ""
    figure, axes = page.new_plot(height=0.95 + 0.32 * len(there))
    places = np.arange(len(there))[::-1]
    every = np.concatenate([group.values(column) for group in there])
    width = max(float(np.ptp(every)), 0.02)
    for at, group in zip(places, there, strict=True):
        colour, _ = _look(list(groups).index(group))
        values = group.values(column)
        axes.hlines(at, values.min(), values.max(), color=colour, linewidth=7, alpha=0.22)
        axes.plot(values, np.full(len(values), at), "o", color=colour, markersize=5, alpha=0.75)
        axes.plot([values.mean()] * 2, [at - 0.26, at + 0.26], color=colour, linewidth=2)
        axes.text(
            values.max() + 0.06 * width, at, told(values), va="center", fontsize=8.5, color=page.INK
        )
    axes.set_yticks(places, [_plain(group.name) for group in there])
    axes.set_xlim(float(every.min()) - 0.08 * width, float(every.max()) + 0.55 * width)
    axes.set_ylim(-0.6, len(there) - 0.4)
    axes.grid(visible=False, axis="y")
    threshold, kind = COLUMNS[column]
    axes.set_xlabel(f"PCK@{threshold}, {kind}: seeds and their mean")
    return page.section(title, page.plot(figure, f"{title}, by method and seed"))


def _by_part(groups: Sequence[Group], kind: str, title: str) -> str:
    """A table: body parts down, methods across."""
    parts = dict.fromkeys(
        part for group in groups for run in group.runs for part in run.result["test"]["parts"]
    )
    rows = []
    for part in parts:
        cells = [told(_values(g, lambda run, p=part: _part(run, p, kind))) for g in groups]
        if set(cells) != {"–"}:
            rows.append([_plain(part), *cells])
    if not rows:
        return ""
    header = ["PCK@0.1", *(_plain(group.name) for group in groups)]
    return page.section(title, page.table(header, rows))


def _part(run: Run, part: str, kind: str) -> float | None:
    return run.result["test"]["parts"].get(part, {}).get("0.1", {}).get(kind)


def _values(group: Group, of: Callable[[Run], float | None]) -> np.ndarray:
    found = [of(run) for run in group.runs]
    return np.array([value for value in found if value is not None], dtype=float)


def _points(groups: Sequence[Group]) -> str:
    """A table: the points that some animal's set does not label, methods across."""
    names = dict.fromkeys(
        name
        for group in groups
        for run in group.runs
        for name, value in run.result["test"].get("unlabelled_points", {}).items()
        if value is not None
    )
    rows = [
        [_plain(name)]
        + [
            told(_values(g, lambda run, n=name: run.result["test"]["unlabelled_points"].get(n)))
            for g in groups
        ]
        for name in names
    ]
    if not rows:
        return ""
    header = ["PCK@0.1", *(_plain(group.name) for group in groups)]
    return page.section("Each point where it is not labelled", page.table(header, rows))


def _curves(groups: Sequence[Group]) -> list[str]:
    """Three rows of small plots over the steps: confidence, kept share, PCK, by body part."""
    wanted = (
        ("Confidence in the pool", "train/confidence/", "mean confidence",
         "What the labelling network says of unlabelled pictures, in the mean over an interval."),
        ("Share of the pool that is learnt from", "train/kept/", "share kept", ""),
        ("Points found on the validation part", "val/pck/", "PCK@0.1",
         "The faint lines are single seeds, the strong one is their mean."),
    )  # fmt: skip
    made = []
    for title, prefix, label, note in wanted:
        parts = dict.fromkeys(
            name.removeprefix(prefix)
            for group in groups
            for run in group.runs
            for row in run.curves
            for name in row
            if name.startswith(prefix)
        )
        if parts:
            made.append(page.section(title, _small_plots(groups, prefix, list(parts), label),
                                     note=note))  # fmt: skip
    return made


def _small_plots(groups: Sequence[Group], prefix: str, parts: list[str], label: str) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.4, 2.75), layout="constrained")
    several = np.atleast_1d(figure.subplots(1, len(parts), sharey=True))
    named: dict[str, Any] = {}
    for axes, part in zip(several, parts, strict=True):
        _plain_axes(axes)
        for place, group in enumerate(groups):
            colour, dash = _look(place)
            lines = [_line(run, prefix + part) for run in group.runs]
            lines = [line for line in lines if len(line)]
            for line in lines:
                axes.plot(*line.T, color=colour, linewidth=0.8, alpha=0.3)
            if lines:
                (drawn,) = axes.plot(*_mean_line(lines).T, dash, color=colour, linewidth=1.8)
                named.setdefault(_plain(group.name), drawn)
        axes.set_title(_plain(part), fontsize=10, color=page.INK)
        axes.set_xlabel("step", fontsize=9)
        axes.set_ylim(0, 1.02)
    several[0].set_ylabel(label, fontsize=9)
    figure.legend(
        named.values(), named.keys(), loc="outside lower center", ncols=min(len(named), 6),
        frameon=False, fontsize=9, labelcolor=page.INK,
    )  # fmt: skip
    return page.plot(figure, f"{label} by body part over the steps").replace(
        "<img ", '<img style="width:100%" ', 1
    )


def _plain_axes(axes: Axes) -> None:
    """The look of the page's other plots."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(page.LINE)
    axes.tick_params(colors=page.SOFT, labelsize=8, length=0)
    axes.xaxis.label.set_color(page.SOFT)
    axes.yaxis.label.set_color(page.SOFT)
    axes.grid(color=page.LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.locator_params(axis="x", nbins=5)


def _line(run: Run, name: str) -> np.ndarray:
    """(n, 2) step and value."""
    pairs = [(row["step"], row[name]) for row in run.curves if name in row]
    return np.array(pairs, dtype=float).reshape(-1, 2)


def _mean_line(lines: Sequence[np.ndarray]) -> np.ndarray:
    """(n, 2) the mean of the lines over the steps that all of them have."""
    common = sorted(set.intersection(*(set(line[:, 0].tolist()) for line in lines)))
    values = [[dict(line.tolist())[step] for step in common] for line in lines]
    return np.stack([common, np.mean(values, axis=0)], axis=1).reshape(-1, 2)


def _runs_table(groups: Sequence[Group]) -> str:
    rows = []
    for group in groups:
        for run in group.runs:
            result, test = run.result, run.result["test"]["pck"]["0.1"]
            chosen = result.get("chosen", {})
            rows.append(
                [_plain(group.preset), _plain(group.name), str(run.seed), str(result["steps"])]
                + [str(chosen.get("step", "–"))]
                + [told(np.array([v] if v is not None else [])) for v in
                   (test.get("overall"), test.get("labelled"), test.get("unlabelled"))]
                + [str(result.get("skipped", 0)), run.folder.name]
            )  # fmt: skip
    header = ["preset", "method", "seed", "steps", "chosen at", "PCK@0.1", "labelled", "unlabelled",
              "steps skipped", "folder"]  # fmt: skip
    return page.section("Every run", page.table(header, rows))


def best_of(groups: Sequence[Group]) -> Run:
    """The run whose pictures are shown: the first seed of the best method on unlabelled points."""
    column = "unlabelled" if any(len(g.values("unlabelled")) for g in groups) else "PCK@0.1"

    def mean(group: Group) -> float:
        found = spread(group.values(column))
        return -1.0 if found is None else found[0]

    trained = [group for group in groups if group.method != BASE] or list(groups)
    return max(trained, key=mean).runs[0]
