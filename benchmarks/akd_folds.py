"""AKD cats by cross-validation: train on four fifths from the shipped model, score the fifth.

  python benchmarks/akd_folds.py --root DIR/akd_cats/train --out runs/akd

Each fold runs `tetrapose train experiment=akd_cats` (a fold that is done is not run again), then
`tetrapose evaluate` on its held-out pictures. The figure to compare is PCK@0.1 in the definition
of the system this set comes from (share of all points, hidden ones too, nearer than 0.1 of the
diagonal of the box that all labelled points span); its own run never left 0.05.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", required=True, type=Path)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("overrides", nargs="*", help="for tetrapose train, field=value")
    args = parser.parse_args()
    data, splits = f"akd_cats:{args.root}", args.out / "splits"
    tetrapose("datasets", "split", data, "--folds", str(args.folds), "--out", str(splits))
    results = [fold(i, args.root, args.out, splits, args.overrides) for i in range(args.folds)]
    for threshold in results[0]["pck"]["keypoint_diagonal"]:
        values = [r["pck"]["keypoint_diagonal"][threshold] for r in results]
        values = [v["points"] if isinstance(v, dict) else v for v in values]
        print(
            f"PCK@{threshold} (seed's definition): mean {statistics.mean(values):.3f}, folds "
            + " ".join(f"{v:.3f}" for v in values)
        )
    print(f"AP: mean {statistics.mean(r['AP'] for r in results):.3f}")


def tetrapose(*arguments: str) -> None:
    """Run a command; 1 means that something was left out, as the set's unlabelled picture is."""
    status = subprocess.run([sys.executable, "-m", "tetrapose", *arguments], check=False).returncode
    if status not in (0, 1):
        raise SystemExit(f"tetrapose {' '.join(arguments)} ended with {status}")


def fold(i: int, root: Path, out: Path, splits: Path, overrides: list[str]) -> dict:
    """The result of one fold, trained and scored where that is not done yet."""
    folder = out / f"fold_{i}"
    model, result = folder / "model.safetensors", folder / "result.json"
    files = {part: splits / f"fold_{i}_{part}.txt" for part in ("train", "val")}
    if not model.exists():
        tetrapose(
            "train", "experiment=akd_cats", f"dataset.root={root}", f"name=akd_{i}",
            f"dataset.train_split={files['train']}", f"dataset.val_split={files['val']}",
            f"run_dir={folder}", *overrides,
        )  # fmt: skip
    tetrapose(
        "evaluate", "--model", str(model), "--data", f"akd_cats:{root}",
        "--split", str(files["val"]), "--json", str(result),
    )  # fmt: skip
    return json.loads(result.read_text())


if __name__ == "__main__":
    main()
