"""Pictures from addresses, asked for politely: slowly, with leave, and never of a private network.

Of every address comes one ``Fetched`` with the picture's bytes or the reason why there are none.
Hosts are asked by name and with few connections each; robots.txt and opt-out headers are obeyed;
names are resolved once, private places refused, and the connection made to the very address that
was looked at, also behind redirects. ``fetched.py`` keeps what came, so that a run that was killed
goes on where it stopped.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from tetrapose.triplets import addresses, robots
from tetrapose.triplets.contents import check
from tetrapose.triplets.manners import Manners

if TYPE_CHECKING:
    import aiohttp

REDIRECTS = (301, 302, 303, 307, 308)
AGAIN = (408, 425, 429, 500, 502, 503, 504)
HOSTS = 4096  # whose rules and limits are kept in mind
ROBOTS_WAIT = 10.0  # seconds for an answer about robots.txt
BLOCK = 1 << 16


@dataclass(frozen=True)
class Fetched:
    """What an address gave: ``data`` of a picture, or the ``reason`` (``rows.REASONS``) why none.

    ``final`` is where redirects led, ``tries`` how often it was asked, ``seconds`` until told.
    """

    url: str
    data: bytes = b""
    reason: str = ""
    status: int = 0
    final: str = ""
    tries: int = 0
    seconds: float = 0.0


class _Lost(Exception):
    """A reason for which an address gives nothing; ``again`` where asking later may help."""

    def __init__(self, reason: str, *, status: int = 0, wait: float | None = None) -> None:
        super().__init__(reason)
        self.reason, self.status, self.wait = reason, status, wait
        self.again = wait is not None


@dataclass
class _Host:
    """What is known of one host while it is being asked."""

    free: asyncio.Semaphore
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    learn: asyncio.Lock = field(default_factory=asyncio.Lock)
    rules: robots.Rules | None = None
    next_at: float = 0.0


def fetch_all(
    urls: Sequence[str],
    manners: Manners | None = None,
    *,
    told: Callable[[int, Fetched], None] | None = None,
) -> list[Fetched]:
    """What each address gives, in their order; ``told`` hears of each with its place as it comes.

    With ``told`` the list's entries carry no data: it is told's to keep.
    """
    out: list[Fetched | None] = [None] * len(urls)

    async def gather() -> None:
        async for place, fetched in fetch_each(enumerate(urls), manners):
            if told is not None:
                told(place, fetched)
                fetched = replace(fetched, data=b"")
            out[place] = fetched

    asyncio.run(gather())
    return [one for one in out if one is not None]


async def fetch_each(
    urls: Iterable[tuple[int, str]], manners: Manners | None = None
) -> AsyncIterator[tuple[int, Fetched]]:
    """(place, what its address gave) as answers come; no more in memory than connections."""
    asked = manners or Manners()
    waiting = iter(urls)
    running: set[asyncio.Task[tuple[int, Fetched]]] = set()
    async with Downloader(asked) as downloader:

        async def one(place: int, url: str) -> tuple[int, Fetched]:
            return place, await downloader.fetch(url)

        try:
            while True:
                # hosts that are slow or full hold up their own: more wait than connections
                while len(running) < 2 * asked.connections:
                    following = next(waiting, None)
                    if following is None:
                        break
                    running.add(asyncio.create_task(one(*following)))
                if not running:
                    return
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    yield task.result()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)


class Downloader:
    """Open connections, and what is known of hosts; ``async with`` opens and closes it."""

    def __init__(self, manners: Manners) -> None:
        self.manners = manners
        self._hosts: OrderedDict[str, _Host] = OrderedDict()
        self._all = asyncio.Semaphore(manners.connections)
        self._session: Any = None

    async def __aenter__(self) -> Downloader:
        self._session = addresses.session(
            loopback=self.manners.loopback,
            agent=self.manners.user_agent,
            connections=self.manners.connections,
            times=(self.manners.connect, self.manners.silence, self.manners.answer),
        )
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._session.close()

    async def fetch(self, url: str) -> Fetched:
        """What one address gives; never raises for what the network or a host does."""
        started = time.monotonic()
        lost = _Lost("connection")
        tries = 0
        for attempt in range(self.manners.tries):
            tries = attempt + 1
            try:
                data, status, final = await self._follow(url)
                spent = time.monotonic() - started
                return Fetched(url, data, "", status, final, tries, spent)
            except _Lost as error:
                lost = error
                if not lost.again or tries == self.manners.tries:
                    break
                doubled = self.manners.first_wait * 2**attempt
                await asyncio.sleep(min(max(lost.wait or 0, doubled), self.manners.longest_wait))
        spent = time.monotonic() - started
        return Fetched(url, b"", lost.reason, lost.status, "", tries, spent)

    async def _follow(self, url: str) -> tuple[bytes, int, str]:
        """The picture at the end of an address's redirects."""
        for _ in range(self.manners.redirects + 1):
            fault = addresses.fault(url, loopback=self.manners.loopback)
            if fault:
                raise _Lost(f"refused_address:{fault}")
            following = await self._ask(url)
            if isinstance(following, str):
                url = following
                continue
            return following[0], following[1], url
        raise _Lost(f"redirects:more than {self.manners.redirects}")

    async def _ask(self, url: str) -> tuple[bytes, int] | str:
        """The answer of one address: a picture and its status, or where it sends on to."""
        parts = urlsplit(url)
        host = self._host(f"{parts.scheme}://{parts.netloc}")
        if self.manners.obey_robots:
            rules = await self._rules(host, f"{parts.scheme}://{parts.netloc}")
            if not rules.allow(url, self.manners.agent):
                raise _Lost("robots")
        async with host.free, self._all:
            await self._turn(host)
            async with _troubles(), self._session.get(url, allow_redirects=False) as answer:
                return await self._read(url, answer)

    async def _read(self, url: str, answer: aiohttp.ClientResponse) -> tuple[bytes, int] | str:
        if answer.status in REDIRECTS and "Location" in answer.headers:
            return urljoin(url, answer.headers["Location"])
        if answer.status != 200:
            wait = addresses.retry_after(answer.headers.get("Retry-After", ""))
            raise _Lost(
                f"http_status:{answer.status}", status=answer.status,
                wait=wait if answer.status in AGAIN else None,
            )  # fmt: skip
        if self.manners.obey_opt_out:
            said = robots.opted_out(answer.headers.getall("X-Robots-Tag", []), self.manners.agent)
            if said:
                raise _Lost(f"opt_out:{said}", status=200)
        data = await _bounded(answer, self.manners.bounds.most_bytes)
        reason = check(data, self.manners.bounds)
        if reason:
            raise _Lost(reason, status=200)
        return data, 200

    async def _rules(self, host: _Host, root: str) -> robots.Rules:
        async with host.learn:
            if host.rules is None:
                host.rules = await self._read_rules(root)
                host.rules = replace(
                    host.rules, delay=min(host.rules.delay, self.manners.longest_pause)
                )
            return host.rules

    async def _read_rules(self, root: str) -> robots.Rules:
        """A host's robots.txt, redirects followed.

        A host that does not answer in time is closed; one that cannot be connected to says nothing,
        and the picture's own request will tell why.
        """
        url = f"{root}/robots.txt"
        for _ in range(self.manners.redirects + 1):
            if addresses.fault(url, loopback=self.manners.loopback):
                return robots.ALL
            try:
                answered = await asyncio.wait_for(self._ask_rules(url), ROBOTS_WAIT)
            except asyncio.TimeoutError:
                return robots.NONE
            except _Lost as lost:
                if lost.reason.startswith("refused_address"):
                    raise
                return robots.NONE if lost.reason.startswith("timeout") else robots.ALL
            if not isinstance(answered, str):
                return answered
            url = answered
        return robots.ALL  # RFC 9309, section 2.3.1.2: as good as no file

    async def _ask_rules(self, url: str) -> robots.Rules | str:
        async with self._all, _troubles(), self._session.get(url, allow_redirects=False) as answer:
            if answer.status in REDIRECTS and "Location" in answer.headers:
                return urljoin(url, answer.headers["Location"])
            body = await _beginning(answer, robots.MOST_BYTES)
            return robots.rules(answer.status, body, self.manners.agent)

    async def _turn(self, host: _Host) -> None:
        """Wait until the host may be asked again."""
        pause = max(self.manners.pause, host.rules.delay if host.rules else 0.0)
        if not pause:
            return
        async with host.turn:
            await asyncio.sleep(max(host.next_at - time.monotonic(), 0))
            host.next_at = time.monotonic() + pause

    def _host(self, name: str) -> _Host:
        if name not in self._hosts:
            self._hosts[name] = _Host(asyncio.Semaphore(self.manners.per_host))
            if len(self._hosts) > HOSTS:
                self._hosts.popitem(last=False)
        self._hosts.move_to_end(name)
        return self._hosts[name]


class _troubles:  # noqa: N801 used as a word of ``async with``
    """What goes wrong with a connection becomes the reason for which the address is lost."""

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        import aiohttp

        if error is None or isinstance(error, (_Lost, asyncio.CancelledError)):
            return
        refused = addresses.refusal(error)
        if refused:
            raise _Lost(f"refused_address:{refused}") from None
        if isinstance(error, (TimeoutError, asyncio.TimeoutError, aiohttp.ServerTimeoutError)):
            raise _Lost("timeout", wait=0) from None
        if isinstance(error, aiohttp.ClientPayloadError):
            raise _Lost("truncated", wait=0) from None
        if isinstance(error, (aiohttp.ClientError, OSError, ValueError)):
            told = " ".join(str(error).split())[:80] or type(error).__name__
            lasting = isinstance(error, (aiohttp.InvalidURL, ValueError))
            raise _Lost(f"connection:{told}", wait=None if lasting else 0) from None


async def _bounded(answer: aiohttp.ClientResponse, most: int) -> bytes:
    """The body, unless it is longer than ``most``; its announced length is looked at first."""
    if (answer.content_length or 0) > most:
        raise _Lost(f"too_many_bytes:{answer.content_length} announced", status=answer.status)
    held = bytearray()
    async for block in answer.content.iter_chunked(BLOCK):
        held += block
        if len(held) > most:
            raise _Lost(f"too_many_bytes:over {most}", status=answer.status)
    return bytes(held)


async def _beginning(answer: aiohttp.ClientResponse, most: int) -> bytes:
    held = bytearray()
    async for block in answer.content.iter_chunked(BLOCK):
        held += block
        if len(held) >= most:
            break
    return bytes(held)
