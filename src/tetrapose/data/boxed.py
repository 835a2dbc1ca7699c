"""Sets whose animals are boxes without keypoints, gathered picture by picture.

They serve detectors, pseudo labels and triplets. Since a set stands on a skeleton, theirs is
AP-10K's unless ``skeleton=`` names another, with every point NaN and not labelled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tetrapose import skeletons
from tetrapose.data import foreign
from tetrapose.data.checks import MANY
from tetrapose.data.reading import About
from tetrapose.errors import UserError
from tetrapose.geometry import box_area
from tetrapose.structures import PoseSet, Problem

SKELETON = "ap10k"
FIX = "correct or remove the entry"


@dataclass
class Gathered:
    """What a reader of boxes has found so far: pictures, animals, problems."""

    files: list[str] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    image_index: list[int] = field(default_factory=list)
    boxes: list[tuple[float, float, float, float]] = field(default_factory=list)
    species: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def picture(self, file: str, size: tuple[int, int]) -> None:
        """A further picture, by its path below the root; its size or 0, 0."""
        self.files.append(file)
        self.sizes.append(size)

    def animal(self, box: tuple[float, float, float, float], species: str) -> None:
        """A further animal, x1, y1, x2, y2, of the picture given last."""
        self.image_index.append(len(self.files) - 1)
        self.boxes.append(box)
        self.species.append(species)

    def fault(self, where: str, what: str, fix: str = FIX) -> None:
        """An entry that was left out."""
        self.problems.append(Problem(where, what, fix))

    def annotation(self, path: Path, picture: str, tag: str, species: str) -> None:
        """One picture with its animals, from an XML file with a box ``tag`` in each <object>."""
        try:
            tree = foreign.load_xml(path)
        except UserError as error:
            where, _, what = str(error).partition(": ")
            self.fault(where, what)
            return
        self.picture(picture, foreign.size_of(tree))
        objects = tree.findall("object")
        if not objects:
            self.fault(str(path), "it holds no <object>")
        for number, one in enumerate(objects, 1):
            try:
                box = foreign.corners(one, tag)
            except ValueError as error:
                self.fault(f"{path}: object {number}", str(error))
                continue
            self.animal(box, species)

    def pose_set(self, root: Path, source: str, about: About, skeleton: str) -> PoseSet:
        """The set in columns, not yet checked."""
        known = skeletons.load(skeleton)
        m, n, k = len(self.files), len(self.boxes), len(known)
        names = sorted(set(self.species))
        number = {name: index for index, name in enumerate(names)}
        boxes = np.array(self.boxes, dtype=np.float64).reshape(n, 4)
        return PoseSet(
            skeleton=known,
            root=root,
            source=source,
            licence=about.licence,
            files=tuple(self.files),
            image_ids=np.arange(1, m + 1, dtype=np.int64),
            sizes=np.array(self.sizes, dtype=np.int32).reshape(m, 2),
            groups=np.arange(m, dtype=np.int64),
            image_index=np.array(self.image_index, dtype=np.int64),
            keypoints=np.full((n, k, 2), np.nan, dtype=np.float32),
            visibility=np.zeros((n, k), dtype=np.uint8),
            bboxes=boxes.astype(np.float32),
            areas=box_area(boxes),
            species=np.array([number[name] for name in self.species], dtype=np.int64),
            species_names=tuple(names),
            crowd=np.zeros(n, dtype=bool),
            annotation_ids=np.arange(1, n + 1, dtype=np.int64),
            problems=tuple(self.problems),
        )


def absent(
    where: str, names: Sequence[str], total: int, thing: str, *, lack: str = "is missing"
) -> list[Problem]:
    """A problem for each name whose thing is not there, a sum before them when they are many."""
    problems = [
        Problem(f"{where}: {name}", f"its {thing} {lack}", "fetch it again") for name in names
    ]
    if len(names) > MANY:
        what = f"of {len(names):,} of {total:,} the {thing} {lack}, first {names[0]}"
        problems.insert(0, Problem(where, what, "complete the copy: it looks half unpacked"))
    return problems


def unlabelled(where: str, images: Path, labelled: Sequence[str]) -> list[Problem]:
    """Problems for the pictures below ``images`` that are not among the ``labelled`` ones."""
    there = [
        name for name in foreign.files_below(images) if name.lower().endswith((".jpg", ".jpeg"))
    ]
    known = set(labelled)
    lacking = [name for name in there if name not in known]
    return absent(where, lacking, len(there), "annotation")


def chosen_part(part: str | None, parts: Sequence[str]) -> None:
    """Refuse a ``part`` that the set does not have."""
    if part is not None and part not in parts:
        raise UserError(f"part={part}: it is {' or '.join(parts)}, or is left out for all")
