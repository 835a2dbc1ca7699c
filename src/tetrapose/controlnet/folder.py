"""A run's folder: whose it is, the checkpoint to go on from, the log, the card.

RUN/run.json             settings, triplets, style: what must stay when the run goes on
RUN/last.ckpt            weights, averages, optimizer, place in the stream, counts
RUN/log.jsonl            a line a step
RUN/validation/, RUN/validation.html, RUN/tensorboard/
RUN/controlnet/          the ControlNet as diffusers reads it, with card.json
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from tetrapose.controlnet.settings import Settings
from tetrapose.controlnet.stock import Stock
from tetrapose.errors import UserError
from tetrapose.triplets.library import differences, told, write_file, write_json
from tetrapose.weights.files import load_checkpoint

CHECKPOINT, ABOUT, LOG, CARD = "last.ckpt", "run.json", "log.jsonl", "card.json"
LOCK = ".lock"


def identity(settings: Settings, stock: Stock, world: int) -> dict[str, Any]:
    """Everything on which the weights of a run depend, as plain values."""
    digest = hashlib.sha256("\n".join(stock.keys).encode()).hexdigest()
    triplets = {"count": len(stock), "keys_sha256": digest, "style": stock.style}
    return {
        "settings": settings.fixed(),
        "triplets": triplets | {"skeletons": list(stock.skeletons)},
        "processes": world,
    }


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """The only run that writes into a folder; UserError where another one does, or other files lie.

    The lock is the process's own: workers that outlive a killed run do not hold it.
    """
    if not (folder / ABOUT).exists():
        demand_empty(folder)
    with told(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / LOCK, "w", encoding="utf-8")  # noqa: SIM115 held while it is written
    with file:
        try:
            import fcntl

            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:  # Windows: two runs in one folder are the user's to avoid
            pass
        except OSError:
            raise UserError(f"{folder}: another process is training there; wait for it") from None
        yield


def claim(folder: Path, mine: dict[str, Any]) -> None:
    """Begin a run in a folder, or go on with the very same one; UserError where it is another's."""
    path = folder / ABOUT
    if path.exists():
        demand_same(folder, mine)
        return
    demand_empty(folder)
    write_json(path, mine)


def demand_same(folder: Path, mine: dict[str, Any]) -> None:
    """UserError that says what differs where a folder holds another run."""
    odd = differences(read_about(folder), json.loads(json.dumps(mine)))
    if odd:
        raise UserError(
            f"{folder}: holds another run ({'; '.join(odd[:4])}); choose another --out, or give the"
            " same settings to go on with it"
        )


def demand_empty(folder: Path) -> None:
    """UserError for a folder with other things in it."""
    with told(folder):
        others = (
            sorted(p.name for p in folder.iterdir() if p.name[0] != ".") if folder.exists() else []
        )
    if others:
        raise UserError(f"{folder}: holds other files ({', '.join(others[:3])}); name a new folder")


def read_about(folder: Path) -> dict[str, Any]:
    """What run.json says; UserError where it is damaged."""
    path = folder / ABOUT
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); choose another --out") from None


def write_checkpoint(folder: Path, content: dict[str, Any]) -> None:
    """Replace the checkpoint at once; UserError for a full disk, the old one is kept then."""
    write_file(folder / CHECKPOINT, lambda part: _save(content, part))


def _save(content: dict[str, Any], part: Path) -> None:
    try:
        torch.save(content, part)
    except RuntimeError as error:  # torch's writer wraps what the disk says
        raise OSError(28 if "write" in str(error).lower() else 5, str(error)) from None


def read_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The checkpoint there is, None for none."""
    path = folder / CHECKPOINT
    return load_checkpoint(path) if path.exists() else None


class Log:
    """Lines of a run; what lies behind the step it goes on from is taken back."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOG

    def rewind(self, step: int) -> None:
        """Keep what was logged up to a step, and what tells of ways back."""
        lines = [one for one in self.read() if one.get("step", 0) <= step or "event" in one]
        text = "".join(json.dumps(one) + "\n" for one in lines)
        write_file(self.path, lambda part: part.write_text(text, encoding="utf-8"))

    def add(self, **values: Any) -> None:
        """One line."""
        with told(self.path), open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")

    def read(self) -> list[dict[str, Any]]:
        """All lines; the last may have been cut off by what ended the program."""
        if not self.path.exists():
            return []
        out = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                out.append(json.loads(line))
            except ValueError:
                continue
        return out


def card(
    settings: Settings, stock: Stock, libraries: Sequence[str | Path], more: dict[str, Any]
) -> dict[str, Any]:
    """What a finished ControlNet says of itself; ``more`` comes last."""
    from tetrapose import __version__

    return {
        "tetrapose_controlnet": 1,
        "style": stock.style,
        "skeletons": list(stock.skeletons),
        "base": Path(settings.base).name,
        "triplets": len(stock),
        "libraries": [Path(one).name for one in libraries],
        # names without where they lie: the card goes out with the weights
        "settings": settings.to_dict()
        | {"base": Path(settings.base).name, "start": Path(settings.start).name},
        "version": __version__,
        **more,
    }


def read_card(controlnet: Path) -> dict[str, Any] | None:
    """The card of a ControlNet's folder, None where it was made by others."""
    path = controlnet / CARD
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content["style"], str):
            raise ValueError("no style")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None
    return content
