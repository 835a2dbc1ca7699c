"""DeepLabCut projects: config.yaml and a table of labels for each video's frames.

Origin: github.com/DeepLabCut/DeepLabCut.
Licence: of the format none; of the data the project's own (config.yaml does not tell it).
Citation: Mathis et al., Nature Neuroscience 2018; several animals: Lauer et al., Nature Methods
2022.

A video's frames lie in labeled-data/<video>/ with their labels in CollectedData_<scorer>.csv and
the same as .h5 there; the csv is read, the h5 where there is no csv (frames_h5.py, without running
what it pickles). A table has a column for x and one for y of each body part under a header of three
lines (scorer, bodyparts, coords) or, with several animals, four (scorer, individuals, bodyparts,
coords); a row is named by the frame's path in one cell or in three. The folder that the table lies
in is believed, whatever path a row tells: projects move.

An empty cell is a point that was not labelled; hidden points cannot be told. A row of nothing but
empty cells is a frame without an animal. The individual "single" holds body parts that belong to no
animal (corners of a cage): they are left out, and told. There are no boxes: they are made of the
points (gather.boxes_around). A video is one group, since its frames look alike, unless
groups=picture takes that back.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tetrapose.data import checks, made, reading
from tetrapose.data.gather import Gathered
from tetrapose.data.reading import About, Split
from tetrapose.errors import UserError
from tetrapose.skeletons import Skeleton
from tetrapose.structures import PoseSet

ABOUT = About(
    title="DeepLabCut projects, one animal or several",
    skeleton=(
        "a shipped one with the project's body parts, else made of their names; or given with "
        "skeleton=NAME or skeleton=FILE.yaml"
    ),
    origin="github.com/DeepLabCut/DeepLabCut",
    licence="the project's own",
    citation="Mathis et al., Nature Neuroscience 2018; Lauer et al., Nature Methods 2022",
    layout="FOLDER/config.yaml and FOLDER/labeled-data/<video>/CollectedData_<scorer>.csv or .h5",
    traps=(
        "no boxes and no word on hidden points; rows tell paths of the machine that labelled; h5 "
        "files hold pickles; L and R in names are not taken for sides unless sides=letters says so"
    ),
)
LABELS = "labeled-data"
HEADER = ("scorer", "individuals", "bodyparts", "coords")
UNIQUE = "single"  # DeepLabCut's name for what belongs to no animal


@dataclass(frozen=True)
class Table:
    """Labels of one video: column names (individual, body part, coordinate), rows and values."""

    columns: tuple[tuple[str, str, str], ...]
    frames: tuple[str, ...]
    values: np.ndarray  # (rows, columns) float, NaN for empty cells
    faults: tuple[tuple[str, str], ...] = ()  # rows that could not be read: which, why


def read(
    root: str | Path,
    *,
    skeleton: str | Skeleton | None = None,
    sides: str | None = None,
    groups: str = "video",
    split: Split | None = None,
    sizes: bool = False,
    pictures: bool = True,
) -> PoseSet:
    """All labelled frames of the project in ``root``, problems listed.

    ``groups`` is video or picture, for projects whose folders merely gather pictures. ``skeleton``
    and ``sides`` as in ``made.skeleton_of``. The labels hold no picture sizes: they
    stay 0 (unknown), or are read from the pictures' headers with ``sizes``. ``pictures=False``
    reads labels whose pictures are not at hand.
    """
    if groups not in ("video", "picture"):
        raise UserError(f"groups={groups}: it is video or picture")
    root = Path(root).parent if Path(root).name == "config.yaml" else Path(root)
    reading.need_folder(root, (LABELS,), ABOUT.layout)
    config = _config(root / "config.yaml")
    found = Gathered()
    tables = _tables(root / LABELS, config, found)
    names = _names(config, tables)
    chosen, order, doubts = made.skeleton_of(
        names, skeleton, where=str(root / "config.yaml"), edges=_edges(config), sides=sides
    )
    found.problems.extend(doubts)
    for file, table in tables.items():
        _rows(found, file, table, names, order)
    if sizes and pictures:
        found.read_sizes(root)
    if groups == "picture":
        found.groups[:] = range(len(found.groups))
    pose_set = found.pose_set(chosen, root=root, source="deeplabcut", licence=ABOUT.licence)
    return checks.checked(pose_set, str(root / LABELS), split=split, sizes=sizes, pictures=pictures)


def body_parts(root: str | Path) -> list[str]:
    """What the labels of the project in ``root`` call their points, in the project's order."""
    root = Path(root).parent if Path(root).name == "config.yaml" else Path(root)
    config = _config(root / "config.yaml")
    return _names(config, _tables(root / LABELS, config, Gathered()))


def _config(file: Path) -> dict[str, Any]:
    if not file.exists():
        return {}
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        told = " ".join(str(error).split())
        raise UserError(f"{file}: cannot be read as YAML ({told})") from None
    if not isinstance(content, dict):
        raise UserError(f"{file}: not a DeepLabCut configuration (named fields are due)")
    return content


def _tables(folder: Path, config: dict[str, Any], found: Gathered) -> dict[Path, Table]:
    """The table of each video's folder, by its file."""
    tables: dict[Path, Table] = {}
    files = [f for f in sorted(folder.glob("*/CollectedData_*")) if f.suffix in (".csv", ".h5")]
    if not files:
        raise UserError(f"{folder}: no CollectedData_*.csv or .h5 in it; due is {ABOUT.layout}")
    for video, members in itertools.groupby(files, key=lambda file: file.parent):
        listed = list(members)
        scorers = sorted({file.stem.removeprefix("CollectedData_") for file in listed})
        scorer = config["scorer"] if config.get("scorer") in scorers else scorers[0]
        if len(scorers) > 1:
            what = f"labels of {', '.join(scorers)}; those of {scorer} are read"
            found.problem(str(video), what, "set scorer in config.yaml to the one you want")
        own = [f for f in listed if f.stem == f"CollectedData_{scorer}"]
        file = min(own, key=lambda f: f.suffix != ".csv")
        try:
            tables[file] = table_file(file)
        except ValueError as error:
            found.problem(str(file), str(error), "restore it, or label again")
    if not tables:
        raise UserError(f"{found.problems[0]}")
    return tables


def table_file(file: Path) -> Table:
    """The table in a csv or h5 file; ValueError for one that holds none."""
    if file.suffix == ".h5":
        from tetrapose.data import frames_h5

        columns, frames, values = frames_h5.load(file)
        return Table(tuple(map(_column, columns)), frames, values)
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.reader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"cannot be read ({error})") from None
    return table_of(rows)


def table_of(rows: Sequence[Sequence[str]]) -> Table:
    """The table that the rows of a csv hold; ValueError when its header is another."""
    head = list(itertools.takewhile(lambda row: row and row[0].strip().lower() in HEADER, rows))
    kinds = [row[0].strip().lower() for row in head]
    if kinds not in (list(HEADER), [HEADER[0], *HEADER[2:]]):
        raise ValueError("its first lines are not scorer, (individuals,) bodyparts, coords")
    # a row's name takes as many cells as the header leaves empty after its first word
    cells = 1 + len(list(itertools.takewhile(lambda cell: not cell, head[0][1:])))
    width = len(head[0])
    if any(len(row) != width for row in head):
        raise ValueError("the lines of its header differ in length")
    columns = tuple(_column(column) for column in zip(*(row[cells:] for row in head), strict=True))
    frames, values, faults = [], [], []
    for number, row in enumerate(rows[len(head) :], start=len(head) + 1):
        if not any(row):
            continue
        try:
            if len(row) != width:
                raise ValueError(f"{len(row)} cells, where {width} are due")
            values.append([float(cell) if cell.strip() else np.nan for cell in row[cells:]])
            frames.append("/".join(row[:cells]))
        except ValueError as error:
            faults.append((f"line {number}", str(error)))
    return Table(
        columns, tuple(frames), np.array(values).reshape(len(frames), width - cells), tuple(faults)
    )


def _column(parts: Sequence[str]) -> tuple[str, str, str]:
    """(individual, body part, coordinate) of a column's names; the scorer is left aside."""
    individual = parts[1].strip() if len(parts) == len(HEADER) else ""
    return individual, parts[-2].strip(), parts[-1].strip().lower()


def _names(config: dict[str, Any], tables: dict[Path, Table]) -> list[str]:
    """Body parts in the project's order, then those that only tables have."""
    several = config.get("multianimalbodyparts")
    told = several if config.get("multianimalproject") else config.get("bodyparts")
    listed = [str(name) for name in told] if isinstance(told, list) else []
    held = [part for table in tables.values() for one, part, _ in table.columns if one != UNIQUE]
    names = [name for name in listed if name in held]
    return list(dict.fromkeys([*names, *held]))


def _edges(config: dict[str, Any]) -> list[list[str]]:
    told = config.get("skeleton")
    lines = (
        [line for line in told or () if isinstance(line, list)] if isinstance(told, list) else []
    )
    return [list(pair) for line in lines for pair in itertools.pairwise(map(str, line))]


def _rows(found: Gathered, file: Path, table: Table, names: list[str], order: np.ndarray) -> None:
    for which, why in table.faults:
        found.problem(f"{file}: {which}", why, "correct or remove the line")
    place = {column: index for index, column in enumerate(table.columns)}
    individuals = list(dict.fromkeys(one for one, _, _ in table.columns))
    unique = [part for one, part, axis in table.columns if one == UNIQUE and axis == "x"]
    if unique and len(individuals) > 1:
        individuals.remove(UNIQUE)
        what = f"{', '.join(unique)} belong to no animal"
        found.problem(str(file), what, "nothing to do, unless you want them as a set of their own")
    seen: set[str] = set()
    for frame, values in zip(table.frames, table.values, strict=True):
        name = frame.replace("\\", "/").rsplit("/", 1)[-1]
        if name in seen:
            what = "this frame stood before"
            found.problem(f"{file}: {name}", what, "keep one line for each frame")
            continue
        seen.add(name)
        image = found.picture(f"{LABELS}/{file.parent.name}/{name}", group=file.parent.name)
        for one in individuals:
            at = [[place.get((one, part, axis), -1) for axis in "xy"] for part in names]
            padded = np.append(values, np.nan)  # a column that is not there is an empty one
            points = made.in_order(padded[np.array(at)], order, np.nan)
            missing = np.isnan(points).any(axis=1)
            if (missing & ~np.isnan(points).all(axis=1)).any():
                where = f"{file}: {name}" + (f", {one}" if one else "")
                what = "a point with x or y alone; taken as not labelled"
                found.problem(where, what, "label it again", left_out=False)
            if not missing.all():
                found.animal(image, points, np.where(missing, 0, 2).astype(np.uint8))
