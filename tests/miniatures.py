"""Label sets of a few small pictures, each in its dataset's own layout, for tests to spoil."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tetrapose import skeletons

SIZES = {"a.jpg": (64, 48), "b.jpg": (48, 64), "c.jpeg": (50, 37), "d.jpg": (64, 64)}
# picture, box as x1 y1 x2 y2, species: one picture with two animals, one with none
ANIMALS = [
    ("a.jpg", (12, 8, 44, 46), "dog"),
    ("a.jpg", (30, 2, 63, 40), "cat"),
    ("b.jpg", (10, 9, 45, 60), "horse"),
    ("c.jpeg", (8, 6, 48, 35), "dog"),
]
SPECIES = ("dog", "cat", "sheep", "horse", "cow")


def paint(path: Path, size: tuple[int, int], seed: int) -> None:
    """A small picture that differs from every other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 255, (size[1] // 4, size[0] // 4, 3), np.uint8)
    Image.fromarray(noise).resize(size).save(path, quality=90)


def points(count: int, box: tuple[float, ...], seed: int) -> np.ndarray:
    """(count, 2) places inside a box, in half pixels."""
    drawn = np.random.default_rng(seed).uniform(box[:2], box[2:], (count, 2))
    return np.floor(drawn * 2) / 2


def animal_pose(folder: Path) -> Path:
    """The official layout; every third point unlabelled, as 0, 0, 0."""
    names = list(skeletons.load("animal_pose").names)
    files = {str(i + 1): name for i, name in enumerate(SIZES)}
    ids = {name: int(key) for key, name in files.items()}
    annotations = []
    for seed, (name, box, species) in enumerate(ANIMALS):
        places = np.floor(points(20, box, seed)).astype(int).tolist()
        flagged = [[x, y, 1] if i % 3 else [0, 0, 0] for i, (x, y) in enumerate(places)]
        annotations.append(
            {
                "image_id": ids[name],
                "bbox": list(box),
                "keypoints": flagged,
                "num_keypoints": 20,
                "category_id": SPECIES.index(species) + 1,
            }
        )
    categories = [
        {
            "supercategory": "animal",
            "id": i + 1,
            "name": species,
            "keypoints": names,
            "skeleton": [],
        }
        for i, species in enumerate(SPECIES)
    ]
    content = {"images": files, "annotations": annotations, "categories": categories, "info": {}}
    return _write(folder, folder / "keypoints.json", content)


def akd_cats(folder: Path) -> Path:
    """Relative coordinates, flag 0 for hidden; picture d.jpg without a cat."""
    part = folder / "train"
    names = skeletons.load("akd_cats").names
    images, keypoints = {}, {}
    for i, (name, size) in enumerate(SIZES.items()):
        images[str(i)] = {"file_name": name, "width": size[0], "height": size[1]}
        if name == "d.jpg":
            continue
        places = points(16, (4, 4, size[0] - 5, size[1] - 5), i) / size
        keypoints[str(i)] = {
            key: [float(x), float(y), int(j % 4 > 0)]
            for j, (key, (x, y)) in enumerate(zip(names, places, strict=True))
        }
    content = {"info": "", "images": images, "keypoints": keypoints}
    _write(part, part / "train_keypoints_annotations.json", content)
    return folder


def coco(folder: Path, skeleton: str = "ap10k") -> Path:
    """COCO keypoints: every third point unlabelled, every fourth hidden; gives the label file."""
    known = skeletons.load(skeleton)
    ids = {name: 10 + i for i, name in enumerate(SIZES)}
    annotations = []
    for seed, (name, box, species) in enumerate(ANIMALS):
        places = points(len(known), box, seed)
        flags = [0 if i % 3 == 0 else 1 if i % 4 == 0 else 2 for i in range(len(known))]
        flat = [
            float(value)
            for (x, y), flag in zip(places, flags, strict=True)
            for value in ((x, y, flag) if flag else (0, 0, 0))
        ]
        annotations.append(
            {
                "id": 100 + seed,
                "image_id": ids[name],
                "category_id": SPECIES.index(species) + 1,
                "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                "area": 0.5 * (box[2] - box[0]) * (box[3] - box[1]),
                "iscrowd": 0,
                "num_keypoints": sum(flag > 0 for flag in flags),
                "keypoints": flat,
            }
        )
    content = {
        "images": [
            {"id": ids[name], "file_name": name, "width": size[0], "height": size[1]}
            for name, size in SIZES.items()
        ],
        "annotations": annotations,
        "categories": [
            {"id": i + 1, "name": species, "keypoints": list(known.names), "skeleton": []}
            for i, species in enumerate(SPECIES)
        ],
        "licenses": [{"id": 1, "name": "CC0"}],
    }
    _write(folder, folder / "labels.json", content)
    return folder / "labels.json"


def _write(folder: Path, file: Path, content: Any) -> Path:
    for seed, (name, size) in enumerate(SIZES.items()):
        paint(folder / "images" / name, size, seed)
    file.write_text(json.dumps(content))
    return folder


def edit(file: Path, change: Callable[[Any], Any]) -> None:
    """Change the content of a JSON file in place."""
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
