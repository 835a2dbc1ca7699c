"""The training of a ControlNet: steps, checkpoints, ways back, pictures to look at.

Equal settings and triplets give equal weights on a CPU, to the bit, however often a run is stopped:
the order is a function of the seed (``stream``), and what is drawn for a batch of its place in it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tetrapose.controlnet import folder as files
from tetrapose.controlnet import losses, networks
from tetrapose.controlnet.base import find_base
from tetrapose.controlnet.caching import Cache
from tetrapose.controlnet.denoising import averaged, blank, held_out_loss, objective
from tetrapose.controlnet.folder import Log
from tetrapose.controlnet.guard import Guard
from tetrapose.controlnet.loader import Batch, load
from tetrapose.controlnet.networks import Networks
from tetrapose.controlnet.settings import Settings, rate
from tetrapose.controlnet.stock import Stock, open_stock
from tetrapose.controlnet.stream import Order, Position, held_out, noise_seed
from tetrapose.errors import UserError
from tetrapose.triplets.library import write_json

MIXED = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}
Tell = Callable[[dict[str, Any]], None]


@dataclass
class State:
    """Where a run stands."""

    guard: Guard
    average: dict[str, Tensor]
    step: int = 0
    position: Position = field(default_factory=Position)


@dataclass
class Session:
    """A run with everything it holds open."""

    settings: Settings
    folder: Path
    libraries: tuple[str, ...]
    stock: Stock
    shown: Stock
    net: Networks
    accelerator: Any
    control: Any  # as accelerate wraps it; net.control is the module itself
    optimizer: Any
    cache: Cache
    log: Log
    state: State
    board: Any = None


def train(
    libraries: Sequence[str | Path],
    out: str | Path,
    settings: Settings,
    *,
    tell: Tell | None = None,
) -> dict[str, Any]:
    """Train, or go on with the run in ``out``; the card of the ControlNet in ``out/controlnet``.

    ``tell`` gets each line of the log. Raises UserError for whatever ``preflight`` tells of, for a
    folder of another run, and where too many steps are not finite.
    """
    accelerator = _accelerator(settings)
    first = accelerator.is_main_process
    with files.alone(Path(out)) if first else nullcontext():
        session = _begin(libraries, Path(out), settings, accelerator)
        try:
            return _run(session, tell or (lambda line: None))
        except torch.OutOfMemoryError:
            raise UserError(
                f"out of memory at --batch {settings.batch}; begin a new --out with half of it and"
                " twice the --accumulate, or with --checkpointing, --precision bfloat16 or"
                " --optimizer adamw8bit (--preflight estimates what each takes)"
            ) from None
        finally:
            if session.board is not None:
                session.board.close()


def _accelerator(settings: Settings) -> Any:
    from accelerate import Accelerator

    begun = int(os.environ.get("WORLD_SIZE", "1"))  # as torchrun and accelerate launch tell it
    # several processes on CPUs: accelerate takes them for as many lone ones unless it is told
    on_cpus = begun > 1 and not torch.accelerator.is_available()
    accelerator = Accelerator(mixed_precision=MIXED[settings.precision], cpu=on_cpus)
    if accelerator.num_processes != begun:
        raise UserError(
            f"{begun} processes were begun that do not know of one another (accelerate sees"
            f" {accelerator.num_processes}); begin them with accelerate launch or torchrun"
        )
    return accelerator


def _begin(
    libraries: Sequence[str | Path], out: Path, settings: Settings, accelerator: Any
) -> Session:
    base = find_base(settings.base)
    stock = open_stock(
        libraries, skeleton=settings.skeleton, style=settings.style, keep=out / ".tables"
    )
    if accelerator.is_main_process:
        files.claim(out, files.identity(settings, stock, accelerator.num_processes))
    accelerator.wait_for_everyone()
    apart = held_out(stock, settings.shown)
    shown = stock.select(apart)
    stock = stock.select(np.setdiff1d(np.arange(len(stock)), apart))
    net = networks.open_networks(settings, base, accelerator.device)
    control, optimizer = accelerator.prepare(net.control, _optimizer(settings, net))
    average = {}
    if settings.ema:
        average = {k: p.detach().float().clone() for k, p in networks.learned(net.control).items()}
    with accelerator.main_process_first():
        cache = Cache(out / "cache" if settings.cache else None, stock, net)
    log = Log(out)
    guard = Guard(settings.patience, settings.most_back)
    session = Session(
        settings=settings, folder=out, libraries=tuple(map(str, libraries)), stock=stock,
        shown=shown, net=net, accelerator=accelerator, control=control, optimizer=optimizer,
        cache=cache, log=log,
        state=State(guard, average),
    )  # fmt: skip
    there = files.read_checkpoint(out)
    if there is not None:
        _restore(session, there)
    elif accelerator.is_main_process:
        _checkpoint(session)  # a way back from the first step on, and a full disk is told now
    if accelerator.is_main_process:
        log.rewind(session.state.step)
        session.board = _board(out / "tensorboard", session.state.step)
    accelerator.wait_for_everyone()
    return session


def _optimizer(settings: Settings, net: Networks) -> Any:
    parameters = list(networks.learned(net.control).values())
    how: dict[str, Any] = {"lr": settings.lr, "weight_decay": settings.weight_decay}
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(parameters, **how)
    try:
        import bitsandbytes  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise UserError(
            "--optimizer adamw8bit needs bitsandbytes (and a GPU): pip install bitsandbytes, or"
            " train with --optimizer adamw"
        ) from None
    return bitsandbytes.optim.AdamW8bit(parameters, **how)


def _board(folder: Path, step: int) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=step + 1)


def _run(session: Session, tell: Tell) -> dict[str, Any]:
    settings, state, accelerator = session.settings, session.state, session.accelerator
    order = Order(
        settings.seed, settings.batch, settings.window,
        accelerator.process_index, accelerator.num_processes,
    )  # fmt: skip
    stream = load(
        session.stock, order, drop=settings.drop, start=state.position, workers=settings.workers
    )
    while state.step < settings.steps:
        line = _step(session, stream)
        if line["done"] == "back":
            _go_back(session)
            tell(line)
            continue
        if line["done"] == "step":
            _note(session, line)
            last = state.step == settings.steps
            if state.step % settings.every == 0 or last:
                if not _finite(session):
                    state.guard.spoilt()
                    _go_back(session)
                    continue
                _checkpoint(session)
            if state.step % settings.look == 0 or last:
                _look(session, line)
        tell(line)
    if accelerator.is_main_process:
        return _finish(session)
    return {}


def _step(session: Session, stream: Iterator[Batch]) -> dict[str, Any]:
    """One step, done or not; what the log says of it."""
    settings, state, accelerator = session.settings, session.state, session.accelerator
    began = time.perf_counter()
    batches = [next(stream) for _ in range(settings.accumulate)]
    waited = time.perf_counter() - began
    lr = rate(settings, state.step)
    for group in session.optimizer.param_groups:
        group["lr"] = lr
    total = 0.0
    for number, batch in enumerate(batches):
        more = number < len(batches) - 1
        with accelerator.no_sync(session.control) if more else nullcontext():
            loss = _loss(session, batch) / settings.accumulate
            accelerator.backward(loss)
        total += float(loss.detach())
    parameters = list(networks.learned(session.net.control).values())
    norm = float(accelerator.clip_grad_norm_(parameters, settings.clip))
    left_out = [told for batch in batches for told in batch.unreadable]
    pictures, lost, bad = (
        sum(map(len, batches)),
        len(left_out),
        not np.isfinite([total, norm]).all(),
    )
    if accelerator.num_processes > 1:
        mine = torch.tensor([total, pictures, lost, bad], device=accelerator.device)
        total, pictures, lost, bad = accelerator.reduce(mine, "sum").tolist()
        total /= accelerator.num_processes
    finite = not bad
    state.guard.unreadable += int(lost)
    verdict = state.guard.judge(finite, [key for batch in batches for key in batch.keys])
    # half precision looks for its scale by steps that overflow: its own step is skipped then
    if verdict == "step" or accelerator.scaler is not None:
        session.optimizer.step()
    session.optimizer.zero_grad(set_to_none=True)
    if verdict == "step":
        if state.average:
            now = {k: p.data for k, p in networks.learned(session.net.control).items()}
            losses.average_into(state.average, now, settings.ema, state.step)
        state.step += 1
    state.position = batches[-1].after
    return {
        "step": state.step, "done": verdict, "loss": total, "norm": norm, "lr": lr,
        "epoch": state.position.epoch, "seconds": round(time.perf_counter() - began, 4),
        "waited": round(waited, 4), "pictures": int(pictures),
        **state.guard.counts(), **({"left_out": left_out} if left_out else {}),
    }  # fmt: skip


def _loss(session: Session, batch: Batch) -> Tensor:
    """The weighted squared error of one batch, drawn by the batch's place in the stream."""
    accelerator = session.accelerator
    draw = torch.Generator().manual_seed(
        noise_seed(
            session.settings.seed, batch.after, accelerator.process_index, accelerator.num_processes
        )
    )
    if not len(batch):  # nothing of it could be read: a blank one, so that processes keep step
        return objective(session, blank(), draw) * 0.0
    return objective(session, batch, draw)


def _finite(session: Session) -> bool:
    values = [*networks.learned(session.net.control).values(), *session.state.average.values()]
    return all(bool(torch.isfinite(one).all()) for one in values)


def _checkpoint(session: Session) -> None:
    """Write the state; only weights that are finite come here."""
    state = session.state
    state.guard.good()
    if not session.accelerator.is_main_process:
        return
    scaler = session.accelerator.scaler
    learned = networks.learned(session.net.control)
    files.write_checkpoint(
        session.folder,
        {
            "step": state.step,
            "position": [state.position.epoch, state.position.batch],
            "weights": {name: p.detach().cpu() for name, p in learned.items()},
            "average": {name: value.cpu() for name, value in state.average.items()},
            "optimizer": session.optimizer.state_dict(),
            "scaler": {} if scaler is None else scaler.state_dict(),
            "counts": state.guard.counts(),
        },
    )


def _restore(session: Session, there: dict[str, Any], *, position: bool = True) -> None:
    """Go on from a checkpoint; without ``position``, the stream stays where it is."""
    state = session.state
    try:
        networks.put(session.net.control, there["weights"])
        for name, value in state.average.items():
            value.copy_(there["average"][name])
        session.optimizer.load_state_dict(there["optimizer"])
        state.step = int(there["step"])
        if position:
            state.position = Position(*there["position"])
            state.guard.restore(there["counts"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(
            f"{session.folder / files.CHECKPOINT}: does not belong to this run ({error})"
        ) from None
    if session.accelerator.scaler is not None and there["scaler"]:
        session.accelerator.scaler.load_state_dict(there["scaler"])


def _go_back(session: Session) -> None:
    """Weights, averages and optimizer of the last checkpoint; the stream goes on behind it."""
    state = session.state
    session.accelerator.wait_for_everyone()
    reached = state.step
    there = files.read_checkpoint(session.folder)
    if there is None:
        raise UserError(f"{session.folder / files.CHECKPOINT}: is gone; begin a new run")
    _restore(session, there, position=False)
    if session.accelerator.is_main_process:
        session.log.rewind(state.step)
        session.log.add(event="back", at=reached, step=state.step, **state.guard.counts())
        # else a run that is stopped now would meet the same triplets again
        kept = {"position": [state.position.epoch, state.position.batch]}
        files.write_checkpoint(session.folder, {**there, **kept, "counts": state.guard.counts()})
    session.accelerator.wait_for_everyone()


def _note(session: Session, line: dict[str, Any]) -> None:
    if not session.accelerator.is_main_process:
        return
    session.log.add(**line)
    for name in ("loss", "norm", "lr", "seconds", "waited", "skipped", "back"):
        session.board.add_scalar(f"train/{name}", line[name], line["step"])


def _look(session: Session, line: dict[str, Any]) -> None:
    """The held-out triplets scored and painted, into TensorBoard and the page."""
    if not session.accelerator.is_main_process or not len(session.shown):
        return
    from tetrapose.controlnet.looks import paint_held_out

    line["held_out"] = held_out_loss(session)
    session.log.add(step=session.state.step, held_out=line["held_out"])
    session.board.add_scalar("held_out/loss", line["held_out"], session.state.step)
    with averaged(session):
        paint_held_out(session)


def _finish(session: Session) -> dict[str, Any]:
    state = session.state
    lines = [one for one in session.log.read() if "loss" in one]
    tail = [one["loss"] for one in lines[-100:]]
    card = files.card(
        session.settings, session.stock, session.libraries,
        {
            "family": find_base(session.settings.base).family,
            "steps": state.step,
            "pictures_seen": sum(one["pictures"] for one in lines),
            "loss_of_the_last_100_steps": sum(tail) / max(len(tail), 1),
            "averaged": bool(state.average),
            **state.guard.counts(),
        },
    )  # fmt: skip
    target = session.folder / "controlnet"
    # accelerate's half precision wraps the forward pass, which could not be copied
    plain = session.accelerator.unwrap_model(session.control, keep_fp32_wrapper=False)
    with averaged(session):
        networks.save(plain, target)
    write_json(target / files.CARD, card)
    return card
