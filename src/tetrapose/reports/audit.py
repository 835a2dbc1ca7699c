"""The page of an audit: every finding with its harm, its fix, its entries and a few pictures."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from tetrapose import geometry, images, render
from tetrapose.audit.findings import Finding, number
from tetrapose.audit.raw import Sheet
from tetrapose.audit.sided import partners
from tetrapose.audit.view import View
from tetrapose.images import ImageError
from tetrapose.reports import page
from tetrapose.skeletons import Keypoint, Skeleton
from tetrapose.structures import Instances

SHOWN = 30  # entries that are listed; the rest stands in --json
PICTURES = 6  # animals or pictures that are drawn for each finding
SIDE = 420  # px of the longer side of a drawn picture
GIVEN, MEANT = (230, 60, 80), (40, 170, 110)


@dataclass(frozen=True)
class AuditedFile:
    """One file of an audit; ``sheet`` is None where it could not be read, ``folder`` where no
    pictures are at hand.
    """

    name: str
    split: str | None
    sheet: Sheet | None
    seen: View | None
    found: Sequence[Finding]
    folder: Path | None


def audit_page(files: Sequence[AuditedFile], *, title: str = "Audit of label files") -> str:
    """The page as HTML."""
    found = sum(len(file.found) for file in files)
    animals = sum(len(file.sheet) for file in files if file.sheet)
    pictures = sum(len(file.sheet.image_names) for file in files if file.sheet)
    lead = "Nothing was found." if not found else "What was found, why it matters, what mends it."
    return page.document(
        title,
        f'<h1>{html.escape(title)}</h1><p class="lead">{html.escape(lead)}</p>',
        page.headline_figures(
            {
                "files": f"{len(files):,}",
                "pictures": f"{pictures:,}",
                "animals": f"{animals:,}",
                "findings": f"{found:,}",
            }
        ),
        _overview(files),
        *(part for file in files for part in _file(file)),
    )


def _overview(files: Sequence[AuditedFile]) -> str:
    codes = list(dict.fromkeys(one.code for file in files for one in file.found))
    if not codes:
        return ""
    counts = [{one.code: one.count for one in file.found} for file in files]
    rows = [
        [code, *(f"{count[code]:,}" if code in count else "–" for count in counts)]
        for code in codes
    ]
    return page.section("Overview", page.table(["finding", *map(_short, files)], rows))


def _short(file: AuditedFile) -> str:
    name = Path(file.name).name
    return f"{file.split}: {name}" if file.split else name


def _file(file: AuditedFile) -> list[str]:
    sheet = file.sheet
    if sheet is None:
        return [page.section(file.name, page.table([], [["cannot be read", file.found[0].message]],
                                                   words=True))]  # fmt: skip
    told = f"{number(len(sheet), 'animal')} in {number(len(sheet.image_names), 'picture')}"
    if sheet.layout == "definition":
        told = number(len(sheet.definitions), "keypoint definition")
    elif file.folder is None:
        told += "; the pictures were not looked at"
    if not file.found:
        return [page.section(file.name, "<p>Nothing was found.</p>", note=told)]
    head = f"<h2>{html.escape(file.name)}</h2>"
    if file.folder is not None:
        told += "; boxes as they are meant are green, red as they read where that differs"
    return [f'{head}<p class="note">{html.escape(told)}</p>', *(_one(file, f) for f in file.found)]


def _one(file: AuditedFile, one: Finding) -> str:
    details = one.details or ("",) * len(one.entries)
    shown = [
        f"{entry} ({detail})" if detail else f"{entry}"
        for entry, detail in zip(one.entries[:SHOWN], details[:SHOWN], strict=True)
    ]
    more = [f"and {len(one.entries) - SHOWN:,} more"] if len(one.entries) > SHOWN else []
    rows = [
        ["found", one.message],
        ["harm", one.harm],
        ["fix", one.fix or "by hand"],
        ["which", ", ".join([*shown, *more])],
    ]
    return page.section(one.code, page.table([], rows, words=True), _drawn(file, one))


def _drawn(file: AuditedFile, one: Finding) -> str:
    """Pictures of the finding's first entries; nothing where there are none at hand."""
    if file.folder is None or file.sheet is None or file.seen is None:
        return ""
    make = {"animal": _animals, "picture": _pictures}.get(one.about)
    tiles = make(file, one) if make else []
    return page.tiles(tiles) if tiles else ""


Tile = tuple[np.ndarray, str, str]


def _animals(file: AuditedFile, one: Finding) -> list[Tile]:
    sheet, seen, folder = file.sheet, file.seen, file.folder
    assert sheet is not None
    assert seen is not None
    assert folder is not None
    place = {int(row): i for i, row in enumerate(sheet.rows)}
    tiles = []
    for row, entry, detail in _spread(one):
        if row not in place:
            continue
        i = place[row]
        drawn = _animal(sheet, seen, i, folder)
        if drawn is not None:
            name = sheet.image_names[sheet.image_index[i]]
            tiles.append((drawn, entry, f"{name} {detail}".strip()))
    return tiles


def _spread(one: Finding) -> list[tuple[int, str, str]]:
    """Row, entry and detail of a few entries, spread over all, each animal once."""
    details = one.details or ("",) * len(one.entries)
    rows = dict(
        (row, (str(entry), detail))
        for row, entry, detail in zip(one.rows, one.entries, details, strict=False)
    )
    step = max(1, len(rows) // PICTURES)
    return [(row, *told) for row, told in list(rows.items())[::step][:PICTURES]]


def _animal(sheet: Sheet, seen: View, i: int, folder: Path) -> np.ndarray | None:
    """The picture with the animal's box as written (red) and as meant (green), and its points."""
    read = _read(folder / sheet.image_names[sheet.image_index[i]])
    if read is None:
        return None
    pixels, matrix = read
    given = sheet.boxes[i]
    if sheet.box_form == "xywh":
        given = geometry.xywh_to_xyxy(given)
    meant = seen.corners[i]
    names = sheet.keypoint_names[sheet.species[i]]
    points = geometry.transform_points(matrix, seen.points[i])
    if names and len(names) == sheet.counts[i]:
        labelled = np.isfinite(points[: len(names)]).all(axis=-1)
        figure = Instances(
            keypoints=points[None, : len(names)],
            visibility=np.where(labelled, 2, 0).astype(np.uint8)[None],
            bboxes=_moved(matrix, meant)[None],
        )
        pixels = render.draw(pixels, figure, _skeleton(names))
    pixels = np.ascontiguousarray(pixels)
    for box, colour in ((given, GIVEN), (meant, MEANT)):
        if np.isfinite(box).all() and (colour == MEANT or not np.array_equal(given, meant)):
            a, b = np.clip(_moved(matrix, box), -9999, 9999).round().astype(int).reshape(2, 2)
            cv2.rectangle(pixels, a.tolist(), b.tolist(), colour, 2)
    return pixels


def _moved(matrix: np.ndarray, box: np.ndarray) -> np.ndarray:
    return geometry.transform_points(matrix, box.reshape(2, 2)).reshape(4)


def _skeleton(names: tuple[str, ...]) -> Skeleton:
    """A skeleton to draw a file's own points with; no edges, since those are under audit."""
    index, _ = partners(names)
    unique = [f"{name}#{i}" for i, name in enumerate(names)]
    return Skeleton(
        name="audited",
        title="",
        keypoints=tuple(
            Keypoint(name=unique[i], mirror=unique[index[i]], sigma=0.05, part="trunk", site="-")
            for i in range(len(names))
        ),
        edges=(),
        source={},
        sigma_sets={},
    )


def _pictures(file: AuditedFile, one: Finding) -> list[Tile]:
    sheet, folder = file.sheet, file.folder
    assert sheet is not None
    assert folder is not None
    place = {int(row): i for i, row in enumerate(sheet.image_rows)}
    rows = [row for group in one.groups for row in group] or list(one.rows)
    tiles = []
    for row in rows[:PICTURES]:
        name = sheet.image_names[place[row]]
        read = _read(folder / name)
        if read is not None:
            tiles.append((read[0], name, ""))
    return tiles


def _read(path: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """A picture shrunk to SIDE, and the matrix from the full one's pixels to its own."""
    try:
        pixels, size = images.read_image(path, least=SIDE)
    except ImageError:
        return None
    height, width = pixels.shape[:2]
    scale = min(1.0, SIDE / max(width, height))
    small = max(round(width * scale), 1), max(round(height * scale), 1)
    pixels = cv2.resize(pixels, small, interpolation=cv2.INTER_AREA)
    return pixels, geometry.resize_matrix(size, small)
