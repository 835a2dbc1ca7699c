"""The animals of COCO's instances: boxes of ten kinds, bird to giraffe, without keypoints.

Origin: cocodataset.org, 2014 and 2017: the same pictures in other parts. COCO has keypoints of
people only.
Licence: annotations CC BY 4.0; the pictures are Flickr's, each under the licence it names.
Citation: Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014.

Of the instances only the categories bird, cat, dog, horse, sheep, cow, elephant, bear, zebra and
giraffe are taken (16 to 25 in the file), and only the pictures that show one; ``only=cat,dog``
takes fewer. Crowds, one box around many animals, are flagged. Areas are those of the masks, as
COCO gives them; the masks themselves are not read. Points: none; see tetrapose.data.boxed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tetrapose.data import boxed, checks, reading
from tetrapose.data.reading import About, Split
from tetrapose.errors import UserError
from tetrapose.geometry import xywh_to_xyxy
from tetrapose.structures import PoseSet

ABOUT = About(
    title="COCO's animals: bird to giraffe, boxes without keypoints",
    skeleton="ap10k with no point labelled, or the one given with skeleton=NAME",
    origin="cocodataset.org",
    licence="annotations CC BY 4.0; pictures Flickr's, each under its own",
    citation="Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014",
    layout=(
        "FOLDER/annotations/instances_train2017.json (or another part; instances_val2017.json "
        "where FOLDER is written FOLDER/annotations/instances_val2017.json), pictures in "
        "FOLDER/train2017/ or named with images=DIR"
    ),
    traps=(
        "crowds are boxes around many animals; the parts of 2014 and 2017 share their pictures; "
        "the animals are categories 16 to 25 in the file, 14 to 23 in TensorFlow's copy"
    ),
    fetch=(
        "annotations_trainval2017.zip (241 MB), train2017.zip (18 GB) and val2017.zip (1 GB) from "
        "cocodataset.org/#download, all unpacked in FOLDER"
    ),
)
KINDS = (
    "bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe",
)  # fmt: skip
FOLDERS = ("{part}", "../{part}", "../images/{part}", "images/{part}", "../images", "images", ".")
PROBED = 100


def read(
    root: str | Path,
    *,
    images: str | Path | None = None,
    only: str | None = None,
    skeleton: str = boxed.SKELETON,
    split: Split | None = None,
    sizes: bool = False,
    pictures: bool = True,
) -> PoseSet:
    """The animals of one instances file, or of the only one below a folder, problems listed.

    ``only`` names kinds, as cat,dog. ``sizes`` reads the pictures' own sizes instead of trusting
    the file's; ``pictures=False`` reads labels whose pictures are not at hand.
    """
    kinds = KINDS if only is None else tuple(word.strip() for word in only.split(","))
    odd = [kind for kind in kinds if kind not in KINDS]
    if odd:
        raise UserError(f"only={only}: {odd[0]!r} is none of {', '.join(KINDS)}")
    file = _label_file(Path(root))
    where = str(file)
    content = reading.load_json(file)
    categories = _categories(content, kinds, where)
    entries = [e for e in content["annotations"] if _category(e) in categories]
    names, size = _pictures(content["images"])
    columns, _, problems = reading.build_columns(
        entries, lambda part: _columns(part, names), lambda entry: _fault(entry, names), where
    )
    shown = list(dict.fromkeys(columns["image"]))
    place = {image_id: index for index, image_id in enumerate(shown)}
    found = boxed.Gathered(problems=problems)
    for image_id in shown:
        found.picture(names[image_id], size[image_id])
    found.image_index = [place[image_id] for image_id in columns["image"]]
    boxes = xywh_to_xyxy(columns["boxes"])
    found.boxes = [tuple(box) for box in boxes.tolist()]
    found.species = [categories[number] for number in columns["category"]]
    folder = _folder(file, images, found.files) if pictures else file.parent
    pose_set = replace(
        found.pose_set(folder, "coco_animals", ABOUT, skeleton),
        image_ids=np.array(shown, dtype=np.int64),
        areas=columns["areas"],
        crowd=columns["crowd"],
        annotation_ids=columns["id"],
    )
    return checks.checked(pose_set, where, split=split, sizes=sizes, pictures=pictures)


def _label_file(root: Path) -> Path:
    if not root.exists():
        raise UserError(f"{root}: no such file or folder")
    if root.is_file():
        return root
    found = sorted(root.glob("annotations/instances_*.json")) or sorted(
        root.glob("instances_*.json")
    )
    if len(found) > 1:
        shown = " or ".join(f"coco_animals:{path}" for path in found)
        raise UserError(f"{root}: holds {len(found)} parts; choose {shown}")
    if not found:
        raise UserError(
            f"{root}: the folder is there but lacks annotations/instances_*.json; due is "
            f"{ABOUT.layout}"
        )
    return found[0]


def _categories(content: Any, kinds: Sequence[str], where: str) -> dict[Any, str]:
    """Kind by category id; a UserError where it is no instances file or has none of them."""
    try:
        listed = {entry["id"]: str(entry["name"]) for entry in content["categories"]}
        whole = all(isinstance(content[key], list) for key in ("images", "annotations"))
    except (KeyError, TypeError):
        listed, whole = {}, False
    if not whole:
        raise UserError(
            f"{where}: not COCO's instances (the lists images, annotations and categories are due)"
        )
    chosen = {number: name for number, name in listed.items() if name in kinds}
    if not chosen:
        raise UserError(
            f"{where}: none of its {len(listed)} categories is {' or '.join(kinds)}; of COCO's "
            "files the instances_*.json are due"
        )
    return chosen


def _category(entry: Any) -> Any:
    return entry.get("category_id") if isinstance(entry, dict) else None


def _pictures(entries: list[Any]) -> tuple[dict[int, str], dict[int, tuple[int, int]]]:
    """File names and sizes by image id; an entry without either is met again as unknown."""
    names, size = {}, {}
    for entry in entries:
        if isinstance(entry, dict) and type(entry.get("id")) is int and entry.get("file_name"):
            names[entry["id"]] = str(entry["file_name"])
            width, height = entry.get("width") or 0, entry.get("height") or 0
            size[entry["id"]] = (int(width), int(height))
    return names, size


def _columns(entries: Sequence[Any], names: dict[int, str]) -> dict[str, Any]:
    for entry in entries:
        names[entry["image_id"]]  # a KeyError is told by _fault
    return {
        "image": [entry["image_id"] for entry in entries],
        "category": [entry["category_id"] for entry in entries],
        "boxes": np.array([e["bbox"] for e in entries], dtype=np.float64).reshape(len(entries), 4),
        "areas": np.array([entry["area"] for entry in entries], dtype=np.float64),
        "crowd": np.array([bool(entry.get("iscrowd", 0)) for entry in entries], dtype=bool),
        "id": np.array([entry["id"] for entry in entries], dtype=np.int64),
    }


def _fault(entry: dict[str, Any], names: dict[int, str]) -> str | None:
    if entry["image_id"] not in names:
        return f"image id {entry['image_id']} is not among the images"
    if len(entry["bbox"]) != 4:
        return f"the box has {len(entry['bbox'])} numbers, where 4 are due"
    return None


def _folder(file: Path, images: str | Path | None, names: list[str]) -> Path:
    """Where the pictures are."""
    if images is not None:
        if not Path(images).is_dir():
            raise UserError(f"images={images}: no such folder; the pictures were to be in it")
        return Path(images)
    told = re.search(r"((?:train|val|minival\w*)\d*)\.json$", file.name)
    part = told[1] if told else file.stem
    for place in FOLDERS:
        folder = (file.parent / place.format(part=part)).resolve()
        if any((folder / name).exists() for name in names[:PROBED]):
            return folder
    first = names[0] if names else "none"
    raise UserError(
        f"{file}: its pictures (such as {first}) are not in ../{part}/ nor beside it; name their "
        "folder with images=DIR"
    )
