"""The door: ``tetrapose COMMAND ...``.

Exit status 0: done; 1: done with items left out, which are listed; 2: wrong use, or nothing could
be done. Errors are one line on stderr; ``--debug`` shows the traceback.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

COMMANDS = (
    "predict", "track", "evaluate", "calibrate", "train", "finetune", "datasets", "skeletons",
    "models", "weights", "synth", "triplets", "controlnet", "export", "benchmark", "label-free",
    "app", "info",
)  # fmt: skip


class _Parser(argparse.ArgumentParser):
    """argparse prints the whole usage before an error; one line is easier to read."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (--help shows the use)\n")


def build_parser() -> argparse.ArgumentParser:
    """The whole command line; imports no command's machinery."""
    from tetrapose import __version__

    parser = _Parser(prog="tetrapose", description="Keypoints of animals.")
    parser.add_argument("--version", action="version", version=f"tetrapose {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    verbs = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        command = importlib.import_module(f"tetrapose.commands.{name.replace('-', '_')}")
        verb = verbs.add_parser(
            name,
            help=command.HELP,
            description=command.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(verb)
        verb.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS
        )
        verb.set_defaults(run=command.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    from tetrapose.errors import Terminated, UserError

    args = _parse(build_parser(), argv)
    keep_freed_memory()
    try:
        return int(args.run(args))
    except UserError as error:
        if args.debug:
            traceback.print_exc()
        print(f"tetrapose: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("tetrapose: stopped", file=sys.stderr)
        return 130
    except Terminated as error:
        print(f"tetrapose: stopped: {error}; the same command goes on", file=sys.stderr)
        return 143
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001 the door: a bug is still told in one line
        if args.debug:
            traceback.print_exc()
        text = " ".join(str(error).split()) or type(error).__name__
        print(f"tetrapose: {type(error).__name__}: {text} (--debug shows where)", file=sys.stderr)
    return 2


def _parse(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Arguments as argparse reads them, and overrides also behind an option, where it stops."""
    args, rest = parser.parse_known_args(argv)
    if rest and hasattr(args, "overrides") and not any(word.startswith("-") for word in rest):
        args.overrides += rest
    elif rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return args


def keep_freed_memory() -> bool:
    """Have glibc keep freed pages instead of handing them back; False where there is no glibc.

    Tensors of every step are freed and asked for again. Where the system takes pages back and must
    clear them anew (virtual machines beside other work), that made a training step several times
    slower; on a quiet machine it costs nothing. What is kept is at most the largest amount ever in
    use at once. The figures stand in docs/results.md, the two settings in mallopt(3).
    """
    if not sys.platform.startswith("linux"):
        return False
    import ctypes

    trim_threshold, mmap_max = -1, -4
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(mmap_max, 0) and mallopt(trim_threshold, -1))


if __name__ == "__main__":
    sys.exit(main())
