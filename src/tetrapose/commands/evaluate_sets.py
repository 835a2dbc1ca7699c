"""The sets that ``tetrapose evaluate`` is given, each with predictions on its own skeleton."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from tetrapose.evaluation.predictions import Predictions
    from tetrapose.evaluation.protocols import Protocol
    from tetrapose.inference.predictor import Predictor
    from tetrapose.skeletons.mapping import Mapping
    from tetrapose.structures import PoseSet, Problem


@dataclass(frozen=True)
class Opened:
    """A labelled set under the name that the tables give it."""

    name: str
    spec: str
    split: tuple[str, ...]
    pose_set: PoseSet


@dataclass(frozen=True)
class Made:
    """Predictions for one set with what has to be known to score them."""

    truth: PoseSet
    predictions: Predictions
    rules: Protocol
    model: dict[str, Any]
    problems: Sequence[Problem]


def open_all(args: argparse.Namespace) -> list[Opened]:
    """The sets of ``--data`` in their order."""
    from tetrapose.data import open_set, parse_spec
    from tetrapose.errors import UserError
    from tetrapose.evaluation import mix

    if args.split and len(args.data) > 1:
        raise UserError(
            "--split goes with one --data; of several sets each carries its own:"
            f" --data {args.data[0]},split=FILE"
        )
    sets = [open_set(spec, split=args.split, pictures=not args.labels_only) for spec in args.data]
    for spec, one in zip(args.data, sets, strict=True):
        if not (one.labelled.any(axis=1) & ~one.crowd).any():
            raise UserError(f"{spec}: {len(one)} animals without one labelled point to score")
    names = mix.names_of([_label(spec, one) for spec, one in zip(args.data, sets, strict=True)])
    splits = [(*(args.split or ()), *parse_spec(spec)[2].get("split", ())) for spec in args.data]
    return [Opened(*row) for row in zip(names, args.data, splits, sets, strict=True)]


def _label(spec: str, pose_set: PoseSet) -> str:
    """What a table calls a set: its label file's name, its skeleton's where that is one animal's
    (tigdog_horse), else the name of its format.
    """
    from pathlib import Path

    name, species = pose_set.skeleton.name, {pose_set.species_names[i] for i in pose_set.species}
    if len(species) == 1 and name.endswith(f"_{next(iter(species))}"):
        return name
    file = _label_file(spec)
    return Path(file).stem if file else pose_set.source


def _label_file(spec: str) -> str:
    from tetrapose.data import parse_spec

    _, where, _ = parse_spec(spec)
    file = where.partition(".json:")[0] + ".json" if ".json:" in where else where
    return file if file.endswith(".json") else ""


def by_model(args: argparse.Namespace, sets: Sequence[Opened], rules: Protocol) -> list[Made]:
    """Every instance predicted in its own bbox, and carried to its set's skeleton."""
    from tetrapose.inference import predictor as inference

    predictor = inference.load(
        args.model, flip=not args.no_flip, decoder=args.decoder, batch_size=args.batch,
        device=args.device,
    )  # fmt: skip
    mappings = [mapping_of(args, predictor, one) for one in sets]  # faults are told before the work
    return [
        _predicted(args, predictor, one.pose_set, mapping, rules)
        for one, mapping in zip(sets, mappings, strict=True)
    ]


def mapping_of(args: argparse.Namespace, predictor: Predictor, one: Opened) -> Mapping:
    """From the model's skeleton to the set's; UserError where no point is shared."""
    from tetrapose.errors import UserError
    from tetrapose.skeletons.mapping import between

    mapping = between(predictor.skeleton, one.pose_set.skeleton)
    if args.near == "drop":
        mapping = mapping.without_near()
    if (mapping.index < 0).all():
        near = " but near ones (leave out --near drop)" if args.near == "drop" else ""
        raise UserError(
            f"{args.model} predicts {predictor.skeleton.name}, which has no point in common"
            f" with {one.pose_set.skeleton.name}, the skeleton of {one.spec}{near}"
        )
    return mapping


def _predicted(
    args: argparse.Namespace,
    predictor: Predictor,
    pose_set: PoseSet,
    mapping: Mapping,
    rules: Protocol,
) -> Made:
    from dataclasses import replace

    import numpy as np

    from tetrapose.evaluation import predictions as predicting
    from tetrapose.skeletons.mapping import carried

    unlabelled = without_labels(pose_set, predictor)
    outcome = predictor.predict_set(unlabelled, progress=progress(len(pose_set)))
    described = predictor.protocol
    truth = predicting.without(pose_set, mapping)
    return Made(
        truth=truth,
        predictions=predicting.in_given_boxes(
            truth,
            carried(outcome.keypoints, mapping, empty=np.nan),
            carried(outcome.scores, mapping, empty=0.0),
        ),
        rules=replace(
            rules,
            flip_test=described["flip_test"],
            decoder=described["codec"].get("decoder"),
            notes=predicting.mapping_notes(mapping),
        ),
        model={"name": str(args.model), "skeleton": predictor.skeleton.name, **described},
        problems=outcome.problems,
    )


def without_labels(pose_set: PoseSet, predictor: Predictor) -> PoseSet:
    """The set's animals on the model's skeleton, with no point known."""
    from dataclasses import replace

    import numpy as np

    shape = len(pose_set), len(predictor.skeleton)
    return replace(
        pose_set,
        skeleton=predictor.skeleton,
        keypoints=np.full((*shape, 2), np.nan),
        visibility=np.zeros(shape, dtype=np.uint8),
        weights=None,
    )


def from_files(args: argparse.Namespace, sets: Sequence[Opened], rules: Protocol) -> list[Made]:
    """COCO results files laid beside the sets, in the same order."""
    pairs = zip(args.predictions, sets, strict=True)
    return [_read(file, one, rules, drop_near=args.near == "drop") for file, one in pairs]


def _read(file: str, one: Opened, rules: Protocol, *, drop_near: bool) -> Made:
    from dataclasses import replace
    from pathlib import Path

    from tetrapose.data.reading import load_json
    from tetrapose.evaluation import predictions as predicting
    from tetrapose.evaluation import results
    from tetrapose.evaluation.protocols import sigmas_of

    entries, truth, notes = load_json(Path(file)), one.pose_set, ()
    mapping = _beside(Path(file), one)
    if mapping is not None:
        mapping = mapping.without_near() if drop_near else mapping
        entries = results.carried_entries(entries, mapping)
        truth = predicting.without(truth, mapping)
        notes = predicting.mapping_notes(mapping)
    read = results.from_results(
        truth,
        entries,
        sigmas_of(truth.skeleton, rules.sigmas),
        categories=_categories(one),
        where=file,
    )
    rules = replace(
        rules,
        boxes="not known: predictions were read from a file",
        instance_score="as the file gives it",
        pairing=results.PAIRING,
        notes=(*notes, *read.notes),
    )
    return Made(truth, read.predictions, rules, {"file": file}, read.problems)


def _beside(file: Path, one: Opened) -> Mapping | None:
    """From the skeleton that `predict` wrote beside its results to the set's; None where equal.

    A file without one is taken to be on the set's own skeleton.
    """
    from tetrapose import skeletons
    from tetrapose.data.reading import load_json
    from tetrapose.errors import UserError
    from tetrapose.skeletons.mapping import between

    meta = file.with_suffix(".meta.json")
    content = load_json(meta) if meta.is_file() else {}
    told = content.get("skeleton") if isinstance(content, dict) else None
    if not isinstance(told, dict):
        return None
    source, target = skeletons.from_dict(told), one.pose_set.skeleton
    if source.names == target.names:
        return None
    mapping = between(source, target)
    if (mapping.index < 0).all():
        raise UserError(
            f"{file} holds {source.name}, which has no point in common with {target.name}, the "
            f"skeleton of {one.spec}"
        )
    return mapping


def _categories(one: Opened) -> dict[int, int]:
    """Category id -> species row: the ids of the set's label file, else numbers from 1."""
    from pathlib import Path

    from tetrapose.data.reading import load_json

    file = Path(_label_file(one.spec))
    names = one.pose_set.species_names
    if file.suffix == ".json" and file.is_file():
        content = load_json(file)
        listed = content.get("categories") if isinstance(content, dict) else None
        if isinstance(listed, list) and len(listed) == len(names):
            return {entry["id"]: row for row, entry in enumerate(listed)}
    return {row + 1: row for row in range(len(names))}


def progress(total: int) -> Any:
    """A line on stderr that counts, where somebody looks on."""
    if not sys.stderr.isatty():
        return None

    def show(done: int) -> None:
        end = "\n" if done == total else ""
        print(f"\rpredicted {done:,} of {total:,}", end=end, file=sys.stderr, flush=True)

    return show
