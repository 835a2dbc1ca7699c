"""Every formula that knows where a pixel's centre is.

One convention: the centre of the top-left pixel is (0, 0), so a picture of width W spans -0.5 to
W - 0.5. A region of ``size`` around ``center`` is mapped so that its borders fall on the crop's
borders; a grid of stride s has cell (i) centred on pixel (i + 0.5) s - 0.5. With both rules,
encode, warp and decode are exact inverses and mirroring commutes with each. Boxes are x1, y1, x2,
y2 in the same frame as keypoints. See docs/conventions.md.
"""

from __future__ import annotations

import numpy as np

WARPS = ("borders", "centres", "origin")


def xywh_to_xyxy(boxes: np.ndarray) -> np.ndarray:
    """(..., 4) x, y, width, height -> x1, y1, x2, y2."""
    boxes = np.asarray(boxes)
    return np.concatenate([boxes[..., :2], boxes[..., :2] + boxes[..., 2:]], axis=-1)


def xyxy_to_xywh(boxes: np.ndarray) -> np.ndarray:
    """(..., 4) x1, y1, x2, y2 -> x, y, width, height."""
    boxes = np.asarray(boxes)
    return np.concatenate([boxes[..., :2], boxes[..., 2:] - boxes[..., :2]], axis=-1)


def box_area(boxes: np.ndarray) -> np.ndarray:
    """(..., 4) -> (...) area in px^2, 0 for empty boxes."""
    side = np.clip(np.asarray(boxes)[..., 2:] - np.asarray(boxes)[..., :2], 0, None)
    return side[..., 0] * side[..., 1]


def box_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(N, 4), (M, 4) -> (N, M) intersection over union."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inter = np.prod(np.clip(high - low, 0, None), axis=-1)
    union = box_area(a)[:, None] + box_area(b)[None] - inter
    return np.where(union > 0, inter / np.where(union > 0, union, 1), 0.0)


def whole_picture_box(width: int, height: int) -> np.ndarray:
    """(4,) the box that spans a picture's every pixel."""
    return np.array([-0.5, -0.5, width - 0.5, height - 0.5], dtype=np.float32)


def box_to_region(
    boxes: np.ndarray, *, aspect: float, padding: float = 1.25
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (N, 4) -> centers (N, 2), sizes (N, 2) of the regions to crop.

    The shorter side grows until width / height equals ``aspect``; then both are multiplied by
    ``padding``. Source: the top-down rule of HRNet's JointsDataset (padding 1.25).
    """
    boxes = np.asarray(boxes, dtype=np.float64)
    centers = (boxes[..., :2] + boxes[..., 2:]) / 2
    width, height = np.moveaxis(np.maximum(boxes[..., 2:] - boxes[..., :2], 1.0), -1, 0)
    width = np.maximum(width, height * aspect)
    sizes = np.stack([width, width / aspect], axis=-1) * padding
    return centers, sizes


def crop_matrix(
    center: np.ndarray,
    size: np.ndarray,
    out_size: tuple[int, int],
    *,
    rotation: float = 0.0,
    mirror: bool = False,
    warp: str = "borders",
) -> np.ndarray:
    """(2, 3) matrix taking picture pixels to crop pixels.

    ``center`` and ``size`` (width, height) give the region, ``out_size`` (width, height) the crop,
    ``rotation`` degrees by which the content turns counter-clockwise as seen, ``mirror`` a
    left-right flip of the crop after rotation (names are the caller's to exchange). ``warp`` says
    where the region's borders fall: on the crop's ("borders", the rule of this package), on the
    centres of its outermost pixels ("centres"), or half a pixel right of and below its borders
    ("origin"). The last two are for networks that were taught so.
    Source: centres: unbiased data processing, Huang et al., CVPR 2020; origin: the code of
    SimpleBaseline and HRNet (lib/utils/transforms.py), which puts the region's centre at size / 2.
    """
    if warp not in WARPS:
        raise ValueError(f"warp must be one of {', '.join(WARPS)}, not {warp!r}")
    width, height = out_size
    less = 1 if warp == "centres" else 0
    scale = np.array([(width - less) / size[0], (height - less) / size[1]])
    angle = np.deg2rad(rotation)
    cos, sin = np.cos(angle), np.sin(angle)
    linear = np.diag(scale) @ np.array([[cos, sin], [-sin, cos]])
    middle = np.array([(width - 1) / 2, (height - 1) / 2]) + (0.5 if warp == "origin" else 0.0)
    if mirror:
        linear = np.diag([-1.0, 1.0]) @ linear
    offset = middle - linear @ np.asarray(center, dtype=np.float64)
    return np.concatenate([linear, offset[:, None]], axis=1)


def resize_matrix(old_size: tuple[int, int], new_size: tuple[int, int]) -> np.ndarray:
    """(2, 3) matrix from a picture's pixels to its resized copy's; sizes are (width, height)."""
    sx, sy = new_size[0] / old_size[0], new_size[1] / old_size[1]
    return np.array([[sx, 0, 0.5 * sx - 0.5], [0, sy, 0.5 * sy - 0.5]])


def compose(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """The (2, 3) matrix that applies ``inner`` first and then ``outer``."""
    linear = outer[:, :2] @ inner[:, :2]
    offset = outer[:, :2] @ inner[:, 2] + outer[:, 2]
    return np.concatenate([linear, offset[:, None]], axis=1)


def invert(matrix: np.ndarray) -> np.ndarray:
    """Inverse of (..., 2, 3) affine matrices."""
    linear = np.linalg.inv(matrix[..., :2])
    offset = -(linear @ matrix[..., 2:])
    return np.concatenate([linear, offset], axis=-1)


def transform_points(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Apply (..., 2, 3) to points (..., K, 2); NaN stays NaN."""
    moved = np.asarray(points, dtype=np.float64) @ np.swapaxes(matrix[..., :2], -1, -2)
    return moved + matrix[..., None, :, 2]


def mirror_points(points: np.ndarray, width: int, flip_indices: np.ndarray) -> np.ndarray:
    """Points (..., K, 2) of a mirrored picture of that width, left and right exchanged."""
    mirrored = np.array(points, copy=True)
    mirrored[..., 0] = (width - 1) - mirrored[..., 0]
    return mirrored[..., flip_indices, :]


def pixels_to_grid(points: np.ndarray, stride: float) -> np.ndarray:
    """Crop pixels -> cells of a heatmap of that stride."""
    return (points + 0.5) / stride - 0.5


def grid_to_pixels(points: np.ndarray, stride: float) -> np.ndarray:
    """Heatmap cells -> crop pixels; inverse of ``pixels_to_grid``."""
    return (points + 0.5) * stride - 0.5


def points_box(points: np.ndarray) -> np.ndarray:
    """(N, K, 2) -> (N, 4) tight boxes of the points that are not NaN; NaN rows where none is."""
    low = np.where(np.isnan(points), np.inf, points).min(axis=1)
    high = np.where(np.isnan(points), -np.inf, points).max(axis=1)
    box = np.concatenate([low, high], axis=-1)
    return np.where(np.isfinite(box), box, np.nan)
