"""One connection on trio: bytes to requests, flow control both ways, deadlines, and the end.

The connection's task reads heads and runs applications. A second task, the reader, begins with the first
application that waits for something: from then on it alone receives, so that a client that leaves is noticed. An
application that goes on after its response keeps its task, and another one goes on with the connection.
"""

from __future__ import annotations

from enum import Enum
from math import inf
from typing import TYPE_CHECKING

import trio
from trio.lowlevel import ParkingLot

from gunicorn.asgi.http import After
from gunicorn.asgi.scope import ScopeBase
from gunicorn.errors import ProtocolError
from gunicorn.http.connection import ServerConnection
from gunicorn.http.events import NEED_DATA, Request
from gunicorn.workers.asgi.trio_cycle import Cycle

if TYPE_CHECKING:
    from gunicorn.asgi.websocket import WebSocketSession
    from gunicorn.http.events import Peer
    from gunicorn.workers.asgi.trio_link import Link
    from gunicorn.workers.asgi.trio_service import Service
    from gunicorn.workers.asgi.trio_socket import SocketCycle

__all__ = ["Connection"]

# Above this many received bytes that nobody has taken, nothing more is received.
_READ_LIMIT = 64 * 1024
# A client that ends its side may wait for the answer; one that was killed looks the same.
_HALF_CLOSED = 0.1
_LINGER_BYTES = 64 * 1024
_LINGER_SECONDS = 2.0
_DRAIN_IDLE = 2.0
# Applications that go on after their response, per connection, while the next requests are served.
_LEFTOVERS = 16


class _Phase(Enum):
    HEAD = "a request head"
    IDLE = "the next request"
    BODY = "the rest of a body that nobody wants"
    APP = "an application"


class Connection:
    """What happens on one socket.

    Attributes:
        http: The protocol.
        reading: Whether the reader receives; nobody else may wait for the socket then.
        ended: Whether the client has ended its side.
    """

    __slots__ = (
        "_arrival", "_current", "_due", "_leftovers", "_nursery", "_phase", "_reader", "_room", "_scope", "_scopes", "_session",
        "ended", "http", "link", "peer", "reading", "service",
    )  # fmt: skip

    def __init__(self, service: Service, link: Link, peer: Peer, server: object) -> None:
        self.service = service
        self.link = link
        self.peer = peer
        self.http = ServerConnection(service.policy, peer, secure=service.tls is not None)
        self.reading = False
        self.ended = False
        tls = service.tls_extension(link.sock) if service.tls is not None else None  # type: ignore[arg-type]
        self._scopes = ScopeBase(peer, server, root_path=service.root_path, state=service.state, tls=tls)
        self._arrival = ParkingLot()
        self._room = ParkingLot()
        self._phase = _Phase.HEAD
        self._due = trio.current_time() + (service.header_timeout or inf)
        self._current: Cycle | SocketCycle | None = None
        self._session: WebSocketSession | None = None
        self._leftovers = 0
        self._scope = trio.CancelScope()
        self._reader: trio.CancelScope | None = None
        self._nursery: trio.Nursery | None = None

    async def serve(self) -> None:
        """Return when the socket is closed and no application of it runs."""
        if self.service.draining:
            self.begin_drain()
        try:
            async with trio.open_nursery() as self._nursery:
                await self._serve_requests(None)
        finally:
            self._close()

    # Requests

    async def _serve_requests(self, before: Cycle | None) -> None:
        """The connection's task.

        Args:
            before: The cycle whose response is complete and whose application goes on, in another task.
        """
        with trio.CancelScope() as scope:
            self._scope = scope
            try:
                if before is None or await self._follow(before.exchange.after()):
                    if not await self._requests(scope):
                        return
            except trio.ClosedResourceError:
                return
        ...

    # (written below)
