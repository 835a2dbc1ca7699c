"""Oxford-IIIT Pet: 7,349 pictures of 37 breeds of cats and dogs, trimaps and boxes of heads.

Origin: robots.ox.ac.uk/~vgg/data/pets, two archives: images.tar.gz and annotations.tar.gz.
Licence: CC BY-SA 4.0 by its page, research only by the README in the archive; the pictures remain
their owners'.
Citation: Parkhi, Vedaldi, Zisserman, Jawahar: Cats and Dogs, CVPR 2012.

annotations/list.txt names every picture: name, class 1..37, species (1 cat, 2 dog), breed. Its
comment on breeds has the counts of cats and dogs exchanged. The whole animal has no box but a
trimap (trimaps/<name>.png: 1 animal, 2 background, 3 in between): its box spans all pixels of 1
and 3. With ``box=head`` the boxes are those of xmls/<name>.xml, which about half of the pictures
have, in PASCAL's 1-based pixels: one is taken off, so that the first pixel is 0. trainval.txt and
test.txt are the official parts, read with ``part``. Some pictures named .jpg are GIF or PNG
within.

Areas are of the box, width x height. The species is the breed, or cat and dog with
``breeds=false``. Points: none; see tetrapose.data.boxed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tetrapose.data import boxed, checks, reading
from tetrapose.data.reading import About, Split
from tetrapose.errors import UserError
from tetrapose.images import read_image
from tetrapose.structures import PoseSet, Problem

ABOUT = About(
    title="Oxford-IIIT Pet: 37 breeds of cats and dogs, boxes without keypoints",
    skeleton="ap10k with no point labelled, or the one given with skeleton=NAME",
    origin="robots.ox.ac.uk/~vgg/data/pets",
    licence="CC BY-SA 4.0 by its page, research only by its README; pictures their owners'",
    citation="Parkhi et al., Cats and Dogs, CVPR 2012",
    layout=(
        "FOLDER/images/<name>.jpg, FOLDER/annotations/list.txt, trimaps/<name>.png and "
        "xmls/<name>.xml; for part=trainval or part=test the list of that name"
    ),
    traps=(
        "boxes of the XML files are heads, which half of the pictures have: box=head; whole bodies "
        "come from the trimaps; list.txt exchanges the counts of cat and dog breeds in its comment;"
        " some .jpg are GIF or PNG"
    ),
    fetch=(
        "images.tar.gz (790 MB) and annotations.tar.gz (19 MB) from "
        "robots.ox.ac.uk/~vgg/data/pets, both unpacked in FOLDER"
    ),
)
PARTS = ("trainval", "test")
SPECIES = {"1": "cat", "2": "dog"}
BACKGROUND = 2


def read(
    root: str | Path,
    *,
    box: str = "body",
    part: str | None = None,
    breeds: bool = True,
    skeleton: str = boxed.SKELETON,
    split: Split | None = None,
    sizes: bool = False,
    pictures: bool = True,
) -> PoseSet:
    """The set below ``root``, or its official ``part`` (trainval, test), problems listed.

    Bodies take a few milliseconds a trimap to read. Sizes are the trimaps' or XML files', or the
    pictures' own with ``sizes``; ``pictures=False`` reads labels whose pictures are not at hand.
    """
    if box not in ("body", "head"):
        raise UserError(f"box={box}: it is body or head")
    boxed.chosen_part(part, PARTS)
    root = Path(root)
    kind = "annotations/trimaps" if box == "body" else "annotations/xmls"
    listed = f"annotations/{part or 'list'}.txt"
    wants = (listed, kind, "images") if pictures else (listed, kind)
    reading.need_folder(root, wants, ABOUT.layout)
    found, where = boxed.Gathered(), str(root / listed)
    rows = _rows(root / listed, found)
    add = _body if box == "body" else _head
    there = {file.name for file in (root / kind).iterdir()}
    suffix = ".png" if box == "body" else ".xml"
    lacking = [name for name, _ in rows if f"{name}{suffix}" not in there]
    if box == "body":
        found.problems += boxed.absent(where, lacking, len(rows), "trimap")
    elif lacking:
        what = f"{len(rows) - len(lacking):,} of {len(rows):,} pictures have a head's box"
        fix = "nothing to do: the set labels heads in about half of its pictures"
        found.problems.append(Problem(where, what, fix, left_out=False))
    for name, species in rows:
        if f"{name}{suffix}" in there:
            called = name.rpartition("_")[0].replace("_", " ") if breeds else species
            add(found, root / kind / f"{name}{suffix}", f"images/{name}.jpg", called)
    pose_set = found.pose_set(root, "oxford_pet", ABOUT, skeleton)
    return checks.checked(pose_set, where, split=split, sizes=sizes, pictures=pictures)


def _rows(path: Path, found: boxed.Gathered) -> list[tuple[str, str]]:
    """Name and species of each line."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as text ({error})") from None
    rows = []
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or line.startswith("#"):
            continue
        if len(words) != 4 or words[2] not in SPECIES:
            what = f"{line.strip()[:60]!r}, where name, class, species 1 or 2 and breed are due"
            found.fault(f"{path}: line {number}", what)
            continue
        rows.append((words[0], SPECIES[words[2]]))
    if not rows:
        raise UserError(f"{path}: names no picture; due are lines of name, class, species, breed")
    return rows


def _body(found: boxed.Gathered, path: Path, picture: str, species: str) -> None:
    """One picture with the box of its trimap."""
    try:
        trimap = read_image(path)[0][..., 0]
    except UserError as error:
        where, _, what = str(error).partition(": ")
        found.fault(where, what)
        return
    height, width = trimap.shape
    found.picture(picture, (width, height))
    animal = (trimap > 0) & (trimap != BACKGROUND)
    ys, xs = np.flatnonzero(animal.any(axis=1)), np.flatnonzero(animal.any(axis=0))
    if trimap.max() > 3 or not len(xs):
        what = "no animal in it" if trimap.max() <= 3 else f"holds {trimap.max()}, over 3"
        found.fault(str(path), f"{what}; a trimap of 1, 2 and 3 is due")
        return
    found.animal((xs[0] - 0.5, ys[0] - 0.5, xs[-1] + 0.5, ys[-1] + 0.5), species)


def _head(found: boxed.Gathered, path: Path, picture: str, species: str) -> None:
    """One picture with the boxes of its XML file."""
    first = len(found.boxes)
    found.annotation(path, picture, "bndbox", species)
    found.boxes[first:] = [(a - 1, b - 1, c - 1, d - 1) for a, b, c, d in found.boxes[first:]]
