"""AwA-Pose: 39 points on animals of the 35 quadruped classes of Animals with Attributes 2.

Origin: github.com/prinik/AwA-Pose (labels), cvml.ista.ac.at/AwA2 (pictures, 37,322 of 50 classes).
Licence: MIT for the labels; AwA2's pictures have each a licence of their own, all free to use.
Citation: Banik, Li, Dong: A Novel Dataset for Keypoint Detection of Quadruped Animals from Images,
arXiv 2108.13958, 2021. AwA2: Xian, Lampert, Schiele, Akata, TPAMI 2018.

One pickle a picture, Annotations/<class>/<picture>.pickle: an object from animal (a1, a2, a3) to
an object from keypoint to [x, y] in pixels, -1, -1 where it is not labelled, and bbox as x1, y1,
x2, y2. No flag tells hidden points: all placed ones count as visible. Left and right are the
animal's own (where both eyes are labelled the right one is the left one in the picture 99 times of
100). The pickles hold plain values and are read as such: one that asks for any code is refused
unread. JSON files of the same content are read too.

In the repository's copy 10,594 pictures of 36 classes (the 35 and 13 rats) hold 11,135 animals;
two stray copies in a folder "sample" are passed over. 38 animals lack their box: it is made of the
points with a margin (see gather.boxes_around). 37 hold misspelt names beside the 39 (tail_e,
rignt_earend): places under them are not read, since nobody knows which point was meant, and that is
told.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tetrapose import skeletons
from tetrapose.data import checks, reading
from tetrapose.data.gather import Gathered
from tetrapose.data.pickles import NotPlain, plain_values
from tetrapose.data.reading import About, Split
from tetrapose.errors import UserError
from tetrapose.structures import PoseSet

ABOUT = About(
    title="AwA-Pose: 36 classes of quadrupeds, 39 points with jaws and antlers",
    skeleton="awa_pose",
    origin="github.com/prinik/AwA-Pose, pictures cvml.ista.ac.at/AwA2",
    licence="labels MIT; each picture its own, all free to use",
    citation="Banik et al., arXiv 2108.13958; Xian et al., TPAMI 2018 (AwA2)",
    layout=(
        "FOLDER/Annotations/<class>/<picture>.pickle (or .json); pictures "
        "FOLDER/JPEGImages/<class>/<picture>.jpg"
    ),
    traps=(
        "labels are pickles, which can hold code: read as plain values here, never otherwise; no "
        "flag for hidden points; 38 animals without a box; misspelt point names in 37 animals; its "
        "own scorer's sigmas are ATRW's, repeated"
    ),
    fetch=(
        "git clone github.com/prinik/AwA-Pose into FOLDER; AwA2-data.zip (13 GB) from "
        "cvml.ista.ac.at/AwA2, its JPEGImages in FOLDER"
    ),
)
LABELS = "Annotations"
PLACES = ("JPEGImages", "Animals_with_Attributes2/JPEGImages", "images")
SUFFIXES = (".pickle", ".pkl", ".json")
PASSED_OVER = ("sample", "deep-high-resolution-net.pytorch")  # stray copies in the repository


def read(
    root: str | Path, *, split: Split | None = None, sizes: bool = False, pictures: bool = True
) -> PoseSet:
    """All classes below ``root``, problems listed.

    The labels hold no picture sizes: they stay 0 (unknown), or are read from the pictures' headers
    with ``sizes``. ``pictures=False`` reads labels whose pictures are not at hand.
    """
    root = Path(root)
    reading.need_folder(root, (LABELS,), ABOUT.layout)
    place = next((place for place in PLACES if (root / place).is_dir()), PLACES[0])
    if pictures:
        reading.need_folder(root, (place,), ABOUT.layout)
    skeleton = skeletons.load("awa_pose")
    found = Gathered()
    species: dict[str, None] = {}
    for file in _label_files(root / LABELS):
        species[_species(file)] = None
        _one(found, file, place, skeleton.names)
    if not found.files:
        raise UserError(f"{root / LABELS}: holds no label file; due is {ABOUT.layout}")
    if sizes and pictures:
        found.read_sizes(root)
    pose_set = found.pose_set(
        skeleton, root=root, source="awa_pose", licence=ABOUT.licence, species=tuple(species)
    )
    where = str(root / LABELS)
    return checks.checked(pose_set, where, split=split, sizes=sizes, pictures=pictures)


def _label_files(folder: Path) -> Iterator[Path]:
    for kind in sorted(entry for entry in folder.iterdir() if entry.is_dir()):
        if kind.name not in PASSED_OVER:
            yield from sorted(file for file in kind.iterdir() if file.suffix in SUFFIXES)


def _species(file: Path) -> str:
    return file.parent.name.replace("+", " ")


def _one(found: Gathered, file: Path, place: str, names: tuple[str, ...]) -> None:
    try:
        data = file.read_bytes()
        content = json.loads(data) if file.suffix == ".json" else plain_values(data)
    except NotPlain as error:
        found.problem(str(file), f"not read: {error}", "restore it from the repository")
        return
    except (OSError, ValueError) as error:
        found.problem(str(file), f"cannot be read ({error})", "restore it from the repository")
        return
    image = found.picture(f"{place}/{file.parent.name}/{file.stem}.jpg")
    if not isinstance(content, dict):
        found.problem(str(file), "an object from animal to keypoints is due", "correct the file")
        return
    for key, animal in content.items():
        where = f"{file}: {key}"
        try:
            points, box = _animal(animal, names)
        except (TypeError, ValueError, KeyError) as error:
            what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            found.problem(where, what, "correct or remove the entry")
            continue
        odd = sorted(str(name) for name in animal if name not in (*names, "bbox"))
        if odd:
            what = f"{', '.join(odd[:4])} beside the 39 points; not read"
            found.problem(where, what, "see which point was meant", left_out=False)
        flags = np.where(np.isnan(points).any(axis=1), 0, 2).astype(np.uint8)
        if box is None and not flags.any():
            found.problem(where, "neither a point nor a box", "remove the entry")
            continue
        found.animal(image, points, flags, box=box, species=_species(file))


def _animal(animal: Any, names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray | None]:
    """Points (39, 2), NaN where not labelled, and the box or None."""
    if not isinstance(animal, dict):
        raise TypeError(f"an object with named points is due, not {type(animal).__name__}")
    points = np.empty((len(names), 2))
    for row, name in enumerate(names):
        points[row] = _numbers(animal[name], 2, name)
    points[(points == -1).all(axis=1)] = np.nan
    return points, _numbers(animal["bbox"], 4, "bbox") if "bbox" in animal else None


def _numbers(value: Any, count: int, name: str) -> np.ndarray:
    if not isinstance(value, (list, tuple)) or len(value) != count:
        raise ValueError(f"{name}: {count} numbers are due")
    if not all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in value):
        raise ValueError(f"{name}: {value!r} where {count} numbers are due")
    return np.array(value, dtype=np.float64)
