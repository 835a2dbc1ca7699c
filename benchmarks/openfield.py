"""Mean test error in px on one's own frames: tetrapose finetune beside DeepLabCut 3, splits 0 to 2.

  python benchmarks/openfield.py --project openfield_mouse --work runs/openfield
  python benchmarks/openfield.py --project openfield_mouse --work runs/openfield --deeplabcut
  python benchmarks/openfield.py --work runs/openfield --table

The project is DeepLabCut's open-field demo (116 labelled frames of a mouse, 4 points), or any
other single-animal one. The first call fine-tunes the model that ships, once for each split, and
the second trains DeepLabCut on the same frames; both skip what is done and print the table, so
that a run may be stopped at any time.

DeepLabCut 3.0.2 is installed into a virtual environment of its own below --work (2 GB, once):
PyTorch, resnet_50 with the augmentation, batch of 8, optimizer and rate that it writes into its
own configuration. Two things differ. Its ImageNet weights are downloaded from a hub; where that
cannot be reached (--download says that it can) its network starts from random weights, which costs
it most of what little time there is. And instead of 200 epochs it gets the processor seconds that
fine-tuning took for that split (--seconds sets another budget), its drops of the learning rate at
the same shares of them: seconds of the processor, not of the clock, so that what else a machine
does falls on neither side. Its errors are those of its own evaluate_network on every test frame,
with the cut-off of 0.6. Run both on as many threads (OMP_NUM_THREADS).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

SPLITS = (0, 1, 2)
INSTALL = ["deeplabcut==3.0.2", "torch<2.14", "torchvision<0.29"]

# Beside a CPU build of torch torchvision's own operators are missing; training needs none of them,
# but its import looks for them.
PEER = """
import json, os, sys, time
from pathlib import Path
config, names, budget, out, download = sys.argv[1:]
import torch
for op in ("nms", "qnms"):
    torch.library.define(f"torchvision::{op}", "(Tensor dets, Tensor scores, float iou) -> Tensor")
torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
import pandas as pd
import deeplabcut
from deeplabcut.core.engine import Engine
from deeplabcut.generate_training_dataset import trainingsetmanipulation as sets
from deeplabcut.pose_estimation_pytorch.models import PoseModel
from deeplabcut.pose_estimation_pytorch.runners import train as runners
from deeplabcut.utils import auxiliaryfunctions as aux

if download != "yes":
    build = PoseModel.build
    def without(*args, **kwargs):
        kwargs["pretrained_backbone"] = False
        return build(*args, **kwargs)
    PoseModel.build = staticmethod(without)

names = json.load(open(names))
cfg = aux.read_config(config)
folder = os.path.join(os.path.dirname(config), str(aux.get_training_set_folder(cfg)))
os.makedirs(folder, exist_ok=True)
merged = sets.merge_annotateddatasets(cfg, Path(folder))
rows = ["/".join(row) if isinstance(row, tuple) else row for row in merged.index]
rows = [row.replace("\\\\", "/") for row in rows]
test = [i for i, row in enumerate(rows) if row in set(names["test"])]
train = [i for i in range(len(rows)) if i not in set(test)]
assert len(test) == len(names["test"]), (len(test), len(names["test"]))
deeplabcut.create_training_dataset(
    config, Shuffles=[1], trainIndices=[train], testIndices=[test], net_type="resnet_50",
    userfeedback=False, engine=Engine.PYTORCH,
)

class Enough(Exception):
    pass

budget, began, steps = float(budget), [], []
step, fit = runners.PoseTrainingRunner.step, runners.TrainingRunner.fit

def timed_step(self, batch, mode="train"):
    if mode == "train":
        began.append(time.process_time()) if not began else None
        share = (time.process_time() - began[0]) / budget
        if share >= 1:
            raise Enough
        # the drops of its own schedule, at epochs 90 and 120 of 200
        drop = 0.02 if share >= 0.6 else 0.2 if share >= 0.45 else 1.0
        for group in self.optimizer.param_groups:
            group["lr"] = drop * 5e-4
        steps.append(share)
    return step(self, batch, mode)

def timed_fit(self, *args, **kwargs):
    try:
        fit(self, *args, **kwargs)
    except Enough:
        self.snapshot_manager.update(self.current_epoch, self.state_dict(), last=True)

runners.PoseTrainingRunner.step, runners.TrainingRunner.fit = timed_step, timed_fit
clock = time.perf_counter()
deeplabcut.train_network(
    config, shuffle=1, epochs=200, save_epochs=200, display_iters=5, device="cpu",
    pytorch_cfg_updates={"runner.eval_interval": 1000, "runner.scheduler.params.milestones":
                         [1000, 2000]},
)
used, wall = time.process_time() - began[0], time.perf_counter() - clock
deeplabcut.evaluate_network(config, shuffles=[1], plotting=False, show_errors=False, pcutoff=0.6)
found = []
for root, _, files in os.walk(os.path.dirname(config)):
    found += [os.path.join(root, f) for f in files if f.endswith("-results.csv")]
table = pd.read_csv(max(found, key=os.path.getmtime))
last = {k: (v.item() if hasattr(v, "item") else v) for k, v in table.iloc[-1].items()}
json.dump({"steps": len(steps), "epochs": len(steps) * 8 / len(train), "cpu_seconds": used,
           "wall_seconds": wall, "pretrained": download == "yes", "results": last},
          open(out, "w"), indent=2, default=str)
"""


def main() -> int:
    """Run what is asked for and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--project", type=Path, help="a DeepLabCut project of one animal")
    parser.add_argument("--work", type=Path, required=True, help="folder for runs and the peer")
    parser.add_argument("--splits", type=int, nargs="+", default=list(SPLITS))
    parser.add_argument("--deeplabcut", action="store_true", help="train the peer")
    parser.add_argument("--download", action="store_true", help="let it fetch ImageNet weights")
    parser.add_argument("--seconds", type=float, help="processor seconds of the peer")
    parser.add_argument("--python", type=Path, help="a Python that has DeepLabCut, else installed")
    parser.add_argument("--table", action="store_true", help="print what is there")
    parser.add_argument("more", nargs="*", help="after --: options of tetrapose finetune")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    if not args.table and args.project is None:
        parser.error("--project is missing")
    for split in () if args.table else args.splits:
        if args.deeplabcut:
            theirs(args, split)
        else:
            ours(args, split)
    print(table(args.work, args.splits))
    return 0


def ours(args: argparse.Namespace, split: int) -> None:
    """One fine-tuning, unless its result is there; what it used is added to the result."""
    out, result = args.work / f"ours_{split}", args.work / f"ours_{split}.json"
    if result.exists():
        return
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "tetrapose", "finetune", str(args.project), "--out", str(out)]
    done = subprocess.run([*command, "--seed", str(split), *args.more], check=False)
    if done.returncode > 1:
        sys.exit(done.returncode)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    report = json.loads((out / "report.json").read_text())
    report |= {"cpu_seconds": used, "wall_seconds": time.perf_counter() - began}
    write(result, report)


def theirs(args: argparse.Namespace, split: int) -> None:
    """DeepLabCut on the frames of ours, unless its result is there."""
    result = args.work / f"deeplabcut_{split}.json"
    own = args.work / f"ours_{split}.json"
    if result.exists():
        return
    if not own.exists():
        sys.exit(f"{own}: run without --deeplabcut first, for the split and the budget")
    budget = args.seconds or json.loads(own.read_text())["cpu_seconds"]
    python = args.python or peer(args.work)
    project = args.work / f"deeplabcut_{split}"
    shutil.rmtree(project, ignore_errors=True)
    shutil.copytree(args.project, project)
    set_up(project)
    names = args.work / f"names_{split}.json"
    parts = {
        part: (args.work / f"ours_{split}" / f"{part}.txt").read_text().split()
        for part in ("train", "test")
    }
    write(names, parts)
    script = args.work / "peer.py"
    script.write_text(PEER)
    command = [python, script, project / "config.yaml", names, str(budget), result.with_suffix(
        ".part"), "yes" if args.download else "no"]  # fmt: skip
    environment = {**os.environ, "DLClight": "True", "MPLBACKEND": "Agg"}
    subprocess.run([str(word) for word in command], check=True, env=environment)
    result.with_suffix(".part").replace(result)


def peer(work: Path) -> Path:
    """A Python with DeepLabCut in it, installed once."""
    folder = work / "deeplabcut_venv"
    python, mark = folder / "bin" / "python", folder / ".installed"
    if not mark.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *INSTALL], check=True)
        mark.touch()
    return python


def set_up(project: Path) -> None:
    """What DeepLabCut's demo leaves open in its configuration: the path, a video, the share."""
    import yaml

    file = project / "config.yaml"
    config = yaml.safe_load(file.read_text())
    video = sorted(folder.name for folder in (project / "labeled-data").iterdir())[0]
    config |= {
        "project_path": str(project.resolve()),
        "TrainingFraction": [0.8],
        "video_sets": {str(project.resolve() / "videos" / f"{video}.mp4"): {
            "crop": "0, 640, 0, 480"}},
        "multianimalproject": False,
        "identity": False,
        "engine": "pytorch",
        "batch_size": 8,
    }  # fmt: skip
    file.write_text(yaml.safe_dump(config, sort_keys=False))


def table(work: Path, splits: list[int]) -> str:
    """Both sides by split, and their means over the splits that both have."""
    lines = ["| split | side | test | train | score ≥ cut-off | steps | processor s |",
             "|---|---|---|---|---|---|---|"]  # fmt: skip
    tests: dict[str, list[float]] = {}
    for split in splits:
        for side, row in (("tetrapose", _ours), ("DeepLabCut 3", _theirs)):
            name = "ours" if side == "tetrapose" else "deeplabcut"
            file = work / f"{name}_{split}.json"
            if file.exists():
                cells = row(json.loads(file.read_text()))
                tests.setdefault(side, []).append(cells[0])
                shown = [f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in cells]
                lines.append(f"| {split} | {side} | {' | '.join(shown)} |")
    for side, values in tests.items():
        mean = sum(values) / len(values)
        lines.append(f"| mean of {len(values)} | {side} | {mean:.2f} | | | | |")
    return "\n".join(lines)


def _ours(result: dict) -> list:
    test, train = (result["figures"][part] for part in ("test", "train"))
    cut = test["with_cutoff"]
    sure = f"{cut['mean']:.2f} ({cut['kept']:.0%})" if cut["mean"] is not None else "–"
    return [test["mean"], train["mean"], sure, result["recipe"]["steps"],
            round(result["cpu_seconds"])]  # fmt: skip


def _theirs(result: dict) -> list:
    row = result["results"]
    sure = float(row.get("test rmse_pcutoff", "nan"))
    return [float(row["test rmse"]), float(row["train rmse"]), f"{sure:.2f}", result["steps"],
            round(result["cpu_seconds"])]  # fmt: skip


def write(path: Path, content: dict) -> None:
    """A JSON file, whole or not at all."""
    draft = path.with_name(f".{path.name}.part")
    draft.write_text(json.dumps(content, indent=2))
    draft.replace(path)


if __name__ == "__main__":
    sys.exit(main())
