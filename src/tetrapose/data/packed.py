"""A set in one folder of two files, its pictures shrunk to what crops need: to carry elsewhere.

Origin: written by ``tetrapose datasets pack`` from any other set.
Licence: that of the set it was made of.
Citation: as of the set it was made of.

NAME.json holds labels and index, NAME-DIGEST.pack the pictures as JPEG files one after another
(data/packs.py). Pictures without an animal are not in it, nor those that could not be decoded.
Labels are in the pixels of the pictures as they are kept.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tetrapose import geometry, images, skeletons
from tetrapose.data import checks, packs
from tetrapose.data.cache import shrunk
from tetrapose.data.packs import Index, Picture, Unfit
from tetrapose.data.reading import About, Split
from tetrapose.errors import UserError
from tetrapose.structures import PoseSet, Problem

ABOUT = About(
    title="Packed sets: labels and shrunk pictures in two files",
    skeleton="that of the set it was made of, stored with it",
    origin="tetrapose datasets pack",
    licence="that of the set it was made of",
    citation="as of the set it was made of",
    layout="FOLDER/NAME.json and FOLDER/NAME-DIGEST.pack; of several, packed:FOLDER/NAME.json",
    traps="pictures are shrunk and compressed once more: score on the set itself",
    fetch="nothing to fetch: tetrapose datasets pack writes it",
)
ENCODING = "jpeg"
PADDING = 1.25  # of the box, as crops have it
AT_ONCE = 64
ROWS = ("image_index", "visibility", "areas", "species", "crowd", "annotation_ids")
DECIMALS = 3


def read(
    root: str | Path, *, split: Split | None = None, sizes: bool = False, pictures: bool = True
) -> PoseSet:
    """The set in ``root``, a folder with one pack or the NAME.json of one.

    With ``pictures`` each is compared with its checksum. ``split`` names pictures as the original
    set did. Their sizes are known with or without ``sizes``.
    """
    folder, name = _place(Path(root))
    try:
        index = packs.read(folder, name)
        if pictures:
            packs.check_data(packs.mapped(folder, index), index)
        pose_set = _pose_set(index, folder)
    except Unfit as why:
        raise UserError(f"{folder / name}.json: {why}; pack or copy it again") from None
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{folder / name}.json: not a packed set ({error})") from None
    where = {
        file: f"{index.data}/{images.member(start, length, '.jpg')}"
        for file, start, length in zip(
            index.files, index.starts.tolist(), index.lengths.tolist(), strict=True
        )
    }
    pose_set = checks.checked(pose_set, str(folder / name), split=split, pictures=False)
    return replace(pose_set, files=tuple(where[file] for file in pose_set.files))


def write(
    pose_set: PoseSet, folder: str | Path, name: str, *, side: int = 256, quality: int = 75
) -> tuple[int, tuple[Problem, ...]]:
    """Pack a set as ``name`` in ``folder``; its bytes, and the pictures that were left out.

    Pictures are shrunk until the smallest animal's region (its box, padded, square) measures
    ``side`` pixels, never enlarged, and saved at that JPEG ``quality``; JPEGs that stay whole keep
    their bytes where these are fewer. Raises UserError when the folder cannot be written.
    """
    held = np.zeros(len(pose_set.files), dtype=bool)
    held[pose_set.image_index] = True
    pose_set = pose_set.select_images(held)
    _, regions = geometry.box_to_region(pose_set.bboxes, aspect=1.0, padding=PADDING)
    scales = np.zeros(len(pose_set.files))
    np.maximum.at(scales, pose_set.image_index, np.minimum(side / regions[:, 0], 1.0))
    folder = Path(folder)
    kept: list[Picture] = []
    problems: list[Problem] = []

    def good() -> Iterator[Picture]:
        for picture in _pictures(pose_set, scales, quality):
            if picture.fault:
                problems.append(Problem(picture.file, picture.fault, "replace the picture"))
                continue
            kept.append(replace(picture, data=b""))
            yield picture

    def labels() -> dict[str, Any]:
        there = {picture.file for picture in kept}
        return _labels(pose_set.select_images(np.array([f in there for f in pose_set.files])), kept)

    with packs.locked(folder, name):
        index = packs.write(folder, name, good(), encoding=ENCODING, more=labels)
    return index.length + (folder / f"{name}.json").stat().st_size, tuple(problems)


def _pictures(pose_set: PoseSet, scales: np.ndarray, quality: int) -> Iterator[Picture]:
    def one(image: int) -> Picture:
        return _picture(pose_set, image, float(scales[image]), quality)

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for first in range(0, len(scales), AT_ONCE):
            yield from pool.map(one, range(first, min(first + AT_ONCE, len(scales))))


def _picture(pose_set: PoseSet, image: int, scale: float, quality: int) -> Picture:
    path, file = pose_set.path(image), pose_set.files[image]
    nothing = (0,) * packs.STAMP  # the original's times mean nothing elsewhere
    try:
        pixels, full = shrunk(path, scale)
        original = images.read_bytes(path)
    except images.ImageError as error:
        return Picture(file, b"", (0, 0), (0, 0), scale, nothing, "", str(error))
    size = (pixels.shape[1], pixels.shape[0])
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    _, coded = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), options)
    data = coded.tobytes()
    if images.plain_jpeg(original) == size and len(original) <= len(data):
        data = original
    return Picture(file, data, size, full, scale, nothing, "")


def _labels(pose_set: PoseSet, kept: list[Picture]) -> dict[str, Any]:
    """The set's columns in the pixels of the pictures as they are kept, as plain values."""
    matrices = np.stack([geometry.resize_matrix(one.full, one.size) for one in kept])
    of_row = matrices[pose_set.image_index]
    corners = pose_set.bboxes.reshape(-1, 2, 2)
    moved = {
        "keypoints": geometry.transform_points(of_row, pose_set.keypoints),
        "bboxes": geometry.transform_points(of_row, corners).reshape(-1, 4),
    }
    columns: dict[str, Any] = {key: getattr(pose_set, key).tolist() for key in ROWS}
    columns["areas"] = (pose_set.areas * of_row[:, 0, 0] * of_row[:, 1, 1]).round(1).tolist()
    for key, values in moved.items():
        plain = values.round(DECIMALS).astype(object)
        plain[np.isnan(values)] = None  # JSON has no NaN
        columns[key] = plain.tolist()
    weights = pose_set.weights
    return {
        **columns,
        "weights": None if weights is None else weights.astype(np.float64).round(4).tolist(),
        "skeleton": pose_set.skeleton.to_dict(),
        "image_ids": pose_set.image_ids.tolist(),
        "groups": pose_set.groups.tolist(),
        "source": pose_set.source,
        "licence": pose_set.licence,
        "species_names": list(pose_set.species_names),
    }


def _pose_set(index: Index, folder: Path) -> PoseSet:
    """The set with the original's picture names; KeyError and the like where it is not one."""
    values = index.more
    skeleton = skeletons.from_dict(values["skeleton"])
    rows, k = len(values["image_index"]), len(skeleton)
    weights = values["weights"]

    def whole(key: str) -> np.ndarray:
        return np.array(values[key], dtype=np.int64)

    return PoseSet(
        skeleton=skeleton,
        root=folder,
        source=values["source"],
        licence=values["licence"],
        files=index.files,
        sizes=index.sizes.astype(np.int32),
        keypoints=np.array(values["keypoints"], dtype=np.float64).reshape(rows, k, 2),
        visibility=np.array(values["visibility"], dtype=np.uint8).reshape(rows, k),
        bboxes=np.array(values["bboxes"], dtype=np.float32).reshape(rows, 4),
        areas=np.array(values["areas"], dtype=np.float64),
        species_names=tuple(values["species_names"]),
        crowd=np.array(values["crowd"], dtype=bool),
        weights=None if weights is None else np.array(weights, dtype=np.float32),
        image_ids=whole("image_ids"),
        groups=whole("groups"),
        image_index=whole("image_index"),
        species=whole("species"),
        annotation_ids=whole("annotation_ids"),
    )


def _place(root: Path) -> tuple[Path, str]:
    """The folder and the name of the pack that was meant."""
    if not root.exists():
        raise UserError(f"{root}: no such folder")
    if root.is_file():
        return root.parent, root.name.removesuffix(".json")
    names = sorted(path.name.removesuffix(".json") for path in root.glob("*.json"))
    if not names:
        raise UserError(f"{root}: the folder is there but lacks NAME.json; is it a packed set?")
    if len(names) > 1:
        choice = " or ".join(f"packed:{root / name}.json" for name in names)
        raise UserError(f"{root}: holds {len(names)} sets; choose {choice}")
    return root, names[0]
