"""What crosses the modules of this room: items, facts, triplets and the rows of the ledger.

A library is made in parts of a fixed number of items. Of each part there is one shard of triplets
and one table of the ledger, and in that table one row for every item, kept or not:

  LIBRARY/library.json            settings, sources, skeletons, models, versions, counts
  LIBRARY/shards/NNNNNN.tar       WebDataset; of each triplet KEY.original_image.jpg,
                                  KEY.conditioning_image.png, KEY.overlaid.jpg, KEY.caption.txt,
                                  KEY.points.json, KEY.provenance.json
  LIBRARY/ledger/NNNNNN.parquet   a LedgerRow for every item of the part
  LIBRARY/work/                   the plan, the scan and what was fetched

A part is finished when its table of the ledger is there, which is written after its shard.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from tetrapose.skeletons import Skeleton
from tetrapose.structures import Instances

KEPT = "kept"
DROPPED = "dropped"

STEPS = (
    "list", "download", "decode", "duplicates", "find", "points", "keep", "crop", "draw",
    "overlay", "caption", "score", "write",
)  # fmt: skip
"""The steps in the order in which an item meets them."""

REASONS: dict[str, str] = {
    "": "kept",
    # list: what a list of addresses says of itself
    "no_address": "the list gives no address",
    # download; download.py adds its own details after a colon, as in "http_status:404"
    "refused_address": "an address that is not asked: private, or of a form other than http(s)",
    "robots": "the host's robots.txt asks not to",
    "opt_out": "the answer's headers ask that it be not used",
    "http_status": "the host answered with an error",
    "timeout": "no answer in time",
    "connection": "the connection failed",
    "redirects": "too many redirects",
    "too_many_bytes": "longer than the bound",
    "truncated": "the answer ended early",
    "wrong_type": "the answer is no picture",
    # decode
    "unreadable": "cannot be decoded",
    "too_small": "its shorter side is below the bound",
    "too_large": "more pixels than the bound",
    # duplicates
    "duplicate": "the same bytes as an earlier picture",
    "near_duplicate": "looks the same as an earlier picture",
    # find, points, keep, crop
    "found_again": "kept; so many of its boxes were animals that another box has too",
    "not_labelled": "no labelled points, and no network is to look",
    "no_animal": "no animal found",
    "too_few_points": "too small a share of the points found",
    "outside_crop": "too small a share of the points left inside the crop",
    # caption
    "no_caption": "no text and no template for it",
}
"""Every reason for which an item is dropped, in words; a detail may follow after a colon."""


@dataclass(frozen=True)
class Item:
    """One picture of a source, before anything was looked at.

    ``key`` tells it apart within its source and stays the same whenever the source is listed again
    (a path below the folder, an address). The picture is one of: a file at ``path`` (also a part of
    a file, named as ``images.member`` does); row ``row`` of the Parquet file ``path`` with its
    bytes in ``column``; or what ``url`` answers. ``text`` is the source's own words for it, as
    found; ``licence`` what the source says, "" where it says nothing. ``species`` names the animals
    one by one as the source does, in the order of ``instances``, or alone where the source tells
    the picture's animal and no more. ``instances`` are labels in pixels of the picture on the
    skeleton named ``skeleton``; animals whose points are all NaN are boxes to be looked at; None
    where nothing is labelled.
    """

    key: str
    source: str
    path: str = ""
    row: int = -1
    column: str = ""
    url: str = ""
    text: str = ""
    licence: str = ""
    species: tuple[str, ...] = ()
    instances: Instances | None = None
    skeleton: str = ""


@dataclass(frozen=True)
class Facts:
    """What is known of a triplet when its caption is written.

    ``text`` is the source's own, uncleaned; ``species`` one for each of ``instances``, "" where
    unknown; ``instances`` lie in pixels of the triplet's picture of ``size`` (width, height).
    """

    key: str
    text: str
    species: tuple[str, ...]
    instances: Instances
    skeleton: Skeleton
    size: tuple[int, int]


@dataclass(frozen=True)
class Captioned:
    """A caption and where it came from: "text", "template", "dropped", or a model's name."""

    caption: str
    origin: str
    version: str = ""


@dataclass(frozen=True)
class Decision:
    """What one step said of one item.

    ``step`` is one of ``STEPS``; ``outcome`` "kept" or "dropped"; ``reason`` one of ``REASONS``, a
    detail after a colon where there is one; ``model`` and ``version`` name the network or rule that
    said so, "" where no network took part.
    """

    step: str
    outcome: Literal["kept", "dropped"]
    reason: str = ""
    model: str = ""
    version: str = ""


@dataclass(frozen=True)
class LedgerRow:
    """One item of a library, kept or not: a row of ``ledger/NNNNNN.parquet``.

    ``part`` and ``place`` say where the item stands in the plan. ``sha256`` is of the picture
    file's bytes, ``phash`` its 64 bits in hexadecimal, ``size`` (width, height) as shown; "" and
    (0, 0) where it could not be read. ``triplet`` is the key in the shard, "" where dropped.
    """

    part: int
    place: int
    key: str
    source: str
    where: str
    url: str
    licence: str
    sha256: str
    phash: str
    size: tuple[int, int]
    outcome: Literal["kept", "dropped"]
    step: str
    reason: str
    triplet: str
    decisions: tuple[Decision, ...]


@dataclass(frozen=True)
class Triplet:
    """One finished row of a library.

    ``original_image`` and ``overlaid`` are JPEG files, ``conditioning_image`` a PNG file, all of
    one size. ``points`` holds plain values: ``skeleton`` (its name), ``size`` [width, height],
    ``animals``: a list of ``species``, ``bbox`` [x1, y1, x2, y2], ``keypoints`` [[x, y, v], ...]
    with null for x and y and 0 for v of points that are not drawn, ``scores`` [K] or null for
    labels, ``bbox_score`` or null, ``labelled`` true or false, all in pixels of the triplet's
    picture. ``provenance`` holds plain values: ``source``, ``key``, ``url``, ``licence``, ``text``,
    ``sha256``, ``phash``, ``source_size``, ``matrix`` [[a, b, c], [d, e, f]] from the source's
    pixels to the triplet's, ``share_found``, ``animals_left_out``, ``score``, ``caption_origin``,
    ``models`` (name to version), ``style``.
    """

    key: str
    original_image: bytes
    conditioning_image: bytes
    overlaid: bytes
    caption: str
    points: dict[str, Any] = field(repr=False)
    provenance: dict[str, Any] = field(repr=False)


COLUMNS = ("original_image", "conditioning_image", "overlaid", "caption", "points", "provenance")
"""Columns of a library exported to Parquet or to a Hugging Face datasets folder."""
