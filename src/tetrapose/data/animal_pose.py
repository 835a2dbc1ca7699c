"""Animal-Pose in its official layout: keypoints.json beside images/.

Origin: github.com/noahcao/animal-pose-dataset (2021/7/14), 4,608 pictures, 6,117 animals of five
species; 3,608 pictures are PASCAL VOC's, 1,000 come from the web.
Licence: none stated; the VOC pictures are under Flickr's terms. For research only.
Citation: Cao, Tang, Fang, Shen, Lu, Tai: Cross-Domain Adaptation for Animal Pose Estimation,
ICCV 2019.

In the file ``images`` maps an id to a file name (no sizes), boxes are x1, y1, x2, y2, keypoints are
[x, y, flag] in the official order with flag 1 for labelled and 0 for not, and annotations carry no
id of their own (here: their place in the file, from 1). About 300 points have a place but flag 0;
they count as not labelled. Areas are width x height of the box.
Source of both rules: MMPose's converter of this set, with whose figures ours shall compare.
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
from tetrapose.geometry import box_area
from tetrapose.structures import PoseSet

ABOUT = About(
    title="Animal-Pose: dog, cat, sheep, horse and cow, 20 points",
    skeleton="animal_pose",
    origin="github.com/noahcao/animal-pose-dataset",
    licence="none stated; pictures from PASCAL VOC (Flickr's terms) and the web: research only",
    citation="Cao et al., Cross-Domain Adaptation for Animal Pose Estimation, ICCV 2019",
    layout="FOLDER/keypoints.json, FOLDER/images/*.jpg and *.jpeg; splits as text files in FOLDER",
    traps=(
        "boxes are x1, y1, x2, y2; points are labelled or not, with no word on hidden ones; some "
        "points lie outside their picture; 13 groups of pictures are identical; MMPose and "
        "OpenPifPaf write the same points in two other orders"
    ),
    fetch=(
        "keypoints.json and the pictures by the links in github.com/noahcao/animal-pose-dataset, "
        "both unpacked in FOLDER"
    ),
)
FILE = "keypoints.json"


def read(
    root: str | Path, *, split: Split | None = None, sizes: bool = False, pictures: bool = True
) -> PoseSet:
    """The set below ``root``, problems listed.

    The file holds no picture sizes: they stay 0 (unknown), or are read from the pictures' headers
    with ``sizes``, which takes a second for 5,000 pictures and finds points and boxes outside.
    ``pictures=False`` reads labels whose pictures are not at hand.
    """
    root = Path(root)
    reading.need_folder(root, (FILE, "images") if pictures else (FILE,), ABOUT.layout)
    where = str(root / FILE)
    names, species, entries = _parts(reading.load_json(root / FILE), where)
    position = {image_id: index for index, image_id in enumerate(names)}
    columns, rows, problems = reading.build_columns(
        entries,
        lambda chosen: _columns(chosen, position, list(species)),
        lambda entry: _fault(entry, position, species),
        where,
    )
    points = columns["points"]
    visibility = np.where(points[..., 2] > 0, 2, 0).astype(np.uint8)
    files = tuple(f"images/{name}" for name in names.values())
    pose_set = PoseSet(
        skeleton=skeletons.load("animal_pose"),
        root=root,
        source="animal_pose",
        licence=ABOUT.licence,
        files=files,
        image_ids=np.array([int(image_id) for image_id in names], dtype=np.int64),
        sizes=np.zeros((len(files), 2), dtype=np.int32),
        groups=np.arange(len(files), dtype=np.int64),
        image_index=columns["image"],
        keypoints=points[..., :2],
        visibility=visibility,
        bboxes=columns["boxes"].astype(np.float32),
        areas=box_area(columns["boxes"]),
        species=columns["species"],
        species_names=tuple(species.values()),
        crowd=np.zeros(len(rows), dtype=bool),
        annotation_ids=rows + 1,
        problems=tuple(problems),
    )
    return checks.checked(pose_set, where, split=split, sizes=sizes, pictures=pictures)


def _parts(content: Any, where: str) -> tuple[dict[str, str], dict[int, str], list[Any]]:
    """File names by image id, species by category id, annotations."""
    try:
        names = dict(content["images"].items())
        species = {entry["id"]: entry["name"] for entry in content["categories"]}
        entries = list(content["annotations"])
        keypoints = content["categories"][0]["keypoints"]
        numeric = all(image_id.isdigit() for image_id in names)
    except (KeyError, TypeError, AttributeError, IndexError):
        names, species, entries, keypoints, numeric = {}, {}, [], [], False
    if not numeric or not names:
        raise UserError(
            f"{where}: not the official Animal-Pose layout (images as an object from id to file "
            "name, categories, annotations); a COCO file is opened as coco:FILE"
        )
    due = list(skeletons.load("animal_pose").names)
    if keypoints != due:
        raise UserError(f"{where}: its keypoints are not the official 20 in their order")
    return names, species, entries


def _columns(
    entries: Sequence[Any], position: dict[str, int], categories: list[int]
) -> dict[str, np.ndarray]:
    count = len(entries)
    points = np.array([entry["keypoints"] for entry in entries], dtype=np.float64)
    boxes = np.array([entry["bbox"] for entry in entries], dtype=np.float64)
    number = {category: index for index, category in enumerate(categories)}
    return {
        "image": np.array([position[str(e["image_id"])] for e in entries], dtype=np.int64),
        "species": np.array([number[e["category_id"]] for e in entries], dtype=np.int64),
        "points": points.reshape(count, 20, 3),
        "boxes": boxes.reshape(count, 4),
    }


def _fault(entry: dict[str, Any], position: dict[str, int], species: dict[int, str]) -> str | None:
    if str(entry["image_id"]) not in position:
        return f"image id {entry['image_id']} is not among the images"
    if entry["category_id"] not in species:
        return f"category {entry['category_id']} is not among the categories"
    if len(entry["keypoints"]) != 20:
        return f"{len(entry['keypoints'])} keypoints, where 20 are due"
    if len(entry["bbox"]) != 4:
        return f"the box has {len(entry['bbox'])} numbers, where 4 are due"
    return None
