"""All that can be wrong with a run, looked for before anything is loaded: a line for each."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tetrapose.controlnet import folder as files
from tetrapose.controlnet.base import Base, find_base, find_controlnet
from tetrapose.controlnet.loader import batch_of
from tetrapose.controlnet.settings import Settings
from tetrapose.controlnet.stock import Stock, open_stock
from tetrapose.controlnet.stream import held_out
from tetrapose.errors import UserError
from tetrapose.triplets import ledger
from tetrapose.triplets.library import Library

PACKAGES = ("diffusers", "accelerate", "transformers")
EXTRA = "pip install 'tetrapose[controlnet]'"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: whether it is right, and in words how it stands."""

    name: str
    right: bool
    said: str


def preflight(
    libraries: Sequence[str | Path],
    out: str | Path,
    settings: Settings,
    *,
    memory: bool = True,
    keep: Path | None = None,
) -> list[Check]:
    """Everything looked at, in order; nothing is written and no network is loaded.

    Without ``memory`` the estimate is left out, which asks for diffusers. ``keep`` is a folder for
    what was found in the shards, so that it need not be found again.
    """
    checks: list[Check] = []
    found: dict[str, object] = {}

    def look(name: str, at: Callable[[], tuple[object, str]]) -> None:
        try:
            found[name], said = at()
            checks.append(Check(name, True, said))
        except UserError as error:
            checks.append(Check(name, False, str(error)))

    look("packages", lambda: _packages(settings))
    look("base", lambda: _base(settings))
    base = found.get("base")
    if isinstance(base, Base) and settings.start != "unet":
        look("start", lambda: (find_controlnet(settings.start, base), f"{settings.start}: fits"))
    look("triplets", lambda: _triplets(libraries, settings, keep))
    stock = found.get("triplets")
    if isinstance(stock, Stock):
        look("shards", lambda: _shards(libraries, stock))
        if isinstance(base, Base):
            look("sizes", lambda: demand_fit(stock, base))
    look("output", lambda: _output(Path(out), settings, stock))
    fits = bool(found.get("packages")) and "sizes" in found
    if memory and fits and isinstance(stock, Stock):
        look("memory", lambda: _memory(base, stock, settings, Path(out)))
    return checks


def demand_fit(stock: Stock, base: Base) -> tuple[object, str]:
    """UserError for triplets whose sides the base model cannot halve as often as it does."""
    sizes = Counter(map(tuple, stock.sizes.tolist()))
    odd = [size for size in sizes if size[0] % base.multiple or size[1] % base.multiple]
    if odd:
        raise UserError(
            f"{sum(sizes[size] for size in odd):,} triplets of {odd[0][0]}x{odd[0][1]} px and the"
            f" like: sides must be multiples of {base.multiple} for this base; build them with"
            f" --size {max(base.multiple, odd[0][0] // base.multiple * base.multiple)}"
        )
    return sizes, ", ".join(f"{w}x{h}: {n:,}" for (w, h), n in sizes.most_common(5))


def _packages(settings: Settings) -> tuple[object, str]:
    wanted = [*PACKAGES, *(["peft"] if settings.lora else [])]
    missing = [name for name in wanted if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"{', '.join(missing)}: not installed; {EXTRA}")
    if settings.optimizer == "adamw8bit" and importlib.util.find_spec("bitsandbytes") is None:
        raise UserError(
            "--optimizer adamw8bit needs bitsandbytes (and a GPU): pip install bitsandbytes, or"
            " train with --optimizer adamw"
        )
    return True, "all there"


def _base(settings: Settings) -> tuple[object, str]:
    base = find_base(settings.base)
    sizes = ", ".join(f"{name} {count / 1e6:,.1f} M" for name, count in base.parameters.items())
    return base, f"{base.folder}: {base.family}, {sizes}; predicts {base.prediction}"


def _triplets(
    libraries: Sequence[str | Path], settings: Settings, keep: Path | None
) -> tuple[object, str]:
    stock = open_stock(libraries, skeleton=settings.skeleton, style=settings.style, keep=keep)
    kept = len(stock) - len(held_out(stock, settings.shown))
    if kept < settings.batch:
        raise UserError(f"{kept} triplets are fewer than --batch {settings.batch}")
    names = ", ".join(stock.skeletons)
    return stock, f"{len(stock):,} in {len(stock.files):,} shards, {stock.style}, on {names}"


def _shards(libraries: Sequence[str | Path], stock: Stock) -> tuple[object, str]:
    """Lengths as the ledgers tell, and the first triplet of every shard decoded."""
    said = "lengths as the ledgers tell"
    if importlib.util.find_spec("pyarrow") is None:
        said = "lengths were not compared with the ledgers (pyarrow is not installed)"
    else:
        for one in libraries:
            library = Library(Path(one))
            for part in library.parts_written():
                _demand_length(library, part)
    first = -1
    for row, shard in enumerate(stock.shard.tolist()):
        if shard != first:
            first = shard
            batch = batch_of(stock, np.array([row]))
            if not len(batch):
                raise UserError(f"{batch.unreadable[0]}; copy or build the shard again")
    return True, f"{said}; the first triplet of each decodes"


def _demand_length(library: Library, part: int) -> None:
    due = int(ledger.notes(library.ledger(part)).get("shard_bytes", -1))
    path = library.shard(part)
    length = path.stat().st_size if path.exists() else 0
    if due not in (-1, length):
        raise UserError(
            f"{path}: {length:,} bytes where its ledger tells of {due:,}; copy it again"
        )


def _output(out: Path, settings: Settings, stock: object) -> tuple[object, str]:
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: a file, where a folder is due")
    above = next(path for path in (out, *out.resolve().parents) if path.is_dir())
    if not os.access(above, os.W_OK | os.X_OK):
        raise UserError(
            f"{above}: may not be written; choose another --out, or mend its permissions"
        )
    if (out / files.ABOUT).exists():
        if isinstance(stock, Stock):
            world = int(os.environ.get("WORLD_SIZE", "1"))  # as accelerate launch sets it
            files.demand_same(out, files.identity(settings, stock, world))
        steps = [int(line["step"]) for line in files.Log(out).read() if "step" in line]
        return True, f"{out}: a run to go on with, logged up to step {max(steps, default=0):,}"
    files.demand_empty(out)
    free = shutil.disk_usage(above).free
    return True, f"{out}: {free / 1e9:,.0f} GB free"


def _memory(base: object, stock: Stock, settings: Settings, out: Path) -> tuple[object, str]:
    import torch

    from tetrapose.controlnet.memory import available, estimate

    assert isinstance(base, Base)
    largest = max(map(tuple, stock.sizes.tolist()), key=lambda size: size[0] * size[1])
    device = "cuda" if torch.cuda.is_available() else "cpu"
    guess = estimate(base, settings, largest)
    free = available(device)
    where = "the GPU" if device == "cuda" else "this machine (no GPU was found)"
    if free is not None and guess.total > free:
        raise UserError(
            f"{guess.told()} where {where} has {free / 1e9:.1f} GB free; give a smaller --batch"
            " with more --accumulate, --checkpointing, --precision bfloat16, or --lora"
        )
    above = next(path for path in (out, *out.resolve().parents) if path.is_dir())
    disk = shutil.disk_usage(above).free
    if 2 * guess.checkpoint > disk:  # the new one is written beside the old
        raise UserError(
            f"{out}: two checkpoints take {2 * guess.checkpoint / 1e9:.1f} GB, {disk / 1e9:.1f} are"
            " free; free some, or choose another --out"
        )
    there = "how much is free is not known" if free is None else f"{free / 1e9:.1f} GB free"
    return guess, f"{guess.told()}, {there} on {where}"
