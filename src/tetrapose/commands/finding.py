"""Options of ``tetrapose predict`` that say where animals are, and the finder they ask for."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from tetrapose.inference.cutting import Picture
    from tetrapose.inference.finder import Finder, Seen
    from tetrapose.structures import Instances, Problem

MODEL = "model"  # --boxes model: the model looks at the whole picture first


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--boxes and what goes with --boxes auto."""
    parser.add_argument(
        "--boxes",
        metavar="FILE|whole|auto|model",
        help="where the animals are: auto asks the finder (default where one ships), whole takes"
        " the picture for one animal's, model looks twice (default for models of tetrapose"
        " finetune that learned to); or a file: COCO annotations, results with file_name and"
        " bbox, or CSV with file_name,x1,y1,x2,y2[,frame]",
    )
    add_finder(parser)


def add_finder(parser: argparse.ArgumentParser) -> None:
    """What says which finder looks, and how."""
    add = parser.add_argument
    add(
        "--finder",
        metavar="NAME|FILE|DIR",
        help="finder of --boxes auto: a .safetensors file, or rtdetr, dfine or the folder of such"
        " a detector (pip install 'tetrapose[detectors]')",
    )
    add("--tiles", type=int, metavar="N", help="look for small animals in N squares a side, 1: no")
    add(
        "--least-score",
        type=float,
        metavar="S",
        help="least score of a box to count (0.3 for predict, 0.2 for evaluate)",
    )


def settle(args: argparse.Namespace) -> None:
    """Fill in what --boxes is where it was not given; UserError for what does not go together."""
    told = [args.finder, args.tiles, args.least_score]
    if args.boxes is None:
        args.boxes = "auto" if told != [None] * 3 or _ships() else "whole"
        if told == [None] * 3 and _locates(getattr(args, "model", None)):
            args.boxes = MODEL
    demand_usable(args)


def demand_usable(args: argparse.Namespace) -> None:
    """UserError for finder options that say nothing, or out of range."""
    from tetrapose.errors import UserError

    for name in ("finder", "tiles", "least_score"):
        if args.boxes != "auto" and getattr(args, name) is not None:
            option = f"--{name.replace('_', '-')}"
            raise UserError(f"{option} goes with --boxes auto, not with --boxes {args.boxes}")
    if args.least_score is not None and not 0 < args.least_score < 1:
        raise UserError(f"--least-score must lie in 0..1, not {args.least_score:g}")
    if args.tiles is not None and not 1 <= args.tiles <= 16:
        raise UserError(f"--tiles must be from 1 to 16, not {args.tiles}")


def _ships() -> bool:
    from importlib import resources

    # as weights.finder.shipped, without torch: that waits until the rest is known to be right
    folder = resources.files("tetrapose").joinpath("weights")
    return all(folder.joinpath(f"finder.{end}").is_file() for end in ("safetensors", "json"))


def _locates(model: Any) -> bool:
    """Whether a model's card says that it finds its animal itself; what is wrong is told later."""
    import json
    from pathlib import Path

    path = Path(str(model))
    if path.suffix != ".safetensors":
        return False
    try:
        return bool(json.loads(path.with_suffix(".json").read_bytes())["crop"].get("locate"))
    except (OSError, ValueError, LookupError, AttributeError, TypeError):
        return False


def make(args: argparse.Namespace) -> Finder | None:
    """The finder of --boxes auto, the model's own first look of --boxes model, None for others."""
    from tetrapose.inference.finder import load_finder

    if args.boxes == MODEL:
        from tetrapose.inference.looks import locator
        from tetrapose.inference.predictor import load

        flip = args.flip if hasattr(args, "flip") else not args.no_flip
        return locator(load(args.model, flip=flip, device=args.device))
    if args.boxes != "auto":
        return None
    name = args.finder or "finder"
    return load_finder(name, least=args.least_score, tiles=args.tiles, device=args.device)


class Spotter:
    """A finder, or none, and what it saw in pictures whose prediction is still on its way."""

    def __init__(self, finder: Finder | None) -> None:
        self.finder = finder
        self.count = 0  # of pictures and frames without an animal
        self._seen: dict[Any, Seen] = {}

    @property
    def protocol(self) -> dict[str, Any] | None:
        """The finder's, None without one."""
        return None if self.finder is None else self.finder.protocol

    def boxes(self, image: Picture, key: Any) -> np.ndarray | None:
        """What the finder sees; None without one, and where cutting will tell what is wrong."""
        from tetrapose.errors import UserError

        if self.finder is None:
            return None
        try:
            self._seen[key] = self.finder.find(image)
        except UserError:
            return None
        return self._seen[key].bboxes

    def empty(self, key: Any, where: str) -> list[Problem]:
        """A note where no animal was seen, which is counted."""
        from tetrapose.structures import Problem

        if key not in self._seen or len(self._seen[key]):
            return []
        self.count += 1
        fix = "nothing drawn; a lower --least-score or more --tiles may find some"
        return [Problem(where, "no animal found", fix, left_out=False)]

    def scored(self, key: Any, instances: Instances) -> tuple[Instances, dict[str, Any]]:
        """The instances with their boxes' scores, and the groups that entries name."""
        seen = self._seen.pop(key, None)
        if seen is None:
            return instances, {}
        return replace(instances, bbox_scores=seen.scores), {"groups": seen.groups}
