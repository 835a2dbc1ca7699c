"""Instances drawn on their picture: tapering limbs, rimmed points, fading with doubt."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from tetrapose.render.styles import Style, load_style, point_colours
from tetrapose.skeletons import Skeleton
from tetrapose.structures import Instances

SHIFT = 4  # fractional bits of OpenCV's drawing coordinates
FADE = 0.25  # a score this far above the threshold is drawn in full
REACH = 32_000.0  # points further out than this are not drawn: beyond any picture, within int32


def draw(
    image: np.ndarray,
    instances: Instances,
    skeleton: Skeleton,
    *,
    threshold: float = 0.3,
    style: str | Style = "vivid",
    boxes: bool = False,
) -> np.ndarray:
    """A copy of ``image`` (H, W, 3) uint8 RGB with the animals drawn on it.

    Points that score below ``threshold`` are left out, those just above it are faint; labels, which
    have no scores, are drawn in full and, where hidden (visibility 1), as rings. Widths follow the
    size of each animal. ``style`` is one of ``styles()`` or its name.
    """
    look = load_style(style) if isinstance(style, str) else style
    canvas = np.ascontiguousarray(image).copy()
    colours = point_colours(look, skeleton)
    for row in range(len(instances)):
        shown = _strengths(instances, row, threshold, look)
        figure = _Figure(
            points=np.where(shown[:, None] > 0, instances.keypoints[row], np.nan),
            strengths=shown,
            hollow=np.asarray(instances.visibility[row] == 1) & (instances.scores is None),
            size=_animal_size(instances, row, shown > 0),
            colours=colours,
        )
        if boxes:
            _paint_box(canvas, instances.bboxes[row], figure, look)
        _paint(canvas, figure, skeleton.edge_indices, look)
    return canvas


@dataclass(frozen=True)
class _Figure:
    """One animal ready to draw: points (K, 2) with NaN for none, opacities (K,), size in pixels."""

    points: np.ndarray
    strengths: np.ndarray
    hollow: np.ndarray
    size: float
    colours: np.ndarray


def _strengths(instances: Instances, row: int, threshold: float, look: Style) -> np.ndarray:
    """(K,) opacity 0..1 of each point; 0 where it is not to be drawn."""
    points = instances.keypoints[row]
    with np.errstate(invalid="ignore"):
        there = np.isfinite(points).all(axis=-1) & (np.abs(points) < REACH).all(axis=-1)
    if instances.scores is None:
        return there.astype(float)
    scores = np.nan_to_num(instances.scores[row])
    rise = np.clip((scores - threshold) / FADE, 0, 1)
    return np.where(there & (scores >= threshold), look.faintest + (1 - look.faintest) * rise, 0.0)


def _animal_size(instances: Instances, row: int, shown: np.ndarray) -> float:
    """Length that widths are fractions of: the box's mean side, or the points' span if less."""
    x1, y1, x2, y2 = instances.bboxes[row]
    size = float(np.sqrt(max(x2 - x1, 0) * max(y2 - y1, 0)))
    points = instances.keypoints[row][shown]
    if len(points) >= 3:
        span = 1.2 * float(np.ptp(points, axis=0).max())
        size = min(size, span) if np.isfinite(size) and size > 0 else span
    return float(np.clip(size, 40.0, 4000.0)) if np.isfinite(size) else 40.0


def _paint(canvas: np.ndarray, figure: _Figure, edges: np.ndarray, look: Style) -> None:
    """Draw on a layer of the animal's own and lay it over the canvas, in place.

    The layer holds colour times opacity, and opacity: so smoothed edges mix rightly on any ground.
    """
    limb, radius = max(look.limb * figure.size, 1.4), max(look.point * figure.size, 2.0)
    corner, layer = _layer(canvas, figure.points, margin=2 * radius + limb + 2)
    if layer is None:
        return
    points = figure.points - corner
    ends = figure.strengths[edges]
    pairs = np.flatnonzero((ends > 0).all(axis=-1))
    for edge in pairs[np.argsort(ends[pairs].min(axis=-1), kind="stable")]:
        a, b = edges[edge]
        pen = _Pen(layer, float(ends[edge].min()))
        _limb(pen, points[[a, b]], limb, figure.colours[[a, b]], look)
    for k in np.argsort(figure.strengths, kind="stable"):
        if figure.strengths[k] > 0:
            pen = _Pen(layer, float(figure.strengths[k]))
            _point(pen, points[k], radius, figure.colours[k], look, hollow=bool(figure.hollow[k]))
    _lay_over(canvas, corner, layer)


@dataclass(frozen=True)
class _Pen:
    """Draws on a premultiplied RGBA layer at one opacity."""

    layer: np.ndarray
    opacity: float

    def colour(self, rgb: np.ndarray | tuple[int, ...]) -> tuple[float, ...]:
        return (*(float(c) * self.opacity for c in rgb), 255.0 * self.opacity)

    def disc(self, at: np.ndarray, radius: float, rgb: np.ndarray | tuple[int, ...]) -> None:
        """A filled circle smoothed by its distance field: OpenCV's small ones come out square."""
        height, width = self.layer.shape[:2]
        low = np.clip(np.floor(at - radius - 1), 0, [width, height]).astype(int)
        high = np.clip(np.ceil(at + radius + 1) + 1, 0, [width, height]).astype(int)
        if (high <= low).any():
            return
        down, across = np.ogrid[low[1] : high[1], low[0] : high[0]]
        cover = np.clip(radius + 0.5 - np.hypot(across - at[0], down - at[1]), 0, 1)[..., None]
        part = self.layer[low[1] : high[1], low[0] : high[0]]
        part[:] = np.round(part * (1 - cover) + np.array(self.colour(rgb)) * cover)

    def shape(self, outline: np.ndarray, rgb: np.ndarray | tuple[int, ...]) -> None:
        cv2.fillConvexPoly(self.layer, _fixed(outline), self.colour(rgb), cv2.LINE_AA, SHIFT)


def _limb(pen: _Pen, ends: np.ndarray, width: float, colours: np.ndarray, look: Style) -> None:
    """A tapering band with a dark outline, its colour running from one end's to the other's."""
    along = ends[1] - ends[0]
    length = float(np.hypot(*along))
    if length < 1e-3:
        return
    across = np.array([-along[1], along[0]]) / length / 2
    edge = look.outline_share * width
    far = width * look.taper
    pen.shape(_band(ends, across, width + 2 * edge, far + 2 * edge), look.outline)
    if look.limb_colour is not None:
        pen.shape(_band(ends, across, width, far), look.limb_colour)
        return
    steps = int(np.clip(length / 6, 2, 24))
    for i in range(steps):
        # a slice reaches under the next one, so that no seam shows between smoothed edges
        t = np.array([i / steps, min((i + 1) / steps + 1.0 / length, 1.0)])
        part = ends[0] + t[:, None] * along
        w = width + t * (far - width)
        mix = (i + 0.5) / steps
        pen.shape(_band(part, across, w[0], w[1]), colours[0] * (1 - mix) + colours[1] * mix)


def _band(ends: np.ndarray, across: np.ndarray, near: float, far: float) -> np.ndarray:
    return np.stack(
        [
            ends[0] + across * near,
            ends[1] + across * far,
            ends[1] - across * far,
            ends[0] - across * near,
        ]
    )


def _point(
    pen: _Pen, at: np.ndarray, radius: float, colour: np.ndarray, look: Style, *, hollow: bool
) -> None:
    pen.disc(at, radius * (1 + look.outline_share), look.outline)
    pen.disc(at, radius, colour if hollow else look.rim)
    pen.disc(at, radius * (1 - look.rim_share), look.outline if hollow else colour)


def _paint_box(canvas: np.ndarray, bbox: np.ndarray, figure: _Figure, look: Style) -> None:
    """The corners of the box, in place; boxes that are not finite are left out."""
    if not np.isfinite(bbox).all():
        return
    corners = np.round(np.clip(bbox, -REACH, REACH)).astype(np.int32).reshape(2, 2)
    leg = np.maximum(np.abs(corners[1] - corners[0]) // 5, 1).min()
    width = max(round(0.006 * figure.size), 1)
    for extra, rgb in ((2, look.outline), (0, (255, 255, 255))):
        for x, inward in ((corners[0, 0], leg), (corners[1, 0], -leg)):
            for y, down in ((corners[0, 1], leg), (corners[1, 1], -leg)):
                line = np.array([[x + inward, y], [x, y], [x, y + down]])
                cv2.polylines(canvas, [line], False, rgb, width + extra)


def _layer(
    canvas: np.ndarray, points: np.ndarray, *, margin: float
) -> tuple[np.ndarray, np.ndarray | None]:
    """Top-left corner and an empty RGBA layer that covers the points; None where nothing shows."""
    there = points[np.isfinite(points).all(axis=-1)]
    if not len(there):
        return np.zeros(2), None
    height, width = canvas.shape[:2]
    low = np.clip(np.floor(there.min(axis=0) - margin), 0, [width, height]).astype(int)
    high = np.clip(np.ceil(there.max(axis=0) + margin) + 1, 0, [width, height]).astype(int)
    if (high <= low).any():
        return np.zeros(2), None
    return low, np.zeros((high[1] - low[1], high[0] - low[0], 4), dtype=np.uint8)


def _lay_over(canvas: np.ndarray, corner: np.ndarray, layer: np.ndarray) -> None:
    x, y = corner
    part = canvas[y : y + layer.shape[0], x : x + layer.shape[1]]
    rest = cv2.cvtColor(255 - layer[..., 3], cv2.COLOR_GRAY2RGB)
    part[:] = cv2.add(cv2.multiply(part, rest, scale=1 / 255), layer[..., :3])


def _fixed(points: np.ndarray) -> np.ndarray:
    return np.round(points * (1 << SHIFT)).astype(np.int32)
