"""Animal-Pose as first released: one XML file an animal, in two parts.

Origin: sites.google.com/view/animal-pose (2019); github.com/noahcao/animal-pose-dataset later
joined both parts in the one keypoints.json that ``animal_pose`` reads.
Licence: none stated; the pictures of part 1 are PASCAL VOC's, under Flickr's terms. For research
only.
Citation: Cao, Tang, Fang, Shen, Lu, Tai: Cross-Domain Adaptation for Animal Pose Estimation, ICCV
2019.

Part 1, PASCAL2011_animal_annotation/<species>/<picture>_<n>.xml, labels pictures of VOC; part 2,
animalpose_anno2/<species>/<picture>.xml, pictures of the web in animalpose_image_part2/<species>/.
A file holds <image>, <category>, <visible_bounds> with xmin, ymin, width and height, and <keypoint
name= visible= x= y= z=/>. The two parts spell the points differently (EarBase, TailBase, Elbow
against ear, Tail, elbow; aliases.yaml has both), and part 2 writes the box's ymin under the name
xmax: where ymin is missing, xmax is taken for it. A point with visible="0" is not labelled, and
the others are visible. Areas are width x height of the box. Boxes and places are taken as they
stand.

Source of these rules: MMPose's tools/dataset_converters/parse_animalpose_dataset.py and
github.com/vita-epfl/openpifpaf_animalpose, voc_to_coco.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from tetrapose import skeletons
from tetrapose.data import boxed, checks, foreign, naming
from tetrapose.data.reading import About, Split
from tetrapose.errors import UserError
from tetrapose.geometry import box_area
from tetrapose.structures import PoseSet, Problem

ABOUT = About(
    title="Animal-Pose as first released: one XML file an animal, 20 points",
    skeleton="animal_pose",
    origin="sites.google.com/view/animal-pose",
    licence="none stated; pictures from PASCAL VOC (Flickr's terms) and the web: research only",
    citation="Cao et al., Cross-Domain Adaptation for Animal Pose Estimation, ICCV 2019",
    layout=(
        "FOLDER/PASCAL2011_animal_annotation/<species>/<picture>_<n>.xml with VOC's pictures in "
        "FOLDER/VOC2012/JPEGImages/, or FOLDER/animalpose_anno2/<species>/<picture>.xml with "
        "FOLDER/animalpose_image_part2/<species>/, or both"
    ),
    traps=(
        "part 2 writes the box's ymin under the name xmax; the parts spell the points differently;"
        " several files a picture in part 1; part 1 needs VOC 2012 beside it"
    ),
    fetch=(
        "both annotation archives and animalpose_image_part2 from sites.google.com/view/"
        "animal-pose, and VOC 2012's trainval archive (2 GB) from host.robots.ox.ac.uk/pascal/VOC, "
        "all unpacked in FOLDER"
    ),
)
LABELS = (
    "PASCAL2011_animal_annotation", "animalpose_anno2", "annimalpose_anno2", "part1/annotations",
    "part2/annotations",
)  # fmt: skip
PICTURES = (
    "VOC2012/JPEGImages", "VOCdevkit/VOC2012/JPEGImages", "TrainVal/VOCdevkit/VOC2011/JPEGImages",
    "keypoint_image_part1/{species}", "animalpose_image_part2/{species}", "part1/images",
    "part2/images/{species}",
)  # fmt: skip
SUFFIXES = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG")


def read(
    root: str | Path, *, split: Split | None = None, sizes: bool = False, pictures: bool = True
) -> PoseSet:
    """Both parts below ``root``, or the one that is there, problems listed.

    The files hold no picture sizes: they stay 0 (unknown), or are read from the pictures with
    ``sizes``. ``pictures=False`` reads labels whose pictures are not at hand.
    """
    root = Path(root)
    foreign.first_folder(root, LABELS, ABOUT.layout)
    found, problems = [], []
    for part in LABELS:
        if (root / part).is_dir():
            for name in foreign.files_below(root / part, ".xml"):
                try:
                    found.append(_animal(root / part / name, name.partition("/")[0]))
                except UserError as error:
                    where, _, what = str(error).partition(": ")
                    problems.append(Problem(where, what, boxed.FIX))
                except ValueError as error:
                    problems.append(Problem(str(root / part / name), str(error), boxed.FIX))
    if not found:
        first = f"; the first problem: {problems[0]}" if problems else f"; due is {ABOUT.layout}"
        raise UserError(f"{root}: no animal in its annotations{first}")
    shown = _files(root, [(one["image"], one["species"]) for one in found])
    files = tuple(dict.fromkeys(shown))  # a picture of VOC may stand under several species
    place = {file: index for index, file in enumerate(files)}
    points = np.stack([one["points"] for one in found])
    boxes = np.array([one["box"] for one in found], dtype=np.float64)
    names = tuple(sorted({one["species"] for one in found}))
    pose_set = PoseSet(
        skeleton=skeletons.load("animal_pose"),
        root=root,
        source="animal_pose_xml",
        licence=ABOUT.licence,
        files=files,
        image_ids=np.arange(1, len(files) + 1, dtype=np.int64),
        sizes=np.zeros((len(files), 2), dtype=np.int32),
        groups=np.arange(len(files), dtype=np.int64),
        image_index=np.array([place[file] for file in shown], dtype=np.int64),
        keypoints=points[..., :2],
        visibility=np.where(points[..., 2] > 0, 2, 0).astype(np.uint8),
        bboxes=boxes.astype(np.float32),
        areas=box_area(boxes),
        species=np.array([names.index(one["species"]) for one in found], dtype=np.int64),
        species_names=names,
        crowd=np.zeros(len(found), dtype=bool),
        annotation_ids=np.arange(1, len(found) + 1, dtype=np.int64),
        problems=tuple(problems),
    )
    where = str(root / "annotations")
    return checks.checked(pose_set, where, split=split, sizes=sizes, pictures=pictures)


def _animal(path: Path, folder: str) -> dict[str, Any]:
    """Picture, species, points (20, 3) and box of one file; ValueError in words."""
    tree = foreign.load_xml(path)
    image = foreign.text_of(tree, "image")
    if not image:
        raise ValueError("<image> is missing or empty")
    return {
        "image": image,
        "species": foreign.text_of(tree, "category") or folder,
        "points": _points(tree),
        "box": _box(tree),
    }


def _box(tree: ElementTree.Element) -> tuple[float, float, float, float]:
    bounds = tree.find("visible_bounds")
    if bounds is None:
        raise ValueError("<visible_bounds> is missing")
    upper = bounds.get("ymin", bounds.get("xmax"))
    x = foreign.number(bounds.get("xmin"), "xmin of <visible_bounds>")
    y = foreign.number(upper, "ymin of <visible_bounds>")
    width = foreign.number(bounds.get("width"), "width of <visible_bounds>")
    height = foreign.number(bounds.get("height"), "height of <visible_bounds>")
    return x, y, x + width, y + height


def _points(tree: ElementTree.Element) -> np.ndarray:
    """(20, 3) x, y and 1 for labelled, in the skeleton's order."""
    names = skeletons.load("animal_pose").names
    known = naming.aliases()["animal_pose"]
    points = np.full((len(names), 3), (np.nan, np.nan, 0.0))
    seen: set[str] = set()
    for one in tree.iterfind("keypoints/keypoint"):
        spelled = one.get("name", "")
        name = known.get(spelled, spelled)
        if name not in names:
            raise ValueError(f"a keypoint {spelled!r} is none of Animal-Pose's")
        if name in seen:
            raise ValueError(f"the keypoint {spelled!r} stands twice")
        seen.add(name)
        if one.get("visible") not in ("0", "1"):
            raise ValueError(f"{spelled}: visible is {one.get('visible')!r}, where 0 or 1 is due")
        if one.get("visible") == "1":
            place = [foreign.number(one.get(axis), f"{axis} of {spelled}") for axis in "xy"]
            points[names.index(name)] = (*place, 1.0)
    if not seen:
        raise ValueError("it holds no <keypoint>")
    return points


def _files(root: Path, animals: Sequence[tuple[str, str]]) -> list[str]:
    """The path below the root of each animal's picture: the first there, or where it is due."""
    listed: dict[str, set[str]] = {}
    files = []
    for image, species in animals:
        folders = [place.format(species=species) for place in PICTURES]
        for folder in folders:
            if folder not in listed:
                inside = root / folder
                listed[folder] = {f.name for f in inside.iterdir()} if inside.is_dir() else set()
        names = [image] if Path(image).suffix in SUFFIXES else [image + s for s in SUFFIXES]
        due = folders[0] if image[:4].isdigit() else folders[4]
        there = (f"{f}/{n}" for f in folders for n in names if n in listed[f])
        files.append(next(there, f"{due}/{names[0]}"))
    return files
