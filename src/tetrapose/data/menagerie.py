"""The menagerie: pictures that ``tetrapose synth`` rendered, labelled under one or more skeletons.

Origin: rendered by this package, from no photograph.
Licence: none needed; what you render is yours.
Citation: this package.

A folder holds images/ and, for each skeleton it was written out under, a COCO file <skeleton>.json.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tetrapose.data import coco
from tetrapose.data.reading import About, Split
from tetrapose.errors import UserError
from tetrapose.structures import PoseSet

ABOUT = About(
    title="Menagerie: rendered animals with exact truth",
    skeleton="as written: FOLDER/<skeleton>.json",
    origin="tetrapose synth",
    licence="yours",
    citation="this package",
    layout="FOLDER/<skeleton>.json and FOLDER/images/",
    traps="flag 1 is exact: a point that another part of the body or another animal covers",
    fetch="nothing to fetch: tetrapose synth draws it",
)

TRUTH = "truth.json"  # every point of every animal under no skeleton: not a label file


def read(
    root: str | Path, *, split: Split | None = None, sizes: bool = False, pictures: bool = True
) -> PoseSet:
    """The set in ``root``, a folder with one label file or a label file in such a folder."""
    root = Path(root)
    if not root.exists():
        raise UserError(f"{root}: no such folder")
    file = root
    if root.is_dir():
        found = sorted(path for path in root.glob("*.json") if path.name != TRUTH)
        if not found:
            raise UserError(f"{root}: the folder is there but lacks <skeleton>.json")
        if len(found) > 1:
            choice = " or ".join(f"menagerie:{path}" for path in found)
            raise UserError(f"{root}: labelled under {len(found)} skeletons; choose {choice}")
        file = found[0]
    pose_set = coco.read(
        file,
        images=file.parent / "images" if pictures else None,
        split=split,
        sizes=sizes,
        pictures=pictures,
    )
    return replace(pose_set, source="menagerie", licence=ABOUT.licence)
