"""A random label file without a fault, for tests to plant faults into."""

from __future__ import annotations

from typing import Any

import numpy as np

from tetrapose import skeletons

NAMES = list(skeletons.load("ap10k").names)


def labels(seed: int, animals: int = 40) -> dict[str, Any]:
    """COCO keypoints of AP-10K's points: one or two animals a picture."""
    rng = np.random.default_rng(seed)
    images, annotations = [], []
    while len(annotations) < animals:
        width, height = (int(v) for v in rng.integers(300, 900, 2))
        picture = 100 + len(images)
        images.append(
            {"id": picture, "file_name": f"p{picture}.jpg", "width": width, "height": height}
        )
        for _ in range(int(rng.integers(1, 3))):
            annotations.append(_animal(rng, len(annotations), picture, width, height))
    edges = (skeletons.load("ap10k").edge_indices + 1).tolist()
    return {
        "images": images,
        "annotations": annotations,
        "categories": [
            {"id": i + 1, "name": name, "keypoints": list(NAMES), "skeleton": edges}
            for i, name in enumerate(("dog", "cat", "horse"))
        ],
    }


def _animal(
    rng: np.random.Generator, index: int, picture: int, width: int, height: int
) -> dict[str, Any]:
    side = np.array([width, height])
    low = rng.uniform(0.05, 0.4, 2) * side
    high = rng.uniform(0.6, 0.95, 2) * side
    points = rng.uniform(low + 3, high - 3, (len(NAMES), 2)).round(1)
    flags = rng.choice([0, 1, 2, 2, 2], len(NAMES))
    flags[:4] = 2
    points[flags == 0] = 0
    x, y, w, h = (float(v) for v in (*low.round(1), *(high - low).round(1)))
    return {
        "id": 1000 + index,
        "image_id": picture,
        "category_id": index % 3 + 1,
        "bbox": [x, y, w, h],
        "area": round(w * h * float(rng.uniform(0.4, 1)), 1),
        "iscrowd": 0,
        "num_keypoints": int((flags > 0).sum()),
        "keypoints": np.column_stack([points, flags]).ravel().tolist(),
    }
