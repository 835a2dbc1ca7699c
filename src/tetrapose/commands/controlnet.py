"""Pose in, picture out: train a ControlNet on triplets, paint with it, measure what it painted.

  tetrapose controlnet train LIBRARY --base stable-diffusion-v1-5 --out runs/animals --preflight
  tetrapose controlnet train LIBRARY --base stable-diffusion-v1-5 --out runs/animals
  tetrapose controlnet generate --base stable-diffusion-v1-5 --controlnet runs/animals \\
    --pose dog.json --prompt "a dog on a lawn" --count 4 --out painted
  tetrapose controlnet score painted --real LIBRARY

LIBRARY is a folder of tetrapose triplets build; --base the folder of a Stable Diffusion 1.5, 2.1
or SDXL pipeline, which is never fetched. train stops and goes on: the same command does what is
left, and on a CPU comes to the same weights to the bit. See docs/controlnet.md.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tetrapose.controlnet.asking import Order
    from tetrapose.controlnet.settings import Settings

HELP = "train a ControlNet on triplets, paint posed animals with it, score them"
CHOSEN = (
    "base", "start", "lora", "steps", "batch", "accumulate", "lr", "warmup", "schedule", "min_snr",
    "ema", "drop", "optimizer", "precision", "skeleton", "style", "seed", "every", "look", "shown",
    "look_steps", "workers",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verbs with their options."""
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    _add_train(verbs)
    _add_generate(verbs)
    _add_score(verbs)


def _add_train(verbs: Any) -> None:
    verb = verbs.add_parser("train", help="train a ControlNet, or go on with a run")
    add = verb.add_argument
    add("libraries", nargs="+", metavar="LIBRARY", help="libraries of triplets")
    add("--base", required=True, metavar="DIR|NAME", help="Stable Diffusion 1.5, 2.1, SDXL")
    add("--out", required=True, metavar="RUN", help="the run's folder, new or begun")
    add("--preflight", action="store_true", help="look for all that can be wrong, then stop")
    add("--start", metavar="unet|DIR", help="from scratch (unet), or a ControlNet to go on from")
    add("--lora", type=int, metavar="R", help="learn low-rank additions of rank R (0: all)")
    add("--steps", type=int, metavar="N", help="steps of the optimizer (50000)")
    add("--batch", type=int, metavar="N", help="triplets a pass and process (4)")
    add("--accumulate", type=int, metavar="N", help="passes a step (1)")
    add("--lr", type=float, metavar="R", help="learning rate (1e-5)")
    add("--warmup", type=int, metavar="N", help="steps in which it is reached (500)")
    add("--schedule", metavar="S", help="constant or cosine (constant)")
    add("--min-snr", type=float, metavar="G", help="gamma of min-SNR weights (5; 0: off)")
    add("--ema", type=float, metavar="D", help="decay of averaged weights (0.9999; 0: off)")
    add("--drop", type=float, metavar="P", help="share of captions left out (0.1)")
    add("--optimizer", metavar="O", help="adamw, or adamw8bit (bitsandbytes, a GPU)")
    add("--precision", metavar="P", help="float32, bfloat16 or float16 (float32)")
    add("--checkpointing", action="store_true", help="compute parts twice, for less memory")
    add("--cache", action="store_true", help="keep latents and text embeddings in RUN/cache")
    add("--skeleton", metavar="NAME", help="refuse triplets on any other")
    add("--style", metavar="NAME-vN", help="refuse pose pictures of any other")
    add("--seed", type=int, metavar="S", help="of first weights, order and noise (0)")
    add("--every", type=int, metavar="N", help="steps between checkpoints (1000)")
    add("--look", type=int, metavar="N", help="steps between looks at held-out triplets (1000)")
    add("--shown", type=int, metavar="N", help="held-out triplets (4)")
    add("--look-steps", type=int, metavar="N", help="denoising steps of a look (30)")
    add("--workers", type=int, metavar="N", help="processes that read ahead (2)")


def _add_generate(verbs: Any) -> None:
    verb = verbs.add_parser("generate", help="paint animals that stand as asked")
    add = verb.add_argument
    add("--base", required=True, metavar="DIR|NAME", help="the pipeline that was trained on")
    add("--controlnet", required=True, metavar="DIR", help="a run's folder, or a ControlNet's")
    add("--out", required=True, metavar="DIR", help="folder for the pictures")
    what = verb.add_mutually_exclusive_group(required=True)
    ask = what.add_argument
    ask("--pose", metavar="FILE", help="JSON of the studio, of predict, or a triplet's points")
    ask("--pose-picture", metavar="FILE", help="a pose picture, taken as it is")
    ask("--photo", metavar="FILE", help="a photograph: the pose of its animals is taken")
    ask("--triplets", nargs="+", metavar="LIBRARY", help="poses and captions of triplets")
    add("--prompt", metavar="TEXT", help="what the picture is to show")
    add("--negative", metavar="TEXT", help="what it is not to show")
    add("--count", type=int, default=1, metavar="N", help="pictures a pose (1)")
    add("--seed", type=int, default=0, metavar="S", help="of the first; the next ones count up (0)")
    add("--limit", type=int, default=0, metavar="N", help="with --triplets, so many of them (all)")
    add("--picture", default="", metavar="NAME", help="which picture of predictions.json")
    add("--size", type=int, nargs=2, metavar=("W", "H"), help="size of the picture (the pose's)")
    add("--steps", type=int, default=30, metavar="N", help="denoising steps (30)")
    add("--guidance", type=float, default=7.5, metavar="G", help="weight of the prompt (7.5)")
    add("--strength", type=float, default=1.0, metavar="S", help="weight of the pose (1)")
    add("--batch", type=int, default=1, metavar="N", help="pictures at once (1)")
    add(
        "--style", default="", metavar="NAME-vN", help="of pose pictures, for ControlNets of others"
    )
    add("--device", metavar="D", help="cpu, cuda, ... (the first GPU if there is one)")
    add("--precision", default="", metavar="P", help="float16 on a GPU, else float32")
    add("--model", default="default", metavar="NAME|FILE", help="with --photo: the pose model")
    add("--finder", default="finder", metavar="NAME|FILE", help="with --photo: what finds animals")


def _add_score(verbs: Any) -> None:
    verb = verbs.add_parser("score", help="what of the asked poses the pictures show")
    add = verb.add_argument
    add("folder", metavar="DIR", help="pictures of tetrapose controlnet generate")
    add("--real", nargs="+", metavar="LIBRARY", help="real pictures with their points, to compare")
    add("--limit", type=int, default=0, metavar="N", help="so many of the real pictures (all)")
    add("--boxes", default="asked", choices=("asked", "found"), help="where the pose model looks")
    add("--model", default="default", metavar="NAME|FILE", help="the pose model")
    add("--finder", default="finder", metavar="NAME|FILE", help="of --boxes found")
    add("--inception", metavar="FILE", help="Inception's weights, for FID and KID with --real")
    add("--clip", metavar="DIR", help="a CLIP model's folder, for the CLIP score")
    add("--out", metavar="DIR", help="folder of score.json and score.html (DIR/score)")


def run(args: argparse.Namespace) -> int:
    """Do what the verb says."""
    return {"train": _train, "generate": _generate, "score": _score}[args.verb](args)


def _settings(args: argparse.Namespace) -> Settings:
    from tetrapose.controlnet.settings import Settings

    given = {name: getattr(args, name) for name in CHOSEN if getattr(args, name) is not None}
    return Settings(**given, checkpointing=args.checkpointing, cache=args.cache)


def _train(args: argparse.Namespace) -> int:
    from tetrapose.controlnet.preflight import preflight
    from tetrapose.errors import UserError

    settings = _settings(args)
    begun = (Path(args.out) / "run.json").exists()  # else nothing is written before all is right
    checks = preflight(
        args.libraries, args.out, settings, memory=args.preflight,
        keep=Path(args.out) / ".tables" if begun else None,
    )  # fmt: skip
    wrong = [check for check in checks if not check.right]
    for check in checks if args.preflight else wrong:
        mark = "ok   " if check.right else "wrong"
        print(f"{mark}  {check.name:<9} {check.said}", file=sys.stderr if wrong else sys.stdout)
    if wrong:
        raise UserError(f"{len(wrong)} of {len(checks)} checks failed; nothing was begun")
    if args.preflight:
        return 0
    from tetrapose.controlnet.training import train

    card = train(args.libraries, args.out, settings, tell=_progress(settings.steps))
    if card:
        print(f"\n{Path(args.out) / 'controlnet'}: {card['steps']:,} steps,"
              f" {card['pictures_seen']:,} pictures seen, last loss"
              f" {card['loss_of_the_last_100_steps']:.4f}")  # fmt: skip
        _tell_counts(card)
    return 0


def _progress(steps: int) -> Any:
    import os

    first = os.environ.get("RANK", "0") == "0"

    def tell(line: dict[str, Any]) -> None:
        for told in line.get("left_out", ()):  # each process reads triplets of its own
            print(f"\ntetrapose: left out: {told}", file=sys.stderr)
        if not first:
            return
        if line["done"] != "step":
            what = "back to the last checkpoint" if line["done"] == "back" else "skipped"
            print(f"\ntetrapose: step {line['step']}: not finite, {what}", file=sys.stderr)
        elif sys.stderr.isatty():
            share = line["waited"] / max(line["seconds"], 1e-9)
            text = f"step {line['step']:,} of {steps:,}, loss {line['loss']:.4f}"
            print(f"\r\033[K{text}, {line['seconds']:.2f} s, {share:.0%} waiting",
                  end="", file=sys.stderr, flush=True)  # fmt: skip

    return tell


def _tell_counts(card: dict[str, Any]) -> None:
    for name, words in (
        ("skipped", "steps were not finite and changed nothing"),
        ("back", "times back to the last checkpoint"),
        ("unreadable", "triplets could not be read and were left out"),
    ):
        if card[name]:
            print(f"{card[name]:>10,} {words}")


def _generate(args: argparse.Namespace) -> int:
    from tetrapose.controlnet.asking import paint_all
    from tetrapose.controlnet.painter import NEGATIVE, How, load_painter
    from tetrapose.errors import UserError

    if args.triplets is None and not (args.prompt or "").strip():
        raise UserError("--prompt is due: what the picture is to show")
    if not 1 <= args.count <= 10_000 or not 0 <= args.seed < 2**32 - args.count:
        raise UserError(f"--count from 1 to 10000 and --seed from 0, not {args.count}, {args.seed}")
    how = How(
        steps=args.steps, guidance=args.guidance, strength=args.strength, batch=args.batch,
        negative=NEGATIVE if args.negative is None else args.negative,
    )  # fmt: skip
    orders = _orders(args)
    painter = load_painter(
        args.base, args.controlnet, style=args.style, how=how, device=args.device,
        precision=args.precision,
    )  # fmt: skip
    count = paint_all(painter, orders, args.out)
    print(f"{count:,} pictures painted into {args.out}" if count else "nothing was left to paint")
    return 0


def _orders(args: argparse.Namespace) -> list[Order]:
    from tetrapose.controlnet.asking import Order, drawn_by_hand, from_stock

    if args.triplets is not None:
        from tetrapose.controlnet.stock import open_stock

        stock = open_stock(args.triplets)
        return list(from_stock(stock, count=args.count, seed=args.seed, most=args.limit))
    prompt = " ".join(args.prompt.split())
    seeds = range(args.seed, args.seed + args.count)
    if args.pose_picture is not None:
        pixels = drawn_by_hand(args.pose_picture)
        return [Order(prompt, seed, drawn=pixels) for seed in seeds]
    pose = _read_pose(args) if args.pose is not None else _taken_pose(args)
    return [Order(prompt, seed, pose) for seed in seeds]


def _read_pose(args: argparse.Namespace) -> Any:
    """A pose of any of the forms there are, resized where a size is asked for."""
    import json

    from tetrapose.app import poses as studio
    from tetrapose.controlnet.poses import Pose, checked, from_points, from_predictions
    from tetrapose.errors import UserError

    path = Path(args.pose)
    size = None if args.size is None else (args.size[0], args.size[1])
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    except ValueError:
        raise UserError(f"{path}: no JSON; a drawn pose goes with --pose-picture") from None
    if isinstance(content, list):
        return from_predictions(path, content, args.picture, size)
    if isinstance(content, dict) and content.get("format") == studio.FORMAT:
        posed = studio.read(content)
        pose = Pose(posed.skeleton, posed.size, posed.instances, posed.labels)
        pose = checked(pose, str(path))
    else:
        pose = from_points(content, str(path))
    return pose if size is None else pose.resized(size)


def _taken_pose(args: argparse.Namespace) -> Any:
    from tetrapose.controlnet.poses import from_photograph
    from tetrapose.inference.finder import load_finder
    from tetrapose.inference.predictor import load

    finder, predictor = load_finder(args.finder), load(args.model, device=args.device)
    pose = from_photograph(args.photo, finder, predictor)
    print(f"{args.photo}: {', '.join(pose.labels)}", file=sys.stderr)
    return pose if args.size is None else pose.resized((args.size[0], args.size[1]))


def _score(args: argparse.Namespace) -> int:
    from tetrapose.controlnet.scoring import score_folder

    result = score_folder(
        args.folder, args.real or (), limit=args.limit, boxes=args.boxes, model=args.model,
        finder=args.finder, likeness=(args.inception, args.clip), out=args.out,
    )  # fmt: skip
    print(result.table)
    for note in result.notes:
        print(f"tetrapose: {note}", file=sys.stderr)
    print(result.page)
    return 0
