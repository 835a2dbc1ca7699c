"""Where the animals are: one small interface, and the finder that ships behind it.

finder = tetrapose.inference.finder.load_finder()
seen = finder.find("meadow.jpg")
print(seen.bboxes, seen.scores, seen.groups)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import nn

from tetrapose import geometry, images
from tetrapose.codecs.boxes import Boxes, suppress
from tetrapose.data.whole import GREY, fitting, moved_boxes
from tetrapose.errors import UserError
from tetrapose.inference.cutting import Picture, as_pixels
from tetrapose.weights import finder as weights

LEAST = 0.3  # score of a box that is called an animal
LAP = 0.3  # of a tile's side that its neighbour shows too
EDGE = 2.0  # input pixels: a box that comes so near a tile's inner edge is of an animal cut by it
SAME = 0.5  # IoU of boxes from different tiles that are one animal's
PART = 0.75  # share of a tile's box inside a sure one of the whole picture: a part of that animal
SMALL = 0.2  # of the picture's longer side: if all animals are smaller, there may be smaller ones
DETAIL = 1.5  # a second look pays where the picture is this much larger than the first was
MOST_TILES = 4  # along the longer side, chosen without being told
AT_ONCE = 8  # tiles in a batch


@dataclass(frozen=True)
class Seen:
    """The animals of one picture, best first.

    bboxes (N, 4) x1 y1 x2 y2 in pixels of the picture, scores (N,) in 0..1, groups (N,) names such
    as "cat", "" where it cannot be told; ``size`` of the picture, (width, height).
    """

    bboxes: np.ndarray
    scores: np.ndarray
    groups: tuple[str, ...]
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.bboxes)


class Finder(Protocol):
    """Whatever says where animals are."""

    def find(self, image: Picture) -> Seen:
        """The animals of a picture; UserError for one that cannot be read."""
        ...

    @property
    def protocol(self) -> dict[str, Any]:
        """What a figure made with these boxes has to name."""
        ...


@dataclass(frozen=True, eq=False)
class NetworkFinder:
    """The finder made by ``tetrapose train experiment=finder``; remembers nothing between calls.

    Each picture is looked at whole, its longer side brought to ``side`` pixels. With ``tiles`` 2 or
    more it is looked at once more in overlapping squares, so many along its longer side; 1 never
    does, and None does where the first look found no animal or only small ones and the picture has
    more to show. Boxes below the score ``least`` are no animals.
    """

    model: nn.Module
    codec: Boxes
    side: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    least: float = LEAST
    tiles: int | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    card: dict[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.tiles is not None and not 1 <= self.tiles <= 16:
            raise UserError(f"tiles must be from 1 to 16, not {self.tiles}")
        if not self.codec.least <= self.least < 1:
            raise UserError(
                f"the least score must lie in {self.codec.least:g}..1, not {self.least:g}"
            )

    @property
    def protocol(self) -> dict[str, Any]:
        """Which finder, and how it looks."""
        return {
            "finder": "tetrapose",
            "weights_sha256": self.card.get("sha256"),
            "side": self.side,
            "tiles": "auto" if self.tiles is None else self.tiles,
            "least_score": self.least,
        }

    def find(self, image: Picture) -> Seen:
        """The animals of a picture; UserError for one that cannot be read."""
        pixels, size = open_picture(image, self.side * (self.tiles or 1))
        first = self._look(pixels, size, [geometry.whole_picture_box(*size).astype(float)])
        tiles = self.tiles or self._further(first, size)
        if tiles < 2:
            return first
        if not self.tiles and isinstance(image, str | Path):
            pixels, size = open_picture(image, self.side * tiles)
        return merged(first, self._look(pixels, size, grid(size, tiles)), self.least)

    def _further(self, first: Seen, size: tuple[int, int]) -> int:
        """How many tiles along the longer side a second look takes; 1 for none."""
        longer = max(size)
        sides = (first.bboxes[:, 2:] - first.bboxes[:, :2]).max(axis=1, initial=0)
        if longer < DETAIL * self.side or (len(sides) and sides.max() > SMALL * longer):
            return 1
        return int(np.clip(round(longer / (2 * self.side)), 2, MOST_TILES))

    def _look(
        self, pixels: np.ndarray, size: tuple[int, int], regions: Sequence[np.ndarray]
    ) -> Seen:
        """What is seen in regions (4,) of a picture, animals cut by inner edges left out."""
        boxes, scores, odds = [np.zeros((0, 4))], [np.zeros(0)], []
        for start in range(0, len(regions), AT_ONCE):
            some = regions[start : start + AT_ONCE]
            canvas = _canvas(some[0], self.side)
            matrices = [_matrix(region, canvas) for region in some]
            to_full = geometry.resize_matrix((pixels.shape[1], pixels.shape[0]), size)
            crops = np.stack(
                [images.warp(pixels, geometry.compose(m, to_full), canvas, fill=GREY)
                 for m in matrices]
            )  # fmt: skip
            for region, matrix, found in zip(some, matrices, self._run(crops), strict=True):
                keep = (found.scores >= self.least) & ~_cut(found.boxes, region, matrix, size)
                boxes.append(moved_boxes(found.boxes[keep], geometry.invert(matrix)))
                scores.append(found.scores[keep])
                odds.append(found.odds[keep])
        limit = np.tile(np.array(size) - 0.5, 2)
        clipped = np.clip(np.concatenate(boxes), -0.5, limit)
        values = np.concatenate(scores)
        groups = [self._group(row) for part in odds for row in part]
        there = (clipped[:, 2:] - clipped[:, :2] > 1e-3).all(axis=1)
        rows = np.flatnonzero(there)
        rows = rows[suppress(clipped[rows], values[rows], self.codec.overlap)]
        return Seen(clipped[rows], values[rows], tuple(groups[row] for row in rows), size)

    def _group(self, odds: np.ndarray) -> str:
        """The likeliest group's name, where it is likelier than all others together."""
        if not len(odds) or odds.max() < 0.5:
            return ""
        return self.codec.groups[int(odds.argmax())]

    @torch.inference_mode()
    def _run(self, crops: np.ndarray) -> Any:
        x = torch.from_numpy(crops).to(self.device).permute(0, 3, 1, 2).float() / 255
        mean, std = x.new_tensor(self.mean), x.new_tensor(self.std)
        x = ((x - mean[:, None, None]) / std[:, None, None]).contiguous(
            memory_format=torch.channels_last
        )
        maps, levels = self.model.look(x)  # type: ignore[operator]
        return [
            replace(found, odds=self._odds(levels, found.boxes, number))
            for number, found in enumerate(self.codec.decode(maps))
        ]

    def _odds(self, levels: Any, boxes: np.ndarray, image: int) -> np.ndarray:
        """(N, G) how likely each group is for boxes (N, 4) in input pixels of one row."""
        rows = torch.full((len(boxes),), image)
        logits = self.model.kinds(levels, torch.from_numpy(boxes).to(self.device).float(), rows)  # type: ignore[operator]
        return logits.softmax(-1).double().cpu().numpy()


def load_finder(
    name: str | Path = "finder",
    *,
    least: float | None = None,
    tiles: int | None = None,
    device: str | torch.device | None = None,
) -> Finder:
    """A finder by name: "finder" for the one that ships, a .safetensors file, or a detector.

    A detector of ``transformers`` is named rtdetr or dfine, or is a folder that holds its weights
    and config.json. ``least`` is the score below which a box is no animal (0.3); ``tiles`` as in
    ``NetworkFinder``. Raises UserError where there is none.
    """
    from tetrapose.inference.detectors import KNOWN, load_detector
    from tetrapose.inference.predictor import _device

    chosen = LEAST if least is None else least
    if str(name) in KNOWN or (Path(name) / "config.json").is_file():
        return load_detector(name, least=chosen, tiles=tiles, device=_device(device))
    if name != "finder" and Path(name).is_dir():  # a name that ships is never a folder
        raise UserError(f"{name}: a folder without config.json; a finder is a .safetensors file,"
                        " or a folder with a detector of transformers")  # fmt: skip
    loaded = weights.load(name)
    where = _device(device)
    model = loaded.model.to(where)
    return NetworkFinder(
        model=model.to(memory_format=torch.channels_last),  # type: ignore[call-overload]
        codec=replace(loaded.codec, least=min(loaded.codec.least, chosen)),
        side=loaded.side,
        mean=tuple(loaded.card["normalisation"]["mean"]),
        std=tuple(loaded.card["normalisation"]["std"]),
        least=chosen,
        tiles=tiles,
        device=where,
        card=loaded.card,
    )


def open_picture(image: Picture, longer: int) -> tuple[np.ndarray, tuple[int, int]]:
    """Pixels (h, w, 3) and the picture's full size (width, height).

    A JPEG file much larger is decoded at reduced size, its longer side at least ``longer``.
    """
    if isinstance(image, str | Path):
        size = images.read_size(image)
        least = max(int(np.ceil(min(size) * min(longer / max(size), 1.0))), 1)
        return images.read_image(image, least=least)
    if isinstance(image, Image.Image):
        image = images.to_rgb(image)
    if not isinstance(image, np.ndarray):
        raise UserError(f"an image is a path, an array or a PIL image, not {type(image).__name__}")
    pixels = as_pixels(image)
    return pixels, (pixels.shape[1], pixels.shape[0])


def grid(size: tuple[int, int], tiles: int) -> list[np.ndarray]:
    """Overlapping squares (4,) that cover a picture, ``tiles`` along its longer side."""
    side = max(size) / (1 + (tiles - 1) * (1 - LAP))
    starts = []
    for length in size:
        count = int(np.ceil(max(length - side, 0) / (side * (1 - LAP)) - 1e-9)) + 1
        room = max(length - side, 0)
        starts.append(np.linspace(0, room, count) - 0.5 if count > 1 else np.array([-0.5]))
    return [np.array([x, y, x + side, y + side]) for y in starts[1] for x in starts[0]]


def merged(whole: Seen, tiles: Seen, sure: float) -> Seen:
    """Both looks as one: an animal seen in both once, parts of one seen whole not at all."""
    keep = np.ones(len(tiles), dtype=bool)
    trusted = whole.bboxes[whole.scores >= sure]
    if len(trusted) and len(tiles):
        low = np.maximum(tiles.bboxes[:, None, :2], trusted[None, :, :2])
        high = np.minimum(tiles.bboxes[:, None, 2:], trusted[None, :, 2:])
        inside = np.prod(np.clip(high - low, 0, None), axis=-1)
        share = inside / np.maximum(geometry.box_area(tiles.bboxes), 1e-9)[:, None]
        smaller = geometry.box_area(tiles.bboxes)[:, None] < geometry.box_area(trusted)[None]
        part = (share > PART) & smaller & (geometry.box_iou(tiles.bboxes, trusted) < SAME)
        keep = ~part.any(axis=1)
    boxes = np.concatenate([whole.bboxes, tiles.bboxes[keep]])
    scores = np.concatenate([whole.scores, tiles.scores[keep]])
    groups = [*whole.groups, *(g for g, k in zip(tiles.groups, keep, strict=True) if k)]
    rows = suppress(boxes, scores, SAME)
    return Seen(boxes[rows], scores[rows], tuple(groups[row] for row in rows), whole.size)


def _canvas(region: np.ndarray, side: int) -> tuple[int, int]:
    """(width, height) of the input for a region: the longer ``side``, both in steps of 32."""
    width, height = region[2:] - region[:2]
    scale = side / max(width, height)
    width, height = (int(np.ceil(v * scale / 32 - 1e-6)) * 32 for v in (width, height))
    return width, height


def _matrix(region: np.ndarray, canvas: tuple[int, int]) -> np.ndarray:
    center, size = (region[:2] + region[2:]) / 2, region[2:] - region[:2]
    return geometry.crop_matrix(center, fitting(size, canvas), canvas)


def _cut(
    boxes: np.ndarray, region: np.ndarray, matrix: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """(N,) whether a box reaches an edge of its region that is none of the picture's."""
    edges = moved_boxes(region[None], matrix)[0]
    inner = [region[0] > 0, region[1] > 0, region[2] < size[0] - 1, region[3] < size[1] - 1]
    near = np.column_stack(
        [boxes[:, :2] <= edges[:2] + EDGE, boxes[:, 2:] >= edges[2:] - EDGE]
    ).reshape(-1, 4)
    return np.any(near & np.array(inner), axis=1)
