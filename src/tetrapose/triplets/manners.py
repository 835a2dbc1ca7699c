"""How hosts are asked for pictures: how often, how patiently, under what name."""

from __future__ import annotations

from dataclasses import dataclass, field

from tetrapose import __version__
from tetrapose.errors import UserError
from tetrapose.triplets.contents import Bounds


@dataclass(frozen=True)
class Manners:
    """How hosts are asked.

    ``connections`` at once in all and ``per_host`` of them to one host, with at least ``pause``
    seconds between two requests to it (or what its robots.txt asks, up to ``longest_pause``).
    ``connect`` and ``answer`` bound the seconds to connect and for the whole answer, ``silence``
    those without a byte. A host that is busy or a connection that breaks is asked ``tries`` times,
    after waits that double from ``first_wait`` seconds or as Retry-After says, no longer than
    ``longest_wait``. ``agent`` is the name by which rules are meant, ``contact`` where hosts may
    complain. ``loopback`` permits this machine itself, which only tests want; ``obey_robots`` and
    ``obey_opt_out`` may be turned off by who has the hosts' leave.
    """

    connections: int = 64
    per_host: int = 2
    pause: float = 0.0
    longest_pause: float = 10.0
    connect: float = 10.0
    silence: float = 15.0
    answer: float = 60.0
    tries: int = 3
    first_wait: float = 1.0
    longest_wait: float = 60.0
    redirects: int = 5
    agent: str = "tetrapose"
    contact: str = ""
    obey_robots: bool = True
    obey_opt_out: bool = True
    loopback: bool = False
    bounds: Bounds = field(default_factory=Bounds)

    def __post_init__(self) -> None:
        for name in ("connections", "per_host", "tries"):
            if getattr(self, name) < 1:
                raise UserError(f"download: {name} is 1 or more, not {getattr(self, name)}")
        for name in ("connect", "silence", "answer"):
            if not getattr(self, name) > 0:
                raise UserError(f"download: {name} is above 0 seconds, not {getattr(self, name)}")

    @property
    def user_agent(self) -> str:
        """What requests say of who asks."""
        more = f" (+{self.contact})" if self.contact else ""
        return f"{self.agent}/{__version__}{more}"
