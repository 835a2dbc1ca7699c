"""Small films and a tiny model for tests of what follows animals."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch

from tetrapose import skeletons
from tetrapose.codecs import Heatmap
from tetrapose.inference.boxes import read_boxes
from tetrapose.inference.filmed import Settings
from tetrapose.inference.following import Way
from tetrapose.models.small import small
from tetrapose.weights import card

SKELETON = skeletons.load("akd_cats")


def picture(n: int, size: tuple[int, int], spots: int = 1) -> np.ndarray:
    """A grey field with a bright square for each animal, which walk right and left."""
    width, height = size
    pixels = np.full((height, width, 3), 60, np.uint8)
    for spot in range(spots):
        x, y, w, h = place(n, size, spot)
        pixels[y : y + h, x : x + w] = (220 - 60 * spot, 90 + 70 * spot, 160)
        pixels[y : y + h // 2, x : x + w // 3] = 250
    return pixels


def place(n: int, size: tuple[int, int], spot: int) -> tuple[int, int, int, int]:
    """x, y, width, height of an animal in frame ``n``."""
    width, height = size
    side = height // 3
    x = (2 + n) % (width - side) if spot % 2 == 0 else (width - side - 2 - n) % (width - side)
    return x, 3 + (height // 2) * spot % (height - side - 3), side, side


def film(
    path: Path, count: int, *, size: tuple[int, int] = (64, 48), every: float = 0.04,
    codec: str = "libx264", spots: int = 1,
) -> Path:  # fmt: skip
    """A film of ``count`` frames at even times."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(1 / every).limit_denominator(1000))
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for n in range(count):
            frame = av.VideoFrame.from_ndarray(picture(n, size, spots), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def broken(path: Path, number: int) -> Path:
    """That film with one frame's bytes put to nought; each of its frames stands for itself."""
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    path.write_bytes(path.read_bytes().replace(packets[number], bytes(len(packets[number]))))
    return path


def model(path: Path) -> Path:
    """A tiny network with random weights, saved as a model that can be loaded."""
    torch.manual_seed(0)
    arguments = {"channels": [8, 8, 16, 16], "blocks": [1, 1, 1, 1], "neck": 16}
    network = small(len(SKELETON), **arguments).eval()
    with torch.no_grad():
        network.head.weight.normal_(0, 1.0)
    described = card.describe(
        "tetrapose.models.small:small", arguments, skeleton=SKELETON,
        codec=Heatmap(len(SKELETON), input_size=(64, 64)), crop={"padding": 1.25},
        normalisation={"mean": [0.48] * 3, "std": [0.23] * 3},
    )  # fmt: skip
    card.save(path, network, described)
    return path


def boxes(path: Path, name: str, count: int, *, size: tuple[int, int], spots: int) -> Path:
    """A CSV of the animals' boxes in each frame, as --boxes takes it."""
    lines = ["file_name,x1,y1,x2,y2,frame"]
    for n in range(count):
        for spot in range(spots):
            x, y, w, h = place(n, size, spot)
            lines.append(f"{name},{x - 0.5},{y - 0.5},{x + w - 0.5},{y + h - 0.5},{n}")
    path.write_text("\n".join(lines) + "\n")
    return path


@contextmanager
def served(path: Path) -> Iterator[str]:
    """The address of a stream that sends a film's bytes to whoever connects."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)

        def serve() -> None:
            try:
                while True:
                    connection, _ = server.accept()
                    with connection:
                        connection.sendall(path.read_bytes())
            except OSError:
                return  # the server was closed, or a viewer left early: both are usual

        def lasting() -> None:
            while server.fileno() >= 0:
                serve()

        thread = threading.Thread(target=lasting, daemon=True)
        thread.start()
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def settings_of(predictor, path, **more):
    """Settings of a run on the film beside the table of boxes ``path``."""
    given = read_boxes(path)

    def boxes_of(frame):
        return given.find(path.with_name("a.mp4"), frame=frame).bboxes

    way = Way(predictor, None, given=boxes_of)
    return Settings(way, frames_in_part=more.pop("frames_in_part", 16), **more)
