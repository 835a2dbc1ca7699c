"""Skeletons: which there are, how one maps onto another, unions of several.

  tetrapose skeletons list
  tetrapose skeletons show union26
  tetrapose skeletons map akd_cats ap10k
  tetrapose skeletons build ap10k animal_pose akd_cats --out mine.yaml
  tetrapose skeletons offsets --data badja:DIR --model default

A skeleton is a shipped name or a file of one's own (FILE.yaml). Points are matched by place on the
body: exact at the same place, near where one may stand for the other (paw centre, top of the paw),
absent. `offsets` measures how far near points lie apart, in body lengths: labels of the set against
predictions of a model.
"""

from __future__ import annotations

import argparse

HELP = "list, show, map and join skeletons"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="the skeletons that ship")
    show = actions.add_parser("show", help="points, places, sigmas, edges and sources of one")
    show.add_argument("name", metavar="NAME")
    maps = actions.add_parser("map", help="which point of one is which of another")
    maps.add_argument("source", metavar="FROM")
    maps.add_argument("target", metavar="TO")
    build = actions.add_parser("build", help="the union of several, as a file of one's own")
    build.add_argument("names", nargs="+", metavar="NAME")
    build.add_argument("--out", required=True, metavar="FILE.yaml")
    build.add_argument(
        "--keep-near", action="store_true", help="near points are points of their own"
    )
    offsets = actions.add_parser("offsets", help="how far near points lie apart, by a model")
    offsets.add_argument("--data", required=True, metavar="NAME:DIR")
    offsets.add_argument("--model", default="default", metavar="MODEL")
    offsets.add_argument("--json", metavar="FILE", help="write the figures")
    for action in actions.choices.values():
        action.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS
        )


def run(args: argparse.Namespace) -> int:
    """Do the action."""
    actions = {
        "list": _list, "show": _show, "map": _map, "build": _build, "offsets": _offsets
    }  # fmt: skip
    actions[args.action](args)
    return 0


def _list(args: argparse.Namespace) -> None:
    from tetrapose import skeletons

    for name in skeletons.available():
        one = skeletons.load(name)
        print(f"{name:24}{len(one):3} points  {one.title}")


def _show(args: argparse.Namespace) -> None:
    from tetrapose import skeletons

    one = skeletons.load(args.name)
    print(one.title)
    for key, value in one.source.items():
        print(f"{key:10} {value}")
    print(f"\n{'':3}{'keypoint':24}{'sigma':>6}  {'part':7}{'place':22}site")
    for i, point in enumerate(one.keypoints):
        row = f"{i:2} {point.name:24}{point.sigma:6.3f}  {point.part:7}{point.place:22}{point.site}"
        print(row)
    print("\nedges     " + ", ".join(f"{a}-{b}" for a, b in one.edges))
    for kind, sets in (("sigmas", one.sigma_sets), ("weights", one.weight_sets)):
        if sets:
            print(f"other {kind}: {', '.join(sets)}")


def _map(args: argparse.Namespace) -> None:
    from tetrapose import skeletons
    from tetrapose.skeletons import mapping

    found = mapping.between(skeletons.load(args.source), skeletons.load(args.target))
    source = {point.name: point for point in found.source.keypoints}
    for grade in (mapping.EXACT, mapping.NEAR, mapping.ABSENT):
        for one, other in found.named(grade):
            point = found.target.keypoints[found.target.index(other)]
            told = ""
            if grade == mapping.NEAR:
                told = f"  {source[one].site}, against {point.site}"
            print(f"{mapping.GRADES[grade]:7} {one or '-':24} {other:24}{told}".rstrip())
    if found.lost:
        print(f"not in {found.target.name}: {', '.join(found.lost)}")


def _build(args: argparse.Namespace) -> None:
    from pathlib import Path

    import yaml

    from tetrapose import skeletons
    from tetrapose.errors import UserError
    from tetrapose.skeletons.superset import build

    path = Path(args.out)
    if path.suffix not in (".yaml", ".yml"):
        raise UserError(f"{path}: a skeleton file ends in .yaml")
    if path.exists():
        raise UserError(f"{path}: is there already; choose another name or remove it")
    joined = build(
        [skeletons.load(name) for name in args.names], path.stem, merge_near=not args.keep_near
    )
    try:
        path.write_text(yaml.safe_dump(joined.to_dict(), sort_keys=False), encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from None
    print(f"{path}: {len(joined)} points, {len(joined.edges)} edges")


def _offsets(args: argparse.Namespace) -> None:
    from dataclasses import asdict, replace

    import numpy as np

    from tetrapose.data import open_set
    from tetrapose.errors import UserError
    from tetrapose.evaluation.offsets import offsets
    from tetrapose.inference import predictor as inference
    from tetrapose.skeletons.mapping import between

    predictor = inference.load(args.model)
    truth = open_set(args.data)
    mapping = between(predictor.skeleton, truth.skeleton)
    count, points = len(truth), len(predictor.skeleton)
    blank = replace(
        truth,
        skeleton=predictor.skeleton,
        keypoints=np.full((count, points, 2), np.nan),
        visibility=np.zeros((count, points), dtype=np.uint8),
        weights=None,
    )
    made = predictor.predict_set(blank)
    rows = offsets(truth.keypoints, made.keypoints, mapping, scores=made.scores)
    if not rows:
        raise UserError(f"{args.data}: no animal shows a pair of points and a body to measure by")
    print(
        f"{'model':24}{'set':24}{'grade':7}{'n':>5}{'forward':>9}{'down':>8}{'+-':>7}{'spread':>8}"
    )
    for one in rows:
        print(
            f"{one.source:24}{one.target:24}{one.grade:7}{one.count:5}{one.forward:9.3f}"
            f"{one.down:8.3f}{one.error:7.3f}{one.spread:8.3f}"
        )
    print("medians in body lengths (tail root to withers), in the animal's own frame")
    if args.json:
        import json
        from pathlib import Path

        from tetrapose.data.reading import write_text

        content = {"data": args.data, "model": args.model, "offsets": [asdict(one) for one in rows]}
        write_text(Path(args.json), json.dumps(content, indent=1) + "\n")
