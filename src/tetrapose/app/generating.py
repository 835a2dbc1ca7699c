"""The seam for a generator: prompt and points in, pictures out, through Gradio's queue.

Whatever has ``title`` and ``generate`` is one; the page shows its form only where one is given.
A picture takes seconds to minutes on a card that does one thing at a time: Gradio's queue keeps the
order, tells a waiting page how things stand and lets scripts ask too (``gradio_client``).
"""

from __future__ import annotations

import io
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from tetrapose.app import poses
from tetrapose.app.poses import Posed
from tetrapose.app.uploads import told
from tetrapose.errors import UserError
from tetrapose.weights.files import replace_file

MOUNTED = "/gradio"
CALLED = f"{MOUNTED}/gradio_api/call/generate"  # all of Gradio that can be asked
MOST_WORDS = 2000  # characters of a prompt
MOST_PICTURES = 8


@dataclass(frozen=True)
class Wish:
    """What is to be made: ``count`` pictures of ``posed.size`` whose animals stand as asked.

    Picture number i is made with the seed ``seed + i``.
    """

    prompt: str
    posed: Posed
    count: int
    seed: int


class Generator(Protocol):
    """Whatever makes pictures of posed animals."""

    @property
    def title(self) -> str:
        """What the page calls it."""
        ...

    def generate(self, wish: Wish) -> Iterator[np.ndarray]:
        """``wish.count`` pictures (H, W, 3) uint8 RGB, each as soon as it is done.

        Raises UserError for what it cannot do (an unknown skeleton, out of memory).
        """
        ...


def read_wish(content: Any) -> Wish:
    """A wish from the page's plain values: ``prompt``, ``pose``, ``count``, ``seed``."""
    if not isinstance(content, dict):
        raise UserError("the wish: an object with prompt, pose, count and seed is due")
    prompt = content.get("prompt")
    if not isinstance(prompt, str) or not prompt.strip():
        raise UserError("write a prompt: what the picture is to show")
    if len(prompt) > MOST_WORDS:
        raise UserError(f"the prompt has {len(prompt)} characters; at most {MOST_WORDS} are taken")
    count, seed = content.get("count", 1), content.get("seed", 0)
    if type(count) is not int or not 1 <= count <= MOST_PICTURES:
        raise UserError(f"the number of pictures must be from 1 to {MOST_PICTURES}")
    if type(seed) is not int or not 0 <= seed < 2**32 - MOST_PICTURES:
        raise UserError("the seed must be a whole number from 0 to 4294967287")
    posed = poses.read(content.get("pose"))
    if not (posed.instances.visibility > 0).any():
        raise UserError("there is no point to follow; pose an animal first")
    return Wish(" ".join(prompt.split()), posed, count, seed)


def made(generator: Generator, content: Any, folder: Path) -> Iterator[dict[str, Any]]:
    """After each picture the names of those in ``folder`` so far, or one line of what is wrong."""
    names: list[str] = []
    try:
        wish = read_wish(content)
        for pixels in generator.generate(wish):
            name = f"{secrets.token_hex(10)}.png"
            data = io.BytesIO()
            Image.fromarray(pixels).save(data, "PNG")
            with told():
                replace_file(folder / name, data.getvalue())
            names.append(name)
            yield {"pictures": list(names), "wanted": wish.count, "error": ""}
    except UserError as error:
        yield {"pictures": list(names), "wanted": 0, "error": str(error)}


def mount(app: Any, generator: Generator, folder: Path) -> Any:
    """The app with Gradio's queue in front of a generator, at ``MOUNTED``."""
    import gradio  # pyright: ignore[reportMissingImports]

    def generate(wish: dict) -> Iterator[dict]:
        yield from made(generator, wish, folder)

    with gradio.Blocks(analytics_enabled=False) as blocks:
        gradio.api(generate, api_name="generate", concurrency_limit=1)
    return gradio.mount_gradio_app(
        app, blocks, MOUNTED, show_error=False, ssr_mode=False, run_history=False, mcp_server=False
    )
