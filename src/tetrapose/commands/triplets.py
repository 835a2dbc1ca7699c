"""Make libraries of triplets for pose-guided generators: picture, pose picture, caption.

  tetrapose triplets build PHOTOS --out LIBRARY
  tetrapose triplets build animal_pose:DIR coco_animals:DIR,only=dog --out LIBRARY --workers 2
  tetrapose triplets build "list:laion.parquet,species=cat|dog,similarity=0.3" --out LIBRARY
  tetrapose triplets merge LIBRARY OTHER --out BOTH
  tetrapose triplets inspect LIBRARY --open
  tetrapose triplets export LIBRARY --to hf --out FOLDER
  tetrapose triplets card FOLDER --push OWNER/NAME

build stops and goes on: the same command on the same --out does what is left, and the shards are
the same to the byte. What was dropped, and why, stands in LIBRARY/ledger. See docs/triplets.md.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tetrapose.commands import triplets_show

if TYPE_CHECKING:
    from tetrapose.triplets.manners import Manners
    from tetrapose.triplets.running import Did, Tell
    from tetrapose.triplets.settings import Settings

HELP = "make libraries of picture, pose picture and caption"
STEPS = {
    "download": "download", "read": "read", "check and hash": "check and hash",
    "duplicates": "duplicates", "decode": "decode", "find": "find animals",
    "points": "predict points", "crop": "keep and crop", "caption": "caption",
    "draw": "draw pose, overlay", "encode": "encode pictures",
    "write": "write shards", "ledger": "write ledger",
}  # fmt: skip
FORMS = ("hf", "parquet", "webdataset")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verbs with their options."""
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    _add_build(verbs)
    _add_merge(verbs)
    _add_export(verbs)
    triplets_show.add_inspect(verbs)
    triplets_show.add_card(verbs)


def _add_build(verbs: Any) -> None:
    verb = verbs.add_parser("build", help="make a library of pictures, or go on with it")
    add = verb.add_argument
    add("sources", nargs="+", metavar="SOURCE", help="a folder, or NAME:WHERE (docs/triplets.md)")
    add("--out", required=True, metavar="LIBRARY", help="the library's folder, new or begun")
    add("--workers", type=int, default=1, metavar="N", help="processes (1)")
    add("--ray", nargs="?", const="", metavar="ADDRESS", help="on Ray: here, or in that cluster")
    add("--gpus", type=float, default=0.0, metavar="G", help="of each worker's, with --ray (0)")
    add("--size", type=int, metavar="PX", help="side of the pictures (512)")
    add("--buckets", action="store_true", help="keep about the pictures' aspect, in steps of 64 px")
    add("--least-side", type=int, metavar="PX", help="least shorter side of a source picture (256)")
    add("--near", type=int, metavar="BITS", help="most differing bits of near-copies (12; -1: off)")
    add("--threshold", type=float, metavar="S", help="least score of a point that is found (0.3)")
    add("--least-share", type=float, metavar="P", help="least share of an animal's points (0.3)")
    add("--every", action="store_true", help="drop pictures in which an animal has fewer")
    add("--skeleton", metavar="NAME", help="carry labelled points over to it (they stay as is)")
    add("--no-networks", action="store_true", help="take labelled points alone")
    add("--model", metavar="NAME|FILE", help="model that predicts points (default)")
    add("--finder", metavar="NAME|FILE", help="model that finds animals (finder)")
    add("--least-score", type=float, metavar="S", help="least score of a found animal (0.3)")
    add("--no-flip", action="store_true", help="look at each animal once, not mirrored as well")
    add("--style", metavar="NAME", help="style of the pose pictures (animal_controlnet)")
    add("--quality", type=int, metavar="Q", help="JPEG quality of the pictures (95)")
    add("--part", type=int, metavar="N", help="items of a shard (500)")
    add("--captions", metavar="MIX", help="as text, template, or text=0.7,template=0.3 (text)")
    add("--caption-model", metavar="NAME|DIR", help="image-to-text model of transformers")
    add("--caption-dropout", type=float, metavar="P", help="share of captions left empty (0)")
    add("--seed", type=int, metavar="S", help="which draw of captions (0)")
    add("--connections", type=int, metavar="N", help="downloads at a time (64)")
    add("--per-host", type=int, metavar="N", help="and of one host (2)")
    add("--pause", type=float, metavar="S", help="seconds between two requests to a host (0)")
    add("--contact", metavar="ADDRESS", help="where a host that is asked may complain")
    add("--keep-work", action="store_true", help="keep LIBRARY/work when done")
    add("--no-card", action="store_true", help="leave out the dataset card, LIBRARY/README.md")


def _add_merge(verbs: Any) -> None:
    verb = verbs.add_parser("merge", help="join libraries, repeats of earlier ones left out")
    verb.add_argument("libraries", nargs="+", metavar="LIBRARY")
    verb.add_argument("--out", required=True, metavar="LIBRARY")
    verb.add_argument("--workers", type=int, default=1, metavar="N", help="processes (1)")
    verb.add_argument("--near", type=int, default=12, metavar="BITS", help="as of build (12)")


def _add_export(verbs: Any) -> None:
    verb = verbs.add_parser("export", help="a library as Parquet or Hugging Face folder, and back")
    verb.add_argument("library", metavar="LIBRARY", help="a library, or a folder exported before")
    verb.add_argument("--to", required=True, choices=FORMS)
    verb.add_argument("--out", required=True, metavar="DIR")


def run(args: argparse.Namespace) -> int:
    """Do what the verb says."""
    return {
        "build": _build,
        "merge": _merge,
        "export": _export,
        "inspect": triplets_show.show,
        "card": triplets_show.card,
    }[args.verb](args)


def _build(args: argparse.Namespace) -> int:
    import time

    import cv2

    from tetrapose.triplets.build import build

    cv2.setNumThreads(1)  # workers share the cores; the pictures are small
    began = time.perf_counter()
    built = build(
        args.sources,
        args.out,
        _settings(args),
        workers=args.workers,
        manners=_manners(args),
        keep_work=args.keep_work,
        tell=_progress(),
        **_runner(args),
    )
    seconds = time.perf_counter() - began
    _tell_listed(built.about.get("listed", {}))
    _tell_counts(built.about["counts"], args.out)
    if not args.no_card and (built.done or not Path(args.out, "README.md").exists()):
        print(f"the card: {triplets_show.write_card(Path(args.out))}")
    if not built.done:
        print("nothing was left to do")
        return 0
    print(f"\n{built.clock.table(STEPS)}")
    items = built.clock.pictures["check and hash"]
    print(f"{items:,} pictures in {seconds:.1f} s: {items / seconds:.1f} a second")
    return 0


def _settings(args: argparse.Namespace) -> Settings:
    """Settings of the options that were given; the rest stays as ``Settings`` has it."""
    from tetrapose.triplets.settings import Settings

    names = (
        "size", "least_side", "near", "threshold", "least_share", "skeleton", "model", "finder",
        "least_score", "style", "quality", "part",
    )  # fmt: skip
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    return Settings(
        **given,
        buckets=args.buckets,
        every=args.every,
        networks=not args.no_networks,
        flip=not args.no_flip,
        captions=_captions(args),
    )


def _captions(args: argparse.Namespace) -> dict[str, Any]:
    from tetrapose.errors import UserError

    out: dict[str, Any] = {}
    if args.captions:
        mix: dict[str, float] = {}
        for part in args.captions.split(","):
            name, _, share = part.partition("=")
            try:
                mix[name.strip()] = float(share or 1)
            except ValueError:
                raise UserError(f"--captions {args.captions}: {share!r} is no number") from None
        out["mix"] = mix
    elif args.caption_model:
        out["mix"] = {"model": 1.0}
    values = {"model": args.caption_model, "dropout": args.caption_dropout, "seed": args.seed}
    return out | {name: value for name, value in values.items() if value is not None}


def _runner(args: argparse.Namespace) -> dict[str, Any]:
    """What does the parts: this machine's processes, unless Ray is asked for."""
    from functools import partial

    from tetrapose.errors import UserError

    if args.ray is None:
        if args.gpus:
            raise UserError("--gpus goes with --ray")
        return {}
    from tetrapose.triplets.cluster import on_ray

    return {"runner": partial(on_ray, address=args.ray or None, gpus=args.gpus)}


def _manners(args: argparse.Namespace) -> Manners:
    from tetrapose.triplets.manners import Manners

    names = ("connections", "per_host", "pause", "contact")
    given = {name: getattr(args, name) for name in names}
    return Manners(**{name: value for name, value in given.items() if value is not None})


def _merge(args: argparse.Namespace) -> int:
    from tetrapose.triplets.merging import merge

    about = merge(args.libraries, args.out, near=args.near, workers=args.workers, tell=_progress())
    _tell_counts(about["counts"], args.out)
    return 0


def _export(args: argparse.Namespace) -> int:
    from tetrapose.triplets.exporting import export

    count = export(args.library, args.out, args.to)
    print(f"{count:,} triplets in {args.out}")
    return 0


def _progress() -> Tell | None:
    """A line that grows on a terminal; nothing elsewhere."""
    if not sys.stderr.isatty():
        return None
    done = {"items": 0, "kept": 0}

    def tell(part: int, did: Did) -> None:
        done["items"] += did.items
        done["kept"] += did.triplets
        text = f"\r\033[Kpart {part}: {done['items']:,} pictures, {done['kept']:,} kept"
        print(text, end="", file=sys.stderr, flush=True)

    return tell


def _tell_listed(listed: dict[str, Any]) -> None:
    for problem in listed.get("problems", [])[:5]:
        print(f"tetrapose: {problem}", file=sys.stderr)
    for why, count in listed.get("passed", {}).items():
        print(f"{count:>10,} {why}", file=sys.stderr)


def _tell_counts(counts: dict[str, Any], out: str) -> None:
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    print(f"{counts['kept']:,} triplets of {counts['items']:,} pictures in {out}")
    for why, count in sorted(counts["dropped"].items(), key=lambda pair: -pair[1]):
        print(f"{count:>10,} dropped at {why.replace('_', ' ')}")
