"""What hosts ask of programs that fetch: robots.txt, and headers that say not to use an answer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.robotparser import RobotFileParser

OPT_OUT = ("noai", "noimageai", "noindex", "noimageindex")
"""Directives of X-Robots-Tag by which an answer asks not to be used.

Source: img2dataset, whose default these four are (github.com/rom1504/img2dataset, README).
"""
MOST_BYTES = 500 * 1024  # of a robots.txt that are read. Source: RFC 9309, section 2.5
MISSING = range(400, 500)  # no rules. Source: RFC 9309, section 2.3.1.3


@dataclass(frozen=True)
class Rules:
    """What a host's robots.txt says to one program; ``delay`` seconds between two requests."""

    parser: RobotFileParser | None
    everything: bool
    delay: float = 0.0

    def allow(self, address: str, agent: str) -> bool:
        """Whether that address may be fetched by that agent."""
        return self.everything if self.parser is None else self.parser.can_fetch(agent, address)


ALL = Rules(None, True)
NONE = Rules(None, False)


def rules(status: int, body: bytes, agent: str) -> Rules:
    """The rules of an answer to GET /robots.txt; ``agent`` is the product's name.

    4xx: there are none. Anything else that is not 200: everything is closed, as RFC 9309 asks.
    """
    if status in MISSING:
        return ALL
    if status != 200:
        return NONE
    parser = RobotFileParser()
    parser.parse(body[:MOST_BYTES].decode("utf-8", "replace").splitlines())
    parser.modified()  # else it refuses everything, taking itself for unread
    delay = parser.crawl_delay(agent)
    return Rules(parser, True, float(delay) if delay else 0.0)


def opted_out(values: Iterable[str], agent: str) -> str:
    """The first directive of X-Robots-Tag headers that asks this program not to, or "".

    A value is a list of directives, for everyone or, after "name:", for one program alone.
    """
    for value in values:
        mine = True
        for entry in value.split(","):
            name, colon, rest = entry.partition(":")
            directive = entry.strip().lower()
            if colon and name.strip().lower() not in ("unavailable_after", "max-snippet"):
                mine = name.strip().lower() in ("*", agent.lower())
                directive = rest.strip().lower()
            if mine and directive in (*OPT_OUT, "none"):
                return directive
    return ""
