"""Time a model on this machine: reading, warping, network, decoding points, and all of it.

  tetrapose benchmark --model default
  tetrapose benchmark --model default --backend openvino --threads 2 --batch 8
  tetrapose benchmark --model runs/mine/model.safetensors --pictures DIR --json speed.json

Milliseconds a picture for each part alone, and pictures a second from file to points with reading
and computing side by side; each the median of the rounds, with least and greatest. Without
--pictures, drawn ones are timed. Each picture counts as one animal.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from tetrapose.inference.predictor import Predictor
    from tetrapose.inference.timing import Timing

HELP = "time a model on this machine"
DRAWN = 32  # pictures where none are given
DRAWN_SIZE = (640, 480)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    add = parser.add_argument
    add("--model", default="default", metavar="NAME|FILE", help="a model, or an exported file")
    add("--device", metavar="D", help="cpu, cuda, cuda:1 ... (the first GPU if there is one)")
    add("--backend", default="torch", metavar="B", help="torch, onnxruntime, openvino or auto")
    add("--precision", default="float32", metavar="P", help="float32, bfloat16 or float16")
    add("--batch", type=int, default=16, metavar="N", help="crops at a time (16)")
    add("--threads", type=int, metavar="N", help="threads of the network (as many as cores)")
    add("--no-flip", action="store_true", help="without the mirror image")
    add("--pictures", metavar="DIR", help="time these (drawn ones)")
    add("--most", type=int, default=200, metavar="N", help="pictures used, evenly spread (200)")
    add("--rounds", type=int, default=5, metavar="N", help="rounds that count (5)")
    add("--json", metavar="FILE", help="write the figures, - for the screen alone")


def run(args: argparse.Namespace) -> int:
    """Time, print, write."""
    import json
    import tempfile
    from pathlib import Path

    from tetrapose.commands.export import pictures_in
    from tetrapose.errors import UserError

    for name in ("batch", "threads", "most", "rounds"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise UserError(f"--{name} must be 1 or more, not {value}")
    if args.json and args.json != "-" and not Path(args.json).absolute().parent.is_dir():
        raise UserError(f"--json {args.json}: there is no such folder")
    paths = pictures_in(args.pictures, args.most) if args.pictures else []
    with tempfile.TemporaryDirectory() as folder:
        figures = _time(args, paths or _draw(Path(folder), min(DRAWN, args.most)))
    figures["pictures_are"] = args.pictures or f"drawn, {DRAWN_SIZE[0]}x{DRAWN_SIZE[1]}"
    text = json.dumps(figures, indent=2)
    print(text if args.json == "-" else _table(figures))
    if args.json and args.json != "-":
        from tetrapose.data.reading import write_text

        write_text(Path(args.json), text + "\n")
    return 0


def _time(args: argparse.Namespace, paths: list[Path]) -> dict[str, Any]:
    import cv2
    import torch

    from tetrapose.inference.predictor import load
    from tetrapose.inference.timing import machine, time_parts

    if args.threads:
        torch.set_num_threads(args.threads)
    cv2.setNumThreads(1)  # pictures are read side by side already
    predictor = load(
        args.model, flip=not args.no_flip, batch_size=args.batch, device=args.device,
        precision=args.precision, backend=args.backend if _chosen(args) else None,
    )  # fmt: skip
    told = machine(predictor.device)
    return _figures(args, predictor, told, time_parts(predictor, paths, rounds=args.rounds))


def _chosen(args: argparse.Namespace) -> bool:
    """An exported file brings its own backend, unless one is named."""
    from tetrapose.inference.exported import is_exported

    return args.backend != "torch" or not is_exported(args.model)


def _figures(
    args: argparse.Namespace, predictor: Predictor, told: dict[str, Any], timing: Timing
) -> dict[str, Any]:
    protocol = predictor.protocol
    return {
        "model": str(args.model),
        "machine": told,
        "device": str(predictor.device),
        "backend": protocol["backend"],
        "backend_note": predictor.note,
        "precision": protocol["precision"],
        "input_size": protocol["input_size"],
        "flip_test": protocol["flip_test"],
        "batch": args.batch,
        "pictures": timing.pictures,
        "rounds": timing.rounds,
        "ms_a_picture": {name: part.to_dict() for name, part in timing.parts.items()},
        "pictures_a_second": timing.rate.to_dict(),
    }


def _table(figures: dict[str, Any]) -> str:
    machine = figures["machine"]
    where = machine.get("gpu") or f"{machine['processor']}, {machine['threads']} threads"
    load = f", load {machine['load']} when it began" if "load" in machine else ""
    width, height = figures["input_size"]
    flip = "with" if figures["flip_test"] else "without"
    rows = [
        f"{figures['model']} at {width}x{height}, {flip} flip test, batch {figures['batch']}",
        f"{figures['backend']}, {figures['precision']}, {figures['device']}: {where}{load}",
        f"{figures['pictures']} pictures ({figures['pictures_are']}), {figures['rounds']} rounds",
        f"{'ms a picture':22}{'median':>10}{'min':>10}{'max':>10}",
    ]
    if figures["backend_note"]:
        rows.insert(2, figures["backend_note"])
    for name, part in figures["ms_a_picture"].items():
        rows.append(f"{name:22}{part['median']:10.2f}{part['min']:10.2f}{part['max']:10.2f}")
    rate = figures["pictures_a_second"]
    rows.append(
        f"{'file to points, /s':22}{rate['median']:10.1f}{rate['min']:10.1f}{rate['max']:10.1f}"
    )
    return "\n".join(rows)


def _draw(folder: Path, count: int) -> list[Path]:
    from PIL import Image

    from tetrapose import synth

    paths = []
    for index in range(count):
        path = folder / f"{index:03d}.jpg"
        scene = synth.render(index, seed=1, size=DRAWN_SIZE)
        Image.fromarray(scene.image).save(path, quality=90)
        paths.append(path)
    return paths
