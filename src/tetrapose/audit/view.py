"""What a sheet's numbers mean: which boxes are two corners, where x and y are exchanged."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from tetrapose.audit.raw import Sheet
from tetrapose.geometry import xywh_to_xyxy

SLACK = 2.0  # px by which a box may leave its picture in sets that count from 1 or round
MANY = 0.5  # share of a source's boxes that must speak for two corners, to take all as such
FEW = 0.2  # the same where not one that can tell speaks against it
TELLING = 5  # entries that must speak, before silent ones are counted with them


@dataclass(frozen=True)
class View:
    """The sheet read as it is meant.

    corner_boxes (N,) where x1 y1 x2 y2 stand as x y width height; leaves (N,) those that leave
    their picture as written; swapped (N,) where y stands before x; corners (N, 4) x1 y1 x2 y2 and
    points (N, K, 2) after both; labelled (N, K) by a flag above 0; size (N, 2) of each picture.
    """

    corner_boxes: np.ndarray
    leaves: np.ndarray
    swapped: np.ndarray
    corners: np.ndarray
    points: np.ndarray
    labelled: np.ndarray
    size: np.ndarray


def view(sheet: Sheet) -> View:
    """Box form and axis order settled, by entry and, where nearly all agree, by source."""
    labelled = np.nan_to_num(sheet.flags) > 0
    points = np.where(labelled[..., None], sheet.points, np.nan)
    size = sheet.size
    with np.errstate(invalid="ignore", over="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # no point at all: NaN is meant
        corner_boxes, leaves = _corner_boxes(sheet, points, size)
        corners = sheet.boxes.copy()
        if sheet.box_form == "xywh":
            plain = ~corner_boxes
            corners[plain] = xywh_to_xyxy(sheet.boxes[plain])
        swapped = _swapped(corners, points, size, sheet.origins)
    points = np.where(swapped[:, None, None], points[..., ::-1], points)
    return View(corner_boxes, leaves, swapped, corners, points, labelled, size)


def _corner_boxes(
    sheet: Sheet, points: np.ndarray, size: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Which boxes are two corners, and which leave their picture as written, both (N,)."""
    count = len(sheet)
    if sheet.box_form != "xywh" or not count:
        return np.zeros(count, dtype=bool), np.zeros(count, dtype=bool)
    given = sheet.boxes
    read = xywh_to_xyxy(given)
    leaves = np.asarray((read[:, 2:] > size).any(axis=1))
    fits = np.asarray((given[:, 2:] > given[:, :2]).all(axis=1))
    fits &= (given[:, :2] >= -SLACK).all(axis=1)
    fits &= ~(given[:, 2:] > size + SLACK).any(axis=1)
    speaks = (read[:, 2:] > size + SLACK).any(axis=1) & fits & _holds(given, points)
    unknown = ~np.asarray(np.isfinite(size).all(axis=1))
    speaks |= unknown & fits & _loose(read, given, points)
    # one box by itself may as well be a wrong width: it must end where the points do, and only so
    found = speaks & _holds(given, points, share=1.0) & _ends_at(given, points)
    found &= _overshoot(read, points) > 0.35
    for origin in np.unique(sheet.origins):
        here = sheet.origins == origin
        share, fit = speaks[here].mean(), fits[here].mean()
        if speaks[here].sum() >= TELLING and ((share > MANY and fit > 0.9) or _all(share, fit)):
            found |= here & fits
    return found, leaves


def _all(share: float, fit: float) -> bool:
    return share > FEW and fit > 0.99


def _ends_at(box: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(N,) boxes x1 y1 x2 y2 whose last labelled points come near their lower right sides."""
    last = np.nanmax(np.where(np.isfinite(points), points, -np.inf), axis=1, initial=-np.inf)
    return np.asarray((np.abs(box[:, 2:] - last) < 0.25 * (box[:, 2:] - box[:, :2])).all(axis=1))


def _overshoot(box: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(N,) how far boxes x1 y1 x2 y2 go on past their last labelled point, in sides."""
    last = np.nanmax(np.where(np.isfinite(points), points, -np.inf), axis=1, initial=-np.inf)
    return np.asarray(((box[:, 2:] - last) / (box[:, 2:] - box[:, :2])).max(axis=1))


def _holds(box: np.ndarray, points: np.ndarray, *, share: float = 0.7) -> np.ndarray:
    """(N,) boxes x1 y1 x2 y2 that hold most labelled points, with a tenth to spare."""
    there = np.isfinite(points).all(axis=-1)
    return np.asarray(_inside(box, points).sum(axis=1) >= share * there.sum(axis=1))


def _inside(box: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(N, K) points in their box, grown by a tenth on each side."""
    room = 0.1 * np.abs(box[:, None, 2:] - box[:, None, :2]) + SLACK
    low, high = box[:, None, :2] - room, box[:, None, 2:] + room
    return np.asarray(((points >= low) & (points <= high)).all(axis=-1))


def _loose(read: np.ndarray, given: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(N,) where the points fill the box only if it is two corners; for pictures of unknown size.

    Boxes drawn around an animal end near its last point; one read as width and height by mistake
    goes on for as long as the animal's distance from the picture's corner.
    """
    enough = np.isfinite(points).all(axis=-1).sum(axis=1) >= 5
    fits = _ends_at(given, points) & _holds(given, points)
    return np.asarray(enough & fits & (_overshoot(read, points) > 0.5))


def _swapped(
    corners: np.ndarray, points: np.ndarray, size: np.ndarray, origins: np.ndarray
) -> np.ndarray:
    """(N,) where the points fit box and picture only with x and y exchanged."""
    there = np.isfinite(points).all(axis=-1)
    count = there.sum(axis=1)
    turned = points[..., ::-1]
    given_in, turned_in = (_inside(corners, p).sum(axis=1) for p in (points, turned))
    speaks = (count >= 3) & (given_in <= 0.5 * count) & (turned_in >= 0.9 * count)
    against = (count >= 3) & (turned_in <= 0.5 * count) & (given_in >= 0.9 * count)
    limit = size[:, None] + SLACK
    out = (points > limit).any(axis=-1).sum(axis=1)
    turned_out = (turned > limit).any(axis=-1).sum(axis=1)
    speaks |= (count >= 3) & (out >= 0.2 * count) & (turned_out == 0) & (turned_in >= given_in)
    found = speaks.copy()
    for origin in np.unique(origins):
        here = origins == origin
        told, opposed = speaks[here].sum(), against[here].sum()
        if told >= TELLING and told > 20 * opposed and told > FEW * here.sum():
            found |= here & (count > 0)
    return found
