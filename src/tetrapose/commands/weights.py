"""Weights of others, and one's own put up.

  tetrapose weights list
  tetrapose weights fetch mmpose_hrnet_w32_ap10k
  tetrapose weights import mmpose best_coco_AP.pth --skeleton ap10k --out mine.safetensors
  tetrapose weights import vitpose vitpose+_base.pth --expert ap10k --skeleton ap10k \\
    --out vitpose.safetensors
  tetrapose weights import timm hrnet_w32.safetensors --out start.safetensors
  tetrapose weights push mine.safetensors --to OWNER/NAME --licence apache-2.0 --dry-run

An imported file is a model (tetrapose predict --model FILE) or, from ImageNet, a backbone to start
training from (checkpoint_path=FILE). Names and shapes are checked and what is left out is listed;
docs/bring_weights.md goes through each system. A fetched model goes by its name from then on.
"""

from __future__ import annotations

import argparse
from typing import Any

HELP = "import, fetch and push weights"
KINDS = (
    "hrnet", "mmpose", "rtmpose", "freenet", "scarcenet", "deeplabcut", "vitpose", "huggingface",
    "torchvision", "timm", "efficientnet_lite",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_import(actions.add_parser("import", help="make a model of another system's file"))
    actions.add_parser("list", help="the kinds of files, and the published weights by name")
    fetch = actions.add_parser("fetch", help="download published weights, checked, and import them")
    fetch.add_argument("name", metavar="NAME", help="as weights list has it")
    fetch.add_argument(
        "--trust", action="store_true", help="take a file for which no checksum is published"
    )
    push = actions.add_parser("push", help="put a model up in a Hugging Face repository")
    push.add_argument("model", metavar="FILE|NAME")
    push.add_argument("--to", required=True, metavar="OWNER/NAME")
    push.add_argument("--licence", metavar="ID", help="as the hub names it: apache-2.0, other, ...")
    push.add_argument("--private", action="store_true", help="of a repository that is made anew")
    push.add_argument("--message", default="", metavar="TEXT", help="of the commit")
    push.add_argument("--dry-run", action="store_true", help="print what would go up and stop")
    for action in actions.choices.values():
        action.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS
        )


def _add_import(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", choices=KINDS, metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("file", metavar="FILE")
    parser.add_argument("--out", required=True, metavar="FILE.safetensors")
    parser.add_argument("--skeleton", metavar="NAME", help="a shipped one, or FILE.yaml")
    parser.add_argument(
        "--order", metavar="A,B,...", help="the skeleton's names in the file's order"
    )
    parser.add_argument("--size", metavar="WxH", help="of the input in pixels")
    parser.add_argument("--padding", type=float, metavar="X", help="of boxes, as in 1.25")
    parser.add_argument("--mean", metavar="R,G,B", help="of RGB in 0..1")
    parser.add_argument("--std", metavar="R,G,B", help="of RGB in 0..1")
    parser.add_argument(
        "--codec", action="append", default=[], metavar="FIELD=VALUE",
        help="as in decoder=dark, sigma=3, grid=origin (docs/codecs.md); may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--part", metavar="NAME", help="which network of the file: student, teacher, ema, a key"
    )
    parser.add_argument("--expert", metavar="NAME", help="of a ViTPose++ file: ap10k, apt36k, ...")
    parser.add_argument(
        "--own-head", action="store_true", help="the file's one head belongs to that expert"
    )
    parser.add_argument(
        "--backbone", action="store_true", help="take a ViTPose's backbone alone, to train from"
    )
    parser.add_argument("--licence", metavar="TEXT", help="kept in the card")
    parser.add_argument("--source", metavar="TEXT", help="where it is from; kept in the card")
    parser.add_argument("--half", action="store_true", help="store kernels in half precision")


def run(args: argparse.Namespace) -> int:
    """Do the action."""
    actions = {"import": _import, "list": _list, "fetch": _fetch, "push": _push}
    actions[args.action](args)
    return 0


def _import(args: argparse.Namespace) -> None:
    from pathlib import Path

    import torch

    from tetrapose import skeletons
    from tetrapose.weights.importers import Meaning, import_file
    from tetrapose.weights.importers.common import MEAN, STD, Choice

    told = {"licence": args.licence, "source": args.source}
    meaning = Meaning(
        skeleton=skeletons.load(args.skeleton) if args.skeleton else None,
        order=[name.strip() for name in args.order.split(",")] if args.order else None,
        padding=args.padding,
        codec=dict(_field(text) for text in args.codec),
        about={key: value for key, value in told.items() if value},
        mean=_three(args.mean, "--mean") if args.mean else MEAN,
        std=_three(args.std, "--std") if args.std else STD,
    )
    choice = Choice(
        part=args.part, expert=args.expert, own_head=args.own_head, head=not args.backbone,
        size=_size(args.size) if args.size else None,
    )  # fmt: skip
    done = import_file(
        args.kind, Path(args.file), Path(args.out), choice=choice, meaning=meaning,
        dtype=torch.float16 if args.half else torch.float32,
    )  # fmt: skip
    _report(done)


def _list(args: argparse.Namespace) -> None:
    from tetrapose.weights.importers import KINDS as MODULES
    from tetrapose.weights.zoo import entries

    print("kinds of files (tetrapose weights import KIND FILE):")
    for kind, (_, title) in MODULES.items():
        print(f"  {kind:18}{title}")
    print("\npublished weights (tetrapose weights fetch NAME):")
    for name, one in entries().items():
        here = "fetched" if one.model.is_file() else ""
        check = "sha256" if one.sha256 else "8 digits" if one.sha256_start else "--trust"
        print(f"  {name:34}{one.skeleton or 'backbone':12}{check:10}{here:8}{one.score}")
        print(f"  {'':34}licence: {one.licence}")


def _fetch(args: argparse.Namespace) -> None:
    from tetrapose.weights import zoo

    done = zoo.fetch(args.name, trust=args.trust, progress=_Meter())
    _report(done)
    if done.is_model:
        print(f"from now on: tetrapose predict ... --model {args.name}")


def _push(args: argparse.Namespace) -> None:
    from tetrapose.weights import hub

    upload = hub.prepare(args.model, args.to, licence=args.licence)
    if args.dry_run:
        print(f"would go up to {upload.repository}:")
        for name, data in upload.files.items():
            print(f"  {name:40}{len(data):>14,} bytes")
        print(f"\nREADME.md:\n\n{upload.files['README.md'].decode()}")
        return
    print(hub.push(upload, private=args.private, message=args.message))


def _report(done: Any) -> None:
    """What came in, what was left out, what to know."""
    network = done.network
    for note in network.notes:
        print(f"note: {note}")
    if network.left_out:
        few = ", ".join(network.left_out[:6])
        more = f" and {len(network.left_out) - 6} more" if len(network.left_out) > 6 else ""
        print(f"left out: {few}{more}")
    values = sum(tensor.numel() for tensor in network.tensors.values())
    what = f"{network.num_keypoints} keypoints" if done.is_model else "a backbone to start from"
    print(f"{network.builder.rpartition(':')[2]}, {values:,} values, {what}: {done.path}")


class _Meter:
    """Progress of a download on stderr: a line that is written over, where it is a screen."""

    def __init__(self) -> None:
        self.told = -1.0

    def __call__(self, done: int, whole: int | None) -> None:
        """Bytes so far and in all."""
        import sys
        import time

        now = time.monotonic()
        last = done == whole
        if not sys.stderr.isatty() or (now - self.told < 0.2 and not last):
            return
        self.told = now
        share = f" of {whole / 1e6:.0f} MB, {done / whole:.0%}" if whole else " MB"
        print(f"\r{done / 1e6:.0f}{share}", end="\n" if last else "", file=sys.stderr, flush=True)


def _field(text: str) -> tuple[str, Any]:
    """FIELD=VALUE of a codec, the value as YAML reads it."""
    import yaml

    from tetrapose.errors import UserError

    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UserError(f"--codec {text!r}: give FIELD=VALUE, as in decoder=dark")
    try:
        return name, yaml.safe_load(value)
    except yaml.YAMLError:
        raise UserError(f"--codec {text!r}: its value cannot be read") from None


def _three(text: str, option: str) -> list[float]:
    from tetrapose.errors import UserError

    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != 3:
        raise UserError(f"{option} {text!r}: give three numbers, as in 0.485,0.456,0.406")
    return values


def _size(text: str) -> tuple[int, int]:
    from tetrapose.errors import UserError

    width, _, height = text.lower().partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise UserError(f"--size {text!r}: give width and height, as in 192x256")
    return int(width), int(height)
