"""The pose picture: animals as a pose-guided generator sees them, equal to the bit everywhere.

One renderer for building triplets, for training and for asking the trained generator. Points are
rounded to 1/16 px; what follows are whole numbers and single float operations that IEEE 754
rounds in one way only (no library's drawing, no threads), so that the bytes depend on nothing but
the arguments and the style's version.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from tetrapose.errors import UserError
from tetrapose.render.pose_styles import PoseStyle, figure, load_pose_style
from tetrapose.skeletons import Skeleton
from tetrapose.structures import Instances

UNIT = 16  # parts of a pixel
REACH = 32_000  # px from the corner; points further out are not drawn
FULL = 256  # coverage of a pixel that lies inside
FAINT = 115  # of 256: how strongly hidden points show where they are to be faint
HIDDEN = ("drawn", "faint", "left_out")
Place = tuple[int, int]  # x, y in sixteenths of a pixel
Window = tuple[int, int, int, int]  # left, top, right, bottom in pixels
STRIP = 48  # rows that are painted at a time, or more where that makes no more than
AREA = 8192  # pixels: a slanting limb's box is mostly empty, but a short one's is done at once


def pose_picture(
    size: tuple[int, int],
    instances: Instances,
    skeleton: Skeleton,
    *,
    style: str | PoseStyle = "animal_controlnet",
    threshold: float = 0.0,
    hidden: str = "drawn",
    ground: np.ndarray | None = None,
) -> np.ndarray:
    """The animals' points and limbs as (H, W, 3) uint8 RGB on black, or over a copy of ``ground``.

    ``size`` is (width, height); ``instances`` lie in that picture's pixels. Drawn is what
    ``drawn_points`` tells; a limb needs both its ends. ``hidden`` says what becomes of labels with
    visibility 1: "drawn" like the others, "faint", or "left_out".

    Several animals are painted from far to near: whose lowest drawn point lies higher comes first,
    of equal ones the one whose points span less, so that the order of the rows does not matter.
    Within one, limbs come before points. Raises UserError for an unknown style or setting.
    """
    look = load_pose_style(style) if isinstance(style, str) else style
    width, height = size
    strengths = _strengths(instances, threshold, hidden)
    if ground is None:
        planes = _painted(size, instances.keypoints, strengths, look, skeleton, planes=3)
        return cv2.merge(tuple(planes))
    if ground.shape != (height, width, 3) or ground.dtype != np.uint8:
        raise ValueError(f"ground must be ({height}, {width}, 3) uint8, not {ground.shape}")
    return _over(ground, _painted(size, instances.keypoints, strengths, look, skeleton, planes=4))


def pose_and_overlay(
    ground: np.ndarray,
    instances: Instances,
    skeleton: Skeleton,
    *,
    style: str | PoseStyle = "animal_controlnet",
    threshold: float = 0.0,
    hidden: str = "drawn",
) -> tuple[np.ndarray, np.ndarray]:
    """The two pictures that ``pose_picture`` gives without a ground and with it, painted once."""
    look = load_pose_style(style) if isinstance(style, str) else style
    size = (ground.shape[1], ground.shape[0])
    strengths = _strengths(instances, threshold, hidden)
    planes = _painted(size, instances.keypoints, strengths, look, skeleton, planes=4)
    return cv2.merge(tuple(planes[:3])), _over(ground, planes)


def _painted(
    size: tuple[int, int], points: np.ndarray, strengths: np.ndarray, look: PoseStyle,
    skeleton: Skeleton, *, planes: int,
) -> np.ndarray:  # fmt: skip
    """The colours on black as ``planes`` (P, H, W) uint8; of 4 the last is the paint's coverage.

    Planes lie one behind the other since arithmetic runs along rows several times faster so.
    """
    canvas = np.zeros((planes, size[1], size[0]), dtype=np.uint8)
    plan = figure(look, skeleton)
    half, radius = look.widths(size)
    limbs, dots = (_tones(colours, planes) for colours in (plan.limbs, plan.points))
    pen = _Pen(canvas, round(half * UNIT), round(radius * UNIT), look.limb_shape, limbs, dots)
    places = np.where(strengths[..., None] > 0, np.nan_to_num(points), 0.0)
    places = np.floor(places * UNIT + 0.5).astype(np.int64)
    for row in _far_to_near(places, strengths):
        _paint(pen, places[row], strengths[row], plan.edges)
    return canvas


def _tones(colours: np.ndarray, planes: int) -> np.ndarray:
    """Colours (M, 3) as (M, P, 1, 1) uint16, full coverage beside them where there is a plane."""
    out = np.full((len(colours), planes, 1, 1), 255, dtype=np.uint16)
    out[:, :3, 0, 0] = colours
    return out


def _over(ground: np.ndarray, planes: np.ndarray) -> np.ndarray:
    """A copy of the ground (H, W, 3) with what was painted (4, H, W) laid over it.

    A product of two bytes over 255 is never near a half: it is rounded alike on every machine.
    """
    out = ground.copy()
    rows = np.flatnonzero(planes[3].any(axis=1))
    if not len(rows):
        return out
    span = slice(rows[0], rows[-1] + 1)
    clear = cv2.bitwise_not(planes[3, span])
    left = cv2.multiply(ground[span], cv2.merge([clear, clear, clear]), scale=1 / 255)
    black = cv2.merge(tuple(planes[:3, span]))  # which shone through where the ground does now
    cv2.add(left, black, dst=out[span])
    return out


def drawn_points(
    instances: Instances, *, threshold: float = 0.0, hidden: str = "drawn"
) -> np.ndarray:
    """(N, K) True for the points that a pose picture shows.

    These are the points with a place and a visibility, of predictions those that score above
    ``threshold``. Source: "a joint is drawn when its score > 0", github.com/jfozard/animalpose.
    """
    return _strengths(instances, threshold, hidden) > 0


def _strengths(instances: Instances, threshold: float, hidden: str) -> np.ndarray:
    """(N, K) int64: 0 not drawn, FULL drawn, FAINT between."""
    if hidden not in HIDDEN:
        raise UserError(f"hidden points may be {', '.join(HIDDEN)}, not {hidden!r}")
    points = instances.keypoints
    with np.errstate(invalid="ignore"):
        there = np.isfinite(points).all(axis=-1) & (np.abs(points) < REACH).all(axis=-1)
    there &= instances.visibility > 0
    if instances.scores is not None:
        there &= np.nan_to_num(instances.scores) > threshold
    covered = {"drawn": FULL, "faint": FAINT, "left_out": 0}[hidden]
    return there * np.where(instances.visibility == 1, covered, FULL).astype(np.int64)


def _far_to_near(places: np.ndarray, strengths: np.ndarray) -> list[int]:
    """Rows in painting order; all that a picture shows of an animal is in its key."""

    def key(row: int) -> tuple:
        seen = places[row][strengths[row] > 0]
        span = int(np.ptp(seen, axis=0).sum())
        return int(seen[:, 1].max()), span, places[row].tobytes(), strengths[row].tobytes()

    return sorted(np.flatnonzero(strengths.any(axis=1)).tolist(), key=key)


@dataclass(frozen=True)
class _Pen:
    """A canvas (P, H, W) with a limb's half-width and a point's radius, in sixteenths of a pixel.

    ``limbs`` (E, P, 1, 1) and ``dots`` (K, P, 1, 1) are what they are painted with.
    """

    canvas: np.ndarray
    half: int
    radius: int
    shape: str
    limbs: np.ndarray
    dots: np.ndarray


def _paint(pen: _Pen, places: np.ndarray, strengths: np.ndarray, edges: np.ndarray) -> None:
    where, shown = places.tolist(), strengths.tolist()
    for (a, b), tone in zip(edges.tolist(), pen.limbs, strict=True):
        strength = min(shown[a], shown[b])
        if strength:
            _limb(pen, (*where[a], *where[b]), _dimmed(tone, strength))
    for place, strength, tone in zip(where, shown, pen.dots, strict=True):
        if strength:
            _disc(pen, place, _dimmed(tone, strength))


def _dimmed(tone: np.ndarray, strength: int) -> np.ndarray:
    """A darker colour and not a thinner coat: it looks the same over a limb's end."""
    if strength == FULL:
        return tone
    out = tone.copy()
    out[:3] = tone[:3] * strength // FULL
    return out


def _disc(pen: _Pen, place: list[int], tone: np.ndarray) -> None:
    x, y = place
    cover, reach = _stamp(pen.radius, x % UNIT, y % UNIT)
    left, top = x // UNIT - reach, y // UNIT - reach
    height, width = pen.canvas.shape[1:]
    window = (max(left, 0), max(top, 0))
    window += (min(left + cover.shape[1], width), min(top + cover.shape[0], height))
    if window[2] > window[0] and window[3] > window[1]:
        seen = cover[window[1] - top : window[3] - top, window[0] - left : window[2] - left]
        _mix(pen.canvas, window, seen, tone)


@lru_cache(maxsize=4096)
def _stamp(radius: int, x: int, y: int) -> tuple[np.ndarray, int]:
    """Coverage of a disc whose centre lies x, y sixteenths into its pixel; its middle's index."""
    reach = radius // UNIT + 2
    steps = np.arange(-reach, reach + 1, dtype=np.float64) * UNIT
    far = np.sqrt(np.square(steps - x)[None] + np.square(steps - y)[:, None])
    return _cover(radius - far), reach


def _limb(pen: _Pen, ends: tuple[int, int, int, int], tone: np.ndarray) -> None:
    size = (pen.canvas.shape[2], pen.canvas.shape[1])
    for window, cover in _covers(ends, pen.half, pen.shape, size):
        _mix(pen.canvas, window, cover, tone)


def _covers(
    ends: tuple[int, int, int, int], half: int, shape: str, size: tuple[int, int]
) -> list[tuple[Window, np.ndarray]]:
    """Windows of a limb with their coverage (H, W).

    Strip by strip, so that a long slanting limb costs its length and not its box.
    """
    a, b = ends[:2], ends[2:]
    box = _window(size, a, b, half)
    if box is None:
        return []
    inside = _ellipse if shape == "ellipse" else _band
    along = (b[0] - a[0], b[1] - a[1])
    out = []
    rows = max(STRIP, AREA // (box[2] - box[0]))
    for top in range(box[1], box[3], rows):
        bottom = min(top + rows, box[3])
        window = box
        if bottom - top < box[3] - box[1]:
            near = _between(a, b, top * UNIT - half - UNIT, bottom * UNIT + half + UNIT)
            window = near and _window(size, *near, half)
            if not window:
                continue
        window = (window[0], top, window[2], bottom)
        x = np.arange(window[0], window[2], dtype=np.float64) * UNIT - a[0]
        y = np.arange(top, bottom, dtype=np.float64) * UNIT - a[1]
        out.append((window, _cover(inside(x, y, along, half))))
    return out


def _band(x: np.ndarray, y: np.ndarray, along: Place, half: int) -> np.ndarray:
    """(H, W) depth inside a band with round ends from (0, 0) to ``along``, in sixteenths."""
    dx, dy = float(along[0]), float(along[1])
    square = dx * dx + dy * dy
    if square == 0:
        return half - np.sqrt(np.square(x)[None] + np.square(y)[:, None])
    far = (dx * y)[:, None] - (dy * x)[None]  # off the line, times its length
    over = (dx * x)[None] + (dy * y)[:, None]
    on_it = np.maximum(over, 0.0)
    over -= np.minimum(on_it, square, out=on_it)  # beyond an end, times too
    np.multiply(far, far, out=far)
    np.multiply(over, over, out=over)
    far += over
    np.sqrt(far, out=far)
    far /= np.sqrt(square)
    return np.subtract(half, far, out=far)


def _ellipse(x: np.ndarray, y: np.ndarray, along: Place, half: int) -> np.ndarray:
    """(H, W) depth inside an ellipse that touches both ends and is 2 ``half`` wide.

    Near the border, where alone it matters, by the first order of the ellipse's equation.
    """
    dx, dy = float(along[0]), float(along[1])
    length = float(np.sqrt(dx * dx + dy * dy))
    longer = max(length / 2, float(half))  # an ellipse no longer than wide is a disc
    if length == 0:
        dx, length = 1.0, 1.0
        along = (0, 0)
    x, y = x - along[0] / 2, y - along[1] / 2
    u = ((dx * x)[None] + (dy * y)[:, None]) / (length * longer)
    v = ((dx * y)[:, None] - (dy * x)[None]) / (length * half)
    u2, v2 = u * u, v * v
    level = u2 + v2
    slope = np.sqrt(u2 / (longer * longer) + v2 / (half * half))
    return (1.0 - level) / (2.0 * np.maximum(slope, 1e-9))


def _between(a: Place, b: Place, top: int, bottom: int) -> tuple[Place, Place] | None:
    """The part of a line whose y lies within bounds, rounded outwards to whole pixels."""
    if a[1] > b[1]:
        a, b = b, a
    (ax, ay), (bx, by) = a, b
    if by < top or ay > bottom:
        return None
    low, high = max(ay, top), min(by, bottom)
    if ay == by:
        return a, b
    ends = [ax + (bx - ax) * (y - ay) // (by - ay) for y in (low, high)]
    return (min(ends) - UNIT, low), (max(ends) + UNIT, high)


def _window(size: tuple[int, int], a: Place, b: Place, reach: int) -> Window | None:
    """Left, top, right, bottom of the pixels that may be touched; None where there is none."""
    width, height = size
    margin = reach + UNIT
    left = max((min(a[0], b[0]) - margin) // UNIT, 0)
    top = max((min(a[1], b[1]) - margin) // UNIT, 0)
    right = min((max(a[0], b[0]) + margin) // UNIT + 2, width)
    bottom = min((max(a[1], b[1]) + margin) // UNIT + 2, height)
    return (left, top, right, bottom) if right > left and bottom > top else None


def _cover(depth: np.ndarray) -> np.ndarray:
    """Depth inside a border in sixteenths, overwritten -> coverage 0..FULL, uint16."""
    depth += UNIT / 2
    depth *= FULL / UNIT
    depth += 0.5
    np.maximum(depth, 0.0, out=depth)
    np.minimum(depth, float(FULL), out=depth)
    return depth.astype(np.uint16)


def _mix(canvas: np.ndarray, window: Window, cover: np.ndarray, tone: np.ndarray) -> None:
    """Lay a colour (P, 1, 1) over the canvas, in place, by coverage (H, W)."""
    left, top, right, bottom = window
    part = canvas[:, top:bottom, left:right]
    mixed = part * (FULL - cover)  # of both no more than 255 * FULL: it fits into 16 bits
    mixed += tone * cover
    mixed += FULL // 2
    mixed >>= 8  # over FULL, rounded to the nearest
    part[:] = mixed
