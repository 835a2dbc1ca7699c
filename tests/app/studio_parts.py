"""A studio for tests: models that answer at once, small pictures, the server in a thread."""

from __future__ import annotations

import io
import json
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tetrapose import skeletons
from tetrapose.app import poses
from tetrapose.app.looking import Sight
from tetrapose.app.studio import Studio
from tetrapose.app.uploads import Limits
from tetrapose.inference.finder import Seen
from tetrapose.structures import Instances

BOXES = np.array([[20.0, 30.0, 200.0, 190.0], [210.0, 60.0, 310.0, 180.0]])


class Spots:
    """A finder that sees a dog and something in every picture, and none in grey ones."""

    def __init__(self) -> None:
        self.count = 0

    @property
    def protocol(self) -> dict[str, Any]:
        return {"finder": "test"}

    def find(self, image) -> Seen:
        self.count += 1
        pixels = image if isinstance(image, np.ndarray) else np.array(Image.open(image))
        size = (pixels.shape[1], pixels.shape[0])
        if pixels.std() == 0:
            return Seen(np.zeros((0, 4)), np.zeros(0), (), size)
        return Seen(BOXES, np.array([0.9, 0.5]), ("dog", ""), size)


class Poses:
    """A predictor that lays the side preset into each box; its first point is in doubt."""

    skeleton = skeletons.load("quadruped")

    def predict(self, image, bboxes) -> Instances:
        unit = poses.preset("side", self.skeleton)
        places = bboxes[:, None, :2] + unit[None] * (bboxes[:, 2:] - bboxes[:, :2])[:, None]
        scores = np.full(places.shape[:2], 0.9)
        scores[:, 0] = 0.1
        return Instances(places, np.full(scores.shape, 2, np.uint8), bboxes, scores)


def studio(folder: Path, **more: Any) -> Studio:
    """With the models above, which are there at once."""
    return Studio(folder=folder, sight=Sight(lambda: (Spots(), Poses())), **more)  # type: ignore


def jpeg(width: int = 320, height: int = 240, seed: int = 0, **more: Any) -> bytes:
    """A picture file that differs from others by its seed."""
    noise = np.random.default_rng(seed).integers(0, 255, (height // 8, width // 8, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).resize((width, height)).save(out, "JPEG", quality=85, **more)
    return out.getvalue()


def pose(skeleton: str = "union26", **more: Any) -> dict[str, Any]:
    """A pose of one animal as the page sends it."""
    known = skeletons.load(skeleton)
    unit = poses.preset("side", known)
    points = {
        name: [round(20 + 200 * x, 2), round(40 + 200 * y, 2), 1 + k % 2]
        for k, (name, (x, y)) in enumerate(zip(known.names, unit, strict=True))
        if np.isfinite(x)
    }
    content = {
        "format": poses.FORMAT,
        "skeleton": skeleton,
        "picture": {"name": "dog.jpg", "width": 320, "height": 240},
        "animals": [{"label": "dog", "bbox": None, "keypoints": points}],
    }
    return {**content, **more}


class Served:
    """The server at ``address``; ``ask`` gives status and plain values, ``get`` the bytes too."""

    def __init__(self, address: str, studio: Studio) -> None:
        self.address = address
        self.studio = studio

    def get(self, path: str, data: Any = None, **more: Any) -> tuple[int, bytes, dict[str, str]]:
        body = data if isinstance(data, bytes | None) else json.dumps(data).encode()
        headers = {"X-Tetrapose": "1", **more.pop("headers", {})}
        request = urllib.request.Request(self.address + path, body, headers, **more)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read(), dict(answer.headers)
        except urllib.error.HTTPError as error:
            return error.code, error.read(), dict(error.headers)

    def ask(self, path: str, data: Any = None, **more: Any) -> tuple[int, Any]:
        status, body, _ = self.get(path, data, **more)
        return status, json.loads(body)


@contextmanager
def serving(one: Studio, **more: Any) -> Iterator[Served]:
    """The studio on a free port of this machine, in a thread."""
    import uvicorn  # pyright: ignore[reportMissingImports]

    from tetrapose.app.serving import build

    socket_ = socket.socket()
    socket_.bind(("127.0.0.1", 0))
    config = uvicorn.Config(build(one, **more), log_level="warning", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [socket_]}, daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            thread.join(0.02)
        one.sight.wait(30)
        yield Served(f"http://127.0.0.1:{socket_.getsockname()[1]}", one)
    finally:
        server.should_exit = True
        thread.join(10)
        socket_.close()
        one.sight.close()


SMALL = Limits(megabytes=0.2, megapixels=0.3, seconds=5, kept=3)
