"""A web server on 127.0.0.1 with the faults of the web, each under a path of its own."""

from __future__ import annotations

import asyncio
import io
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

FAULTS = {
    # path -> the reason (its beginning) under which it is lost
    "slow": "timeout", "silent": "timeout", "truncated": "truncated", "half": "truncated",
    "page": "wrong_type", "empty": "truncated", "garbage": "wrong_type", "loop": "redirects",
    "private": "refused_address", "missing": "http_status:404", "gone": "http_status:410",
    "always429": "http_status:429", "always503": "http_status:503", "huge": "too_many_bytes",
    "endless": "too_many_bytes", "bomb": "too_large", "tiny": "too_small", "noai": "opt_out:noai",
    "closed/x": "robots", "reset": "connection", "noimageai": "opt_out:noimageai",
}  # fmt: skip
GOOD = ("good", "mislabelled", "moved", "once429", "once503", "chunked", "others-noai")


def picture(seed: int, side: int = 96, form: str = "JPEG") -> bytes:
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).resize((side, side))
    held = io.BytesIO()
    small.save(held, form, quality=80)
    return held.getvalue()


def bomb() -> bytes:
    """A PNG of a few kilobytes that says it is 20,000 x 20,000 px."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0)
    body = zlib.compress(b"\0" * 100_000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@dataclass
class Web:
    """A server that is running: where, and what it was asked."""

    root: str
    asked: Counter[str] = field(default_factory=Counter)
    agents: set[str] = field(default_factory=set)
    together: int = 0
    most_together: int = 0
    robots: int = 0


@contextmanager
def web(  # noqa: C901, PLR0915 a server in one piece
    *, slow: float = 30.0, robots: str = "User-agent: *\nDisallow: /closed/\n"
) -> Iterator[Web]:
    """The server, in a thread with an event loop of its own."""
    loop = asyncio.new_event_loop()
    ready: dict[str, Web] = {}
    up = threading.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        site = ready["web"]
        try:
            while line := (await reader.readline()).decode():
                path = line.split(" ")[1]
                while (header := (await reader.readline()).decode().strip()) != "":
                    name, _, value = header.partition(": ")
                    if name.lower() == "user-agent":
                        site.agents.add(value)
                site.together += 1
                site.most_together = max(site.most_together, site.together)
                try:
                    kept = await serve(site, path, writer, slow, robots)
                    await writer.drain()
                finally:
                    site.together -= 1
                if not kept:
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def main() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=512)
        port = server.sockets[0].getsockname()[1]
        ready["web"] = Web(f"http://127.0.0.1:{port}")
        up.set()
        async with server:
            await server.serve_forever()

    def work() -> None:
        asyncio.set_event_loop(loop)
        with suppress(asyncio.CancelledError, RuntimeError):
            loop.run_until_complete(main())

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    up.wait(10)
    try:
        yield ready["web"]
    finally:

        def stop() -> None:
            for task in asyncio.all_tasks(loop):
                task.cancel()

        loop.call_soon_threadsafe(stop)
        thread.join(10)
        loop.close()


def head(status: str, length: int | None, *more: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", *more]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return "\r\n".join([*lines, "", ""]).encode()


async def serve(  # noqa: C901, PLR0911, PLR0912, PLR0915 a list of cases
    site: Web, path: str, writer: asyncio.StreamWriter, slow: float, robots: str
) -> bool:
    """Answer one request; False where the connection ends with it."""
    if path == "/robots.txt":
        site.robots += 1
        writer.write(head("200 OK", len(robots), "Content-Type: text/plain") + robots.encode())
        return True
    kind, _, rest = path.lstrip("/").partition("/")
    number = int("".join(c for c in rest if c.isdigit()) or 0)
    site.asked[path] += 1
    data = picture(number)
    jpeg = "Content-Type: image/jpeg"

    def send(status: str, body: bytes, *more: str) -> bool:
        writer.write(head(status, len(body), *more) + body)
        return True

    if kind == "slow":
        for at in range(0, len(data), 40):
            writer.write(head("200 OK", len(data), jpeg) if at == 0 else b"")
            writer.write(data[at : at + 1])
            await writer.drain()
            await asyncio.sleep(slow / 50)
        return False
    if kind == "silent":
        await asyncio.sleep(slow)
        return False
    if kind == "truncated":  # fewer bytes than announced
        writer.write(head("200 OK", len(data), jpeg) + data[: len(data) // 2])
        return False
    if kind == "half":  # a whole answer with half a picture
        return send("200 OK", data[: len(data) // 2], jpeg)
    if kind == "page":
        return send("200 OK", b"<html><body>not here</body></html>", jpeg)
    if kind == "garbage":
        return send("200 OK", bytes(range(256)) * 4, jpeg)
    if kind == "empty":
        return send("200 OK", b"", jpeg)
    if kind == "loop":
        return send("302 Found", b"", f"Location: {path}?{site.asked[path]}")
    if kind == "private":
        return send("302 Found", b"", "Location: http://10.0.0.1/secret.jpg")
    if kind == "moved":
        return send("301 Moved Permanently", b"", f"Location: /good/{number}.jpg")
    if kind in ("missing", "gone"):
        return send("404 Not Found" if kind == "missing" else "410 Gone", b"no")
    if kind in ("always429", "always503") or (
        kind in ("once429", "once503") and site.asked[path] < 2
    ):
        after = "Retry-After: 0" if kind.startswith("always") else "Retry-After: 1"
        status = "429 Too Many Requests" if "429" in kind else "503 Service Unavailable"
        return send(status, b"later", after)
    if kind == "huge":
        writer.write(head("200 OK", 10**10, jpeg) + b"\xff" * 1000)
        return False
    if kind == "endless":
        writer.write(head("200 OK", None, jpeg, "Transfer-Encoding: chunked"))
        for _ in range(400):
            writer.write(b"10000\r\n" + b"\xff" * 0x10000 + b"\r\n")
            await writer.drain()
        return False
    if kind == "chunked":
        writer.write(head("200 OK", None, jpeg, "Transfer-Encoding: chunked"))
        for at in range(0, len(data), 500):
            part = data[at : at + 500]
            writer.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        writer.write(b"0\r\n\r\n")
        return True
    if kind == "bomb":
        return send("200 OK", bomb(), "Content-Type: image/png")
    if kind == "tiny":
        return send("200 OK", picture(number, 8), jpeg)
    if kind in ("noai", "noimageai"):
        return send("200 OK", data, jpeg, f"X-Robots-Tag: {kind}")
    if kind == "others-noai":
        return send("200 OK", data, jpeg, "X-Robots-Tag: otherbot: noai, noindex")
    if kind == "reset":
        sock = writer.get_extra_info("socket")
        import socket
        import struct

        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        return False
    if kind == "mislabelled":
        return send("200 OK", picture(number, form="PNG"), "Content-Type: text/html")
    return send("200 OK", data, jpeg)
