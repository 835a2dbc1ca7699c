"""``tetrapose label-free pseudo-labels``: what a model says of unlabelled pictures in many looks.

  tetrapose label-free pseudo-labels animal_pose:DIR/animal_pose --out pl.safetensors
  tetrapose label-free pseudo-labels coco:pool.json --model runs/first/model.safetensors \\
      --out pl.safetensors --part 1/4

Each animal (its box is taken from the set, its labels are not looked at) is cut --looks times,
turned, nearer and farther, each cut mirrored too, and the answers are brought together: a place, a
confidence and a spread for every point (training/labelfree/pseudo_labels.py). The file is whole or
absent: shards lie beside it until all are there, a killed run goes on with those that lack, and
--part I/N leaves the others to other processes. A file made from another model, pool or setting is
refused.
"""

from __future__ import annotations

import argparse
import sys

HELP = "label a pool of pictures with a model, from many looks"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the action."""
    parser.add_argument("spec", metavar="NAME:DIR", help="the pool: any set, for its boxes")
    parser.add_argument("--split", action="append", metavar="FILE", help="only what it names")
    parser.add_argument("--model", default="default", help="a shipped name or a .safetensors file")
    parser.add_argument("--out", required=True, metavar="FILE.safetensors")
    parser.add_argument("--looks", type=int, default=5, metavar="N", help="cuts of an animal (5)")
    parser.add_argument("--no-mirror", action="store_true", help="do not look mirrored as well")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--batch", type=int, metavar="N", help="crops at once")
    parser.add_argument("--workers", type=int, default=0, help="processes that read and cut (0)")
    parser.add_argument("--device", help="the first GPU where there is one, else the CPU")
    parser.add_argument(
        "--part", default="1/1", metavar="I/N", help="every N-th shard from the I-th"
    )


def run(args: argparse.Namespace) -> int:
    """Make what is missing, and tell how sure the whole is."""
    from tetrapose.data import open_set
    from tetrapose.errors import UserError
    from tetrapose.training.labelfree.pseudo_files import Work, pseudo_labels
    from tetrapose.training.labelfree.pseudo_labels import Looks

    if args.batch is not None and args.batch < 1:
        raise UserError(f"--batch {args.batch}: 1 or more")
    part, slash, parts = args.part.partition("/")
    if not (slash and part.isdecimal() and parts.isdecimal()):
        raise UserError(f"--part {args.part}: due is I/N, as 2/8")
    work = Work(
        batch_size=args.batch, workers=args.workers, share=(int(part) - 1, int(parts)),
        tell=lambda line: print(line, file=sys.stderr),
    )  # fmt: skip
    pool = open_set(args.spec, split=args.split)
    labels = pseudo_labels(
        args.out, _model(args.model, args.device), pool,
        Looks(count=args.looks, mirror=not args.no_mirror), precision=args.precision, work=work,
    )  # fmt: skip
    if labels is None:
        print(f"part {args.part} is done; {args.out} is whole once all parts are")
        return 0
    _tell(args.out, labels)
    unread = int((~labels.readable).sum())
    if unread:
        print(f"{unread} animals: their pictures cannot be decoded", file=sys.stderr)
    return 1 if unread else 0


def _model(name: str, device: str | None):
    """The model as it computes fastest: norms folded into what stands before them."""
    from dataclasses import replace

    from tetrapose.inference.fusing import fuse
    from tetrapose.inference.predictor import _device
    from tetrapose.weights import card

    loaded = card.load(name, device=_device(device))
    return replace(loaded, model=fuse(loaded.model))


def _tell(path: str, labels) -> None:
    """Animals, and each point's confidence and spread in the median."""
    import numpy as np

    print(f"{path}: {len(labels):,} animals, {len(labels.names)} points each")
    print(f"{'point':24} {'confidence':>10} {'spread':>8}")
    for k, name in enumerate(labels.names):
        apart = labels.spread[:, k]
        apart = apart[np.isfinite(apart)]
        told = f"{np.median(apart):8.3f}" if len(apart) else f"{chr(8211):>8}"
        print(f"{name:24} {np.median(labels.confidence[:, k]):10.3f} {told}")
