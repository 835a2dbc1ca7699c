"""Which animals to label, or to learn from, when only a few may be: few-shot selection.

Source of the aim: seed 001's notes (github.com/yzrs/FreeNet, first commit): favour pictures rich in
points of medium difficulty, while species and sets stay balanced.
"""

from __future__ import annotations

import numpy as np

from tetrapose.data.splits import draw
from tetrapose.data.splits.files import Part
from tetrapose.errors import UserError
from tetrapose.structures import PoseSet


def usable(pose_set: PoseSet) -> np.ndarray:
    """(N,) animals that can be chosen: labelled somewhere, and one animal alone."""
    return pose_set.labelled.any(axis=1) & ~pose_set.crowd


def few_shot(
    pose_set: PoseSet,
    count: int,
    values: np.ndarray,
    *,
    cells: np.ndarray | None = None,
    seed: int = 0,
) -> np.ndarray:
    """(count,) rows, chosen one by one: sorted.

    Each goes to the cell (N,) that has fewest so far, so that all have equally many as far as their
    animals go; a cell is a species by default, a species of a set where several are mixed. Within
    the cell the animal is taken whose labels add most: ``values`` (K,) of each of its points, over
    one more than that point has been chosen, so that no point runs ahead; over one more than its
    group of pictures has been chosen too. Equal ones go by lot. UserError when there are too few.
    """
    free = _enough(pose_set, count)
    cells = pose_set.species if cells is None else np.asarray(cells)
    lot = draw.lots(pose_set.annotation_ids.tolist(), seed, "few-shot")
    labelled = pose_set.labelled.astype(np.float64)
    unit = draw.units(pose_set).of_picture[pose_set.image_index]
    have = np.zeros(labelled.shape[1])
    of_unit = np.zeros(unit.max(initial=-1) + 1)
    of_cell = dict.fromkeys(_cell_order(pose_set, cells), 0)
    chosen = []
    while len(chosen) < count:
        open_cells = [cell for cell in of_cell if (free & (cells == cell)).any()]
        cell = min(open_cells, key=lambda one: of_cell[one])
        rows = np.flatnonzero(free & (cells == cell))
        gain = (labelled[rows] * (np.asarray(values) / (have + 1))).sum(axis=1)
        gain = (gain / (of_unit[unit[rows]] + 1)).round(9)
        best = rows[gain == gain.max()]
        row = int(best[np.argmin(lot[best])])
        chosen.append(row)
        free[row] = False
        have += labelled[row]
        of_unit[unit[row]] += 1
        of_cell[cell] += 1
    return np.sort(np.array(chosen, dtype=np.int64))


def at_random(pose_set: PoseSet, count: int, *, seed: int = 0) -> np.ndarray:
    """(count,) rows by lot alone, of the same animals that ``few_shot`` chooses from: sorted."""
    rows = np.flatnonzero(_enough(pose_set, count))
    lot = draw.lots(pose_set.annotation_ids[rows].tolist(), seed, "at random")
    return np.sort(rows[np.argsort(lot, kind="stable")[:count]])


def parts(pose_set: PoseSet, rows: np.ndarray) -> dict[str, Part]:
    """``selected``: these animals alone; ``rest``: the pictures of no group that has one of them.

    Other animals of a chosen picture are in neither, since the picture is known by then.
    """
    made = draw.units(pose_set)
    touched = np.zeros(len(made), dtype=bool)
    touched[made.of_picture[pose_set.image_index[rows]]] = True
    files = sorted({pose_set.files[i] for i in pose_set.image_index[rows]})
    ids = sorted(pose_set.annotation_ids[rows].tolist())
    return {
        "selected": Part(tuple(files), tuple(ids)),
        "rest": Part(draw.pictures_of(pose_set, made, ~touched)),
    }


def _enough(pose_set: PoseSet, count: int) -> np.ndarray:
    free = usable(pose_set)
    if not 0 < count <= free.sum():
        raise UserError(f"{count} animals to choose: the set has {free.sum()} with labels")
    return free


def _cell_order(pose_set: PoseSet, cells: np.ndarray) -> list[int]:
    """The cells that have animals to choose, by the least name of a species in each.

    So the order does not hang on that of rows or species.
    """
    names = np.array(pose_set.species_names)[pose_set.species]
    rows = usable(pose_set)
    least = {int(cell): str(min(names[rows & (cells == cell)])) for cell in np.unique(cells[rows])}
    return sorted(least, key=lambda cell: (least[cell], cell))
