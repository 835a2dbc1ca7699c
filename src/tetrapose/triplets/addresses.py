"""Which addresses may be asked, and a session that connects to no others.

A name is looked up once, every place that it stands for is judged, and the connection goes to those
places and nowhere else: a name that answers differently the second time gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import aiohttp

LONGEST = 2000  # characters of an address
REFUSED = "private"
NAT64 = ipaddress.ip_network("64:ff9b::/96")  # IPv4 places in IPv6 clothes. Source: RFC 6052


class PrivateAddress(OSError):
    """A name that stands for a place which is not asked."""


def fault(url: str, *, loopback: bool = False) -> str:
    """Why an address is not asked at all, or ""; names are looked up later, when connecting."""
    if len(url) > LONGEST or any(ord(sign) < 33 for sign in url):
        return "no address"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port  # a port that is none raises
    except ValueError:
        return "no address"
    if parts.scheme not in ("http", "https") or not host:
        return "neither http nor https"
    if parts.username is not None or parts.password is not None:
        return "holds a password"
    place = _literal(host)
    return REFUSED if place is not None and not permitted(place, loopback=loopback) else ""


def permitted(place: str, *, loopback: bool = False) -> bool:
    """Whether an IP address is a public one (or, with ``loopback``, this machine)."""
    try:
        one = ipaddress.ip_address(place.partition("%")[0])
    except ValueError:
        return False
    inner = getattr(one, "ipv4_mapped", None) or getattr(one, "sixtofour", None)
    if inner is None and one.version == 6 and one in NAT64:
        inner = ipaddress.ip_address(int(one) & 0xFFFFFFFF)
    if inner is not None:
        return permitted(str(inner), loopback=loopback)
    if one.is_loopback:
        return loopback
    return one.is_global and not one.is_multicast and not one.is_reserved


def _literal(host: str) -> str | None:
    """An IP address in any spelling that the system's resolver takes, "0x7f.1" too."""
    try:
        return str(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        return None


def session(
    *, loopback: bool, agent: str, connections: int, times: tuple[float, float, float]
) -> aiohttp.ClientSession:
    """A session whose names are resolved by ``permitted``; times to connect, in silence, in all.

    Raises UserError where aiohttp is missing.
    """
    from tetrapose.errors import UserError

    try:
        import aiohttp
        from aiohttp.abc import AbstractResolver
    except ImportError:
        raise UserError("downloads want aiohttp: pip install 'tetrapose[triplets]'") from None

    class Judged(AbstractResolver):
        """The system's resolver, without the places that are not asked."""

        def __init__(self) -> None:
            self._plain = aiohttp.ThreadedResolver()

        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
        ) -> Any:
            found = await self._plain.resolve(host, port, family)
            if not all(permitted(one["host"], loopback=loopback) for one in found):
                raise PrivateAddress(f"{host} stands for a private address")
            return found

        async def close(self) -> None:
            await self._plain.close()

    connect, silence, whole = times
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=connections, resolver=Judged(), ttl_dns_cache=300, enable_cleanup_closed=False
        ),
        timeout=aiohttp.ClientTimeout(total=whole, sock_connect=connect, sock_read=silence),
        headers={"User-Agent": agent, "Accept": "image/*"},
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        auto_decompress=True,
        max_line_size=16384,
        max_field_size=16384,
    )


def refusal(error: BaseException) -> str:
    """Why a connection was refused for the place it would have gone to, or ""."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, PrivateAddress):
            return REFUSED
        seen = getattr(seen, "os_error", None) or seen.__cause__ or seen.__context__
    return ""


def retry_after(value: str) -> float:
    """Seconds that a Retry-After header asks for, as a number or a date; 0 for anything else."""
    value = value.strip()
    if value.isdigit():
        return float(value[:9])
    try:
        return max(parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
    except (ValueError, TypeError, IndexError):
        return 0.0
