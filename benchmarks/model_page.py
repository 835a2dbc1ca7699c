"""The page that goes with the model that ships: what it is, how good, where it fails, and pictures.

  python benchmarks/model_page.py --root DIR

DIR holds animal_pose; drawn animals that were not taught come from runs/menagerie_val
(benchmarks/default_model.py makes them). Writes docs/default_model.md and the picture of failures,
which are drawn animals, since the photographs are others'. Labelled boxes, flip test.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tetrapose import data, geometry, render
from tetrapose.data.mix import onto
from tetrapose.evaluation import pck
from tetrapose.evaluation.calibration import figures, judge
from tetrapose.evaluation.predictions import Predictions, in_given_boxes, pairs_of
from tetrapose.evaluation.protocols import protocol
from tetrapose.evaluation.score import instance_oks
from tetrapose.images import read_image
from tetrapose.inference.predictor import Predictor, load
from tetrapose.structures import Instances, PoseSet
from tetrapose.weights import card as cards

DOCS = Path(__file__).resolve().parents[1] / "docs"
FAILURES = 8
TOLD = ("animals", "mean OKS", "PCK@0.1, box area", "sides exchanged")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", required=True, type=Path)
    parser.add_argument("--model", default="default")
    args = parser.parse_args()
    predictor = load(args.model)
    card = cards.read(args.model)
    real = data.open_set(f"animal_pose:{args.root}/animal_pose", split="val.txt")
    drawn = data.open_set("menagerie:runs/menagerie_val")
    made = {"real": seen(predictor, real), "drawn": seen(predictor, drawn)}
    worst(*made["drawn"], predictor).save(DOCS / "images" / "default_model_fails.jpg", quality=85)
    text = page(card, made)
    (DOCS / "default_model.md").write_text(text, encoding="utf-8")


def seen(predictor: Predictor, labels: PoseSet) -> tuple[PoseSet, Predictions]:
    """A set on the model's skeleton, and what the model says of it."""
    truth = onto(labels, predictor.skeleton)
    outcome = predictor.predict_set(truth)
    return truth, in_given_boxes(truth, outcome.keypoints, outcome.scores)


def page(card: Mapping[str, Any], made: dict[str, tuple[PoseSet, Predictions]]) -> str:
    """The whole page."""
    truth, predictions = made["real"]
    pairs = pairs_of(predictions, truth)
    names = truth.skeleton.names
    reliable = figures(judge(truth, predictions), names)
    drawn_truth, drawn_predictions = made["drawn"]
    drawn = pck.distances(pairs_of(drawn_predictions, drawn_truth), "box_area")
    real = pck.distances(pairs, "box_area")
    return "\n".join(
        [
            "# The model that ships",
            "",
            "Made by `python benchmarks/model_page.py --root DIR`; the weights by",
            "`python benchmarks/default_model.py --root DIR`. Figures: [results.md](results.md).",
            "",
            *about(card),
            "## How good, and for which animals",
            "",
            "Animal-Pose val, labelled boxes, flip test, the model's own sigmas. A set that was"
            " looked at while",
            "the model was made: figures of a development set.",
            "",
            *table("", groups(truth, pairs)),
            "",
            "## Point by point",
            "",
            "Share of points within a tenth of the square root of the box area; n labelled points.",
            "Drawn animals are of a seed that was not taught.",
            "",
            *points(names, real, drawn),
            "",
            "## What a score is worth",
            "",
            f"Expected calibration error {reliable['ece']:.3f} (over all labelled points of val,"
            " right: within PCK@0.1).",
            "`tetrapose calibrate` fits a map from scores to shares of right points on your own"
            " labels.",
            "",
            "## Where it fails",
            "",
            *limits(),
            "",
            f"![drawn animals on which it does worst](images/{'default_model_fails.jpg'})",
            "",
            "Drawn animals of the held-out seed that it gets most wrong, one of each build, among"
            " those with at",
            "least 16 visible points: lines in colour are what it says.",
            "",
        ]
    )


def about(card: Mapping[str, Any]) -> list[str]:
    """What the card tells of network and training data."""
    training, shape = card["training"], card["architecture"]
    size = card["codec"]["input_size"]
    return [
        f"- **Network**: `{shape['builder']}` with {json.dumps(shape['arguments'])}, input"
        f" {size[0]} x {size[1]}.",
        f"- **Points**: {len(card['skeleton']['keypoints'])}, the skeleton"
        f" `{card['skeleton']['name']}`.",
        f"- **Taught on** {training['instances']:,} animals in {training['pictures']:,} pictures:"
        f" {', '.join(training['data'])}; last stage {training['epochs']} epochs from"
        f" `{training['start']}`.",
        f"- **Terms of those pictures**: {training['licence']}. The weights start from ImageNet's,"
        " whose pictures",
        "  are for non-commercial research; whether weights inherit terms of pictures is for you to"
        " judge.",
        "",
    ]


def groups(truth: PoseSet, pairs: pck.Pairs) -> dict[str, list[str]]:
    """Figures by species, view, size, and how much of the animal is there."""
    oks = instance_oks(truth, pairs, protocol())
    far = pck.distances(pairs, "box_area")
    turned = pck.swaps(pairs, truth.skeleton.flip_indices)
    size = truth.bboxes[:, 2:] - truth.bboxes[:, :2]
    side = np.sqrt(np.maximum(geometry.box_area(truth.bboxes), 0))
    known = pairs.labelled.sum(axis=1)
    trunk = [truth.skeleton.index(name) for name in ("withers", "tail_root")]
    length = np.linalg.norm(truth.keypoints[:, trunk[0]] - truth.keypoints[:, trunk[1]], axis=-1)
    view = length / size.max(axis=1)
    herd = np.bincount(truth.image_index, minlength=len(truth.files))[truth.image_index]
    rows = {
        "all": np.ones(len(truth), bool),
        **{name: truth.species == i for i, name in enumerate(truth.species_names)},
        "from the side (trunk over 0.45 of the box)": view > 0.45,
        "oblique (0.2 to 0.45)": (view > 0.2) & (view <= 0.45),
        "from before or behind (under 0.2)": view <= 0.2,
        "small (box under 96 px)": side < 96,
        "medium (96 to 250 px)": (side >= 96) & (side < 250),
        "large (over 250 px)": side >= 250,
        "1 to 8 points in sight": (known > 0) & (known <= 8),
        "9 to 15 points": (known > 8) & (known <= 15),
        "16 to 20 points": known > 15,
        "alone in the picture": herd == 1,
        "three or more in the picture": herd > 2,
    }
    return {
        name: told(oks[chosen], far[chosen], turned[chosen])
        for name, chosen in rows.items()
        if chosen.any()
    }


def told(oks: np.ndarray, far: np.ndarray, turned: np.ndarray) -> list[str]:
    """One row of the table."""
    return [
        f"{np.isfinite(oks).sum():,}",
        f"{np.nanmean(oks):.3f}",
        f"{pck.shares(far, 0.1)['points']:.3f}",
        f"{np.nanmean(turned):.0%}",
    ]


def table(title: str, rows: Mapping[str, list[str]]) -> list[str]:
    head = [f"| {title} | {' | '.join(TOLD)} |", "|---" * (len(TOLD) + 1) + "|"]
    return [*head, *(f"| {name} | {' | '.join(values)} |" for name, values in rows.items())]


def points(names: tuple[str, ...], real: np.ndarray, drawn: np.ndarray) -> list[str]:
    """A row a kind of point, its two sides together."""
    kinds: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        kinds.setdefault(name.removeprefix("left_").removeprefix("right_"), []).append(row)
    share: Callable[[np.ndarray, list[int]], str] = lambda far, rows: (  # noqa: E731
        f"{pck.shares(far[:, rows], 0.1)['points']:.3f} (n {(~np.isnan(far[:, rows])).sum():,})"
        if (~np.isnan(far[:, rows])).any()
        else "not labelled"
    )
    lines = ["| point | photographs (Animal-Pose val) | drawn |", "|---|---|---|"]
    for name, rows in kinds.items():
        lines.append(f"| {name.replace('_', ' ')} | {share(real, rows)} | {share(drawn, rows)} |")
    return lines


def limits() -> list[str]:
    return [
        "- It always answers with a place for every point; the score says how far to believe it.",
        "- Where animals stand before one another it mixes their points, as the pictures show.",
        "- Left and right are what it confuses most: the last column counts points that lie",
        "  nearer to the other side's truth.",
        "- It learned cat, cow, dog, horse and sheep from photographs and ten builds from drawings;"
        " other",
        "  four-legged animals work as far as they look alike, birds and apes do not.",
        "- Ear tips, chin, tail tip, hips and neck are labelled in no photograph that it saw by the"
        " thousand:",
        "  they come from drawn animals and a few dozen photographs.",
    ]


def worst(truth: PoseSet, predictions: Predictions, predictor: Predictor) -> Image.Image:
    """A sheet of the drawn animals with the least OKS, one a build."""
    pairs = pairs_of(predictions, truth)
    oks = instance_oks(truth, pairs, protocol())
    visible = (truth.visibility == 2).sum(axis=1)
    oks = np.where(visible >= 16, oks, np.inf)
    chosen: dict[int, int] = {}
    for row in np.argsort(oks, kind="stable"):
        chosen.setdefault(int(truth.species[row]), int(row))
    rows = sorted(chosen.values(), key=lambda row: oks[row])[:FAILURES]
    place = {int(row): i for i, row in enumerate(predictions.instance)}
    tiles, captions = [], []
    for row in rows:
        pixels, _ = read_image(truth.path(int(truth.image_index[row])))
        at = place[row]
        one = Instances(
            keypoints=predictions.keypoints[at : at + 1],
            visibility=np.full((1, len(truth.skeleton)), 2, np.uint8),
            bboxes=truth.bboxes[row : row + 1],
            scores=predictions.scores[at : at + 1],
        )
        shown = render.draw(pixels, one, predictor.skeleton)
        box = truth.bboxes[row]
        low = np.clip(box[:2] - 12, 0, None).astype(int)
        high = (box[2:] + 12).astype(int)
        tiles.append(shown[low[1] : high[1], low[0] : high[0]])
        captions.append(f"{truth.species_names[truth.species[row]]}, OKS {oks[row]:.2f}")
    return Image.fromarray(render.sheet(tiles, captions, columns=4, tile=220))


if __name__ == "__main__":
    main()
