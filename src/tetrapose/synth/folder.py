"""A folder of pictures with COCO labels for each convention, and the whole truth beside them.

FOLDER/images/000000.jpg ..., FOLDER/<skeleton>.json, FOLDER/truth.json. Each file is written whole
or not at all, and each picture's truth is kept in FOLDER/.partial until all are done: an
interrupted run goes on where it stopped, and the files do not show it. A picture depends on the
recipe and its number alone, so neither the count of workers nor the order matters.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2

from tetrapose import skeletons
from tetrapose.errors import UserError
from tetrapose.synth import builds as build_table
from tetrapose.synth.points import NAMES, mapping
from tetrapose.synth.scene import Scene, render
from tetrapose.synth.stage import POSES

VERSION = 1  # of the pictures: goes up when the same recipe renders other pixels
QUALITY = 92  # of JPEG


@dataclass(frozen=True)
class Recipe:
    """What a folder holds: ``count`` pictures of ``size`` (width, height) from the series ``seed``.

    ``animals`` (least, most) a picture; ``builds`` and ``poses`` to draw from; ``skeletons`` to
    label under; ``hide`` skeleton -> keypoints that its file leaves unlabelled; ``suffix`` of the
    pictures, .jpg or .png. Raises UserError for what there is not.
    """

    count: int
    seed: int = 0
    size: tuple[int, int] = (256, 256)
    animals: tuple[int, int] = (1, 3)
    builds: tuple[str, ...] = ()
    poses: tuple[str, ...] = POSES
    skeletons: tuple[str, ...] = ("animal_pose",)
    hide: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    suffix: str = ".jpg"

    def __post_init__(self) -> None:
        if self.count < 1 or self.seed < 0:
            raise UserError(f"count {self.count}, seed {self.seed}: from 1 and from 0 on")
        if not 32 <= min(self.size) <= max(self.size) <= 4096:
            raise UserError(f"size {self.size[0]}x{self.size[1]}: each side is from 32 to 4096 px")
        if not 1 <= self.animals[0] <= self.animals[1] <= 12:
            raise UserError(f"animals {self.animals[0]}..{self.animals[1]}: between 1 and 12")
        odd = sorted(set(self.poses) - set(POSES))
        if odd or not self.poses:
            raise UserError(f"no pose {', '.join(odd) or 'named'}; there are: {', '.join(POSES)}")
        if self.suffix not in (".jpg", ".png"):
            raise UserError(f"pictures are written as .jpg or .png, not {self.suffix}")
        object.__setattr__(self, "builds", build_table.check(self.builds))
        for name in self.skeletons:
            mapping(name)
        for name, points in self.hide.items():
            _check_hidden(name, points, self.skeletons)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as they stand in truth.json."""
        plain = {**asdict(self), "version": VERSION}
        return json.loads(json.dumps(plain))


@dataclass(frozen=True)
class Written:
    """What a run did: pictures in the folder, those it rendered itself, animals in all."""

    pictures: int
    rendered: int
    animals: int


def _check_hidden(name: str, points: Sequence[str], chosen: Sequence[str]) -> None:
    if name not in chosen:
        raise UserError(f"points of {name} are to be hidden, but it is not written")
    known = skeletons.load(name).names
    for point in points:
        if point not in known:
            near = ", ".join(get_close_matches(point, known, n=3) or known)
            raise UserError(f"{name} has no keypoint {point!r} to hide; nearest: {near}")


def write(
    folder: str | Path,
    count: int,
    *,
    seed: int = 0,
    size: int | tuple[int, int] = 256,
    skeletons: Sequence[str] = ("animal_pose",),
    animals: int | tuple[int, int] = (1, 3),
    builds: Sequence[str] = (),
    hide: Mapping[str, Sequence[str]] | None = None,
) -> Written:
    """Render ``count`` pictures into ``folder``; see ``Recipe`` for the rest."""
    recipe = Recipe(
        count=count,
        seed=seed,
        size=(size, size) if isinstance(size, int) else size,
        animals=(animals, animals) if isinstance(animals, int) else animals,
        builds=tuple(builds),
        skeletons=tuple(skeletons),
        hide={name: tuple(points) for name, points in (hide or {}).items()},
    )
    return carry_out(folder, recipe)


def carry_out(
    folder: str | Path,
    recipe: Recipe,
    *,
    workers: int = 1,
    tell: Callable[[int], None] | None = None,
) -> Written:
    """Bring a folder to what the recipe says; ``tell`` hears the number of pictures done so far.

    Raises UserError where the folder holds anything that another recipe made.
    """
    folder = Path(folder)
    known = _open(folder, recipe)
    missing = [i for i in range(recipe.count) if not _done(folder, recipe, i, known)]
    work = partial(_one, folder, recipe)
    for done, _ in enumerate(_each(work, missing, workers), start=1):
        if tell:
            tell(recipe.count - len(missing) + done)
    records = [_record(folder, index, known) for index in range(recipe.count)]
    for name in recipe.skeletons:
        _put(folder / f"{name}.json", json.dumps(_coco(recipe, name, records)).encode())
    truth = {"recipe": recipe.to_dict(), "points": list(NAMES), "images": records}
    _put(folder / "truth.json", json.dumps(truth).encode())
    shutil.rmtree(folder / ".partial", ignore_errors=True)
    return Written(recipe.count, len(missing), sum(len(r["animals"]) for r in records))


def _open(folder: Path, recipe: Recipe) -> list[dict[str, Any]]:
    """Make or check the folder; the records of a finished run with the same recipe."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file; name a folder to write to")
    truth, note = folder / "truth.json", folder / ".partial" / "recipe.json"
    known: list[dict[str, Any]] = []
    made = recipe.to_dict()
    if truth.exists() or note.exists():
        made, known = _read_truth(truth, note)
    elif folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder}: is not empty, and not from here; name another folder")
    wanted = recipe.to_dict()
    if made != wanted:
        odd = [key for key in wanted if not isinstance(made, dict) or made.get(key) != wanted[key]]
        raise UserError(
            f"{folder}: was written with another {', '.join(odd)}; name another folder or empty it"
        )
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / ".partial").mkdir(exist_ok=True)
    _put(note, json.dumps(wanted).encode())
    return known


def _read_truth(truth: Path, note: Path) -> tuple[Any, list[dict[str, Any]]]:
    """The recipe of a folder, and its records where it is finished."""
    path = truth if truth.exists() else note
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return (content["recipe"], content["images"]) if path is truth else (content, [])
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path}: cannot be read; remove it, or name another folder") from None


def _name(recipe: Recipe, index: int) -> str:
    return f"{index:06d}{recipe.suffix}"


def _done(folder: Path, recipe: Recipe, index: int, known: list[dict[str, Any]]) -> bool:
    """A picture counts as done when it and its record are there: the record is written after it."""
    there = (folder / "images" / _name(recipe, index)).exists()
    return there and (bool(known) or (folder / ".partial" / f"{index:06d}.json").exists())


def _record(folder: Path, index: int, known: list[dict[str, Any]]) -> dict[str, Any]:
    part = folder / ".partial" / f"{index:06d}.json"
    if part.exists():
        return json.loads(part.read_text(encoding="utf-8"))
    return known[index]


def _each(work: Callable[[int], None], numbers: list[int], workers: int) -> Iterator[None]:
    if workers <= 1 or len(numbers) < 2:
        yield from map(work, numbers)
        return
    # a fresh interpreter each: OpenCV's threads do not survive a fork
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(work, numbers, chunksize=4)


def _one(folder: Path, recipe: Recipe, index: int) -> None:
    """Render one picture and keep its record."""
    scene = render(
        index,
        seed=recipe.seed,
        size=recipe.size,
        animals=recipe.animals,
        builds=recipe.builds,
        poses=recipe.poses,
    )
    options = [cv2.IMWRITE_JPEG_QUALITY, QUALITY] if recipe.suffix == ".jpg" else []
    pixels = cv2.cvtColor(scene.image, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(recipe.suffix, pixels, options)
    name = _name(recipe, index)
    _put(folder / "images" / name, data.tobytes())
    record = json.dumps(_describe(scene, name))
    _put(folder / ".partial" / f"{index:06d}.json", record.encode())


def _describe(scene: Scene, name: str) -> dict[str, Any]:
    height, width = scene.image.shape[:2]
    animals = [
        {
            "build": one.build,
            "pose": one.pose,
            "bbox": one.bbox.tolist(),
            "area": one.area,
            "points": [[round(v, 3) for v in one.points[point]] for point in NAMES],
            "visible": [int(one.visible[point]) for point in NAMES],
        }
        for one in scene.animals
    ]
    return {"file_name": name, "width": width, "height": height, "animals": animals}


def _put(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    part.write_bytes(data)
    os.replace(part, path)


def _coco(recipe: Recipe, name: str, records: list[dict[str, Any]]) -> dict[str, Any]:
    """COCO keypoints of one convention; a category for each build, whichever were drawn."""
    skeleton = skeletons.load(name)
    table, hidden = mapping(name), set(recipe.hide.get(name, ()))
    known = {point for point in table if point not in hidden}
    rows = [NAMES.index(table[p]) if p in known else None for p in skeleton.names]
    categories = {build: i + 1 for i, build in enumerate(build_table.names())}
    annotations = []
    for image, record in enumerate(records):
        for animal in record["animals"]:
            keypoints = _keypoints(animal, rows, record["width"], record["height"])
            x1, y1, x2, y2 = animal["bbox"]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image + 1,
                    "category_id": categories[animal["build"]],
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": animal["area"],
                    "iscrowd": 0,
                    "num_keypoints": sum(v > 0 for v in keypoints[2::3]),
                    "keypoints": keypoints,
                }
            )
    images = [
        {"id": i + 1, **{key: record[key] for key in ("file_name", "width", "height")}}
        for i, record in enumerate(records)
    ]
    edges = (skeleton.edge_indices + 1).tolist()
    return {
        "info": {"description": f"tetrapose menagerie, {skeleton.title}"},
        "images": images,
        "annotations": annotations,
        "categories": [
            {"id": i, "name": build, "keypoints": list(skeleton.names), "skeleton": edges}
            for build, i in categories.items()
        ],
    }


def _keypoints(
    animal: dict[str, Any], rows: list[int | None], width: int, height: int
) -> list[float]:
    out: list[float] = []
    for row in rows:
        x, y, depth = animal["points"][row] if row is not None else (0, 0, -1)
        inside = depth > 0 and -0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5
        out += [x, y, 1 + animal["visible"][row]] if inside and row is not None else [0, 0, 0]
    return out
