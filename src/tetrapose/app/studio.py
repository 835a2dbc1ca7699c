"""What the studio can do, in plain values: each function here answers one question of the page."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tetrapose import skeletons
from tetrapose.app import poses
from tetrapose.app.browsing import Shown
from tetrapose.app.generating import Generator
from tetrapose.app.labels import LabelBook, one_picture
from tetrapose.app.looking import Sight
from tetrapose.app.uploads import Limits, Picture, Shelf
from tetrapose.errors import UserError
from tetrapose.render.pose_picture import pose_picture
from tetrapose.render.styles import load_style, point_colours, side_of
from tetrapose.skeletons import Skeleton

LARGEST_PICTURE = 4096  # longer side of a pose picture: what is larger, no generator takes
HIDDEN = ("drawn", "faint", "left_out")


@dataclass
class Studio:
    """Everything the page's handlers need; all files lie below ``folder``."""

    folder: Path
    sight: Sight
    limits: Limits = field(default_factory=Limits)
    triplets: Mapping[str, Shown] = field(default_factory=dict)
    generator: Generator | None = None

    def __post_init__(self) -> None:
        self.shelf = Shelf(self.folder / "pictures", self.limits)
        self.book = LabelBook(self.folder / "labels")

    @property
    def generated(self) -> Path:
        """Where generated pictures lie."""
        return self.folder / "generated"

    def state(self) -> dict[str, Any]:
        """What there is, for the page to begin with."""
        return {
            "models": self.sight.state,
            "skeletons": [described(skeletons.load(name)) for name in offered()],
            "presets": {view: entry["title"] for view, entry in poses.presets().items()},
            "styles": list(_styles()),
            "limits": {
                "megabytes": self.limits.megabytes,
                "megapixels": self.limits.megapixels,
                "animals": poses.MOST_ANIMALS,
            },
            "triplets": {name: shown.count for name, shown in self.triplets.items()},
            "generator": self.generator.title if self.generator else None,
        }

    def upload(self, data: bytes, name: str) -> dict[str, Any]:
        """A picture handed in: its id, name and size."""
        return _picture(self.shelf.add(data, name))

    def canvas(self, content: Any) -> dict[str, Any]:
        """An empty ground of a size."""
        content = content if isinstance(content, dict) else {}
        width, height = (poses.side(content.get(key), key) for key in ("width", "height"))
        if max(width, height) > LARGEST_PICTURE:
            raise UserError(f"a canvas may have {LARGEST_PICTURE} pixels a side")
        return _picture(self.shelf.canvas(width, height))

    def find(self, id: str, content: Any) -> dict[str, Any]:
        """The animals of a picture on the skeleton asked for, or the one inside ``bbox``."""
        content = content if isinstance(content, dict) else {}
        picture = self.shelf.get(id)
        if not picture.file:
            raise UserError("there is nothing on an empty canvas; add an animal")
        target = poses.shipped(content.get("skeleton"))
        bbox = content.get("bbox")
        box = None if bbox is None else np.array(poses.box(bbox, 0))
        source = self.shelf.folder(id) / picture.file
        found = self.sight.look(source, box, self.limits.seconds)
        named = tuple(poses.text(label, "animal") for label in found.labels)
        posed = poses.Posed(found.skeleton, picture.name, picture.size, found.instances, named)
        moved, _ = poses.carried(posed, target.name)
        return {
            "pose": poses.to_plain(moved),
            "found": found.found,
            "seconds": round(found.seconds, 3),
        }

    def keep(self, id: str, content: Any) -> dict[str, Any]:
        """Remember how a picture's animals stand."""
        posed = poses.read(content)
        self.shelf.keep_pose(self.shelf.get(id), poses.to_plain(posed))
        return {"kept": True}

    def kept(self, id: str) -> dict[str, Any]:
        """A picture with what was remembered of it, None before."""
        picture = self.shelf.get(id)
        return {**_picture(picture), "pose": self.shelf.pose(picture)}

    def convert(self, content: Any) -> dict[str, Any]:
        """A pose on another skeleton, with what is exact, near, absent and lost."""
        content = content if isinstance(content, dict) else {}
        posed, grades = poses.carried(poses.read(content.get("pose")), content.get("to", ""))
        return {"pose": poses.to_plain(posed), "grades": grades}

    def check(self, content: Any) -> dict[str, Any]:
        """A pose from a file that was opened, as the studio would write it."""
        return {"pose": poses.to_plain(poses.read(content))}

    def save_label(self, id: str, content: Any) -> dict[str, Any]:
        """Write a corrected pose where training reads it."""
        picture = self.shelf.get(id)
        posed = poses.read(content)
        saved = self.book.save(posed, picture, self.shelf.folder(id) / picture.file)
        return {
            "file": str(saved.file),
            "spec": f"coco:{saved.file}",
            "pictures": saved.pictures,
            "animals": saved.animals,
        }

    def export_picture(self, content: Any) -> bytes:
        """The pose picture, as a generator is shown it, as PNG."""
        content = content if isinstance(content, dict) else {}
        posed = poses.read(content.get("pose"))
        style, hidden = content.get("style", _styles()[0]), content.get("hidden", HIDDEN[0])
        if style not in _styles() or hidden not in HIDDEN:
            raise UserError("no such style, or no such way with hidden points")
        if max(posed.size) > LARGEST_PICTURE:
            raise UserError(
                f"a pose picture may have {LARGEST_PICTURE} pixels a side, not {max(posed.size)}"
            )
        pixels = pose_picture(
            posed.size, posed.instances, posed.skeleton, style=style, hidden=hidden
        )
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, "PNG")
        return out.getvalue()

    def export_coco(self, content: Any) -> bytes:
        """The pose as a COCO label file of one picture."""
        posed = poses.read(content)
        with tempfile.TemporaryDirectory(prefix="tetrapose-") as scratch:
            return json.dumps(one_picture(posed, Path(scratch), posed.name), indent=1).encode()

    def shown(self, id: str) -> Path:
        """The file of a picture as the page shows it."""
        picture = self.shelf.get(id)
        if not picture.file:
            raise UserError("an empty canvas has no picture")
        return self.shelf.folder(id) / "shown.jpg"

    def library(self, name: str) -> Shown:
        """A triplet library by the name the page knows it under."""
        if name not in self.triplets:
            raise UserError("no such library of triplets")
        return self.triplets[name]

    def open_triplet(self, name: str, part: int, key: str) -> dict[str, Any]:
        """A triplet's picture with its animals, as an upload of it would be kept."""
        shown = self.library(name)
        data, _ = shown.picture(part, key, "original_image")
        picture = self.shelf.add(data, f"{key}.jpg")
        posed = from_triplet(shown.points(part, key), picture)
        return {**_picture(picture), "pose": poses.to_plain(posed)}


def from_triplet(content: dict[str, Any], picture: Picture) -> poses.Posed:
    """A triplet's points (``triplets.rows.Triplet.points``) as a pose of the picture."""
    try:
        skeleton = poses.shipped(content["skeleton"])
        animals = [
            {
                "label": animal["species"],
                "bbox": animal["bbox"],
                "keypoints": {
                    name: [x, y, v] if v and x is not None and y is not None else None
                    for name, (x, y, v) in zip(skeleton.names, animal["keypoints"], strict=True)
                },
            }
            for animal in content["animals"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError("this triplet's points are damaged; build it again") from None
    width, height = picture.size
    return poses.read(
        {
            "format": poses.FORMAT,
            "skeleton": skeleton.name,
            "picture": {"name": picture.name, "width": width, "height": height},
            "animals": animals,
        }
    )


@cache
def offered() -> tuple[str, ...]:
    """All skeletons that ship, those for posing first."""
    rest = [name for name in skeletons.available() if name not in poses.OFFERED]
    return (*poses.OFFERED, *rest)


def described(skeleton: Skeleton) -> dict[str, Any]:
    """A skeleton as the page draws it: names, edges, partners, colours, and presets where it has.

    Presets are there for skeletons at least three quarters of whose points they know.
    """
    views = {}
    for view in poses.presets():
        points = poses.preset(view, skeleton)
        if np.isfinite(points).all(axis=1).mean() >= 0.75:
            views[view] = [None if np.isnan(x) else [x, y] for x, y in points.round(4).tolist()]
    return {
        "name": skeleton.name,
        "title": skeleton.title,
        "names": list(skeleton.names),
        "sites": [point.site for point in skeleton.keypoints],
        "parts": [point.part for point in skeleton.keypoints],
        "sides": [side_of(name) for name in skeleton.names],
        "flip": skeleton.flip_indices.tolist(),
        "edges": skeleton.edge_indices.tolist(),
        "colours": point_colours(load_style("vivid"), skeleton).tolist(),
        "presets": views,
    }


def _picture(picture: Picture) -> dict[str, Any]:
    width, height = picture.size
    return {
        "id": picture.id,
        "name": picture.name,
        "width": width,
        "height": height,
        "blank": not picture.file,
    }


@cache
def _styles() -> tuple[str, ...]:
    from tetrapose.render.pose_styles import pose_styles

    return tuple(pose_styles())
