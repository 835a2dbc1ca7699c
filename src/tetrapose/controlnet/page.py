"""The side-by-side page of a scoring: asked pose, picture, what the pose model found on it."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import numpy as np

from tetrapose.controlnet.score import Asked, Scored
from tetrapose.images import read_image
from tetrapose.render.pose_picture import pose_picture
from tetrapose.reports import page
from tetrapose.structures import Instances

SIDE = 320  # px, of each of the three
MOST = 60


def write(
    title: str, rows: Sequence[tuple[str, dict[str, float]]], asked: Asked, scored: Scored,
    *, style: str, notes: Sequence[str] = (),
) -> str:  # fmt: skip
    """The page's text. ``rows`` are (name, figures) of the pictures and their controls."""
    names = list(rows[0][1])
    cells = [[name, *(_shown(figures[key]) for key in names)] for name, figures in rows]
    order = np.argsort(_by_picture(asked, scored), kind="stable")
    shown = order if len(order) <= MOST else order[np.linspace(0, len(order) - 1, MOST).astype(int)]
    tiles = [_tile(int(image), asked, scored, style) for image in shown]
    said = "Left: asked for. Middle: painted. Right: what the pose model found on it. Worst first"
    return page.document(
        title,
        f"<h1>{html.escape(title)}</h1>",
        page.section(
            "Figures", page.table(["", *names], cells),
            note="AP and PCK in percent, against the asked points. The controls say what the"
            " figures mean: real pictures with their own points are the pose model's own accuracy,"
            " shuffled points are chance.",
        ),
        *([page.section("Notes", page.table([], [[one] for one in notes], words=True))]
          if notes else []),
        page.section("Side by side", page.tiles(tiles),
                     note=f"{said}; {len(shown)} of {len(order)}."),
    )  # fmt: skip


def _by_picture(asked: Asked, scored: Scored) -> np.ndarray:
    """(M,) the mean OKS of each picture's animals, 0 where none counts."""
    out = np.zeros(len(asked))
    counted = np.isfinite(scored.oks)
    index = asked.pose_set.image_index
    totals = np.bincount(index[counted], scored.oks[counted], minlength=len(asked))
    numbers = np.bincount(index[counted], minlength=len(asked))
    np.divide(totals, numbers, out=out, where=numbers > 0)
    return out


def _tile(image: int, asked: Asked, scored: Scored, style: str) -> tuple[np.ndarray, str, str]:
    one = asked.pose_set
    pixels, size = read_image(one.path(image))
    rows = np.flatnonzero(one.image_index == image)
    found = scored.keypoints[rows]
    there = np.isfinite(found).all(axis=-1) & (one.visibility[rows] > 0)
    wanted = Instances(one.keypoints[rows], one.visibility[rows], one.bboxes[rows])
    seen = Instances(
        np.where(there[..., None], found, np.nan), np.where(there, 2, 0).astype(np.uint8),
        one.bboxes[rows],
    )  # fmt: skip
    parts = [
        pose_picture(size, wanted, one.skeleton, style=style),
        pixels,
        pose_picture(size, seen, one.skeleton, style=style, ground=np.ascontiguousarray(pixels)),
    ]
    values = scored.oks[rows]
    mean = float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
    return np.concatenate(parts, axis=1), f"OKS {mean:.2f}", asked.captions[image]


def _shown(value: Any) -> str:
    return "–" if value is None or not np.isfinite(value) or value == -100 else f"{value:.1f}"
