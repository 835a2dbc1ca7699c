"""What the demo's page tells, from the files that the tour's commands left."""

from __future__ import annotations

import csv
import json
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import page

import tetrapose
from tetrapose import data, render
from tetrapose.evaluation.predictions import pairs_of
from tetrapose.evaluation.protocols import protocol
from tetrapose.evaluation.results import from_results
from tetrapose.evaluation.score import instance_oks
from tetrapose.images import read_image
from tetrapose.structures import PoseSet

SHOWN = 8  # drawn pictures on the page
FIGURES = (
    ("AP", lambda r: r["AP"]),
    ("AP50", lambda r: r["AP50"]),
    ("mean OKS", lambda r: r["oks"]),
    ("PCK@0.1 (box area)", lambda r: r["pck"]["box_area"]["0.1"]),
    ("NME", lambda r: r["nme"]),
)


@dataclass
class Steps:
    """Commands by step with the seconds that they took, and the folder that they wrote to."""

    out: Path
    lines: dict[str, list[str]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def shown(self, *names: str) -> str:
        """The commands of some steps, as the page shows them."""
        return page.commands(line for name in names for line in self.lines[name])


def tell(steps: Steps) -> str:
    """The whole page."""
    out = steps.out
    truth = data.open_set(f"menagerie:{out / 'drawn'}")
    chosen = choose(truth)
    default = json.loads((out / "measured" / "default.json").read_text(encoding="utf-8"))
    learned = json.loads((out / "measured" / "learned.json").read_text(encoding="utf-8"))
    body = [
        *_drawn(steps, truth, chosen),
        *_predicted(steps, truth, chosen, default),
        *_learned(steps, truth, chosen, default, learned),
        *_yours(),
    ]
    footer = (
        f"tetrapose {tetrapose.__version__}, Python {platform.python_version()}, "
        f"{platform.machine()}. The photograph is Chelsea, by Stéfan van der Walt (CC0)."
    )
    return page.page(_header(steps, truth, chosen), body, footer)


def choose(truth: PoseSet) -> list[int]:
    """Pictures to show: as many species as there are, those alone and in view first."""
    company = np.bincount(truth.image_index, minlength=len(truth.files))[truth.image_index]
    seen = (truth.visibility == 2).sum(axis=1) - 100 * (company > 1)
    order = np.argsort(-seen, kind="stable")
    first = list(dict.fromkeys(int(truth.species[row]) for row in order))
    rank = {species: [] for species in first}
    for row in order:
        rank[int(truth.species[row])].append(int(truth.image_index[row]))
    pictures: list[int] = []
    while len(pictures) < min(SHOWN, len(truth.files)) and any(rank.values()):
        for queue in rank.values():
            if queue and (picture := queue.pop(0)) not in pictures:
                pictures.append(picture)
    return pictures[:SHOWN]


def _header(steps: Steps, truth: PoseSet, chosen: list[int]) -> str:
    minutes, seconds = divmod(round(sum(steps.seconds.values())), 60)
    cat, _ = read_image(steps.out / "seen" / "cat.jpg")
    return "\n".join(
        [
            "<h1>Where the animals’ points are</h1>",
            page.paragraph(
                f"Every picture and figure on this page was made on this machine in {minutes} min "
                f"{seconds} s, without a network, by the commands that stand beside them.",
                "lead",
            ),
            page.group(
                "two",
                [
                    page.figure(cat, "A photograph: points of which the model that ships is sure."),
                    page.figure(
                        _predicted_picture(steps, truth, chosen[0], "drawn"),
                        "An animal that tetrapose drew, and the points that it found.",
                    ),
                ],
            ),
            steps.shown("photo"),
        ]
    )


def _drawn(steps: Steps, truth: PoseSet, chosen: list[int]) -> list[str]:
    hidden = int((truth.visibility == 1).sum())
    figures = []
    for picture in chosen:
        record = truth.record(picture)
        pixels, _ = read_image(record.path)
        drawn = render.draw(pixels, record.instances, truth.skeleton)
        figures.append(page.figure(drawn, _species(truth, picture)))
    return [
        page.heading(1, "Animals drawn with their truth"),
        page.paragraph(
            f"{len(truth.files)} pictures with {len(truth)} animals, each built from a posed "
            f"skeleton. So every one of {len(truth.skeleton)} points is known to the pixel, and "
            f"whether it can be seen: {hidden} points are hidden and drawn as rings."
        ),
        steps.shown("draw"),
        page.group("grid", figures),
    ]


def _predicted(
    steps: Steps, truth: PoseSet, chosen: list[int], default: dict[str, Any]
) -> list[str]:
    rows = [(name, _share(get(default))) for name, get in FIGURES]
    return [
        page.heading(2, "The same animals through the model that ships"),
        page.paragraph(
            "It learned from photographs and from other drawings; these it has never seen. Faint "
            "points are those that it doubts; below each picture stands its OKS, 1 where every "
            "point is right."
        ),
        steps.shown("predict", "measure"),
        _pictures(steps, truth, chosen, "drawn"),
        page.table(("measured against the truth", "default model"), rows),
        page.paragraph(_protocol(default), "small"),
        page.paragraph(
            'The <a href="measured/default.html">full evaluation</a> has a plot for each point and '
            "species, and the best and worst pictures.",
            "small",
        ),
    ]


def _learned(
    steps: Steps,
    truth: PoseSet,
    chosen: list[int],
    default: dict[str, Any],
    learned: dict[str, Any],
) -> list[str]:
    with (steps.out / "learned" / "curves.csv").open(encoding="utf-8") as file:
        curve = [
            (float(row["seconds"]), float(row["val/pck_0.1"]))
            for row in csv.DictReader(file)
            if row.get("val/pck_0.1")
        ]
    rows = [(name, _share(get(default)), _share(get(learned))) for name, get in FIGURES]
    return [
        page.heading(3, "Learning, in a minute"),
        page.paragraph(
            "A small network that starts from nothing, taught on drawn animals that it is not "
            "measured on. A real training takes hours; this one shows that the line from labels to "
            "points holds."
        ),
        steps.shown("learn"),
        page.curve(
            curve,
            across="seconds",
            up="Share of points within a tenth of the animal’s size, on pictures not learned from",
        ),
        _pictures(steps, truth, chosen, "learned"),
        page.table(("measured against the truth", "default model", "after a minute"), rows),
    ]


def _yours() -> list[str]:
    return [
        page.heading(4, "Yours"),
        page.commands(
            [
                ".venv/bin/tetrapose predict photo.jpg --out out",
                ".venv/bin/tetrapose train --list",
                ".venv/bin/tetrapose --help",
            ]
        ),
        page.paragraph(
            "With labelled pictures of your own, docs/own_data.md leads from the first label to a "
            "measured model.",
        ),
    ]


def likeness(truth: PoseSet, folder: Path) -> np.ndarray:
    """(N,) OKS of each drawn animal with what was predicted for it; NaN where nothing counts."""
    entries = json.loads((folder / "predictions.json").read_text("utf-8"))
    read = from_results(truth, entries, truth.skeleton.sigmas, categories={})
    return instance_oks(truth, pairs_of(read.predictions, truth), protocol())


def _pictures(steps: Steps, truth: PoseSet, chosen: list[int], name: str) -> str:
    values = likeness(truth, steps.out / "seen" / name)
    figures = []
    for picture in chosen:
        own = values[truth.image_index == picture]
        told = ", ".join(f"{value:.2f}" for value in own[np.isfinite(own)])
        figures.append(page.figure(_predicted_picture(steps, truth, picture, name), f"OKS {told}"))
    return page.group("grid", figures)


def _predicted_picture(steps: Steps, truth: PoseSet, picture: int, name: str) -> np.ndarray:
    overlay = Path(truth.files[picture]).name
    return read_image(steps.out / "seen" / name / overlay)[0]


def _species(truth: PoseSet, picture: int) -> str:
    rows = truth.species[truth.image_index == picture]
    return ", ".join(truth.species_names[row].replace("_", " ") for row in rows)


def _protocol(result: dict[str, Any]) -> str:
    rules = result["protocol"]
    told = [
        f"AP: {rules['pooling']}",
        f"sigmas: {rules['sigmas']['set']} set of {rules['skeleton']}",
        f"boxes: {rules['boxes']}",
        f"flip test: {'yes' if rules['flip_test'] else 'no'}",
        f"PCK: {rules['pck']['box_area']['counts']}, by the {rules['pck']['box_area']['length']}",
        f"NME: {rules['nme']}",
    ]
    return "; ".join(told) + "."


def _share(value: float | None) -> str:
    return "–" if value is None or value < 0 else f"{value:.3f}"
