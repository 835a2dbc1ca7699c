"""COCO keypoints on any skeleton: images, annotations and categories in one JSON file.

Origin: cocodataset.org/#format-data (Lin et al., Microsoft COCO: Common Objects in Context, ECCV
2014); AP-10K, MMPose's conversions and most labelling tools write it.
Licence: of the format none; of the data the file's own ``licenses``.
Citation: of the data, see the file's ``info``.

Boxes are x, y, width, height; keypoints x, y, flag with 0 not labelled, 1 hidden, 2 visible. The
skeleton is found by the categories' keypoint names (aliases in aliases.yaml), whatever their order.
Files that hold x1, y1, x2, y2 under the same field exist (FreeNet's Animal-Pose): that is told,
not guessed at, and ``boxes="xyxy"`` reads them, with areas taken anew from the boxes.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tetrapose.data import checks, naming, reading
from tetrapose.data.reading import About, Split
from tetrapose.errors import UserError
from tetrapose.geometry import box_area, xywh_to_xyxy, xyxy_to_xywh
from tetrapose.skeletons import Skeleton
from tetrapose.structures import PoseSet, Problem

ABOUT = About(
    title="COCO keypoints on any skeleton",
    skeleton="any: found by the keypoint names, or given with skeleton=NAME or skeleton=FILE.yaml",
    origin="cocodataset.org/#format-data",
    licence="the data's own",
    citation="Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014",
    layout=(
        "FILE.json; pictures beside it, in images/ or data/ there or one folder up, or in the "
        "folder named after a second colon"
    ),
    traps=(
        "some files hold x1, y1, x2, y2 where x, y, width, height are due: read with boxes=xyxy; "
        "some write flag 1 for visible; OpenPifPaf's Animal-Pose files name no keypoints and have "
        "an order of their own: skeleton=animal_pose_openpifpaf"
    ),
)
FOLDERS = (".", "images", "data", "..", "../images", "../data")  # AP-10K: annotations/ beside data/
PROBED = 100  # names looked for in each
HOLDS = frozenset(
    {"species", "hidden", "boxes", "areas", "crowds", "pointless", "licence"}
)  # see ways_out.FACETS


def read(
    root: str | Path,
    *,
    images: str | Path | None = None,
    skeleton: str | Skeleton | None = None,
    boxes: str = "xywh",
    only: str | None = None,
    split: Split | None = None,
    sizes: bool = False,
    pictures: bool = True,
) -> PoseSet:
    """The set of one file ``FILE.json`` or ``FILE.json:IMAGES``, problems listed.

    ``only`` names categories, as dog,cat: their animals, on the pictures that show one.
    ``sizes`` reads the pictures' own sizes instead of trusting the file's; ``pictures=False`` reads
    labels whose pictures are not at hand.
    """
    if boxes not in ("xywh", "xyxy"):
        raise UserError(f"boxes={boxes}: it is xywh or xyxy")
    file, folder = _places(str(root), images)
    content = reading.load_json(file)
    where = str(file)
    raw = _content(content, where)
    if only is not None:
        raw = _only(raw, only, where)
    names, sizes_told, position, problems = _pictures(raw["images"], where)
    chosen, orders = naming.skeleton_of(raw["categories"], skeleton, where)
    categories = {entry["id"]: index for index, entry in enumerate(raw["categories"])}
    entries, more = naming.of_categories(raw["annotations"], raw["categories"], orders, where)
    problems += more
    columns, _, more = reading.build_columns(
        entries,
        lambda part: _columns(part, position, categories, len(chosen)),
        lambda entry: _fault(entry, position, categories, len(chosen)),
        where,
    )
    problems += more
    if folder is None:
        folder = _find_folder(file, names) if pictures else file.parent
    points = naming.in_order(columns["points"], columns["species"], orders)
    given = columns["boxes"]
    corners = given if boxes == "xyxy" else xywh_to_xyxy(given)
    areas = box_area(corners)
    if boxes == "xywh":
        areas = np.where(np.isfinite(columns["areas"]), columns["areas"], areas)
    pose_set = PoseSet(
        skeleton=chosen,
        root=folder,
        source="coco",
        licence=_licence(content),
        files=tuple(names),
        image_ids=_image_ids(list(position)),
        sizes=sizes_told,
        groups=np.arange(len(names), dtype=np.int64),
        image_index=columns["image"],
        keypoints=points[..., :2],
        visibility=points[..., 2].astype(np.uint8),
        bboxes=corners.astype(np.float32),
        areas=areas,
        species=columns["species"],
        species_names=tuple(str(entry["name"]) for entry in raw["categories"]),
        crowd=columns["crowd"],
        annotation_ids=columns["id"],
        problems=tuple(problems),
    )
    if boxes == "xywh":
        pose_set = _without_corner_boxes(pose_set, given, where)
    return checks.checked(pose_set, where, split=split, sizes=sizes, pictures=pictures)


def write(pose_set: PoseSet, path: str | Path) -> None:
    """The set as a COCO file at ``path``; file names stay below ``pose_set.root``.

    Places keep four decimals. Sizes that are not known (0) are not written.
    """
    skeleton = pose_set.skeleton
    edges = (skeleton.edge_indices + 1).tolist()
    content = {
        "info": {"description": f"{pose_set.source}, written by tetrapose"},
        "licenses": [{"id": 1, "name": pose_set.licence, "url": ""}],
        "images": [
            {"id": image_id, "file_name": file, "license": 1}
            | ({"width": width, "height": height} if width and height else {})
            for image_id, file, (width, height) in zip(
                pose_set.image_ids.tolist(), pose_set.files, pose_set.sizes.tolist(), strict=True
            )
        ],
        "annotations": _annotations(pose_set),
        "categories": [
            {"id": i + 1, "name": name, "keypoints": list(skeleton.names), "skeleton": edges}
            for i, name in enumerate(pose_set.species_names)
        ],
    }
    text = json.dumps(content, allow_nan=False)
    reading.write_text(Path(path), text)


def _annotations(pose_set: PoseSet) -> list[dict[str, Any]]:
    labelled = pose_set.labelled[..., None]
    points = np.where(labelled, pose_set.keypoints, 0.0).astype(np.float64).round(4)
    rows = np.concatenate([points, pose_set.visibility[..., None]], axis=-1)
    boxes = xyxy_to_xywh(pose_set.bboxes.astype(np.float64)).round(4).tolist()
    columns = zip(
        pose_set.annotation_ids.tolist(),
        pose_set.image_ids[pose_set.image_index].tolist(),
        pose_set.species.tolist(),
        boxes,
        pose_set.areas.round(4).tolist(),
        pose_set.crowd.astype(int).tolist(),
        pose_set.labelled.sum(axis=1).tolist(),
        rows.reshape(len(pose_set), -1).tolist(),
        strict=True,
    )
    return [
        {
            "id": annotation_id,
            "image_id": image_id,
            "category_id": species + 1,
            "bbox": box,
            "area": area,
            "iscrowd": crowd,
            "num_keypoints": count,
            "keypoints": [int(v) if v == int(v) else v for v in keypoints],
        }
        for annotation_id, image_id, species, box, area, crowd, count, keypoints in columns
    ]


def _places(where: str, images: str | Path | None) -> tuple[Path, Path | None]:
    """The label file and the pictures' folder, or None where it is to be found."""
    parted = re.fullmatch(r"(.+?\.json):(.+)", where, re.IGNORECASE)
    file, folder = parted.groups() if parted else (where, None)
    folder = images if images is not None else folder
    if Path(file).is_dir():
        found = ", ".join(sorted(f.name for f in Path(file).glob("*.json"))[:5])
        raise UserError(f"{file}: a folder; name the label file in it ({found or 'it has none'})")
    if folder is not None and not Path(folder).is_dir():
        state = "not a folder" if Path(folder).exists() else "no such folder"
        raise UserError(f"{folder}: {state}; the pictures of {file} were to be in it")
    return Path(file), None if folder is None else Path(folder)


def _find_folder(file: Path, names: list[str]) -> Path:
    for place in FOLDERS:
        folder = Path(os.path.normpath(file.parent / place))
        if any((folder / name).exists() for name in names[:PROBED]):
            return folder
    raise UserError(
        f"{file}: its pictures (such as {names[0]}) are not beside it, nor in images/ or data/ "
        f"there or one folder up; name their folder as {file}:FOLDER"
    )


def _content(content: Any, where: str) -> dict[str, list[Any]]:
    hint = "an object with the lists images, annotations and categories is due"
    if not isinstance(content, dict):
        raise UserError(f"{where}: not a COCO label file ({hint})")
    if isinstance(content.get("images"), dict) and "annotations" in content:
        raise UserError(f"{where}: this is Animal-Pose's own layout; open it as animal_pose:FOLDER")
    keys = ("images", "annotations", "categories")
    absent = [key for key in keys if not isinstance(content.get(key), list)]
    if absent:
        raise UserError(f"{where}: not a COCO label file; it lacks {', '.join(absent)} ({hint})")
    categories = content["categories"]
    if not all(isinstance(c, dict) and "id" in c and "name" in c for c in categories):
        raise UserError(f"{where}: a category lacks its id or name")
    if len({c["id"] for c in categories}) < len(categories):
        raise UserError(f"{where}: two categories have the same id")
    return {key: content[key] for key in keys}


def _only(raw: dict[str, list[Any]], only: str, where: str) -> dict[str, list[Any]]:
    """The lists with the named categories' entries alone."""
    there = {str(entry["name"]): entry for entry in raw["categories"]}
    wanted = [name.strip() for name in only.split(",")]
    odd = [name for name in wanted if name not in there]
    if odd:
        shown = ", ".join(list(there)[:12])
        raise UserError(f"{where}: only={only}: it has no category {odd[0]!r}; it has {shown}")
    chosen = [there[name] for name in wanted]
    ids = [entry["id"] for entry in chosen]
    entries = [e for e in raw["annotations"] if isinstance(e, dict) and e.get("category_id") in ids]
    shown = {str(entry.get("image_id")) for entry in entries}
    images = [e for e in raw["images"] if isinstance(e, dict) and str(e.get("id")) in shown]
    return {"images": images, "annotations": entries, "categories": chosen}


def _pictures(
    entries: list[Any], where: str
) -> tuple[list[str], np.ndarray, dict[Any, int], list[Problem]]:
    """File names, sizes (M, 2), position by image id, problems."""
    columns, rows, problems = reading.build_columns(
        entries,
        lambda part: {
            "id": [entry["id"] for entry in part],
            "name": [entry["file_name"].replace("\\", "/") for entry in part],
            "size": np.array(
                [(entry.get("width") or 0, entry.get("height") or 0) for entry in part],
                dtype=np.int32,
            ).reshape(len(part), 2),
        },
        lambda entry: None,
        where,
        kind="image",
    )
    position: dict[Any, int] = {}
    kept: list[int] = []
    for row, image_id in enumerate(columns["id"]):
        if image_id in position:
            problems.append(
                Problem(
                    f"{where}: image {image_id} ({columns['name'][row]})",
                    "this image id stood before",
                    "give each image an id of its own",
                )
            )
            continue
        position[image_id] = len(kept)
        kept.append(row)
    names = [columns["name"][row] for row in kept]
    return names, columns["size"][kept], position, problems


def _image_ids(ids: list[Any]) -> np.ndarray:
    """The file's own ids, or numbers from 1 where they are not whole numbers."""
    if all(type(one) is int for one in ids):
        return np.array(ids, dtype=np.int64)
    return np.arange(1, len(ids) + 1, dtype=np.int64)


def _columns(
    entries: Sequence[Any], position: dict[Any, int], categories: dict[Any, int], count: int
) -> dict[str, np.ndarray]:
    points = np.array([entry["keypoints"] for entry in entries], dtype=np.float64)
    points = points.reshape(len(entries), count, 3)
    flags = points[..., 2]
    if not ((flags == 0) | (flags == 1) | (flags == 2)).all():
        raise ValueError("flags beside 0, 1 and 2")
    boxes = np.array([entry["bbox"] for entry in entries], dtype=np.float64)
    areas = [entry.get("area", np.nan) for entry in entries]
    return {
        "image": np.array([position[e["image_id"]] for e in entries], dtype=np.int64),
        "species": np.array([categories[e["category_id"]] for e in entries], dtype=np.int64),
        "points": points,
        "boxes": boxes.reshape(len(entries), 4),
        "areas": np.array(areas, dtype=np.float64),
        "crowd": np.array([bool(e.get("iscrowd", 0)) for e in entries], dtype=bool),
        "id": np.array([e["id"] for e in entries], dtype=np.int64),
    }


def _fault(
    entry: dict[str, Any], position: dict[Any, int], categories: dict[Any, int], count: int
) -> str | None:
    if entry["image_id"] not in position:
        return f"image id {entry['image_id']} is not among the images"
    if entry["category_id"] not in categories:
        return f"category {entry['category_id']} is not among the categories"
    numbers = entry["keypoints"]
    if len(numbers) != 3 * count:
        return f"{len(numbers)} numbers for keypoints, where 3 for each of {count} are due"
    odd = [flag for flag in numbers[2::3] if flag not in (0, 1, 2)]
    if odd:
        return f"keypoint flag {odd[0]!r}, where 0, 1 or 2 is due"
    if len(entry["bbox"]) != 4:
        return f"the box has {len(entry['bbox'])} numbers, where 4 are due"
    return None


def _without_corner_boxes(pose_set: PoseSet, given: np.ndarray, where: str) -> PoseSet:
    """Without instances whose box only fits read as x1, y1, x2, y2; all, when most are such.

    Such a box leaves the picture as x, y, width, height, lies within it as two corners, and then
    still holds all labelled points. A box that truly leaves its picture hardly ever does.
    """
    size, known = checks.picture_sizes(pose_set)
    leaves = (pose_set.bboxes[:, 2:] > size + checks.SLACK).any(axis=1)
    fits = (given[:, 2:] > given[:, :2]).all(axis=1)
    fits &= (given[:, 2:] <= size + checks.SLACK).all(axis=1)
    low, high = given[:, None, :2] - checks.SLACK, given[:, None, 2:] + checks.SLACK
    holds = ((pose_set.keypoints >= low) & (pose_set.keypoints <= high)).all(axis=-1)
    suspect = known & leaves & fits & (holds | ~pose_set.labelled).all(axis=1)
    if 2 * suspect.sum() > len(pose_set):
        problem = Problem(
            where,
            f"{suspect.sum()} of {len(pose_set)} boxes leave their picture as x, y, width, height "
            "and fit as x1, y1, x2, y2",
            "open it with boxes=xyxy, or write the boxes as x, y, width, height",
        )
        return checks.with_problems(pose_set.select_instances(np.array([], dtype=int)), (problem,))
    return checks.without(
        pose_set,
        suspect,
        where,
        lambda i: f"the box {given[i].tolist()} fits as x1, y1, x2, y2 only",
        "write it as x, y, width, height",
    )


def _licence(content: dict[str, Any]) -> str:
    entries = content.get("licenses")
    names = [str(e.get("name") or "") for e in entries or () if isinstance(e, dict)]
    return "; ".join(name for name in names if name) or "not stated in the file"
