"""Run folders with made-up results, for tests of what collects them. No figure is a measurement."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

PARTS = ("head", "front", "back", "trunk", "tail")
GROUPS = ("face", "front", "back", "exclusive")
KINDS = ("overall", "labelled", "unlabelled")


def write_run(
    folder: Path,
    method: str,
    seed: int,
    *,
    preset: str = "menagerie",
    level: float = 0.5,
    **changes: Any,
) -> Path:
    """A run whose PCK@0.1 is ``level`` on labelled points, half on others; None for no such."""
    folder.mkdir(parents=True)
    half = None if level is None else level / 2

    def pck(shift: float) -> dict[str, Any]:
        def at(share: float) -> dict[str, Any]:
            if level is None:
                return dict.fromkeys(KINDS)
            labelled, other = share * level + shift, share * half + shift
            return {"overall": (labelled + other) / 2, "labelled": labelled, "unlabelled": other}

        return {"0.05": at(0.6), "0.1": at(1.0), "0.2": at(1.2)}

    result = {
        "format": "tetrapose label-free 1", "name": f"{preset}_{method}_{seed}", "preset": preset,
        "method": method, "settings": {"threshold": 0.4}, "seed": seed, "steps": 400,
        "labels": {"recipe": "conventions", "options": {"names": "ap10k+animal_pose"}},
        "model": {"_target_": "small"}, "start": None, "lr": 0.001, "batch": [8, 8],
        "input_size": [128, 128], "answer": "network", "seconds": 90.0 + seed, "skipped": 0,
        "chosen": {"by": "val/pck_0.1_labelled", "step": 300, "value": 0.5},
        "test": {
            "pck": pck(0.0), "AP": 0.3,
            "parts": {part: pck(0.01 * i) for i, part in enumerate(PARTS)},
            "unlabelled_points": {"left_ear_base": half, "withers": half, "nose": None},
        },
        "other_networks": {},
        "data": {"labelled": 800, "pool": 800, "val": 100, "test": 100, "never_labelled": []},
        **changes,
    }  # fmt: skip
    (folder / "result.json").write_text(json.dumps(result))
    (folder / "config.yaml").write_text("root: nowhere\n")
    rng = np.random.default_rng(seed)
    rows = []
    for step in range(100, 401, 100):
        done = step / 400
        row: dict[str, float | str] = {"step": step, "seconds": step / 4, "lr": 1e-3, "skipped": 0}
        if method != "supervised":
            row |= {f"train/confidence/{g}": 0.3 + 0.4 * done + rng.normal() / 50 for g in GROUPS}
            row |= {f"train/kept/{g}": 1 - 0.4 * done for g in GROUPS}
        row |= {f"val/pck/{p}": (level or 0) * done + rng.normal() / 60 for p in PARTS}
        rows.append(row)
    with (folder / "curves.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder
