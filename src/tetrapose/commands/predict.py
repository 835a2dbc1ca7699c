"""Not built yet."""

import argparse

HELP = "predict"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""


def run(args: argparse.Namespace) -> int:
    """Refuse."""
    raise NotImplementedError("predict")
