"""A pile of pictures to paint, done one after another; what is done is not done twice."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tetrapose.controlnet.painter import Painter, fitted
from tetrapose.controlnet.poses import Pose, from_points, to_points
from tetrapose.controlnet.score import LIST, read_list
from tetrapose.controlnet.stock import Stock
from tetrapose.errors import UserError
from tetrapose.images import read_image
from tetrapose.triplets.library import told, write_file

SHARE = 64  # pictures that are asked for at once


@dataclass(frozen=True)
class Order:
    """A picture to be painted: of a pose, or of a pose picture (H, W, 3) drawn by hand."""

    prompt: str
    seed: int
    pose: Pose | None = None
    drawn: np.ndarray | None = None
    key: str = ""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of what is wanted."""
        if self.pose is not None:
            return self.pose.size
        assert self.drawn is not None
        return (self.drawn.shape[1], self.drawn.shape[0])


def from_stock(stock: Stock, *, count: int, seed: int, most: int = 0) -> Iterator[Order]:
    """Orders for the captions and poses of triplets, ``count`` pictures each."""
    rows = np.arange(len(stock))
    if 0 < most < len(stock):
        rows = np.unique(np.linspace(0, len(stock) - 1, most).round().astype(int))
    for row in rows.tolist():
        key = stock.keys[row]
        pose = from_points(stock.points(row), key)
        for number in range(count):
            yield Order(stock.caption(row), seed + number, pose, key=key)


def drawn_by_hand(path: str | Path) -> np.ndarray:
    """A pose picture that is taken as it is; UserError for one that shows nothing."""
    pixels, _ = read_image(path)
    dark = (pixels.max(axis=-1) < 16).mean()
    if dark == 1:
        raise UserError(f"{path}: a black picture; there is no pose to follow")
    if dark < 0.3:
        raise UserError(
            f"{path}: not a pose picture (only {dark:.0%} of it is black); a photograph goes with"
            " --photo"
        )
    return pixels


def paint_all(
    painter: Painter,
    orders: Iterator[Order] | Sequence[Order],
    out: str | Path,
    *,
    tell: Callable[[dict[str, Any]], None] | None = None,
) -> int:
    """Paint into a folder: NNNNNN.png, NNNNNN.pose.png, pictures.jsonl; how many were painted.

    Pictures that an earlier run of the same orders painted stay as they are. UserError for a folder
    of other pictures.
    """
    folder = Path(out)
    with told(folder):
        folder.mkdir(parents=True, exist_ok=True)
        others = [p.name for p in folder.iterdir() if p.name[0] != "." and p.suffix != ".png"]
    there = {row["file"]: row for row in read_list(folder)} if (folder / LIST).exists() else {}
    if others and not there:
        raise UserError(f"{folder}: holds other files ({', '.join(others[:3])}); name a new folder")
    _mend(folder / LIST)
    painted = 0
    waiting: list[tuple[str, Order, dict[str, Any]]] = []
    for number, order in enumerate(orders):
        name = f"{number:06d}.png"
        row = _row(name, order, painter)
        old = there.get(name)
        if old is not None and (folder / name).is_file():
            if old != row:
                raise UserError(f"{folder}: {name} was made of another order; name a new folder")
            continue
        waiting.append((name, order, row))
        if len(waiting) == min(SHARE, painter.how.batch):
            painted += _paint(painter, waiting, folder, tell)
            waiting = []
    if waiting:
        painted += _paint(painter, waiting, folder, tell)
    return painted


def _mend(path: Path) -> None:
    """End a line that was cut off, so that the next one does not go on in it."""
    if path.exists():
        data = path.read_bytes()
        if data and not data.endswith(b"\n"):
            write_file(path, lambda part: part.write_bytes(data + b"\n"))


def _row(name: str, order: Order, painter: Painter) -> dict[str, Any]:
    how = painter.how
    row = {
        "file": name,
        "pose_file": name.replace(".png", ".pose.png"),
        "key": order.key,
        "prompt": order.prompt,
        "negative": how.negative,
        "seed": order.seed,
        "steps": how.steps,
        "guidance": how.guidance,
        "strength": how.strength,
        "controlnet": painter.title,
        "style": painter.style,
        "pose": None if order.pose is None else to_points(order.pose),
    }
    return json.loads(json.dumps(row))


def _paint(
    painter: Painter,
    some: Sequence[tuple[str, Order, dict[str, Any]]],
    folder: Path,
    tell: Callable[[dict[str, Any]], None] | None,
) -> int:
    shown = []
    for _, order, _ in some:
        if order.pose is not None:
            shown.append(painter.drawn(order.pose))
        else:
            assert order.drawn is not None
            shown.append(fitted(order.drawn, painter.canvas(order.size)))
    prompts = [order.prompt for _, order, _ in some]
    made = painter.paint(prompts, shown, [order.seed for _, order, _ in some])
    for (name, order, row), pose, pixels in zip(some, shown, made, strict=True):
        _write(folder / name, fitted(pixels, order.size))
        _write(folder / row["pose_file"], fitted(pose, order.size))
        with told(folder / LIST), open(folder / LIST, "a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
        if tell is not None:
            tell(row)
    return len(some)


def _write(path: Path, pixels: np.ndarray) -> None:
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    write_file(path, lambda part: part.write_bytes(data.getvalue()))
