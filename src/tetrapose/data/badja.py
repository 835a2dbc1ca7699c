"""BADJA: videos of quadrupeds, one animal each, 21 of the SMAL model's joints about every 5 frames.

Origin: github.com/benjiebob/BADJA; frames and masks are DAVIS 2017's (davischallenge.org) for most
sequences and the authors' own for others (extra_videos: rs_dog, impala0; cat_jump and tiger are
labelled, but their frames were never spread).
Licence: MIT for the labels; DAVIS' frames stand under their own terms (CC BY-NC 4.0 by its site).
Citation: Biggs, Roddick, Fitzgibbon, Cipolla: Creatures Great and SMAL, ACCV 2018.

One JSON file a sequence: a list of frames with image_path, segmentation_path, joints (37 pairs row,
column) and visibility (37 truth values). 21 joints of the 37 are ever placed (see the skeleton); a
joint at 0, 0 is not labelled, one that is placed without being visible counts as hidden. Joints of
DAVIS sequences are in the pixels of its full-resolution frames (1920x1080), whichever copy is at
hand: they are scaled to the picture, pixel border on pixel border; those of the authors' own videos
are in the pixels of their frames.

The box is what the mask covers, and the area its pixels; of a mask with several objects (a horse
and its rider) the one under most of the visible joints is taken. Without a mask the box is made of
the points with a margin (see gather.boxes_around), and that is told. A sequence is one group.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tetrapose import skeletons
from tetrapose.data import checks, reading
from tetrapose.data.gather import Gathered
from tetrapose.data.reading import About, Split
from tetrapose.errors import UserError
from tetrapose.geometry import resize_matrix, transform_points
from tetrapose.images import ImageError, read_size
from tetrapose.structures import PoseSet

ABOUT = About(
    title="BADJA: eleven videos of quadrupeds, 21 SMAL joints about every fifth frame",
    skeleton="badja",
    origin="github.com/benjiebob/BADJA",
    licence="labels MIT; the DAVIS frames CC BY-NC 4.0: research only",
    citation="Biggs et al., Creatures Great and SMAL, ACCV 2018",
    layout=(
        "FOLDER/joint_annotations/*.json; frames and masks as the files name them "
        "(DAVIS/JPEGImages/Full-Resolution/..., extra_videos/...), or as DAVIS' 480p copies, in "
        "FOLDER or in FOLDER/DAVIS"
    ),
    traps=(
        "joints are row, column, in DAVIS' 1920x1080 whatever the frames' size; 0, 0 is not "
        "labelled; README and code name the ears the other way round (the code is right); frames "
        "of cat_jump and tiger were never spread; horsejump's mask holds the rider too"
    ),
    fetch=(
        "git clone github.com/benjiebob/BADJA into FOLDER; DAVIS-2017-trainval from "
        "davischallenge.org unpacked in FOLDER; badja_extra_videos.zip (link in its README) in "
        "FOLDER/extra_videos"
    ),
)
LABELS = "joint_annotations"
# Source: code/joint_catalog.py of the repository; in the skeleton's order.
JOINTS = (8, 9, 10, 12, 13, 14, 15, 18, 19, 20, 22, 23, 24, 25, 28, 31, 32, 33, 34, 35, 36)
ALL_JOINTS = 37
FULL = (1920, 1080)
SPECIES = {
    "bear": "bear", "camel": "camel", "cat_jump": "cat", "cows": "cow", "dog": "dog",
    "dog-agility": "dog", "horsejump-high": "horse", "horsejump-low": "horse",
    "impala0": "antelope", "rs_dog": "dog", "tiger": "tiger",
}  # fmt: skip


def read(
    root: str | Path, *, split: Split | None = None, sizes: bool = False, pictures: bool = True
) -> PoseSet:
    """All sequences below ``root``, problems listed; frames that are not at hand are problems.

    Pictures' headers are always read, since the joints are scaled to them. ``pictures=False`` reads
    labels alone: joints in the pixels of the frames they were labelled on (DAVIS: 1920x1080),
    boxes of the points.
    """
    root = Path(root)
    reading.need_folder(root, (LABELS,), ABOUT.layout)
    labels = sorted((root / LABELS).glob("*.json"))
    if not labels:
        raise UserError(f"{root / LABELS}: holds no .json file; due is {ABOUT.layout}")
    found = Gathered()
    for file in labels:
        _sequence(found, root, file, pictures)
    pose_set = found.pose_set(
        skeletons.load("badja"), root=root, source="badja", licence=ABOUT.licence,
        species=tuple(sorted(set(SPECIES.values()))),
    )  # fmt: skip
    return checks.checked(pose_set, str(root / LABELS), split=split, sizes=sizes, pictures=pictures)


def _sequence(found: Gathered, root: Path, file: Path, pictures: bool) -> None:
    content = reading.load_json(file)
    if not isinstance(content, list):
        found.problem(str(file), "a list of frames is due", "restore the file from the repository")
        return
    columns, _, problems = reading.build_columns(content, _columns, _fault, str(file), kind="frame")
    found.problems.extend(problems)
    if file.stem not in SPECIES:
        what = f"the species of this sequence is not known; taken as {_species(file.stem)}"
        found.problem(str(file), what, "rename the file, if that is wrong", left_out=False)
    unmasked = []
    for name, mask, points, flags in zip(
        columns["picture"], columns["mask"], columns["points"], columns["flags"], strict=True
    ):
        picture = _at_hand(root, name) if pictures else None
        try:
            size = read_size(root / picture) if picture else (0, 0)
        except ImageError as error:
            found.problem(f"{file}: picture {picture}", str(error), "replace the picture")
            continue
        if picture and _of_davis(name):
            points = transform_points(resize_matrix(_full_size(size), size), points)
        covered = _at_hand(root, mask) if picture else None
        box, area = _covered(root / covered, size, points, flags) if covered else (None, None)
        if picture and box is None:
            unmasked.append(name)
        image = found.picture(picture or name, size, group=file.stem)
        if (flags > 0).any():
            found.animal(image, points, flags, box=box, area=area, species=_species(file.stem))
    if unmasked:
        what = f"{len(unmasked)} frames without a mask, first {unmasked[0]}; boxes made of points"
        found.problem(str(file), what, "add the masks that it names", left_out=False)


def _columns(entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    joints = np.array([entry["joints"] for entry in entries], dtype=np.float64)
    joints = joints.reshape(len(entries), ALL_JOINTS, 2)[:, JOINTS]
    shown = [[_truth(value) for value in entry["visibility"]] for entry in entries]
    visible = np.array(shown, dtype=bool).reshape(len(entries), ALL_JOINTS)[:, JOINTS]
    placed = (joints != 0).any(axis=-1)
    return {
        "picture": [_path(entry["image_path"]) for entry in entries],
        "mask": [_path(entry["segmentation_path"]) for entry in entries],
        "points": joints[..., ::-1],
        "flags": np.where(placed, np.where(visible, 2, 1), 0).astype(np.uint8),
    }


def _fault(entry: dict[str, Any]) -> str | None:
    for name in ("joints", "visibility"):
        if len(entry[name]) != ALL_JOINTS:
            return f"{len(entry[name])} values for {name}, where {ALL_JOINTS} are due"
    return None


def _truth(value: Any) -> bool:
    if value not in (0, 1):
        raise ValueError(f"visibility {value!r}, where true or false is due")
    return bool(value)


def _path(name: str) -> str:
    plain = name.replace("\\", "/").removeprefix("./")
    if plain.startswith("/") or ".." in plain.split("/"):
        raise ValueError(f"the path {name!r} leads out of the folder")
    return plain


def _species(sequence: str) -> str:
    return SPECIES.get(sequence) or re.sub(r"[\d_-]+", " ", sequence).strip() or sequence


def _of_davis(name: str) -> bool:
    return not name.startswith("extra_videos/")


def _full_size(size: tuple[int, int]) -> tuple[int, int]:
    """Size of the frame that was labelled: 1080 high, 1920 wide unless the copy is cut."""
    width, height = size
    wide = abs(width / height - FULL[0] / FULL[1]) < 0.01  # 480p is 854 wide, which is not 16:9
    return (FULL[0] if wide else round(width * FULL[1] / height)), FULL[1]


def _at_hand(root: Path, name: str) -> str | None:
    """Path below ``root`` under which a frame or mask of the files is there."""
    smaller = name.replace("/Full-Resolution/", "/480p/")
    places = (name, smaller, name.removeprefix("DAVIS/"), smaller.removeprefix("DAVIS/"))
    return next((place for place in places if (root / place).is_file()), None)


def _covered(
    path: Path, size: tuple[int, int], points: np.ndarray, flags: np.ndarray
) -> tuple[np.ndarray | None, float | None]:
    """Box and pixels of the object that a mask shows under the visible points, if there is one."""
    mask = _read_mask(path)
    if mask is None:
        return None, None
    height, width = mask.shape
    at = transform_points(resize_matrix(size, (width, height)), points[flags == 2])
    column, row = at.round().astype(int).T if len(at) else np.zeros((2, 0), dtype=int)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    under = mask[row[inside], column[inside]]
    labels = [label for label in np.unique(mask) if label]
    if not labels:
        return None, None
    chosen = mask == max(labels, key=lambda label: (under == label).sum())
    rows, columns = np.flatnonzero(chosen.any(axis=1)), np.flatnonzero(chosen.any(axis=0))
    corners = [[columns[0] - 0.5, rows[0] - 0.5], [columns[-1] + 0.5, rows[-1] + 0.5]]
    box = transform_points(resize_matrix((width, height), size), np.array(corners)).ravel()
    return box, float(chosen.sum()) * size[0] * size[1] / (width * height)


def _read_mask(path: Path) -> np.ndarray | None:
    """(H, W) object numbers, 0 for none; None for a file that is no picture.

    A grey mask that reaches white is one object, its border perhaps in shades; in a darker one, or
    one with a palette, each value is an object, as DAVIS 2017 spreads them.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            values = np.asarray(image if image.mode == "P" else image.convert("L"))
            white = image.mode != "P" and values.max(initial=0) > 127
    except (OSError, ValueError):
        return None
    return (values > 127).astype(np.uint8) if white else values
