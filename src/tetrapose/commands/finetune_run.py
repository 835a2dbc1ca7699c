"""The work behind ``tetrapose finetune``: weights taken over, trained, measured, written."""

from __future__ import annotations

import argparse
import csv
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from tetrapose.commands.finetune import claimed, settings_of
from tetrapose.data.projects import Project
from tetrapose.data.reading import write_text
from tetrapose.data.splits.digest import digest
from tetrapose.evaluation import pixels
from tetrapose.inference import looks, predictor
from tetrapose.reports.finetune import Judged, finetune_page
from tetrapose.structures import PoseSet
from tetrapose.training import finetune as tuning
from tetrapose.training.transplant import Taken, told, transplanted
from tetrapose.weights import card as cards

SMALLEST = 0.8  # of the tenth percentile of labelled boxes: what a located box is at least
SCORER = "tetrapose"
LEAST = 0.25  # of the fifth percentile of whole looks' mean scores: below it there is no animal
TWO, ONE, GIVEN = "two looks, as predict does", "the whole frame alone", "in labelled boxes"


def carry_out(
    args: argparse.Namespace, project: Project, test: np.ndarray, out: Path
) -> tuple[Path, list[str]]:
    """Train and measure; the model's path and lines that say how good it is."""
    pose_set = project.pose_set
    parts = {"train": pose_set.select_images(~test), "test": pose_set.select_images(test)}
    parts = {name: part for name, part in parts.items() if len(part)}
    train = parts["train"]
    start = cards.load(args.model)
    recipe = tuning.recipe_for(
        len(train.files), steps=args.steps, batch=args.batch, lr=args.lr, rotation=args.rotation,
        seed=args.seed, whole=None if project.alone else 0.0,
        mirror=0.0 if args.sides == "words" else None,
    )  # fmt: skip
    size = tuning.input_size(
        start.codec.input_size, start.card["architecture"]["builder"], args.input_size
    )
    settings = {
        **settings_of(args),
        "start": start.card["sha256"],
        "labels": pose_set.digest or digest(pose_set),
        "test": sorted(parts["test"].files) if "test" in parts else [],
    }
    claimed(out, settings, overwrite=args.overwrite)
    for name in ("train", "test"):
        files = parts[name].files if name in parts else ()
        write_text(out / f"{name}.txt", "".join(f"{file}\n" for file in files))

    model, taken = transplanted(start, train.skeleton, seed=args.seed)
    codec = replace(start.codec, num_keypoints=len(train.skeleton), input_size=size)  # type: ignore[type-var]
    print(told(taken))
    module = tuning.finetune(
        model, codec, train, recipe, out, padding=float(start.card["crop"]["padding"])
    )
    card = {
        "architecture": _architecture(start, len(train.skeleton)),
        "skeleton": train.skeleton.to_dict(),
        "codec": codec.to_dict(),
        "normalisation": start.card["normalisation"],
        "crop": {"padding": float(start.card["crop"]["padding"])},
        "training": _training(args, project, train, start, recipe, taken),
        "scores": {},
    }
    path = out / "model.safetensors"
    cards.save(path, module.model, card)
    ways, judged, locate = _measured(path, parts, project.alone, args.pcutoff)
    if locate:
        card["crop"]["locate"] = locate
    figures = {name: one.figures for name, one in judged.items()}
    way = TWO if project.alone else GIVEN
    card["scores"] = {
        f"{name} frames": {
            "mean_px": f["mean"], "median_px": f["median"], "rms_px": f["rms"],
            "frames": len(judged[name].truth.files), "protocol": f"px of the frame, {way}",
        }
        for name, f in figures.items()
    }  # fmt: skip
    cards.save(path, module.model, card)
    report = {
        "project": args.project,
        "recipe": asdict(recipe),
        "input_size": list(size),
        "start": args.model,
        "taken": [asdict(one) for one in taken],
        "way": way,
        "ways": ways,
        "figures": figures,
        "locate": locate,
    }
    write_text(out / "report.json", json.dumps(cards.plain(report), indent=2) + "\n")
    write_text(out / "errors.csv", _rows(judged, project.names))
    if project.alone:
        write_text(out / "predictions_dlc.csv", _deeplabcut_form(judged, project.names))
    page = finetune_page(
        judged, title=f"Fine-tuned on {Path(args.project).name}", ways=ways,
        settings=_in_words(report, settings, told(taken)), problems=pose_set.problems,
    )  # fmt: skip
    write_text(out / "report.html", page)
    return path, _lines(judged, ways, way)


def _architecture(start: cards.Loaded, count: int) -> dict[str, Any]:
    given = start.card["architecture"]
    return {**given, "arguments": {**given["arguments"], "num_keypoints": count}}


def _training(
    args: argparse.Namespace,
    project: Project,
    train: PoseSet,
    start: cards.Loaded,
    recipe: tuning.Recipe,
    taken: tuple[Taken, ...],
) -> dict[str, Any]:
    began = start.card["training"]
    return {
        "data": project.kind,
        "start": Path(args.model).name,
        "start_sha256": start.card["sha256"],
        "pictures": len(train.files),
        "instances": len(train),
        "recipe": asdict(recipe),
        "label_names": list(project.names),
        "taken": {one.name: one.source for one in taken if one.source},
        "licence": f"{train.licence}; of the model it began from: {began.get('licence')}",
        "began": began.get("began"),
    }


def _measured(
    path: Path, parts: Mapping[str, PoseSet], alone: bool, cutoff: float
) -> tuple[dict[str, dict[str, float]], dict[str, Judged], dict[str, Any]]:
    """Mean errors by way of looking, what is told of each part, and how to locate the animal."""
    model = predictor.load(path, calibrated=False)
    first = {name: looks.whole_looks(model, part) for name, part in parts.items()} if alone else {}
    locate = _locate(parts["train"], first["train"].scores) if alone else {}
    ways: dict[str, dict[str, float]] = {}
    judged = {}
    for name, part in parts.items():
        seen = {GIVEN: model.predict_set(part)}
        if alone:
            two = looks.second_looks(
                model, part, first[name], smallest=locate["smallest"], least=locate["least"]
            )
            seen = {TWO: two, ONE: first[name], **seen}
        points = list(part.skeleton.names)
        for way, one in seen.items():
            errors = pixels.pixel_errors(part.keypoints, one.keypoints, one.scores)
            figures = pixels.pixel_figures(errors, points, cutoff)
            ways.setdefault(way, {})[name] = figures["mean"]
            if name not in judged:
                judged[name] = Judged(part, one.keypoints, errors, figures)
    return ways, judged, locate


def _locate(train: PoseSet, scores: np.ndarray) -> dict[str, Any]:
    """What ``inference.looks`` needs to know of these animals, for the card."""
    sides = (train.bboxes[:, 2:] - train.bboxes[:, :2]).max(axis=1)
    longer = train.sizes[train.image_index].max(axis=1)
    return {
        "way": "a look at the whole picture, then at the animal",
        "smallest": round(SMALLEST * float(np.percentile(sides / longer, 10)), 4),
        "least": round(LEAST * float(np.percentile(scores.mean(axis=1), 5)), 4),
    }


def _rows(judged: Mapping[str, Judged], names: tuple[str, ...]) -> str:
    """errors.csv: every labelled point with its prediction."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        ["part", "file", "animal", "keypoint", "x", "y", "predicted_x", "predicted_y", "score",
         "error"]
    )  # fmt: skip
    for part, one in judged.items():
        truth = one.truth
        for row, k in np.argwhere(one.errors.labelled).tolist():
            values = [*truth.keypoints[row, k], *one.keypoints[row, k]]
            values += [one.errors.scores[row, k], one.errors.distances[row, k]]
            file = truth.files[int(truth.image_index[row])]
            number = int(truth.annotation_ids[row])
            writer.writerow([part, file, number, names[k], *(f"{v:.3f}" for v in values)])
    return stream.getvalue()


def _deeplabcut_form(judged: Mapping[str, Judged], names: tuple[str, ...]) -> str:
    """The predictions of all labelled frames as DeepLabCut writes its own: x, y, likelihood.

    Source: the csv of analyze_videos and evaluate_network (scorer, bodyparts, coords, then a row a
    frame), github.com/DeepLabCut/DeepLabCut.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["scorer", *[SCORER] * (3 * len(names))])
    writer.writerow(["bodyparts", *(name for name in names for _ in range(3))])
    writer.writerow(["coords", *(["x", "y", "likelihood"] * len(names))])
    lines = {}
    for one in judged.values():
        for row, image in enumerate(one.truth.image_index.tolist()):
            points = np.column_stack([one.keypoints[row], one.errors.scores[row]])
            lines[one.truth.files[image]] = ["" if np.isnan(v) else f"{v:.4f}"
                                             for v in points.ravel()]  # fmt: skip
    writer.writerows([file, *lines[file]] for file in sorted(lines))
    return stream.getvalue()


def _in_words(report: dict[str, Any], settings: dict[str, Any], taken: str) -> dict[str, str]:
    recipe = report["recipe"]
    frozen = ", ".join(recipe["frozen"])
    return {
        "labels": str(report["project"]),
        "began from": f"{report['start']} ({settings['start'][:12]})",
        "keypoints": taken,
        "learned": f"{recipe['steps']} steps of {recipe['batch']}, rate {recipe['lr']:g}, input "
        f"{report['input_size'][0]} px, {recipe['whole']:.0%} of samples whole frames",
        "left as it was": frozen or "nothing",
        "measured": report["way"],
    }


def _lines(judged: Mapping[str, Judged], ways: Mapping[str, Any], way: str) -> list[str]:
    """What is printed: errors of each part, with and without the cut-off."""
    lines = [f"mean error in px ({way}):"]
    for name, one in judged.items():
        figures, cut = one.figures, one.figures["with_cutoff"]
        sure = (
            f"{cut['mean']:.2f} for the {cut['kept']:.0%} of points that score "
            f"{figures['cutoff']:g} or more"
            if cut["mean"] is not None
            else f"no point scores {figures['cutoff']:g}"
        )
        gone = f", {figures['missing']} points not found" if figures["missing"] else ""
        mean = "–" if figures["mean"] is None else f"{figures['mean']:.2f}"
        lines.append(f"  {name:5} {mean} ({len(one.truth.files)} frames; {sure}{gone})")
    if len(ways) > 1 and "test" in ways[GIVEN]:
        told_ways = ", ".join(f"{key}: {value['test']:.2f}" for key, value in ways.items())
        lines.append(f"  test by way of looking: {told_ways}")
    return lines
