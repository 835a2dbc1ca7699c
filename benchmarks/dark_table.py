"""What DARK found, on animals: arg-max, quarter shift and DARK, on whole-cell and sub-pixel labels.

  python benchmarks/dark_table.py --root DIR/animal_pose --out runs/dark
  python benchmarks/dark_table.py --root DIR/animal_pose --out /tmp/dark --smoke

SimpleBaseline-R50 learns Animal-Pose at 128 x 128 (maps of 32 x 32) twice, alike but for where the
Gaussians stand: on the nearest cell, or on the point. Each is then scored with the three decoders
(labelled boxes, flip test). The paper's own comparison is the second row's last column against the
first row's second (Zhang et al., CVPR 2020, and the README of its code: SimpleBaseline-R50 at 128 x
96, 59.3 -> 62.6 AP on COCO); sigma 1 and blur kernel 3 are its settings for that network and size.

What is done stays: a trained model is not trained again, a run that was stopped goes on, a figure
that stands in OUT is not measured again. ``--first`` goes on from the models of another OUT, each
coding from its own: a stage at a smaller size (input_size=[64,64]) costs a third. ``--labels``
trains and scores one coding alone, so that two processes can share the work; run it once more
without for the table. ``--smoke``
takes a few pictures, a small network and one epoch: it shows that everything runs, and its figures
mean nothing. Words after the options go to `tetrapose train` (trainer.precision=bf16-mixed).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

ENCODINGS = {"biased": ("false", "true"), "sub-pixel": ("true", "false")}  # unbiased, window
DECODERS = {"arg-max": "argmax", "quarter shift": "shift", "DARK": "dark"}
FIGURES = ("AP", "AP75", "nme")
TRAIN, VAL = ("train.txt", "train_web.txt"), "val.txt"
SMOKE = ("trainer.max_epochs=1", "dataset.batch_size=8", "input_size=[64,64]")
FEW = 32  # pictures of the smoke run


def main() -> None:
    args = arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    train, val = splits(args)
    rows = {}
    for encoding in args.labels:
        model = trained(args, encoding, train, val)
        rows[encoding] = {
            name: scored(args, model, decoder, val) for name, decoder in DECODERS.items()
        }
    if len(rows) < len(ENCODINGS):
        return
    text = table(args, rows)
    (args.out / "table.md").write_text(text, encoding="utf-8")
    print(text)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", required=True, type=Path, help="the folder of Animal-Pose")
    parser.add_argument("--out", required=True, type=Path, help="runs, figures and the table")
    parser.add_argument("--model", help="a choice of the group model; simple_baseline_50")
    parser.add_argument("--epochs", type=int, default=60, help="the paper's network had 140")
    parser.add_argument("--sigma", type=float, default=1.0, help="of the Gaussians, in cells")
    parser.add_argument("--kernel", type=int, default=3, help="of DARK's blur")
    parser.add_argument("--first", type=Path, help="an OUT whose models these go on from")
    parser.add_argument("--labels", nargs="+", choices=ENCODINGS, default=list(ENCODINGS))
    parser.add_argument("--smoke", action="store_true", help="minutes, not hours; no figures")
    parser.add_argument("overrides", nargs="*", metavar="field=value", help="for tetrapose train")
    args = parser.parse_args()
    args.model = args.model or ("simple_baseline_18" if args.smoke else "simple_baseline_50")
    return args


def splits(args: argparse.Namespace) -> tuple[list[Path], Path]:
    """The files that name pictures to learn and to score; short ones for a smoke run."""
    root = args.root.resolve()
    if not args.smoke:
        return [root / name for name in TRAIN], root / VAL
    made = []
    for name in (TRAIN[0], VAL):
        lines = (root / name).read_text(encoding="utf-8").splitlines()
        made.append((args.out / f"few_{name}").resolve())
        made[-1].write_text("\n".join(lines[:FEW]) + "\n", encoding="utf-8")
    return [made[0]], made[1]


def trained(args: argparse.Namespace, encoding: str, train: list[Path], val: Path) -> Path:
    """The model of one encoding, trained where it is not there yet."""
    folder = args.out / encoding
    model = folder / "model.safetensors"
    if model.exists():
        return model
    unbiased, window = ENCODINGS[encoding]
    named = ",".join(f"'{path}'" for path in train)
    first = [f"checkpoint_path={args.first / encoding / 'model.safetensors'}"] if args.first else []
    tetrapose(
        "train", f"name=dark_{encoding}", f"run_dir={folder}", f"model={args.model}",
        "codec=heatmap", f"codec.unbiased={unbiased}", f"codec.window={window}",
        f"codec.sigma={args.sigma}", f"codec.blur_kernel={args.kernel}", "input_size=[128,128]",
        "optimizer=adam", "scheduler=multistep", f"trainer.max_epochs={args.epochs}",
        f"dataset.root={args.root}", f"dataset.train_split=[{named}]",
        f"dataset.val_split='{val}'", *first, *(SMOKE if args.smoke else ()), *args.overrides,
    )  # fmt: skip
    return model


def scored(args: argparse.Namespace, model: Path, decoder: str, val: Path) -> dict[str, float]:
    """The figures of a model with one decoder, measured where they are not there yet."""
    path = model.parent / f"{decoder}.json"
    if not path.exists() or path.stat().st_mtime < model.stat().st_mtime:
        tetrapose(
            "evaluate", "--model", str(model), "--data", f"animal_pose:{args.root}",
            "--split", str(val), "--decoder", decoder, "--json", str(path),
        )  # fmt: skip
    result = json.loads(path.read_text(encoding="utf-8"))
    return {name: result[name] for name in FIGURES}


def table(args: argparse.Namespace, rows: dict[str, dict[str, dict[str, float]]]) -> str:
    """The table as Markdown, AP (AP75, NME) a cell, and the paper's comparison."""
    lines = [
        f"{args.model}, sigma {args.sigma:g}, blur kernel {args.kernel}"
        + (" (a smoke run: these figures mean nothing)" if args.smoke else ""),
        "",
        f"| labels | {' | '.join(DECODERS)} |",
        "|---" * (len(DECODERS) + 1) + "|",
    ]
    for encoding, cells in rows.items():
        told = [f"{c['AP']:.3f} ({c['AP75']:.3f}, {c['nme']:.4f})" for c in cells.values()]
        lines.append(f"| {encoding} | {' | '.join(told)} |")
    gain = rows["sub-pixel"]["DARK"]["AP"] - rows["biased"]["quarter shift"]["AP"]
    lines += [
        "",
        "Cells: AP (AP75, NME). Sub-pixel labels and DARK against whole-cell labels and the "
        f"quarter shift: {100 * gain:+.1f} AP.",
    ]
    return "\n".join(lines) + "\n"


def tetrapose(*words: str) -> None:
    """Run a command; 1 means that something was left out, as broken pictures are."""
    status = subprocess.run([sys.executable, "-m", "tetrapose", *words], check=False).returncode
    if status not in (0, 1):
        raise SystemExit(f"tetrapose {' '.join(words)} ended with {status}")


if __name__ == "__main__":
    main()
