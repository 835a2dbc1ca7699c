"""AKD cats: one cat a picture, 16 points, relative coordinates.

Origin: github.com/TechNumber/pytorch_animal_pose_estimation (archive akd/cats), 138 pictures to
train on and 24 to test.
Licence: none stated; own labels on cats of the web, some with watermarks. For research only.
Citation: none beyond the repository.

In the file ``images`` and ``keypoints`` are objects keyed by the same id; an image has a name and
its size, its keypoints are name -> [x, y, flag]. The repository's README says y, x: the file holds
x, y. Coordinates are whole pixels of the picture as it was shown for labelling, divided by its
side, so that x times the width is the pixel here (within 0.3 px, since the shown size is not
recorded). The flag is 1 for visible and 0 for hidden; hidden points are placed all the same, so
they become COCO's 2 and 1, and none is unlabelled. Picture 137 of the training part was never
labelled: its points all stand at 1.99, 1.99, and it is left out.

There are no boxes. One is made of the 16 points, a tenth of the longer side added on each side, and
cut at the picture's border; its area is width x height. The tenth is what Animal-Pose's boxes leave
around the like points (median over 428 animals 0.05 below, 0.08 to 0.13 elsewhere).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tetrapose import skeletons
from tetrapose.data import checks, reading
from tetrapose.data.reading import About, Split
from tetrapose.errors import UserError
from tetrapose.geometry import box_area, points_box
from tetrapose.structures import PoseSet

ABOUT = About(
    title="AKD cats: one cat a picture, 16 points",
    skeleton="akd_cats",
    origin="github.com/TechNumber/pytorch_animal_pose_estimation",
    licence="none stated; pictures from the web: research only",
    citation="github.com/TechNumber/pytorch_animal_pose_estimation",
    layout="FOLDER/<part>_keypoints_annotations.json and FOLDER/images/, or a folder above it",
    traps=(
        "coordinates are relative and stored x, y (its README says y, x); flag 0 means hidden, yet "
        "placed; picture 137 of the training part is unlabelled; no boxes: made from the points, "
        "with a tenth of the longer side around them"
    ),
    fetch=(
        "cats.tar.gz by the link in github.com/TechNumber/pytorch_animal_pose_estimation, unpacked "
        "in FOLDER"
    ),
)
PATTERN = "*_keypoints_annotations.json"
MARGIN = 0.1
FAR = 0.75  # from the middle, in parts of a side: nobody labels points that far outside


def read(
    root: str | Path,
    *,
    split: Split | None = None,
    sizes: bool = False,
    pictures: bool = True,
) -> PoseSet:
    """The set in ``root`` or in its only part below, problems listed.

    ``sizes`` reads the pictures' own sizes instead of trusting the file's; ``pictures=False`` reads
    labels whose pictures are not at hand.
    """
    file = _label_file(Path(root))
    where = str(file)
    if pictures:
        reading.need_folder(file.parent, ("images",), ABOUT.layout)
    images, entries = _parts(reading.load_json(file), where)
    skeleton = skeletons.load("akd_cats")
    position = {key: index for index, key in enumerate(images)}
    columns, _, problems = reading.build_columns(
        entries,
        lambda chosen: _columns(chosen, position, skeleton.names),
        lambda entry: _fault(entry, position, skeleton.names),
        where,
    )
    size = np.array([[e["width"], e["height"]] for e in images.values()], dtype=np.int32)
    points = columns["points"]
    here = size[columns["image"]]
    keypoints = points[..., :2] * here[:, None]
    boxes = boxes_around(keypoints, here)
    pose_set = PoseSet(
        skeleton=skeleton,
        root=file.parent,
        source="akd_cats",
        licence=ABOUT.licence,
        files=tuple(f"images/{entry['file_name']}" for entry in images.values()),
        image_ids=np.array([int(key) for key in images], dtype=np.int64),
        sizes=size,
        groups=np.arange(len(images), dtype=np.int64),
        image_index=columns["image"],
        keypoints=keypoints,
        visibility=np.where(points[..., 2] > 0, 2, 1).astype(np.uint8),
        bboxes=boxes.astype(np.float32),
        areas=box_area(boxes),
        species=np.zeros(len(points), dtype=np.int64),
        species_names=("cat",),
        crowd=np.zeros(len(points), dtype=bool),
        annotation_ids=columns["id"] + 1,
        problems=tuple(problems),
    )
    return checks.checked(pose_set, where, split=split, sizes=sizes, pictures=pictures)


def boxes_around(keypoints: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Boxes (N, 4) of points (N, K, 2) with the margin, cut at pictures of size (N, 2)."""
    tight = points_box(np.where(np.isfinite(keypoints), keypoints, np.nan))
    margin = MARGIN * (tight[:, 2:] - tight[:, :2]).max(axis=1, keepdims=True)
    low = np.maximum(tight[:, :2] - margin, -0.5)
    high = np.minimum(tight[:, 2:] + margin, size - 0.5)
    return np.concatenate([low, high], axis=1)


def _label_file(root: Path) -> Path:
    if not root.is_dir():
        state = "a file, where a folder is due" if root.exists() else "no such folder"
        raise UserError(f"{root}: {state}")
    found = sorted(root.glob(PATTERN)) or sorted(root.glob(f"*/{PATTERN}"))
    if not found:
        raise UserError(f"{root}: the folder is there but lacks {PATTERN}; due is {ABOUT.layout}")
    if len(found) > 1:
        parts = " or ".join(f"akd_cats:{file.parent}" for file in found)
        raise UserError(f"{root}: holds {len(found)} parts; choose {parts}")
    return found[0]


def _parts(content: Any, where: str) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
    """Images by id, and one entry an animal."""
    try:
        images = dict(content["images"].items())
        entries = [{"id": key, "points": value} for key, value in content["keypoints"].items()]
        sound = all(
            key.isdigit() and entry["width"] > 0 and entry["height"] > 0 and entry["file_name"]
            for key, entry in images.items()
        )
    except (KeyError, TypeError, AttributeError):
        images, entries, sound = {}, [], False
    if not sound or not images:
        raise UserError(
            f"{where}: not the AKD layout (images and keypoints as objects by id, images with "
            "file_name, width and height)"
        )
    return images, entries


def _columns(
    entries: Sequence[Any], position: dict[str, int], names: tuple[str, ...]
) -> dict[str, np.ndarray]:
    rows = [[entry["points"][name] for name in names] for entry in entries]
    points = np.array(rows, dtype=np.float64).reshape(len(entries), len(names), 3)
    if (np.abs(points[..., :2] - 0.5) > FAR).any():
        raise ValueError("coordinates are not relative")
    return {
        "image": np.array([position[entry["id"]] for entry in entries], dtype=np.int64),
        "id": np.array([int(entry["id"]) for entry in entries], dtype=np.int64),
        "points": points,
    }


def _fault(entry: dict[str, Any], position: dict[str, int], names: tuple[str, ...]) -> str | None:
    if entry["id"] not in position:
        return f"image id {entry['id']} is not among the images"
    absent = [name for name in names if name not in entry["points"]]
    if absent:
        return f"{len(absent)} of {len(names)} keypoints are missing: {', '.join(absent)}"
    for name in names:
        x, y, _ = entry["points"][name]
        if max(abs(x - 0.5), abs(y - 0.5)) > FAR:
            return f"{name} at {x:g}, {y:g} is far outside the picture, which spans 0 to 1"
    return None
