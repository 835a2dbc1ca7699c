"""Label-free runs side by side: results read, grouped by what was run, means and spreads of seeds.

A run is a folder with the ``result.json`` that ``tetrapose label-free run`` leaves behind.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tetrapose.errors import UserError

RESULT, CURVES, CONFIG = "result.json", "curves.csv", "config.yaml"
MODEL = "model.safetensors"
FORMATS = ("tetrapose label-free 1",)
BASE = "supervised"  # what the others are held against
FIRST = "first stage"  # said of runs that others of the same report started from
# what makes two runs of one method on one preset different experiments, seeds apart
TOLD_APART = ("steps", "batch", "input_size", "labels", "settings", "lr", "model")
COLUMNS = {
    "PCK@0.1": ("0.1", "overall"),
    "labelled": ("0.1", "labelled"),
    "unlabelled": ("0.1", "unlabelled"),
    "PCK@0.05": ("0.05", "overall"),
    "unlabelled@0.05": ("0.05", "unlabelled"),
}


@dataclass(frozen=True)
class Run:
    """One finished run: its folder, result.json, and the rows of curves.csv (none where absent)."""

    folder: Path
    result: Mapping[str, Any]
    curves: tuple[Mapping[str, float], ...] = ()

    @property
    def seed(self) -> int:
        """What its labels and training were drawn by."""
        return int(self.result["seed"])

    def pck(self, column: str) -> float | None:
        """A figure of the test part by the name of its column; None where no point counts."""
        threshold, kind = COLUMNS[column]
        return self.result["test"]["pck"][threshold].get(kind)


@dataclass(frozen=True)
class Group:
    """Runs that differ by their seed alone; ``note`` says what tells them from their like."""

    preset: str
    method: str
    note: str
    runs: tuple[Run, ...]

    @property
    def name(self) -> str:
        """The method, and what tells it apart where there are several of its kind."""
        return f"{self.method} ({self.note})" if self.note else self.method

    def values(self, column: str) -> np.ndarray:
        """A figure of each seed that has it."""
        found = [run.pck(column) for run in self.runs]
        return np.array([value for value in found if value is not None], dtype=float)


def read_runs(folders: Sequence[str | Path]) -> tuple[list[Run], list[str]]:
    """The finished runs in or below these folders, and a line for each that is not finished.

    Raises UserError where there is none, for a file that is no result, and for a run given twice.
    """
    found: list[Path] = []
    unfinished: list[str] = []
    for given in map(Path, folders):
        folder = given.parent if given.name == RESULT else given
        if not folder.is_dir():
            raise UserError(f"{given}: no such run folder")
        done = sorted(file.parent for file in folder.rglob(RESULT))
        begun = sorted(file.parent for file in folder.rglob(CONFIG) if file.parent not in done)
        if not done and not begun:
            raise UserError(f"{given}: neither a run nor a folder of runs ({RESULT} is missing)")
        unfinished += [f"{one} has no {RESULT} yet: it is left out" for one in begun]
        found += [one for one in done if one.resolve() not in [f.resolve() for f in found]]
    if not found:
        raise UserError(f"no finished run: {'; '.join(unfinished)}")
    return [_read(folder) for folder in found], unfinished


def _read(folder: Path) -> Run:
    file = folder / RESULT
    try:
        result = json.loads(file.read_text(encoding="utf-8"))
        if result["format"] not in FORMATS:
            raise UserError(f"{file}: of format {result['format']!r}; this reads {FORMATS[0]!r}")
        for threshold, kind in COLUMNS.values():
            result["test"]["pck"][threshold].get(kind)
        for key in ("preset", "method", "seed", "steps", "test", "data"):
            result[key]
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror or error})") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        told = f"{type(error).__name__}: {error}"
        raise UserError(f"{file}: not a result of a label-free run ({told})") from None
    return Run(folder, result, tuple(_curves(folder / CURVES)))


def _curves(file: Path) -> list[dict[str, float]]:
    """Rows of numbers; what is empty or no number is left out, and no file gives no rows."""
    try:
        text = file.read_text(encoding="utf-8")
    except OSError:
        return []
    rows = []
    for line in csv.DictReader(io.StringIO(text)):
        row = {}
        for name, value in line.items():
            try:
                row[name] = float(value)
            except (TypeError, ValueError):
                continue
        if math.isfinite(row.get("step", math.nan)):
            rows.append(row)
    return rows


def grouped(runs: Sequence[Run]) -> list[Group]:
    """Runs by preset, then by method with the supervised ones first, seeds together.

    What others started from is noted as their first stage and stands before them. Raises UserError
    where one experiment stands there twice with one seed: a spread over copies is none.
    """
    kept: dict[tuple[str, str, str], list[Run]] = {}
    for run in runs:
        apart = json.dumps({key: run.result.get(key) for key in TOLD_APART}, sort_keys=True)
        kept.setdefault((run.result["preset"], run.result["method"], apart), []).append(run)
    for same in kept.values():
        seeds = [run.seed for run in same]
        for seed in set(seeds):
            if seeds.count(seed) > 1:
                folders = [str(run.folder) for run in same if run.seed == seed]
                raise UserError(f"{' and '.join(folders)} are one experiment with seed {seed}")
    begun_from = {Path(run.result["start"]).resolve() for run in runs if run.result.get("start")}
    first = {
        key: all((run.folder / MODEL).resolve() in begun_from for run in same)
        for key, same in kept.items()
    }
    groups = []
    for key, same in kept.items():
        like = [one[0] for k, one in kept.items() if (k[:2], first[k]) == (key[:2], first[key])]
        told_by = [FIRST] if first[key] else []
        told_by += [_differences(same[0], like)] if len(like) > 1 else []
        ordered = tuple(sorted(same, key=lambda run: run.seed))
        groups.append(Group(key[0], key[1], ", ".join(told_by), ordered))
    order = list(dict.fromkeys(group.preset for group in groups))
    return sorted(
        groups,
        key=lambda g: (
            order.index(g.preset), not g.note.startswith(FIRST), g.method != BASE, g.name
        ),
    )  # fmt: skip


def _differences(run: Run, like: Sequence[Run]) -> str:
    """The fields by which a run differs from others of its method and preset."""
    flat = [_flat({key: one.result.get(key) for key in TOLD_APART}) for one in like]
    mine = _flat({key: run.result.get(key) for key in TOLD_APART})
    names = {name for one in flat for name in one}
    differ = sorted(name for name in names if len({str(one.get(name)) for one in flat}) > 1)
    return ", ".join(f"{name.rpartition('.')[2]} {mine.get(name, 'none')}" for name in differ[:3])


def _flat(values: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(values, Mapping):
        return {path: values}
    out: dict[str, Any] = {}
    for key, value in values.items():
        out |= _flat(value, f"{path}.{key}" if path else str(key))
    return out


def spread(values: np.ndarray) -> tuple[float, float] | None:
    """Mean and standard deviation over seeds (n - 1 in the denominator, NaN for one); or None."""
    if not len(values):
        return None
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else math.nan


def told(values: np.ndarray) -> str:
    """``0.612 ± 0.008``; without the spread for one seed, a dash for none."""
    found = spread(values)
    if found is None:
        return "–"
    mean, apart = found
    return f"{mean:.3f}" if math.isnan(apart) else f"{mean:.3f} ± {apart:.3f}"


def wins(group: Group, groups: Sequence[Group], column: str) -> str:
    """On how many of the common seeds a group is above the supervised runs of its preset.

    Those that were shown the same labels; of several the ones with as many steps. First stages are
    held against nothing, and nothing against them where there is another supervised run.
    """
    mine = group.runs[0].result
    bases = [one for one in groups if (one.preset, one.method) == (group.preset, BASE)]
    bases = [g for g in bases if g.runs[0].result.get("labels") == mine.get("labels")]
    bases = [g for g in bases if not g.note.startswith(FIRST)] or bases
    like = [g for g in bases if g.runs[0].result["steps"] == mine["steps"]] or bases
    if not like or group in bases or group.note.startswith(FIRST):
        return ""
    theirs = {run.seed: run.pck(column) for run in like[0].runs}
    pairs = [(run.pck(column), theirs.get(run.seed)) for run in group.runs]
    both = [(own, other) for own, other in pairs if own is not None and other is not None]
    return f"{sum(own > other for own, other in both)} of {len(both)}" if both else ""


def table(groups: Sequence[Group]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: a row a group, figures as mean ± standard deviation over seeds."""
    kind = "unlabelled" if any(len(g.values("unlabelled")) for g in groups) else "PCK@0.1"
    header = [
        "preset",
        "method",
        "seeds",
        *COLUMNS,
        "AP",
        f"above {BASE}",
        "steps",
        "minutes",
    ]
    rows = []
    for group in groups:
        ap = np.array([r.result["test"]["AP"] for r in group.runs if "AP" in r.result["test"]])
        seconds = [float(run.result.get("seconds") or 0) for run in group.runs]
        rows.append(
            [group.preset, group.name, str(len(group.runs))]
            + [told(group.values(column)) for column in COLUMNS]
            + [told(ap), wins(group, groups, kind), str(group.runs[0].result["steps"])]
            + [f"{np.mean(seconds) / 60:.1f}"]
        )
    return header, rows


def markdown(groups: Sequence[Group]) -> str:
    """The table for a terminal or a page of docs, columns aligned."""
    header, rows = table(groups)
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
        return f"| {' | '.join(padded)} |"

    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([line(header), rule, *(line(row) for row in rows)])


def as_csv(groups: Sequence[Group]) -> str:
    """A line a run: what it was, every PCK overall, by part and by point, and where it was made."""
    lines = []
    for group in groups:
        for run in group.runs:
            test = run.result["test"]
            figures = {
                f"pck_{threshold}_{kind}": value
                for threshold, kinds in test["pck"].items()
                for kind, value in kinds.items()
            }
            figures |= {
                f"{part}_pck_{threshold}_{kind}": value
                for part, by in test.get("parts", {}).items()
                for threshold, kinds in by.items()
                for kind, value in kinds.items()
            }
            figures |= {
                f"unlabelled_{name}_pck_0.1": value
                for name, value in test.get("unlabelled_points", {}).items()
            }
            lines.append(
                {
                    "preset": group.preset, "method": group.method, "note": group.note,
                    "seed": run.seed, "steps": run.result["steps"],
                    "seconds": run.result.get("seconds"), "folder": run.folder.as_posix(),
                    "AP": test.get("AP"), **figures,
                }
            )  # fmt: skip
    names = list(dict.fromkeys(name for one in lines for name in one))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()
