"""The steps from a picture with its animals to a triplet, each a small function."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from tetrapose import geometry
from tetrapose.errors import UserError
from tetrapose.render.pose_picture import drawn_points, pose_and_overlay
from tetrapose.triplets.animals import Animals
from tetrapose.triplets.frames import frame
from tetrapose.triplets.pictures import Scanned
from tetrapose.triplets.rows import Facts, Item, Triplet
from tetrapose.triplets.settings import Settings

KEY = 24  # characters of the content's digest that name a triplet
DEFLATE = 3  # of PNG: a third of what zlib takes at its usual 6, for a tenth more bytes
DECIMALS = 3  # of points and boxes, in px
LOOKED_AT = 85  # JPEG quality of overlays at most: nothing is learned from them


@dataclass(frozen=True)
class Draft:
    """A triplet on its way: the cropped picture (H, W, 3) with its animals, and where from.

    ``matrix`` (2, 3) takes the source's pixels to the crop's; ``left_out`` counts animals that are
    in the picture and not drawn.
    """

    item: Item
    scanned: Scanned
    pixels: np.ndarray
    animals: Animals
    matrix: np.ndarray
    left_out: int


def kept(animals: Animals, settings: Settings) -> tuple[Animals | None, str]:
    """The animals that show enough points, and "", or None and the reason where there is none."""
    shares = animals.shares(settings.threshold)
    enough = np.flatnonzero(shares >= settings.least_share)
    if not len(enough) or (settings.every and len(enough) < len(shares)):
        best = shares.min() if len(enough) else shares.max(initial=0.0)
        return None, f"too_few_points:{best:.0%} of {len(animals.skeleton)}"
    return animals.only(enough), ""


def cropped(
    item: Item,
    scanned: Scanned,
    pixels: np.ndarray,
    animals: Animals,
    settings: Settings,
) -> Draft | str:
    """The picture cut to the triplet's shape around the animals that stay, or the reason why not.

    ``pixels`` may be the picture at reduced size; the animals lie in them.
    """
    stay, reason = kept(animals, settings)
    if stay is None:
        return reason
    have = (pixels.shape[1], pixels.shape[0])
    drawn = drawn_points(stay.instances, threshold=settings.threshold)
    view = frame(have, stay.instances.keypoints[drawn], settings)
    inside, reason = kept(stay.moved(view.matrix, view.size), settings)
    if inside is None:
        return reason.replace("too_few_points", "outside_crop")
    to_have = geometry.resize_matrix(scanned.size, have)
    return Draft(
        item=item,
        scanned=scanned,
        pixels=view.cut(pixels),
        animals=only_drawn(inside, settings.threshold),
        matrix=geometry.compose(view.matrix, to_have),
        left_out=len(animals.species) - len(inside.species),
    )


def only_drawn(animals: Animals, threshold: float) -> Animals:
    """The animals with nothing left of points that are not drawn."""
    one = animals.instances
    drawn = drawn_points(one, threshold=threshold)
    clear = replace(
        one,
        keypoints=np.where(drawn[..., None], one.keypoints, np.nan),
        visibility=np.where(drawn, one.visibility, 0).astype(np.uint8),
    )
    return replace(animals, instances=clear)


def facts(draft: Draft) -> Facts:
    """What a captioner is told."""
    return Facts(
        key=key_of(draft),
        text=draft.item.text,
        species=draft.animals.species,
        instances=draft.animals.instances,
        skeleton=draft.animals.skeleton,
        size=(draft.pixels.shape[1], draft.pixels.shape[0]),
    )


def key_of(draft: Draft) -> str:
    """The triplet's name: of its picture's content, so that it is the same in every library."""
    return draft.scanned.sha256[:KEY]


def drawn(draft: Draft, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """The pose picture (H, W, 3), and the same drawing over the picture."""
    animals = draft.animals
    return pose_and_overlay(draft.pixels, animals.instances, animals.skeleton, style=settings.style)


def jpeg(pixels: np.ndarray, quality: int) -> bytes:
    """Pixels (H, W, 3) RGB as a JPEG file; the same bytes for the same OpenCV."""
    how = [cv2.IMWRITE_JPEG_QUALITY, quality]
    done, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), how)
    if not done:
        raise UserError("OpenCV wrote no JPEG picture; is its build complete?")
    return data.tobytes()


def png(pixels: np.ndarray) -> bytes:
    """Pixels (H, W, 3) RGB as a PNG file; the same bytes for the same zlib.

    Rows are unfiltered: on black with flat colours that is the smallest and the quickest.
    """
    height, width = pixels.shape[:2]
    rows = np.zeros((height, 1 + 3 * width), dtype=np.uint8)
    rows[:, 1:] = pixels.reshape(height, -1)
    header = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)  # 8 bits, RGB
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), DEFLATE)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )


def score(animals: Animals) -> float:
    """How sure a triplet's points are, 0..1: the mean over animals of their drawn points' mean.

    Labels count as sure.
    """
    scores = animals.instances.scores
    if scores is None:
        return 1.0
    there = animals.instances.visibility > 0
    means = [float(row[mask].mean()) for row, mask in zip(scores, there, strict=True)]
    return float(np.mean(means))


def points(draft: Draft) -> dict[str, Any]:
    """The animals as plain values, as ``rows.Triplet`` lays them down."""
    one = draft.animals.instances
    rows = []
    for row, species in enumerate(draft.animals.species):
        places = np.round(one.keypoints[row], DECIMALS).tolist()
        seen = one.visibility[row].tolist()
        rows.append(
            {
                "species": species,
                "bbox": np.round(one.bboxes[row], DECIMALS).tolist(),
                "keypoints": [
                    [x, y, v] if v else [None, None, 0]
                    for (x, y), v in zip(places, seen, strict=True)
                ],
                "scores": None if one.scores is None else np.round(one.scores[row], 4).tolist(),
                "bbox_score": None if one.bbox_scores is None
                else round(float(one.bbox_scores[row]), 4),
                "labelled": draft.animals.labelled,
            }
        )  # fmt: skip
    size = [draft.pixels.shape[1], draft.pixels.shape[0]]
    return {"skeleton": draft.animals.skeleton.name, "size": size, "animals": rows}


def provenance(draft: Draft, more: dict[str, Any]) -> dict[str, Any]:
    """Where a triplet comes from, as ``rows.Triplet`` lays it down; ``more`` comes last."""
    item, scanned = draft.item, draft.scanned
    shares = (draft.animals.instances.visibility > 0).mean(axis=1)
    return {
        "source": item.source,
        "key": item.key,
        "url": item.url,
        "licence": item.licence,
        "text": item.text,
        "sha256": scanned.sha256,
        "phash": f"{scanned.phash:016x}",
        "source_size": list(scanned.size),
        "matrix": np.round(draft.matrix, 6).tolist(),
        "share_found": np.round(shares, 4).tolist(),
        "animals_left_out": draft.left_out,
        "score": round(score(draft.animals), 4),
        **more,
    }


def triplet(draft: Draft, pictures: tuple[bytes, bytes, bytes], caption: str, more: dict[str, Any]
) -> Triplet:  # fmt: skip
    """The finished row."""
    return Triplet(key_of(draft), *pictures, caption, points(draft), provenance(draft, more))
