"""A set written as a DeepLabCut project: config.yaml and one table for each folder of pictures.

The csv header is the one that DeepLabCut's own tables carry (pandas' to_csv of its frames): scorer,
bodyparts, coords for one animal a picture, with individuals as second line for several; rows are
named by labeled-data, folder and picture in three cells. The h5 beside it is what DeepLabCut trains
from; it is written where pandas and PyTables are installed (tetrapose[deeplabcut]), else
deeplabcut.convertcsv2h5 makes it of the csv.
Source: github.com/DeepLabCut/DeepLabCut, utils/conversioncode.py and utils/auxiliaryfunctions.py.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import yaml

from tetrapose.data import ways_out
from tetrapose.data.deeplabcut import LABELS
from tetrapose.data.reading import write_text
from tetrapose.structures import PoseSet

HOLDS = frozenset[str]()
SCORER = "tetrapose"


def write(pose_set: PoseSet, path: str | Path, *, pictures: str = "copy") -> tuple[str, ...]:
    """The project in the new folder ``path``; notes on what a user should know.

    A folder of pictures becomes a video's folder. ``pictures`` says how they get there (copy, link,
    none). Raises UserError for a folder that is not empty.
    """
    root = ways_out.empty_folder(Path(path))
    places = frames(pose_set)
    ways_out.place(
        pose_set, [f"{LABELS}/{folder}/{name}" for folder, name in places], root, pictures
    )
    rows = defaultdict(list)
    for row, image in enumerate(pose_set.image_index.tolist()):
        if pose_set.labelled[row].any():
            rows[image].append(row)
    most = max((len(members) for members in rows.values()), default=1)
    individuals = [f"animal{i + 1}" for i in range(most)] if most > 1 else []
    by_folder: dict[str, list[int]] = defaultdict(list)
    for image, (folder, _) in enumerate(places):
        by_folder[folder].append(image)
    h5 = _h5_writer()
    for folder, images in by_folder.items():
        columns = _columns(pose_set, individuals)
        values = np.full((len(images), len(columns)), np.nan)
        width = 2 * len(pose_set.skeleton)
        for line, image in enumerate(images):
            for one, row in enumerate(rows[image]):
                points = np.where(pose_set.labelled[row][:, None], pose_set.keypoints[row], np.nan)
                values[line, one * width : (one + 1) * width] = points.ravel()
        index = [(LABELS, folder, places[image][1]) for image in images]
        file = root / LABELS / folder / f"CollectedData_{SCORER}.csv"
        write_text(file, _csv(columns, index, values))
        if h5:
            h5(file.with_suffix(".h5"), columns, index, values)
    text = yaml.safe_dump(_config(pose_set, root, list(by_folder), individuals), sort_keys=False)
    write_text(root / "config.yaml", text)
    if h5:
        return ()
    return (
        "no h5 written, for want of pandas and PyTables (pip install 'tetrapose[deeplabcut]'); "
        "deeplabcut.convertcsv2h5 makes it of the csv",
    )


def frames(pose_set: PoseSet) -> list[tuple[str, str]]:
    """(folder, name) of each picture in a project: one level of folders, no name twice."""
    flat = []
    for file in pose_set.files:
        *folders, name = PurePosixPath(file).parts
        folders = folders[1:] if folders[:1] == [LABELS] else folders
        flat.append("_".join(folders or ["pictures"]).replace(" ", "_") + "/" + name)
    return [(folder, name) for folder, name in (one.split("/") for one in ways_out.distinct(flat))]


def _columns(pose_set: PoseSet, individuals: list[str]) -> list[tuple[str, ...]]:
    animals = [(one,) for one in individuals] or [()]
    return [
        (SCORER, *animal, name, axis)
        for animal in animals
        for name in pose_set.skeleton.names
        for axis in "xy"
    ]


def _csv(columns: list[tuple[str, ...]], index: list[tuple[str, str, str]], values: Any) -> str:
    levels = ("scorer", "individuals", "bodyparts", "coords")
    kinds = levels if len(columns[0]) == len(levels) else (levels[0], *levels[2:])
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    for kind, names in zip(kinds, zip(*columns, strict=True), strict=True):
        writer.writerow([kind, "", "", *names])
    for name, row in zip(index, values, strict=True):
        # places are float32: their shortest form gives the same number back
        writer.writerow([*name, *("" if np.isnan(v) else str(np.float32(v)) for v in row)])
    return stream.getvalue()


def _h5_writer() -> Any:
    """A function that writes a table as DeepLabCut does, or None where the packages are missing."""
    try:
        import pandas as pd
        import tables  # noqa: F401  # what pandas writes h5 with
    except ImportError:
        return None

    def write_h5(file: Path, columns: Any, index: Any, values: np.ndarray) -> None:
        levels = ["scorer", "individuals", "bodyparts", "coords"]
        kinds = levels if len(columns[0]) == len(levels) else [levels[0], *levels[2:]]
        frame = pd.DataFrame(
            values,
            index=pd.MultiIndex.from_tuples(index),
            columns=pd.MultiIndex.from_tuples(columns, names=kinds),
        )
        frame.to_hdf(file, key="df_with_missing", mode="w")

    return write_h5


def _config(
    pose_set: PoseSet, root: Path, folders: list[str], individuals: list[str]
) -> dict[str, Any]:
    """The fields of a project's configuration that training and labelling ask for."""
    names = list(pose_set.skeleton.names)
    several = bool(individuals)
    crop = {f"{folder}.mp4": {"crop": "0, 1, 0, 1"} for folder in folders}
    if (pose_set.sizes > 0).all() and len(pose_set.files):
        width, height = pose_set.sizes.max(axis=0).tolist()
        crop = {video: {"crop": f"0, {width}, 0, {height}"} for video in crop}
    parts: dict[str, Any] = {"bodyparts": names}
    if several:
        parts = {
            "individuals": individuals,
            "uniquebodyparts": [],
            "multianimalbodyparts": names,
            "bodyparts": "MULTI!",
        }
    return {
        "Task": pose_set.source,
        "scorer": SCORER,
        "date": "",
        "multianimalproject": several,
        "identity": False,
        "project_path": str(root.resolve()),
        "engine": "pytorch",
        "video_sets": crop,
        **parts,
        "start": 0,
        "stop": 1,
        "numframes2pick": 20,
        "skeleton": [list(edge) for edge in pose_set.skeleton.edges],
        "skeleton_color": "black",
        "pcutoff": 0.6,
        "dotsize": 12,
        "alphavalue": 0.7,
        "colormap": "rainbow",
        "TrainingFraction": [0.95],
        "iteration": 0,
        "default_net_type": "resnet_50",
        "default_augmenter": "default",
        "snapshotindex": -1,
        "batch_size": 8,
        "cropping": False,
        "x1": 0,
        "x2": 640,
        "y1": 0,
        "y2": 480,
        "corner2move2": [50, 50],
        "move2corner": True,
    }
