"""Pictures of held-out triplets while a ControlNet learns: files, TensorBoard, a page."""

from __future__ import annotations

import html
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch

from tetrapose.controlnet.base import find_base
from tetrapose.controlnet.loader import batch_of
from tetrapose.controlnet.painter import How, Painter, painter_of
from tetrapose.reports import page
from tetrapose.triplets.library import write_file
from tetrapose.triplets.steps import jpeg

if TYPE_CHECKING:
    from tetrapose.controlnet.networks import Networks
    from tetrapose.controlnet.training import Session

QUALITY = 90
LATEST = 24  # rounds that the page shows


def paint_held_out(session: Session) -> None:
    """Paint every held-out triplet from its caption and pose picture, with seeds that stay."""
    step = session.state.step
    folder = session.folder / "validation"
    settings, net = session.settings, session.net
    painter = _painter(session)
    for row in range(len(session.shown)):
        batch = batch_of(session.shown, np.array([row]))
        if not len(batch):
            continue
        real, pose = (
            one[0].permute(1, 2, 0).contiguous().numpy() for one in (batch.pictures, batch.poses)
        )
        with torch.no_grad(), _in(net):
            made = next(painter.paint([batch.captions[0]], [pose], [settings.seed + row]))
        side_by_side = np.concatenate([real, pose, made], axis=1)
        key = session.shown.keys[row]
        _write(folder / f"{step:08d}" / f"{key}.jpg", jpeg(side_by_side, QUALITY))
        _write(folder / f"{step:08d}" / f"{key}.txt", batch.captions[0].encode())
        if session.board is not None:
            session.board.add_image(f"held_out/{key}", side_by_side, step, dataformats="HWC")
    write_page(session.folder)


def write_page(folder: Path) -> None:
    """RUN/validation.html: for each round the picture, what was asked for, and what was painted."""
    rounds = sorted(p for p in (folder / "validation").glob("[0-9]*") if p.is_dir())
    parts = [
        f"<h1>{html.escape(folder.name)}</h1>",
        '<p class="lead">Triplets that are never learned from: picture, pose picture, painted.</p>',
    ]
    for one in reversed(rounds[-LATEST:]):
        shown = []
        for file in sorted(one.glob("*.jpg")):
            words = file.with_suffix(".txt")
            caption = words.read_text("utf-8", "replace") if words.exists() else ""
            pixels = cv2.imread(str(file))
            if pixels is not None:
                shown.append((pixels[..., ::-1], file.stem[:8], caption))
        parts.append(page.section(f"Step {int(one.name):,}", page.tiles(shown)))
    text = page.document(f"{folder.name}: held-out triplets", *parts)
    _write(folder / "validation.html", text.encode())


def _painter(session: Session) -> Painter:
    from diffusers import DDPMScheduler

    net, settings = session.net, session.settings
    base = find_base(settings.base)
    scheduler = DDPMScheduler.from_pretrained(str(base.folder / "scheduler"))
    parts = {
        "readers": net.readers, "vae": net.vae, "unet": net.unet, "scheduler": scheduler,
    }  # fmt: skip
    how = How(steps=settings.look_steps, guidance=settings.guidance)
    style = session.stock.style
    return painter_of(parts, net.control, base, style=style, title="in training", how=how)


@contextmanager
def _in(net: Networks) -> Iterator[None]:
    """The ControlNet's residuals in the precision of the base, which learns in another."""

    def cast(_: Any, __: Any, out: Any) -> Any:
        return [one.to(net.dtype) for one in out[0]], out[1].to(net.dtype)

    hook = net.control.register_forward_hook(cast)
    try:
        yield
    finally:
        hook.remove()


def _write(path: Path, data: bytes) -> None:
    write_file(path, lambda part: part.write_bytes(data))
