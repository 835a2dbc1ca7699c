"""One long table, csv or parquet: a line for each keypoint of each animal.

Origin: own; for spreadsheets, R, pandas, and whatever reads a table.
Licence: the data's own.
Citation: none.

Columns: file, instance, species, keypoint, x, y, visibility (0 not labelled, 1 hidden, 2 visible),
x1, y1, x2, y2 (the bbox), area, crowd, group, width, height. Pixels, the centre of the top-left
pixel at 0, 0. Every animal has a line for every keypoint; a point that is not labelled has empty x
and y. A picture without an animal is one line whose instance and keypoint are empty. To read, file,
keypoint, x and y suffice: without instance a picture has one animal, without visibility a place is
a visible point, without a bbox one is made of the points (gather.boxes_around).
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tetrapose.data import checks, made
from tetrapose.data.gather import Gathered
from tetrapose.data.reading import About, Split, write_text
from tetrapose.errors import UserError
from tetrapose.skeletons import Skeleton
from tetrapose.structures import PoseSet

ABOUT = About(
    title="one long table, csv or parquet: a line for each keypoint of each animal",
    skeleton="a shipped one with the keypoints named, else made of their names; or skeleton=NAME",
    origin="own form",
    licence="the data's own",
    citation="none",
    layout=(
        "FILE.csv or FILE.parquet; pictures as its column file tells below the table's folder, or "
        "below the folder named after a second colon"
    ),
    traps="the skeleton's sigmas and places are not in it: they come back by the keypoints' names",
)
NEEDED = ("file", "keypoint", "x", "y")
BOX = ("x1", "y1", "x2", "y2")
COLUMNS = (
    "file", "instance", "species", "keypoint", "x", "y", "visibility", *BOX, "area", "crowd",
    "group", "width", "height",
)  # fmt: skip
HOLDS = frozenset({"species", "hidden", "boxes", "areas", "crowds", "pointless", "groups"})
KINDS = (".csv", ".parquet")


def read(
    root: str | Path,
    *,
    images: str | Path | None = None,
    skeleton: str | Skeleton | None = None,
    sides: str | None = None,
    split: Split | None = None,
    sizes: bool = False,
    pictures: bool = True,
) -> PoseSet:
    """The set of one table ``FILE.csv`` or ``FILE.parquet``, problems listed.

    ``images`` or what follows a second colon is the folder that ``file`` is below; ``skeleton`` and
    ``sides`` as in ``made.skeleton_of``. ``sizes`` reads the pictures' own sizes;
    ``pictures=False`` reads labels whose pictures are not at hand.
    """
    parted = re.fullmatch(r"(.+?\.(?:csv|parquet)):(.+)", str(root), re.IGNORECASE)
    file = Path(parted[1] if parted else root)
    folder = Path(images if images is not None else parted[2] if parted else file.parent)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; the pictures of {file} were to be in it")
    lines = list(_lines(file))
    names = list(dict.fromkeys(str(line["keypoint"]) for line in lines if _told(line["keypoint"])))
    if not names:
        raise UserError(f"{file}: names no keypoint")
    chosen, order, doubts = made.skeleton_of(names, skeleton, where=str(file), sides=sides)
    found = Gathered()
    found.problems.extend(doubts)
    _gather(found, lines, {name: i for i, name in enumerate(names)}, order, str(file))
    if sizes and pictures:
        found.read_sizes(folder)
    pose_set = found.pose_set(chosen, root=folder, source="table", licence=ABOUT.licence)
    return checks.checked(pose_set, str(file), split=split, sizes=sizes, pictures=pictures)


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    """The table's lines as column -> value, None for what is empty."""
    if not file.is_file():
        raise UserError(
            f"{file}: {'a folder; name the table in it' if file.is_dir() else 'no such file'}"
        )
    if file.suffix.lower() not in KINDS:
        raise UserError(f"{file}: a table is a .csv or .parquet file")
    if file.suffix.lower() == ".csv":
        try:
            with file.open(encoding="utf-8-sig", newline="") as stream:
                reader = csv.DictReader(stream)
                _need(reader.fieldnames or (), file)
                yield from reader
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise UserError(f"{file}: cannot be read as csv ({error})") from None
        return
    parquet = _pyarrow(file)
    try:
        table = parquet.read_table(file)
    except (OSError, ValueError) as error:  # pyarrow's own errors are ValueErrors
        raise UserError(f"{file}: cannot be read as parquet ({error})") from None
    _need(table.column_names, file)
    yield from table.to_pylist()


def _need(columns: Iterable[str], file: Path) -> None:
    absent = [name for name in NEEDED if name not in columns]
    if absent:
        raise UserError(
            f"{file}: lacks the columns {', '.join(absent)}; it needs {', '.join(NEEDED)}"
        )


def _pyarrow(file: Path) -> Any:
    try:
        from pyarrow import parquet
    except ImportError:
        raise UserError(
            f"{file}: parquet needs pyarrow: pip install 'tetrapose[parquet]'; or use csv"
        ) from None
    return parquet


def _told(value: Any) -> bool:
    return value is not None and value != ""


def _number(line: dict[str, Any], name: str, empty: float = math.nan) -> float:
    value: Any = line.get(name)
    return float(value) if _told(value) else empty


def _gather(
    found: Gathered, lines: list[dict[str, Any]], names: dict[str, int], order: np.ndarray,
    where: str,
) -> None:  # fmt: skip
    images: dict[str, int] = {}
    animals: dict[tuple[str, str], dict[str, Any]] = {}
    for number, line in enumerate(lines, start=2):
        try:
            file = _file(line)
            if file not in images:
                size = int(_number(line, "width", 0)), int(_number(line, "height", 0))
                group = line.get("group")
                images[file] = found.picture(file, size, ("group", group) if _told(group) else None)
            if not _told(line["keypoint"]):
                continue
            animal = animals.setdefault(
                (file, str(line.get("instance"))), {"line": line, "number": number, "points": {}}
            )
            index = names[str(line["keypoint"])]
            if index in animal["points"]:
                raise ValueError(f"{line['keypoint']} of this animal stood before")
            animal["points"][index] = _point(line)
        except (ValueError, TypeError, OverflowError) as error:
            found.problem(f"{where}: line {number}", str(error), "correct or remove the line")
    for (file, _), animal in animals.items():
        points = np.full((len(names), 3), np.nan)
        points[:, 2] = 0
        for index, point in animal["points"].items():
            points[index] = point
        flags = made.in_order(points[:, 2], order, 0).astype(np.uint8)
        try:
            more = _of_animal(animal["line"])
        except ValueError as error:
            more = {}
            at = f"{where}: line {animal['number']}"
            found.problem(at, f"{error}; not read", "correct the line", left_out=False)
        if not flags.any() and "box" not in more:
            what = "an animal without a point and without a box"
            found.problem(f"{where}: line {animal['number']}", what, "remove its lines")
            continue
        found.animal(images[file], made.in_order(points[:, :2], order, np.nan), flags, **more)


def _file(line: dict[str, Any]) -> str:
    if not _told(line["file"]):
        raise ValueError("names no file")
    return str(line["file"]).replace("\\", "/").removeprefix("./")


def _point(line: dict[str, Any]) -> tuple[float, float, float]:
    x, y = _number(line, "x"), _number(line, "y")
    placed = not (math.isnan(x) or math.isnan(y))
    flag = _number(line, "visibility", 2 if placed else 0)
    if flag not in (0, 1, 2):
        raise ValueError(f"visibility {line['visibility']!r}, where 0, 1 or 2 is due")
    return x, y, flag


def _of_animal(line: dict[str, Any]) -> dict[str, Any]:
    more: dict[str, Any] = {}
    box = [_number(line, name) for name in BOX]
    if not all(map(math.isnan, box)):
        more["box"] = box
    if _told(line.get("area")):
        more["area"] = _number(line, "area")
    if _told(line.get("species")):
        more["species"] = str(line["species"])
    crowd = _number(line, "crowd", 0)
    if crowd not in (0, 1):
        raise ValueError(f"crowd {line['crowd']!r}, where 0 or 1 is due")
    return more | {"crowd": bool(crowd)}


def write(pose_set: PoseSet, path: str | Path) -> None:
    """The set as a table at ``path`` (.csv, .parquet); file names stay below ``pose_set.root``."""
    path = Path(path)
    if path.suffix.lower() not in KINDS:
        raise UserError(f"{path}: a table's name ends in .csv or .parquet")
    rows = list(_rows(pose_set))
    if path.suffix.lower() == ".csv":
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)
        write_text(path, stream.getvalue())
        return
    parquet = _pyarrow(path)
    import pyarrow

    columns = zip(COLUMNS, zip(*rows, strict=True), strict=True) if rows else ()
    table = pyarrow.table({name: pyarrow.array(list(values)) for name, values in columns})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.part")
        parquet.write_table(table, draft)
        draft.replace(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from None


def _rows(pose_set: PoseSet) -> Iterator[tuple[Any, ...]]:
    """Lines of the table; float32 numbers in the shortest form that gives them back."""
    names = pose_set.skeleton.names
    by_image: dict[int, list[int]] = {}
    for row, image in enumerate(pose_set.image_index.tolist()):
        by_image.setdefault(image, []).append(row)
    for image, file in enumerate(pose_set.files):
        size = pose_set.sizes[image].tolist()
        tail = int(pose_set.groups[image]), *(side or None for side in size)
        rows = by_image.get(image, [])
        if not rows:
            yield (file, *[None] * (len(COLUMNS) - 4), *tail)
        for number, row in enumerate(rows, start=1):
            box = [_short(value) for value in pose_set.bboxes[row]]
            area, crowd = float(pose_set.areas[row]), int(pose_set.crowd[row])
            species = pose_set.species_names[pose_set.species[row]]
            flags = pose_set.visibility[row].tolist()
            for name, flag, point in zip(names, flags, pose_set.keypoints[row], strict=True):
                x, y = (_short(point[0]), _short(point[1])) if flag else (None, None)
                yield (file, number, species, name, x, y, flag, *box, area, crowd, *tail)


def _short(value: np.floating) -> float:
    return float(str(np.float32(value)))
