"""Make the model that ships: two stages of training, its figures, its card, into the package.

  python benchmarks/default_model.py --root DIR/animal_pose

About an hour and a half on two quiet cores. A stage that is done (runs/default_128, runs/default)
is not run again, and one that was stopped goes on. Figures: Animal-Pose val, given boxes, flip
test, DARK, species-macro AP, with this package's sigmas and with those MMPose applies to this set.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

from tetrapose.training.callbacks import plot_curves

STAGES = ("default_128", "default")
REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "src" / "tetrapose" / "weights"
DOCS = REPOSITORY / "docs"
CURVES = ("train/loss", "val/loss", "val/AP", "val/AP50", "val/AP75", "val/oks", "val/pck_0.1")
FIGURES = ("AP", "AP50", "AP75", "APM", "APL", "AR", "nme", "oks", "swap_rate")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", required=True, type=Path)
    args = parser.parse_args()
    for stage in STAGES:
        if not Path(f"runs/{stage}/model.safetensors").exists():
            tetrapose("train", f"experiment={stage}", f"dataset.root={args.root}")
    made = Path(f"runs/{STAGES[-1]}/model.safetensors")
    scores = {}
    for sigmas in ("own", "mmpose"):
        for flip in ((), ("--no-flip",)) if sigmas == "own" else ((),):
            path = made.with_name(f"val_{sigmas}{'_no_flip' if flip else ''}.json")
            tetrapose(
                "evaluate", "--model", str(made), "--data", f"animal_pose:{args.root}",
                "--split", "val.txt", "--sigmas", sigmas, "--json", str(path), *flip,
            )  # fmt: skip
            if not flip:
                scores[f"animal_pose val, sigmas {sigmas}"] = figures(json.loads(path.read_text()))
    card = json.loads(made.with_suffix(".json").read_text())
    card["scores"] = scores
    shutil.copyfile(made, PACKAGE / "default.safetensors")
    text = json.dumps(card, indent=2, ensure_ascii=False) + "\n"
    (PACKAGE / "default.json").write_text(text, encoding="utf-8")
    curve()
    print(json.dumps(scores, indent=2))


def curve() -> None:
    """Both stages' losses and scores, one after the other, as a picture of the documents."""
    rows: list[dict[str, float]] = []
    for stage in STAGES:
        done = rows[-1]["epoch"] if rows else 0
        with open(f"runs/{stage}/curves.csv", newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                values = {k: float(v) for k, v in row.items() if v and k in CURVES}
                rows.append({**values, "epoch": float(row["epoch"]) + done})
    plot_curves(rows, DOCS / "images" / "default_model_curves.png")


def tetrapose(*arguments: str) -> None:
    """Run a command; 1 means that something was left out and listed."""
    status = subprocess.run([sys.executable, "-m", "tetrapose", *arguments], check=False).returncode
    if status not in (0, 1):
        raise SystemExit(f"tetrapose {' '.join(arguments)} ended with {status}")


def figures(result: dict) -> dict:
    """What of a result stands on the card."""
    return {
        **{name: round(result[name], 4) for name in FIGURES},
        "pck_box_side_0.05": round(result["pck"]["box_side"]["0.05"], 4),
        "pck_box_area_0.1": round(result["pck"]["box_area"]["0.1"], 4),
        "per_species_AP": {k: round(v["AP"], 4) for k, v in result["per_species"].items()},
        "protocol": {
            key: result["protocol"][key]
            for key in (
                "name",
                "pooling",
                "boxes",
                "flip_test",
                "decoder",
                "instance_score",
                "area",
            )
        },
    }


if __name__ == "__main__":
    main()
