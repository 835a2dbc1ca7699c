"""YOLO-pose: a text file a picture beside data.yaml, as Ultralytics trains from.

Origin: docs.ultralytics.com/datasets/pose (github.com/ultralytics/ultralytics).
Licence: of the format none (their code is AGPL-3.0; none of it is used here); the data's own.
Citation: none.

data.yaml names the parts (train, val, test: a folder of pictures, a list of such, or a text file of
picture paths), the classes (names), kpt_shape [K, 2 or 3], flip_idx and, in newer files, kpt_names.
The labels of .../images/a.jpg are .../labels/a.txt, one animal a line: class, the box as centre
x, centre y, width, height, then x, y and (if 3) visibility 0, 1, 2 of each keypoint; all but class
and visibility are divided by the picture's width or height. With kpt_shape [K, 2] a point at 0, 0
is not labelled. Numbers are taken as x / width of the pixel as it stands, as Ultralytics' own
converter from COCO does, so that COCO and YOLO of one set agree here.

Since numbers are relative the pictures' headers are always read. Their own traps: flip_idx may be
missing or be no mirror (told here where it contradicts the names); nothing tells areas or crowds.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import yaml

from tetrapose.data import checks, made, ways_out
from tetrapose.data.gather import Gathered
from tetrapose.data.reading import About, Split, write_text
from tetrapose.errors import UserError
from tetrapose.geometry import xywh_to_xyxy
from tetrapose.images import ImageError, read_size
from tetrapose.skeletons import Skeleton
from tetrapose.structures import PoseSet

ABOUT = About(
    title="YOLO-pose: a text file a picture beside data.yaml",
    skeleton="by kpt_names in data.yaml, or given with skeleton=NAME or skeleton=FILE.yaml",
    origin="docs.ultralytics.com/datasets/pose",
    licence="the data's own",
    citation="none",
    layout="FOLDER/data.yaml; pictures in folders called images, labels beside them in labels",
    traps=(
        "numbers are relative to the picture; without kpt_names nothing tells what a point is; "
        "flip_idx is often missing or wrong; points with kpt_shape [K, 2] are unlabelled at 0, 0"
    ),
)
PARTS = ("train", "val", "test")
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
HOLDS = frozenset({"species", "hidden", "boxes", "pointless"})


def read(
    root: str | Path,
    *,
    part: str | None = None,
    skeleton: str | Skeleton | None = None,
    sides: str | None = None,
    split: Split | None = None,
    sizes: bool = False,
    pictures: bool = True,
) -> PoseSet:
    """The set of ``root`` (a folder with data.yaml, or a .yaml file), or its ``part``.

    ``skeleton`` and ``sides`` as in ``made.skeleton_of``.
    """
    if not pictures:
        raise UserError(f"{root}: YOLO's numbers are relative to the pictures, which must be there")
    file = Path(root) if Path(root).suffix in (".yaml", ".yml") else Path(root) / "data.yaml"
    content = _content(file)
    count, dims = _shape(content, file)
    chosen, order, problems = _skeleton(content, count, skeleton, sides, file)
    names = content.get("names")
    classes = [str(n) for n in (names.values() if isinstance(names, dict) else names or ["animal"])]
    found = Gathered()
    found.problems.extend(problems)
    base = _base(content, file)
    for picture in _pictures(content, base, part, file):
        _labels(found, base, picture, classes, (count, dims, order))
    pose_set = found.pose_set(
        chosen, root=base, source="yolo", licence=ABOUT.licence, species=classes
    )
    return checks.checked(pose_set, str(file), split=split, sizes=sizes, pictures=pictures)


def _content(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{file}: no such file; due is {ABOUT.layout}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(
            f"{file}: cannot be read as YAML ({' '.join(str(error).split())})"
        ) from None
    if not isinstance(content, dict):
        raise UserError(f"{file}: named fields are due (train, val, names, kpt_shape)")
    return content


def _shape(content: dict[str, Any], file: Path) -> tuple[int, int]:
    shape = content.get("kpt_shape")
    if (
        not isinstance(shape, list)
        or len(shape) != 2
        or not all(isinstance(n, int) for n in shape)
        or shape[0] < 1
        or shape[1] not in (2, 3)
    ):
        raise UserError(f"{file}: kpt_shape is {shape!r}, where [keypoints, 2 or 3] is due")
    return shape[0], shape[1]


def _skeleton(
    content: dict[str, Any], count: int, given: Any, sides: str | None, file: Path
) -> tuple[Skeleton, np.ndarray, list[Any]]:
    named = content.get("kpt_names")
    if isinstance(named, dict):
        named = next(iter(named.values()), None)
    if isinstance(named, list):
        names = [str(name) for name in named]
    elif given is not None:
        from tetrapose import skeletons

        known = given if isinstance(given, Skeleton) else skeletons.load(given)
        names = list(known.names)
    else:
        raise UserError(
            f"{file}: has no kpt_names, so nothing tells what its {count} points are; add "
            "skeleton=NAME or skeleton=FILE.yaml with the points in its order"
        )
    if len(names) != count:
        raise UserError(f"{file}: {len(names)} keypoint names for kpt_shape of {count}")
    chosen, order, problems = made.skeleton_of(names, given, where=str(file), sides=sides)
    flip = content.get("flip_idx")
    own = [int(np.flatnonzero(order == i)[0]) for i in range(count)]
    due = [int(order[chosen.flip_indices[k]]) for k in own]
    if flip is not None and flip != due:
        raise UserError(
            f"{file}: flip_idx {flip} is not the mirror that its keypoints' names tell ({due}); "
            "correct it, or remove it"
        )
    return chosen, order, problems


def _base(content: dict[str, Any], file: Path) -> Path:
    told = content.get("path")
    place = file.parent / str(told) if told else file.parent
    # a path of the machine that wrote the file is no use here; the file's own folder is
    return place if place.is_dir() else file.parent


def _pictures(content: dict[str, Any], base: Path, part: str | None, file: Path) -> Iterator[str]:
    """Paths below ``base`` of the pictures of a part, or of all parts, each once."""
    held = [name for name in PARTS if content.get(name)]
    if part is not None and part not in held:
        raise UserError(f"{file}: has no part {part!r}; it has {', '.join(held) or 'none'}")
    if not held:
        raise UserError(f"{file}: names none of {', '.join(PARTS)}")
    seen: dict[str, None] = {}
    for name in [part] if part else held:
        told = content[name]
        for place in told if isinstance(told, list) else [told]:
            seen.update(dict.fromkeys(_below(base, str(place), file)))
    yield from seen


def _below(base: Path, told: str, file: Path) -> list[str]:
    # some tools write ../ before a folder that stands beside data.yaml
    tries = [base / told, base / told.removeprefix("../")]
    place = next((one for one in tries if one.exists()), tries[0])
    if place.is_dir():
        found = sorted(p for p in place.rglob("*") if p.suffix.lower() in SUFFIXES)
    elif place.is_file():
        lines = place.read_text(encoding="utf-8").splitlines()
        found = [base / line.strip() for line in lines if line.strip()]
    else:
        raise UserError(f"{file}: {place} is not there; due is {ABOUT.layout}")
    below = [Path(os.path.relpath(path, base)).as_posix() for path in found]
    if any(name.startswith("../") for name in below):
        raise UserError(f"{file}: {place} leads out of {base}; set path to a folder above both")
    return below


def _labels(
    found: Gathered, base: Path, picture: str, classes: list[str],
    shape: tuple[int, int, np.ndarray],
) -> None:  # fmt: skip
    count, dims, order = shape
    try:
        size = read_size(base / picture)
    except ImageError as error:
        found.problem(f"{base}: picture {picture}", str(error), "replace or remove the picture")
        return
    image = found.picture(picture, size)
    file = base / _label_name(picture)
    if not file.exists():
        return  # a picture without an animal
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            values = [float(word) for word in line.split()]
            if len(values) != 5 + count * dims:
                raise ValueError(f"{len(values)} numbers, where {5 + count * dims} are due")
            if values[0] not in range(len(classes)):
                raise ValueError(f"class {values[0]:g} of {len(classes)}")
            points, flags = _points(np.array(values[5:]).reshape(count, dims), size)
            cx, cy, w, h = np.array(values[1:5]) * [*size, *size]
            box = xywh_to_xyxy(np.array([cx - w / 2, cy - h / 2, w, h]))
        except ValueError as error:
            found.problem(f"{file}: line {number}", str(error), "correct or remove the line")
            continue
        found.animal(
            image,
            made.in_order(points, order, np.nan),
            made.in_order(flags, order, 0),
            box=box,
            species=classes[int(values[0])],
        )


def _label_name(picture: str) -> str:
    """labels/ for the last images/ in the path, .txt for the suffix."""
    parts = list(PurePosixPath(picture).with_suffix(".txt").parts)
    last = max((i for i, part in enumerate(parts[:-1]) if part == "images"), default=None)
    if last is not None:
        parts[last] = "labels"
    return "/".join(parts)


def _points(values: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    if values.shape[1] == 3:
        odd = values[~np.isin(values[:, 2], (0, 1, 2)), 2]
        if len(odd):
            raise ValueError(f"visibility {odd[0]:g}, where 0, 1 or 2 is due")
        flags = values[:, 2]
    else:
        flags = np.where((values == 0).all(axis=1), 0, 2)
    return values[:, :2] * size, flags.astype(np.uint8)


def write(pose_set: PoseSet, path: str | Path, *, pictures: str = "copy") -> tuple[str, ...]:
    """The set in the new folder ``path``: images/, labels/ and data.yaml; notes.

    Boxes are cut at the picture's border and points outside are written as not labelled, since
    Ultralytics refuses numbers beyond 0..1. Raises UserError where a picture's size is not known,
    and for a folder that is not empty.
    """
    unknown = np.flatnonzero((pose_set.sizes == 0).any(axis=1))
    if len(unknown):
        raise UserError(
            f"YOLO's numbers are relative to the pictures: the size of {pose_set.files[unknown[0]]}"
            f" and {len(unknown) - 1} more is not known; open the set with its pictures"
        )
    root = ways_out.empty_folder(Path(path))
    names = ways_out.distinct([_picture_name(file) for file in pose_set.files])
    # a.jpg and a.png would share a.txt
    stems = ways_out.distinct([str(PurePosixPath(name).with_suffix("")) for name in names])
    names = [s + PurePosixPath(n).suffix for s, n in zip(stems, names, strict=True)]
    ways_out.place(pose_set, names, root, pictures)
    lines: list[list[str]] = [[] for _ in names]
    outside = cut = 0
    for row, image in enumerate(pose_set.image_index.tolist()):
        size = pose_set.sizes[image].astype(np.float64)
        points = pose_set.keypoints[row].astype(np.float64) / size
        inside = ((points >= 0) & (points <= 1)).all(axis=1)
        outside += int((pose_set.labelled[row] & ~inside).sum())
        flags = np.where(inside, pose_set.visibility[row], 0)
        relative = pose_set.bboxes[row].astype(np.float64).reshape(2, 2) / size
        low, high = np.clip(relative, 0, 1)
        cut += int((np.abs(relative - [low, high]) * size > ways_out.CLOSE).any())
        words = [str(int(pose_set.species[row])), *map(_short, [*(low + high) / 2, *(high - low)])]
        for (x, y), flag in zip(points, flags, strict=True):
            words += [_short(x), _short(y), str(flag)] if flag else ["0", "0", "0"]
        lines[image].append(" ".join(words))
    for name, text in zip(names, lines, strict=True):
        write_text(root / _label_name(name), "".join(f"{line}\n" for line in text))
    write_text(root / "data.yaml", yaml.safe_dump(_description(pose_set), sort_keys=False))
    notes = [f"{outside} points outside their picture written as not labelled"] if outside else []
    notes += [f"{cut} boxes cut at the picture's border"] if cut else []
    return tuple(notes)


def _picture_name(file: str) -> str:
    """images/... with no other folder of that name in it, which would lead to other labels."""
    parts = list(PurePosixPath(file).parts)
    parts = parts[1:] if parts[0] == "images" and len(parts) > 1 else parts
    return "/".join(
        ["images", *("pictures" if p == "images" else p for p in parts[:-1]), parts[-1]]
    )


def _short(value: float) -> str:
    return f"{value:.9g}"


def _description(pose_set: PoseSet) -> dict[str, Any]:
    skeleton = pose_set.skeleton
    return {
        "train": "images",
        "val": "images",
        "names": dict(enumerate(pose_set.species_names)),
        "kpt_shape": [len(skeleton), 3],
        "flip_idx": skeleton.flip_indices.tolist(),
        "kpt_names": {i: list(skeleton.names) for i in range(len(pose_set.species_names))},
    }
