"""Labelled animals gathered picture by picture, then laid into columns; boxes made of points."""

from __future__ import annotations

import contextlib
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tetrapose.geometry import box_area, points_box
from tetrapose.images import ImageError, read_size
from tetrapose.skeletons import Skeleton
from tetrapose.structures import PoseSet, Problem

MARGIN = 0.1  # of the longer side, as Animal-Pose's boxes leave around the like points (akd_cats)
LEAST = 5.0  # px on each side, so that the box of a single point is not empty


@dataclass
class Gathered:
    """What a reader of keypoints has found so far: pictures, animals, problems."""

    files: list[str] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    groups: list[Hashable] = field(default_factory=list)
    animals: list[dict[str, Any]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def picture(
        self, file: str, size: tuple[int, int] = (0, 0), group: Hashable | None = None
    ) -> int:
        """Number of a further picture: its path below the root, its size, its video or burst."""
        self.files.append(file)
        self.sizes.append(size)
        self.groups.append(("picture", len(self.files)) if group is None else group)
        return len(self.files) - 1

    def animal(
        self, image: int, keypoints: np.ndarray, visibility: np.ndarray, **more: Any
    ) -> None:
        """An animal of picture number ``image``: keypoints (K, 2) and visibility (K,).

        ``more`` may hold box (4,), area, species and crowd; a box that is missing is made of the
        points, an area that is missing is the box's.
        """
        points = np.where(visibility[:, None] > 0, keypoints, np.nan)
        self.animals.append({"image": image, "points": points, "flags": visibility, **more})

    def problem(self, where: str, what: str, fix: str, *, left_out: bool = True) -> None:
        """Something was left out, or is in doubt."""
        self.problems.append(Problem(where, what, fix, left_out))

    def read_sizes(self, root: Path) -> None:
        """Sizes from the headers of the pictures, so that boxes made of points end at the border.

        A picture that cannot be read keeps its size; the checks of the set tell of it.
        """
        for index, file in enumerate(self.files):
            with contextlib.suppress(ImageError):
                self.sizes[index] = read_size(root / file)

    def pose_set(
        self,
        skeleton: Skeleton,
        *,
        root: Path,
        source: str,
        licence: str,
        species: Sequence[str] = (),
    ) -> PoseSet:
        """All of it in columns; ``species`` are those known beforehand, in
        their order; the first is that of animals of which none was told."""
        count, points = len(self.animals), len(skeleton)
        keypoints = self._column("points", np.float64, (count, points, 2))
        image = self._column("image", np.int64, (count,))
        sizes = np.array(self.sizes, dtype=np.int32).reshape(len(self.files), 2)
        made = boxes_around(keypoints, sizes[image])
        told = [animal.get("box") for animal in self.animals]
        boxes = np.array(
            [one if box is None else box for one, box in zip(made, told, strict=True)]
        ).reshape(count, 4)
        areas = [animal.get("area") for animal in self.animals]
        areas = [np.nan if area is None else area for area in areas]
        whole = np.array(areas, dtype=np.float64)
        unnamed = species[0] if species else "animal"
        named = [animal.get("species", unnamed) for animal in self.animals]
        names = tuple(dict.fromkeys([*species, *named]))
        numbers: dict[Hashable, int] = {}
        groups = [numbers.setdefault(group, len(numbers)) for group in self.groups]
        return PoseSet(
            skeleton=skeleton,
            root=root,
            source=source,
            licence=licence,
            files=tuple(self.files),
            image_ids=np.arange(1, len(self.files) + 1, dtype=np.int64),
            sizes=sizes,
            groups=np.array(groups, dtype=np.int64),
            image_index=image,
            keypoints=keypoints,
            visibility=self._column("flags", np.uint8, (count, points)),
            bboxes=boxes.astype(np.float32),
            areas=np.where(np.isfinite(whole), whole, box_area(boxes)),
            species=np.array([names.index(name) for name in named], dtype=np.int64),
            species_names=names,
            crowd=np.array([bool(a.get("crowd")) for a in self.animals], dtype=bool),
            annotation_ids=np.arange(1, count + 1, dtype=np.int64),
            problems=tuple(self.problems),
        )

    def _column(self, name: str, dtype: Any, shape: tuple[int, ...]) -> np.ndarray:
        return np.array([animal[name] for animal in self.animals], dtype=dtype).reshape(shape)


def boxes_around(keypoints: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Boxes (N, 4) of the points (N, K, 2) that are not NaN, with a margin around them.

    The margin is a tenth of the longer side, at least 5 px; boxes are cut at pictures of ``sizes``
    (N, 2), where those are known (not 0). NaN rows where there is no point.
    """
    tight = points_box(keypoints)
    longer = (tight[:, 2:] - tight[:, :2]).max(axis=1, initial=0, keepdims=True)
    margin = np.maximum(MARGIN * longer, LEAST)
    known = (sizes > 0).all(axis=1, keepdims=True)
    low, high = tight[:, :2] - margin, tight[:, 2:] + margin
    return np.concatenate(
        [
            np.where(known, np.maximum(low, -0.5), low),
            np.where(known, np.minimum(high, sizes - 0.5), high),
        ],
        axis=1,
    )
