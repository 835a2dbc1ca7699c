"""What stands between the page's handlers and whoever calls: who may ask, how much, how long.

A page elsewhere must not be able to use a studio on this machine. So a request has to name a host
that is ours (else a foreign name that resolves to 127.0.0.1 would do: DNS rebinding), and whatever
a browser says about where a request comes from has to be this page (else a foreign form could
post). Source: OWASP Cross-Site Request Forgery Prevention Cheat Sheet, "Verifying origin with
standard headers" and "Fetch metadata".
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from tetrapose.errors import UserError

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

LOOPBACK = ("127.0.0.1", "localhost", "::1")
SAFE = ("GET", "HEAD")
HEARD = 4  # times the bound
HEADERS = {
    # nothing but the page's own files runs, is shown or is asked; no frame of others holds it
    b"content-security-policy": b"default-src 'none'; script-src 'self'; style-src 'self';"
    b" img-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none';"
    b" frame-ancestors 'none'",
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"cache-control": b"no-store",
}


class Guard:
    """ASGI: passes on what may be asked, answers the rest with one line of JSON.

    ``hosts`` are the names this studio goes by; with ``addresses`` any numeric address is one too,
    for a studio that was told to listen beyond this machine (a number cannot be rebound).
    ``closed`` are beginnings of paths that nobody gets, save those in ``open``. A body may have
    ``most_bytes`` and take ``seconds`` to arrive.
    """

    def __init__(
        self,
        app: Any,
        *,
        hosts: Collection[str] = LOOPBACK,
        addresses: bool = False,
        most_bytes: int,
        seconds: float,
        closed: tuple[str, ...] = (),
        open: tuple[str, ...] = (),
    ) -> None:
        self.app = app
        self.hosts = {host.lower() for host in hosts}
        self.addresses = addresses
        self.most_bytes = most_bytes
        self.seconds = seconds
        self.closed = closed
        self.open = open

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # no websocket is served
            await send({"type": "websocket.close", "code": 1008})
            return
        refusal = self.refusal(scope)
        if refusal:
            await _answer(send, *refusal)
            return
        try:
            body = await self._body(scope, receive)
        except UserError as error:
            await _answer(send, 413, str(error))
            return
        except (TimeoutError, asyncio.TimeoutError):  # two before Python 3.11
            await _answer(send, 408, f"the upload took longer than {self.seconds:g} s; try again")
            return
        await self.app(scope, _replay(body, receive), _with_headers(send))

    def refusal(self, scope: Message) -> tuple[int, str] | None:
        """Status and words for a request that may not be, None for one that may."""
        headers = {key.lower(): value.decode("latin-1") for key, value in scope["headers"]}
        host = headers.get(b"host", "")
        if not self._ours(host):
            return 421, "this studio does not go by that host name (--allow-host adds one)"
        if scope["path"].startswith(self.closed) and not scope["path"].startswith(self.open):
            return 404, "nothing here"
        opened = scope["method"] in SAFE and scope["path"] == "/"  # by a link from anywhere
        site = headers.get(b"sec-fetch-site", "none")
        if site not in ("same-origin", "none") and not opened:
            return 403, "asked by another site"
        origin = headers.get(b"origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return 403, "asked by another site"
        if scope["method"] not in SAFE and headers.get(b"x-tetrapose") != "1":
            # a header of our own: no form can send it, and other sites' scripts may not
            return 403, "the header X-Tetrapose: 1 is missing"
        return None

    def _ours(self, host: str) -> bool:
        name = host_name(host)
        if name in self.hosts:
            return True
        return self.addresses and _numeric(name)

    async def _body(self, scope: Message, receive: Receive) -> bytes:
        """The whole body; UserError for one that is too long, TimeoutError for one too slow.

        What is too long is heard out, and dropped, up to ``HEARD`` bounds: a sender that is cut off
        gets to read no answer.
        """
        told = dict(scope["headers"]).get(b"content-length", b"0")
        long = told.isdigit() and int(told) > self.most_bytes
        if long and int(told) > HEARD * self.most_bytes:
            raise UserError(self._too_much())
        parts: list[bytes] = []
        length = 0
        deadline = asyncio.get_running_loop().time() + self.seconds
        while True:
            left = deadline - asyncio.get_running_loop().time()
            message = await asyncio.wait_for(receive(), max(left, 0.001))
            part = message.get("body", b"")
            length += len(part)
            long = long or length > self.most_bytes
            if long:
                parts.clear()
            else:
                parts.append(part)
            ends = message["type"] == "http.disconnect" or not message.get("more_body")
            if long and (ends or length > HEARD * self.most_bytes):
                raise UserError(self._too_much())
            if ends:
                return b"".join(parts)

    def _too_much(self) -> str:
        return f"the upload is over {self.most_bytes / 1e6:g} MB; shrink the picture"


def host_name(host: str) -> str:
    """The name in a Host header, without port and brackets, in small letters; "" for none."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower().rstrip(".")
    except ValueError:
        return ""


def _numeric(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _replay(body: bytes, receive: Receive) -> Receive:
    """What the handlers receive: the whole body at once, then the connection's own end."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _with_headers(send: Send) -> Send:
    async def more(message: Message) -> None:
        if message["type"] == "http.response.start":
            there = {key.lower() for key, _ in message["headers"]}
            extra = [(key, value) for key, value in HEADERS.items() if key not in there]
            message["headers"] = [*message["headers"], *extra]
        await send(message)

    return more


async def _answer(send: Send, status: int, words: str) -> None:
    body = json.dumps({"error": words}).encode()
    head = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": [
        *head, *HEADERS.items(), (b"connection", b"close")]})  # fmt: skip
    await send({"type": "http.response.body", "body": body})
