"""What the connections of one listener share: what reads them, while they say something, and what they say.

A connection that waits for its next request has a socket and little else. The protocol is lent to it for a
request, and so few of them serve many connections that they never leave the caches of the CPU.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from gunicorn.http.connection import ServerConnection
from gunicorn.http.known import KnownHeads
from gunicorn.http.policy import ProxyMode

if TYPE_CHECKING:
    from gunicorn.http.events import Peer
    from gunicorn.http.known import KnownHead
    from gunicorn.http.policy import Policy
    from gunicorn.process.listeners import Listener

__all__ = ["Front"]

# More than that are in use at once only while many clients send their heads slowly.
_SPARES = 32


class Borrower(Protocol):
    """A connection, to which the protocol is lent."""

    peer: Peer
    http: ServerConnection
    known: KnownHead | None


class Front:
    """For the connections of one listener whose peers are trusted alike (``forwarded_allow_ips``).

    Args:
        listener: Where they come from.
        policy: What is accepted.
        cfg: Gives the deadlines.
        secure: They speak TLS.

    Attributes:
        is_proxied: They begin with a PROXY header, which the protocol has to remember: each keeps its own.
        closing: Every answer says ``Connection: close``.
        environ: What the environ of all requests has in common, once there was one.
    """

    __slots__ = (
        "_heads", "_policy", "_secure", "_spares", "body_timeout", "can_send_files", "closing", "environ",
        "is_proxied", "listener", "write_timeout",
    )  # fmt: skip

    def __init__(self, listener: Listener, policy: Policy, cfg: Any, *, secure: bool) -> None:
        self.listener = listener
        self.body_timeout: float = cfg.body_timeout
        self.write_timeout: float = cfg.write_timeout
        self.can_send_files: bool = cfg.sendfile and not secure
        self.is_proxied = policy.proxy_protocol is not ProxyMode.OFF
        self.closing = False
        self.environ: dict[str, Any] | None = None
        self._policy = policy
        self._secure = secure
        self._heads = KnownHeads(policy.limit_request_line)
        # Bounded, with an atomic append and pop.
        self._spares: deque[ServerConnection] = deque(maxlen=_SPARES)

    def lend(self, link: Borrower) -> ServerConnection:
        """The protocol for ``link``, from its first byte on."""
        try:
            http = self._spares.pop()
        except IndexError:
            http = self._new(link.peer)
        link.http = http
        # First lent, then the look: ``announce_close`` does it the other way round, so one of them sees it.
        if self.closing:
            http.announce_close()
        return http

    def _new(self, peer: Peer) -> ServerConnection:
        return ServerConnection(
            self._policy, peer, secure=self._secure, shares_requests=True, heads=self._heads
        )

    def take_back(self, link: Borrower) -> None:
        """From a link that waits for its next request and has nothing of it."""
        http = link.http
        link.known = http.known
        if not self.is_proxied:
            link.http = None  # type: ignore[assignment]  # as in Link
            self._spares.append(http)

    def take_all_back(self, link: Borrower) -> None:
        """From a link that is closed, whatever it was at."""
        http = link.http
        link.http = None  # type: ignore[assignment]  # as in Link
        # A parser that met an error is good for nothing more.
        if http is not None and not (http.failed or self.is_proxied):
            http.renew()
            self._spares.append(http)
