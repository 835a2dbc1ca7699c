"""TigDog in FreeNet's COCO form: 19 points of horses and tigers in one JSON file.

Origin: github.com/yzrs/FreeNet, tools/json_convert.py, made from TigDog
(calvin-vision.net/datasets/tigdog); its 24-point file of three sets is read as coco.
Licence: none stated; frames of television and YouTube videos. For research only.
Citation: Del Pero, Ricco, Sukthankar, Ferrari: Behavior Discovery and Alignment of Articulated
Object Classes from Unstructured Video, IJCV 2017.

The file is COCO's, with the categories horse and tiger, which name no keypoints, and 57 numbers an
annotation, both animals in the order of the horse. Horse and tiger are two skeletons all the same
(the tiger's 8 and 9 are ankles), so one is read at a time: ``animal=horse`` or ``animal=tiger``.
Flag 1 means visible there and becomes 2. Boxes are the grown ones of ``tigdog``, areas their width
x height. The file does not tell shots, so that groups hold only identical pictures; split by hand
so that no video is cut, or read the release itself with ``tigdog``. A second animal of a picture
is written as a crowd.

``corrections`` names FreeNet's list of tigers whose left and right are exchanged
(errorLandmarks_*_error_type.json: id of the annotation, error_type 1 for shoulders, 2 for back
hips, 3 for both).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from tetrapose.data import coco, tigdog
from tetrapose.data.reading import About, Split
from tetrapose.errors import UserError
from tetrapose.structures import PoseSet

ABOUT = About(
    title="TigDog: frames of horses and tigers, 19 points (FreeNet's COCO form)",
    skeleton="tigdog_horse or tigdog_tiger, by animal=horse or animal=tiger",
    origin="github.com/yzrs/FreeNet, tools/json_convert.py",
    licence="none stated; frames of television and YouTube videos: research only",
    citation=tigdog.ABOUT.citation,
    layout=(
        "FILE.json; pictures beside it, in images/ or data/ there or one folder up, or in the "
        "folder named with images=DIR, as horse/<8 digits>.jpg and tiger/<8 digits>.jpg"
    ),
    traps=(
        "categories name no keypoints; flag 1 means visible; the tiger's front knees are ankles; "
        "shots are not told, so that a split may cut a video; some tigers' shoulders and back hips "
        "are exchanged left and right: corrections=FILE"
    ),
    fetch="made from TigDog by tools/json_convert.py of github.com/yzrs/FreeNet",
)


def read(
    root: str | Path,
    *,
    images: str | Path | None = None,
    animal: str | None = None,
    corrections: str | Path | None = None,
    split: Split | None = None,
    sizes: bool = False,
    pictures: bool = True,
) -> PoseSet:
    """One animal of the file ``root``, problems listed; ``sizes`` and ``pictures`` as in coco."""
    if animal not in tigdog.ANIMALS:
        told = "it is missing" if animal is None else "there is no such animal"
        raise UserError(f"animal={animal or ''}: {told}; add animal=horse or animal=tiger")
    pose_set = coco.read(
        root, images=images, skeleton=f"tigdog_{animal}", only=animal, split=split, sizes=sizes,
        pictures=pictures,
    )  # fmt: skip
    pose_set = replace(
        pose_set,
        source="tigdog_coco",
        licence=ABOUT.licence,
        visibility=np.where(pose_set.labelled, 2, 0).astype(np.uint8),
    )
    if corrections is None:
        return pose_set
    listed = tigdog.correction_list(corrections)
    rows: dict[int | str, list[int]] = {}
    for row, image in enumerate(pose_set.image_index):
        rows.setdefault(pose_set.files[image].rpartition("/")[2], []).append(row)
        rows[int(pose_set.annotation_ids[row])] = [row]
    points, flags = pose_set.keypoints.copy(), pose_set.visibility.copy()
    told = tigdog.exchange(listed, rows, (points, flags), pose_set.skeleton, str(corrections))
    return replace(
        pose_set, keypoints=points, visibility=flags, problems=(*pose_set.problems, *told)
    )
