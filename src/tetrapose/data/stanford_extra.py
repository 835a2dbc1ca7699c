"""StanfordExtra: some 12,500 dogs of Stanford Dogs with 20 labelled points of a skeleton of 24.

Origin: github.com/benjiebob/StanfordExtra; the labels are sent on request, the pictures are
Stanford Dogs' (vision.stanford.edu/aditya86/ImageNetDogs).
Licence: labels MIT since November 2024; the pictures are ImageNet's, for non-commercial research.
Citation: Biggs, Boyne, Charles, Fitzgibbon, Cipolla: Who Left the Dogs Out? 3D Animal
Reconstruction with Expectation Maximization in the Loop, ECCV 2020.

The file is a list of entries: img_path (<id>-<breed>/<name>.jpg), img_width, img_height, img_bbox
as x, y, width, height, joints as 24 times [x, y, flag], is_multiple_dogs and seg (a mask, not
read). Places are means over several labellers. The flag is 1 for labelled and 0 for not; some
points carry a place with flag 0 and count as not labelled. The last four points (eyes, withers,
throat) are slots of Animal-Pose's that are never labelled here. Only one dog of a picture has an
entry, though some show several (is_multiple_dogs). The official parts are lists of places in the
file, read with ``part`` from train_, val_ and test_stanford_StanfordExtra_v12.npy (the parts of
WLDO, since version 12).

Areas are width x height of the box. The species is "dog", or the breed with ``breeds=true``:
scores are means over species, and published ones are of dogs as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tetrapose import skeletons
from tetrapose.data import boxed, checks, foreign, reading
from tetrapose.data.reading import About, Split
from tetrapose.errors import UserError
from tetrapose.geometry import box_area, xywh_to_xyxy
from tetrapose.structures import PoseSet

ABOUT = About(
    title="StanfordExtra: dogs of 120 breeds, 24 points of which 20 are labelled",
    skeleton="stanford_extra",
    origin="github.com/benjiebob/StanfordExtra",
    licence="labels MIT; ImageNet's pictures: non-commercial research only",
    citation="Biggs et al., Who Left the Dogs Out?, ECCV 2020",
    layout=(
        "FOLDER/StanfordExtra_v12.json, the pictures in FOLDER/Images/<id>-<breed>/<name>.jpg (or "
        "named with images=DIR); for part=train, val or test the .npy file of that part beside the "
        "JSON"
    ),
    traps=(
        "24 slots, of which eyes, withers and throat are never labelled; boxes are x, y, width, "
        "height; a point with flag 0 may have a place; one dog a picture is labelled, even where "
        "several are seen"
    ),
    fetch=(
        "labels by the form in github.com/benjiebob/StanfordExtra, pictures as images.tar (750 MB) "
        "from vision.stanford.edu/aditya86/ImageNetDogs, both unpacked in FOLDER"
    ),
)
PARTS = ("train", "val", "test")
FILES = ("StanfordExtra_v12.json", "StanfordExtra*.json")
INNER = (".", "StanfordExtra_V12", "labels", "annotations")
PICTURES = ("Images", "images", "StanExtV12_Images", "sample_imgs", "images/Images")
POINTS = 24


def read(
    root: str | Path,
    *,
    images: str | Path | None = None,
    part: str | None = None,
    breeds: bool = False,
    split: Split | None = None,
    sizes: bool = False,
    pictures: bool = True,
) -> PoseSet:
    """The set below the folder ``root``, or of the JSON file ``root``, problems listed.

    ``part`` is train, val or test; ``images`` the folder that holds the breeds' folders, where it
    is not found beside the JSON or above it. ``sizes`` reads the pictures' own sizes instead of
    trusting the file's; ``pictures=False`` reads labels whose pictures are not at hand.
    """
    boxed.chosen_part(part, PARTS)
    file = _label_file(Path(root))
    where = str(file)
    entries = reading.load_json(file)
    if not isinstance(entries, list) or not entries:
        raise UserError(f"{where}: not StanfordExtra's labels (a list with an entry a dog is due)")
    numbers = np.arange(len(entries))
    if part is not None:
        numbers = foreign.load_indices(_part_file(file, part), len(entries))
    folder = _pictures(file, images) if pictures else file.parent
    columns, rows, problems = reading.build_columns(
        [entries[i] for i in numbers], _columns, _fault, where, kind="entry"
    )
    files = tuple(dict.fromkeys(columns["file"]))
    place = {name: index for index, name in enumerate(files)}
    image_index = np.array([place[name] for name in columns["file"]], dtype=np.int64)
    size = np.zeros((len(files), 2), dtype=np.int32)
    size[image_index] = columns["size"]
    kinds = [_breed(name) if breeds else "dog" for name in columns["file"]]
    names = tuple(sorted(set(kinds)))
    boxes = xywh_to_xyxy(columns["boxes"])
    points = columns["points"]
    pose_set = PoseSet(
        skeleton=skeletons.load("stanford_extra"),
        root=folder,
        source="stanford_extra",
        licence=ABOUT.licence,
        files=files,
        image_ids=np.arange(1, len(files) + 1, dtype=np.int64),
        sizes=size,
        groups=np.arange(len(files), dtype=np.int64),
        image_index=image_index,
        keypoints=points[..., :2],
        visibility=np.where(points[..., 2] >= 0.5, 2, 0).astype(np.uint8),
        bboxes=boxes.astype(np.float32),
        areas=box_area(boxes),
        species=np.array([names.index(kind) for kind in kinds], dtype=np.int64),
        species_names=names,
        crowd=np.zeros(len(rows), dtype=bool),
        annotation_ids=numbers[rows] + 1,
        problems=tuple(problems),
    )
    return checks.checked(pose_set, where, split=split, sizes=sizes, pictures=pictures)


def _label_file(root: Path) -> Path:
    if not root.exists():
        raise UserError(f"{root}: no such file or folder")
    if root.is_file():
        return root
    for pattern in FILES:
        found = sorted(path for inner in INNER for path in (root / inner).glob(pattern))
        if len(found) > 1:
            shown = " or ".join(f"stanford_extra:{path}" for path in found)
            raise UserError(f"{root}: holds {len(found)} label files; choose {shown}")
        if found:
            return found[0]
    raise UserError(f"{root}: the folder is there but lacks {FILES[0]}; due is {ABOUT.layout}")


def _part_file(file: Path, part: str) -> Path:
    found = sorted(file.parent.glob(f"{part}_stanford_StanfordExtra_v*.npy"))
    if len(found) != 1:
        state = f"{len(found)} files" if found else "no file"
        raise UserError(
            f"{file.parent}: {state} {part}_stanford_StanfordExtra_v12.npy, which names the dogs "
            f"of part={part}; it comes with the labels"
        )
    return found[0]


def _pictures(file: Path, images: str | Path | None) -> Path:
    if images is not None:
        if not Path(images).is_dir():
            raise UserError(f"images={images}: no such folder; the pictures were to be in it")
        return Path(images)
    for above in (file.parent, file.parent.parent):
        for name in PICTURES:
            if (above / name).is_dir():
                return above / name
    raise UserError(
        f"{file}: no folder {PICTURES[0]} with the pictures beside it or one folder up; name it "
        "with images=DIR"
    )


def _breed(file: str) -> str:
    return file.partition("/")[0].partition("-")[2].replace("_", " ")


def _columns(entries: Sequence[Any]) -> dict[str, Any]:
    count = len(entries)
    points = np.array([entry["joints"] for entry in entries], dtype=np.float64)
    points = points.reshape(count, POINTS, 3)
    flags = points[..., 2]
    if not ((flags >= 0) & (flags <= 1)).all():
        raise ValueError("flags beyond 0..1")
    boxes = np.array([entry["img_bbox"] for entry in entries], dtype=np.float64)
    size = np.array(
        [(entry["img_width"], entry["img_height"]) for entry in entries], dtype=np.int32
    )
    return {
        "file": [entry["img_path"].replace("\\", "/") for entry in entries],
        "points": points,
        "boxes": boxes.reshape(count, 4),
        "size": size.reshape(count, 2),
    }


def _fault(entry: dict[str, Any]) -> str | None:
    if len(entry["joints"]) != POINTS:
        return f"{len(entry['joints'])} joints, where {POINTS} are due"
    odd = [point[2] for point in entry["joints"] if not 0 <= point[2] <= 1]
    if odd:
        return f"joint flag {odd[0]!r}, where 0 or 1 is due"
    if len(entry["img_bbox"]) != 4:
        return f"the box has {len(entry['img_bbox'])} numbers, where 4 are due"
    return None
