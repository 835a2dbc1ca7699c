"""Few-shot selection against choice by lot: equal size, equal steps, the same seed, scored on val.

  python benchmarks/selection.py --root DIR/animal_pose --out runs/selection
  python benchmarks/selection.py --root DIR/animal_pose --out runs/more --count 400 --seeds 0 1 2

For each seed three models are trained from nothing on COUNT animals of Animal-Pose's training
pictures and scored on val.txt: chosen by lot; chosen with species balanced and labels plenty, no
point favoured (favour 1); chosen with points of medium difficulty favoured (favour 3). Difficulty
is the NME, point by point, of the model that was trained by lot, on training pictures that it has
not seen: val decides nothing. What is done is not done again; a run that was stopped goes on.
The figures say what difference selection makes when labels are few; none is a good model's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

ARMS = {"lot": None, "even": 1.0, "medium": 3.0}  # what a label in band 2 is worth
POOL = ("train.txt", "train_web.txt")
SHOWN = ("AP", "AP50", "oks", "pck_0.05", "pck_0.1", "nme")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", required=True, type=Path)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--count", type=int, default=200, help="animals")
    parser.add_argument("--epochs", type=int, default=80)
    parser.add_argument("--size", type=int, default=96, help="pixels a side")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("overrides", nargs="*", help="for tetrapose train, field=value")
    args = parser.parse_args()
    data = f"animal_pose:{args.root}"
    made = {
        arm: [run(arm, seed, args.out / f"seed_{seed}", data, args) for seed in args.seeds]
        for arm in ARMS
    }
    text = table(made, args)
    (args.out / "table.txt").write_text(text, encoding="utf-8")
    print(text)


def run(arm: str, seed: int, folder: Path, data: str, args: argparse.Namespace) -> dict:
    """Choose, train and score one arm; its figures and how many labels it learnt from."""
    split, here = folder / f"{arm}.json", folder / arm
    model, result = here / "model.safetensors", here / "result.json"
    pool = [word for name in POOL for word in ("--split", name)]
    choose = ["datasets", "select", data, *pool, "--count", str(args.count), "--seed", str(seed)]
    if not split.exists():
        favour = ARMS[arm]
        how = ["--random"] if favour is None else difficulty(folder, data, favour)
        tetrapose(*choose, *how, "--out", str(split))
    if not model.exists():
        tetrapose(
            "train", f"dataset.root={args.root}", f"dataset.train_split={split}:selected",
            f"run_dir={here}", f"name={arm}_{seed}", f"seed={seed}", "dataset.batch_size=16",
            f"input_size=[{args.size},{args.size}]", f"trainer.max_epochs={args.epochs}",
            f"trainer.check_val_every_n_epoch={args.epochs}", "logger=none",
            "trainer.enable_progress_bar=false", "callbacks.ema.decay=0.99", *args.overrides,
        )  # fmt: skip
    if not result.exists():
        words = ("evaluate", "--model", str(model), "--data", data, "--split", "val.txt")
        tetrapose(*words, "--json", str(result))
    scores = json.loads(result.read_text())
    scores |= {f"pck_{key}": scores["pck"]["box_area"][key] for key in ("0.05", "0.1")}
    labels = json.loads(split.read_text())["report"]["labels_per_keypoint"]
    return {**{name: scores[name] for name in SHOWN}, "labels": sum(labels.values())}


def difficulty(folder: Path, data: str, favour: float) -> list[str]:
    """Words by which points are favoured after what the model that chose by lot finds hard."""
    result = folder / "difficulty.json"
    if not result.exists():
        model, rest = folder / "lot" / "model.safetensors", f"{folder / 'lot.json'}:rest"
        words = ("evaluate", "--model", str(model), "--data", data, "--split", rest, "--no-flip")
        tetrapose(*words, "--json", str(result))
    return ["--difficulty", str(result), "--favour", str(favour)]


def table(made: dict[str, list[dict]], args: argparse.Namespace) -> str:
    """Means over the seeds, with the lowest and highest where there are several."""
    head = f"{args.count} animals, {args.epochs} epochs at {args.size} px, seeds {args.seeds}"
    lines = [head, f"{'':8}{'labels':>8}" + "".join(f"{name:>22}" for name in SHOWN)]
    for arm, runs in made.items():
        cells = []
        for name in SHOWN:
            values = [one[name] for one in runs]
            spread = f" ({min(values):.3f}-{max(values):.3f})" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.4f}{spread}")
        labels = statistics.mean(one["labels"] for one in runs)
        lines.append(f"{arm:8}{labels:8.0f}" + "".join(f"{cell:>22}" for cell in cells))
    return "\n".join(lines) + "\n"


def tetrapose(*arguments: str) -> None:
    """Run a command; 1 means that something was left out and listed."""
    status = subprocess.run([sys.executable, "-m", "tetrapose", *arguments], check=False).returncode
    if status not in (0, 1):
        raise SystemExit(f"tetrapose {' '.join(arguments)} ended with {status}")


if __name__ == "__main__":
    main()
