"""Learn dense points from sets that label only some of them, and from unlabelled pictures.

  tetrapose label-free run menagerie root=DIR method=supervised steps=4000
  tetrapose label-free run menagerie root=DIR method=freenet start=runs/first/model.safetensors
  tetrapose label-free run animal_pose_few root=DIR data.labels.options.share=5%
  tetrapose label-free run --list
  tetrapose label-free report runs/label_free --out page.html

docs/label_free.md tells presets and methods, and what the figures mean.
"""

from __future__ import annotations

import argparse
import importlib

HELP = "learn from partial labels and unlabelled pictures; compare methods"
ACTIONS = {  # action -> module of this package
    "run": "label_free_run",
    "pseudo-labels": "label_free_pseudo",
    "report": "label_free_report",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One sub-parser for each action."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, module in ACTIONS.items():
        action = importlib.import_module(f"tetrapose.commands.{module}")
        one = actions.add_parser(
            name,
            help=action.HELP,
            description=action.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        action.add_arguments(one)
        one.set_defaults(act=action.run)


def run(args: argparse.Namespace) -> int:
    """Run one action."""
    return int(args.act(args))
