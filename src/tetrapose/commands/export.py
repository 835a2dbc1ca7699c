"""Write a model as a file that other programs run, and check it.

  tetrapose export --to onnx --out default.onnx
  tetrapose export --model runs/mine/model.safetensors --to openvino --out mine.xml --pictures DIR
  tetrapose export --to onnx --precision int8 --pictures DIR --bound 0.5 --out small.onnx

FILE ends in .onnx, .xml (OpenVINO, with FILE.bin beside it) or .pt2 (torch.export); its card
FILE.json beside it makes it a model like any other: --model FILE runs it. What was written is
opened again and run beside torch on the pictures of DIR, or on drawn animals. An export whose
points move further than the bound is deleted, and the exit status is 2.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

HELP = "write a model for ONNX Runtime, OpenVINO or torch.export"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    add = parser.add_argument
    add("--model", default="default", metavar="NAME|FILE", help="shipped model or .safetensors")
    add("--to", required=True, metavar="FORM", help="onnx, openvino or torch (torch.export)")
    add("--out", required=True, metavar="FILE", help=".onnx, .xml or .pt2")
    add("--precision", default="float32", metavar="P", help="float32, float16 or int8")
    add("--pictures", metavar="DIR", help="check on these, one animal a picture (drawn animals)")
    add("--most", type=int, default=200, metavar="N", help="pictures used, evenly spread (200)")
    add(
        "--bound", type=float, default=0.1, metavar="PX",
        help="how far points may move at the 99th percentile, in pixels of the input (0.1)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Write, check, say how far points moved."""
    import sys

    from tetrapose.errors import UserError

    if args.most < 2:
        raise UserError(f"--most must be 2 or more, not {args.most}")
    pictures = pictures_in(args.pictures, args.most) if args.pictures else []
    from tetrapose.export.writing import export

    done = export(
        args.model, args.out, form=args.to, precision=args.precision, pictures=pictures,
        bound=args.bound,
    )  # fmt: skip
    for problem in done.problems:
        print(f"tetrapose: {problem}", file=sys.stderr)
    size = sum(file.stat().st_size for file in done.files) / 1e6
    print(f"{', '.join(str(file) for file in done.files)}: {size:.1f} MB, {args.precision}")
    print(f"points move by {done.drift} against torch, on {done.pictures} pictures")
    return 1 if done.problems else 0


def pictures_in(folder: str, most: int) -> list[Path]:
    """Pictures of a folder or glob, at most so many, evenly spread; UserError for none."""
    from tetrapose.errors import UserError
    from tetrapose.inference.sources import find_sources

    sources, problems = find_sources([folder])
    paths = [source.path for source in sources if not source.is_video]
    if not paths:
        reason = f": {problems[0]}" if problems else ""
        raise UserError(f"{folder}: no picture was found{reason}")
    step = max(len(paths) / most, 1.0)
    return [paths[int(i * step)] for i in range(min(most, len(paths)))]
