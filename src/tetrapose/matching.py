"""One-to-one assignment, in numpy alone: of least cost, or of greatest similarity."""

from __future__ import annotations

import numpy as np


def assign(cost: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns (P,), P = min(N, M), of the pairs of least total cost (N, M), rows rising.

    Costs are finite; among equals the lower column wins, so that the answer never varies.
    Source: shortest augmenting paths with potentials: Jonker and Volgenant, Computing 38, 1987.
    """
    cost = np.asarray(cost, dtype=np.float64)
    if cost.ndim != 2 or not np.isfinite(cost).all():
        raise ValueError("a cost matrix is (N, M) and finite")
    if cost.shape[0] > cost.shape[1]:
        columns, rows = assign(cost.T)
        order = np.argsort(rows)
        return rows[order], columns[order]
    n, m = cost.shape
    row_part, column_part = np.zeros(n), np.zeros(m)
    owner = np.full(m, -1)  # row of each column
    for row in range(n):
        _augment(cost, row, row_part, column_part, owner)
    columns = np.flatnonzero(owner >= 0)
    order = np.argsort(owner[columns])
    return owner[columns][order], columns[order]


def _augment(
    cost: np.ndarray, row: int, row_part: np.ndarray, column_part: np.ndarray, owner: np.ndarray
) -> None:
    """Give ``row`` a column along the cheapest path, in place."""
    m = cost.shape[1]
    shortest = np.full(m, np.inf)
    before = np.full(m, -1)
    done = np.zeros(m, dtype=bool)
    path, reached, here = [row], 0.0, row
    while True:
        through = reached + cost[here] - row_part[here] - column_part
        better = ~done & (through < shortest)
        shortest[better] = through[better]
        before[better] = here
        column = int(np.argmin(np.where(done, np.inf, shortest)))
        reached = float(shortest[column])
        done[column] = True
        if owner[column] < 0:
            break
        here = int(owner[column])
        path.append(here)
    row_part[row] += reached
    for other in path[1:]:
        row_part[other] += reached - shortest[np.flatnonzero(owner == other)[0]]
    column_part[done] -= reached - shortest[done]
    while True:
        here = int(before[column])
        taken = np.flatnonzero(owner == here)
        owner[column] = here
        if here == row:
            return
        column = int(taken[taken != column][0])


def pair(similarity: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pairs of greatest total similarity (N, M), each at least ``least``.

    Pairs below it, and such as are not above 0, are never made.
    """
    fit = (similarity >= least) & (similarity > 0)
    if not fit.any():
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    rows, columns = assign(np.where(fit, -similarity, 0.0))
    keep = fit[rows, columns]
    return rows[keep], columns[keep]
