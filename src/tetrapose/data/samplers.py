"""How often each row of a set should be seen in an epoch, so that what is rare is seen enough.

All functions give draws (N,), the mean number of times a row is seen, as ``crops.EpochSampler``
takes them: it turns them into rows by seed and epoch alone, so a resumed run draws what an
uninterrupted one would have.
"""

from __future__ import annotations

import numpy as np

TARGET = 3000  # labelled samples a point: seed 001's figure for learning each point alike
MOST = 10.0  # draws of a row: beyond this the same pictures are learnt by heart
CLOSE = 1e-4  # of the target
RIDGE = 1e-4  # of the target: keeps the equations solvable where points always come together
BOUND = 20.0  # of a factor's logarithm: of a point that cannot reach the target
LEAP = 2.0  # of a round: far from the end Newton's step overshoots
FAR = 300.0


def balanced(labels: np.ndarray, *, power: float = 1.0) -> np.ndarray:
    """(N,) draws that even out labels (N,), any numbers: species, sets, or both in one.

    A row weighs (rows of its label)^-power: 1 shows every label equally often, 0.5 lies half way, 0
    leaves all as it is. An epoch stays as long as it was.
    """
    _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    weights = counts[inverse].astype(np.float64) ** -power
    return weights * (len(labels) / max(weights.sum(), 1e-300))


def per_point(
    labelled: np.ndarray,
    *,
    target: float = TARGET,
    most: float = MOST,
    start: np.ndarray | None = None,
    rounds: int = 100,
) -> np.ndarray:
    """(N,) draws by which each keypoint is seen about ``target`` times with a label in an epoch.

    labelled (N, K) bool. Of all such draws those nearest to ``start`` (ones; ``balanced`` gives
    others) by Kullback-Leibler divergence, none above ``most``: a row's draws are start x the
    product of one factor for each point that it labels, cut at ``most``. The factors' logarithms
    are found by Newton's method on the dual, which is convex. Points that cannot be brought to the
    target, because they have too few labels or never come without one that has many, are brought
    near it. Rows without a label, which teach nothing, are not drawn; a point without one is not
    counted.
    Source of the dual: Berger, Della Pietra, Della Pietra: A Maximum Entropy Approach to Natural
    Language Processing, 1996.
    """
    table = np.asarray(labelled, dtype=np.float64)
    start = np.ones(len(table)) if start is None else np.asarray(start, dtype=np.float64)
    some = table.sum(axis=0) > 0
    table = table[:, some]
    useful = np.asarray(table.sum(axis=1) > 0)
    table, start = table[useful], start[useful]
    ridge = RIDGE * target
    factors = np.zeros(table.shape[1])
    for _ in range(rounds if table.shape[0] else 0):
        draws, cut = _raised(table, start, factors, most)
        slope = table.T @ draws - target + ridge * factors
        # a factor at its bound that would go on beyond it stays there, and holds up no other
        bound = (np.abs(factors) >= BOUND) & (np.sign(factors) == -np.sign(slope))
        slope = np.where(bound, 0.0, slope)
        if float(np.max(np.abs(slope))) < CLOSE * target:
            break
        free = table * np.where(cut, 0.0, draws)[:, None]
        curve = table.T @ free + ridge * np.eye(len(factors))
        curve[bound] = curve[:, bound] = 0.0
        curve[bound, bound] = 1.0
        step = np.clip(np.linalg.solve(curve, slope), -LEAP, LEAP)
        if slope @ step <= 0:
            step = np.clip(slope / np.diag(curve), -LEAP, LEAP)
        moved = _descended(table, start, factors, step, slope, (most, target, ridge))
        factors = np.clip(moved, -BOUND, BOUND)
    out = np.zeros(len(useful))
    out[useful] = _raised(table, start, factors, most)[0]
    return out


def _raised(
    table: np.ndarray, start: np.ndarray, factors: np.ndarray, most: float
) -> tuple[np.ndarray, np.ndarray]:
    """Draws of each row, and whether they were cut at ``most``."""
    raised = start * np.exp(np.clip(table @ factors, -FAR, FAR))
    return np.minimum(raised, most), raised > most


def _descended(
    table: np.ndarray,
    start: np.ndarray,
    factors: np.ndarray,
    step: np.ndarray,
    slope: np.ndarray,
    limits: tuple[float, float, float],
) -> np.ndarray:
    """Factors after as much of the step as lessens the dual enough (Armijo's rule)."""
    most, target, ridge = limits

    def dual(at: np.ndarray) -> float:
        draws, cut = _raised(table, start, at, most)
        beyond = np.log(np.maximum(start, 1e-300) / most) + table @ at
        rows = draws + np.where(cut, most * beyond, 0.0)
        return float(rows.sum() - target * at.sum() + ridge / 2 * (at**2).sum())

    before, share = dual(factors), 1.0
    while share > 1e-6 and dual(factors - share * step) > before - 1e-4 * share * (slope @ step):
        share /= 2
    return factors - share * step


def seen_labels(labelled: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """(K,) how many labelled samples of each point an epoch of these draws has on average."""
    return np.asarray(labelled, dtype=np.float64).T @ draws
