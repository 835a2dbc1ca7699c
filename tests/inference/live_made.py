"""Live sources on this machine: a camera that sends as time goes by, over TCP or by RTSP."""

from __future__ import annotations

import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import av
from films_made import picture

TS = 188  # bytes of a packet of MPEG-TS


class _Sent:
    """A file that only takes: what is live cannot be gone back in."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self.write = send


def film_live(
    send: Callable[[bytes], None], *, size: tuple[int, int], pace: float, count: int,
    each: Callable[[int], None] = lambda n: None,
) -> None:  # fmt: skip
    """Send ``count`` frames of 25 a second as MPEG-TS, one every ``pace`` seconds of the clock."""
    with av.open(_Sent(send), "w", format="mpegts", options={"flush_packets": "1"}) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.options = {"preset": "ultrafast", "tune": "zerolatency", "g": "10"}
        for n in range(count):
            frame = av.VideoFrame.from_ndarray(picture(n, size), format="rgb24")
            container.mux(stream.encode(frame))
            each(n)
            time.sleep(pace)


@contextmanager
def camera(
    *, size: tuple[int, int] = (64, 48), pace: float = 0.004, count: int = 10**6,
    stalls: bool = False, rtsp: bool = False, each: Callable[[int], None] = lambda n: None,
) -> Iterator[str]:  # fmt: skip
    """The address of a camera that serves one viewer, once; with ``stalls`` it then falls silent.

    ``each`` hears the number of every frame that was sent.
    """
    over = threading.Event()
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(20)

    def serve() -> None:
        with suppress(OSError, av.FFmpegError):  # the viewer has left: the usual end
            connection, _ = server.accept()
            server.close()  # whoever comes back finds nobody
            with connection:
                send = _played(connection) if rtsp else connection.sendall
                film_live(send, size=size, pace=pace, count=count, each=each)
                if stalls:
                    over.wait(20)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    kind = "rtsp" if rtsp else "tcp"
    yield f"{kind}://127.0.0.1:{server.getsockname()[1]}{'/stream' if rtsp else ''}"
    over.set()
    server.close()
    thread.join(10)
    assert not thread.is_alive()


def _played(connection: socket.socket) -> Callable[[bytes], None]:
    """Answer a viewer's requests up to PLAY; what then sends MPEG-TS as RTP between the lines.

    Source: RFC 2326 (RTSP, interleaved data in 10.12), RFC 3551 (payload type 33 is MPEG-TS).
    """
    described = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=a\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\n"
    lines = connection.makefile("rb")
    verb = b""
    while verb != b"PLAY":
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            line = lines.readline()
            if not line:
                raise OSError("the viewer has left")
            request += line
        verb = request.split(b" ", 1)[0]
        number = re.search(rb"CSeq: (\d+)", request)
        assert number
        answer = f"RTSP/1.0 200 OK\r\nCSeq: {number[1].decode()}\r\nSession: 1\r\n"
        body = described if verb == b"DESCRIBE" else ""
        if verb == b"SETUP":
            answer += "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
        if body:
            answer += f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
        connection.sendall(f"{answer}\r\n{body}".encode())
    waiting = bytearray()
    sequence = 0

    def send(data: bytes) -> None:
        nonlocal sequence
        waiting.extend(data)
        while len(waiting) >= TS:
            size = min(len(waiting) // TS, 7) * TS
            head = struct.pack("!BBHII", 0x80, 33, sequence & 0xFFFF, sequence * 300, 7)
            connection.sendall(b"$\0" + struct.pack("!H", 12 + size) + head + waiting[:size])
            del waiting[:size]
            sequence += 1

    return send
