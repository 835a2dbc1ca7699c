"""Small piles of pictures with and without labels, for tests of the triplet factory."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from tetrapose import skeletons
from tetrapose.triplets.library import Library
from tetrapose.triplets.settings import Settings

NAMES = skeletons.load("animal_pose").names
SMALL = Settings(size=64, least_side=32, part=4, networks=False)
BOX = (20, 10, 80, 60)


def picture(seed: int, size: tuple[int, int] = (96, 72)) -> np.ndarray:
    """Smooth blobs (H, W, 3) that no other seed resembles."""
    rough = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), np.uint8)
    return cv2.resize(rough, size, interpolation=cv2.INTER_CUBIC)


def save(path: Path, pixels: np.ndarray, **how) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **how)
    return path


def labelled(folder: Path, count: int, *, points: int = 20, start: int = 0) -> str:
    """A set in Animal-Pose's layout, an animal a picture with its first ``points`` labelled."""
    images, annotations = {}, []
    for i in range(count):
        name = f"p{i:03d}.jpg"
        save(folder / "images" / name, picture(start + i), quality=92)
        images[str(i + 1)] = name
        places = np.random.default_rng(i).integers(BOX[:2], BOX[2:], (len(NAMES), 2)).tolist()
        flagged = [[x, y, 1] if k < points else [0, 0, 0] for k, (x, y) in enumerate(places)]
        annotations.append(
            {"image_id": i + 1, "bbox": list(BOX), "keypoints": flagged, "num_keypoints": points,
             "category_id": 1 + i % 2}
        )  # fmt: skip
    kinds = [
        {"supercategory": "animal", "id": n + 1, "name": name, "keypoints": list(NAMES),
         "skeleton": []}
        for n, name in enumerate(("dog", "cat"))
    ]  # fmt: skip
    content = {"images": images, "annotations": annotations, "categories": kinds, "info": {}}
    (folder / "keypoints.json").write_text(json.dumps(content))
    return f"animal_pose:{folder}"


def photos(folder: Path, count: int, *, start: int = 0) -> Path:
    for i in range(count):
        save(folder / f"{i:03d}.png", picture(start + i))
    return folder


def digests(root: Path) -> dict[str, str]:
    """Digest of every shard and table of a library."""
    library = Library(root)
    files = [*library.shards(), *(library.ledger(part) for part in library.parts_written())]
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }
