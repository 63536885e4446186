"""One connection on asyncio: bytes to requests, deadlines, and the end.

The transport calls in; ``Cycle`` and ``SocketCycle`` run the application in a task of its own. A task per
request, because the context variables that an application sets must not be seen by the next request of the
connection, which behind a proxy is somebody else's.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from gunicorn.asgi.http import After
from gunicorn.asgi.scope import ScopeBase
from gunicorn.errors import ProtocolError
from gunicorn.http.connection import ServerConnection
from gunicorn.http.events import NEED_DATA, ConnectionClosed, Request
from gunicorn.workers.asgi.alarms import Alarms, Wait
from gunicorn.workers.asgi.cycle import Cycle
from gunicorn.workers.asgi.flow import READ_LIMIT, FlowControl
from gunicorn.workers.asgi.turns import AT_ONCE

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from gunicorn.http.events import Peer
    from gunicorn.workers.asgi.ledger import Entry
    from gunicorn.workers.asgi.service import Service
    from gunicorn.workers.asgi.socket_cycle import SocketCycle

__all__ = ["Connection"]

# A client that ends its side may wait for the answer; one that was killed looks the same.
_HALF_CLOSED = 0.1
_LINGER_BYTES = 64 * 1024
_LINGER_SECONDS = 2.0
_LINGER_DRAINING = 0.3
_DRAIN_IDLE = 2.0
_DRAIN_NEXT = 0.5
# Applications that go on after their response, per connection, while the next requests are served.
_LEFTOVERS = 16


class _Phase(Enum):
    OPEN = "between requests, or in one"
    SKIPPING = "throwing away the rest of a body"
    SOCKET = "a WebSocket"
    LINGERING = "our end is closed"
    CLOSED = "closed, or about to be"


# Bound to names, as in gunicorn.http.connection: finding a member of an Enum class takes CPython 3.11 0.1 us.
_OPEN = _Phase.OPEN
_NEXT, _SKIP_BODY, _LINGER = After.NEXT, After.SKIP_BODY, After.LINGER
_IDLE = Wait.IDLE


class Connection(FlowControl):
    """The protocol of one accepted socket.

    Attributes:
        made: The transport exists.
    """

    __slots__ = (
        "_budget", "_current", "_leftovers", "_phase", "_scopes", "_server", "_waits", "can_send_files",
        "made", "peer",
    )  # fmt: skip

    def __init__(self, service: Service, peer: Peer, server: object) -> None:
        super().__init__()
        self.service = service
        self.peer = peer
        self.made = False
        # Requests are shared: the scope has a copy of their headers.
        self.http = ServerConnection(
            service.policy, peer, secure=service.tls is not None, shares_requests=True
        )
        self.alarms = Alarms(service.timer, self._ring)
        self.can_send_files = service.send_files
        self._server = server
        self._phase = _OPEN
        self._current: Cycle | SocketCycle | None = None
        self._leftovers = 0
        self._waits = False
        self._budget = _LINGER_BYTES

    # What the transport tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # uvloop's are none
        self.made = True
        service = self.service
        self._scopes = ScopeBase(
            self.peer,
            self._server,
            root_path=service.root_path,
            state=service.state,
            tls=None
            if service.tls is None
            else service.tls_extension(transport.get_extra_info("ssl_object")),
        )
        service.connections.add(self)
        self.alarms.set(Wait.HEAD, service.header_timeout)
        if service.draining:
            self.begin_drain()

    def data_received(self, data: bytes) -> None:
        if self._phase is not _OPEN:
            _RECEIVERS[self._phase](self, data)
            return
        http = self.http
        http.receive_data(data)
        if self._current is None:
            turns = self.service.turns
            if turns.begun < AT_ONCE:
                self._advance()
                # Only behind a request: a head that is not complete needs more.
                if len(data) > READ_LIMIT and self._current is not None:
                    self.limit_backlog()
            elif self._waits:
                self.limit_backlog()
            else:
                self._waits = True
                turns.wait(self)
            return
        if self._arrival is not None:
            self.wake()
        self.limit_backlog()

    def eof_received(self) -> bool:
        """Keep the socket open: a client may end its side and wait for the answer (RFC 9112 9.6 does it,
        too).
        """
        self._eof = True
        _EOF[self._phase](self)
        # Under TLS the transport closes in any case.
        return self._phase is not _Phase.CLOSED and self.service.tls is None

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._phase = _Phase.CLOSED
        self.write_paused = False
        self.wake_writers()
        current = self._current
        if current is None:
            self.alarms.end()
        else:
            self.alarms.close()
            current.client_gone()
            self.wake()
            self._start_grace()
        self.service.connection_over(self)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._current is None and self._phase is _OPEN:
            self._advance()

    # Requests

    def take_turn(self) -> None:
        """Something was received, while others had their turn."""
        self._waits = False
        if self._current is None and self._phase is _OPEN:
            self._advance()
            if self._current is not None:
                self.limit_backlog()

    def _advance(self) -> None:
        """Begin the next request, if it is here and nothing is in its way."""
        if self.write_paused or self._leftovers >= _LEFTOVERS:
            self.limit_backlog()
            return
        try:
            event = self.http.next_event()
        except ProtocolError as error:
            self._refuse(error)
            return
        if type(event) is Request:
            self._begin(event)
        elif event is NEED_DATA:
            self._expect_head()
        elif isinstance(event, ConnectionClosed):
            self.close()

    def _expect_head(self) -> None:
        self.resume_reading()
        alarms = self.alarms
        if self.http.waiting_for_head and not alarms.is_set(Wait.HEAD):
            alarms.clear(_IDLE)
            alarms.set(Wait.HEAD, self.service.header_timeout)

    def _begin(self, request: Request) -> None:
        self.alarms.head_arrived()
        service = self.service
        entry = service.ledger.begin(request, self.peer)
        if request.upgrade is not None and service.sockets.wants(request):
            self._begin_socket(request, entry)
            return
        self._current = cycle = Cycle(self, request, entry)
        service.start(cycle, self._scopes.http(request))
        if self._eof:
            self.alarms.set(Wait.NOTICE, _HALF_CLOSED)

    def response_over(self, cycle: Cycle, *, leftover: bool) -> None:
        """The response of ``cycle`` is complete or given up: go on, or close.

        Args:
            leftover: The application still runs.
        """
        if cycle.responded:
            return
        if self.held:
            self.flush()
        cycle.responded = True
        self._current = None
        self._leftovers += leftover
        self.service.ledger.answered(cycle.entry, cycle)
        if self._eof or self.lost:
            self.alarms.clear(Wait.NOTICE)
            self.alarms.clear(Wait.GRACE)
            if self.lost:
                self.alarms.end()
        if self._arrival is not None:
            self.wake()
        # What after() answers for nearly all: the request is read, the answer complete, the connection kept.
        more = None if cycle.unfinished or cycle.disconnected else self.http.go_on()
        if more is None:
            self._follow(cycle.after())
        else:
            self._next_cycle(more)

    def _begin_socket(self, request: Request, entry: Entry) -> None:
        service = self.service
        made = service.sockets.open(self, request, entry)
        if made is None:
            self._linger()
            return
        self._phase = _Phase.SOCKET
        self._current = made
        service.start(made, self._scopes.websocket(request))

    def end_socket(self) -> None:
        """A WebSocket is over, and its last bytes are with the transport."""
        if self._phase is _Phase.SOCKET:
            for wait in (Wait.SOCKET, Wait.SOCKET_END):
                self.alarms.clear(wait)
            self._linger()

    def _follow(self, after: After) -> None:
        if after is _NEXT:
            self._next_cycle(self.http.start_next_cycle())
        elif after is _SKIP_BODY:
            self._phase = _Phase.SKIPPING
            self.resume_reading()
            self.alarms.set(Wait.BODY, self.service.body_timeout)
        elif after is _LINGER:
            self._linger()
        else:
            self.close()

    def _next_cycle(self, more: bool) -> None:
        """The connection is ready for its next request, of which there is more here already, or not."""
        self._phase = _OPEN
        if self.reading_paused:
            self.resume_reading()
        self.alarms.set(_IDLE, self.service.keepalive)
        if more:
            self._advance()
            if self._current is not None:
                self.limit_backlog()
        elif self._eof:
            self.close()
        elif self.service.draining and not self.service.worker.retired:
            # Its last answer may not have said that the connection closes.
            self.alarms.set(_IDLE, _DRAIN_NEXT)

    def leftover_over(self) -> None:
        """An application that went on after its response has returned."""
        self._leftovers -= 1
        # Only a connection with all that it may have was held up.
        if self._leftovers == _LEFTOVERS - 1 and self._current is None and self._phase is _OPEN:
            self._advance()

    def _refuse(self, error: ProtocolError) -> None:
        self.write(self.service.ledger.refuse(self.peer, error))
        self._linger()

    # For receive()

    async def wait_for_input(self, exchange: Cycle) -> None:
        """Return when ``exchange.next_message`` should be asked again."""
        wanted = exchange.body_wanted
        if wanted:
            data = exchange.begin_body()
            if data:
                self.write(data)
            self.alarms.set(Wait.BODY, self.service.body_timeout)
        try:
            await self.arrival()
        finally:
            if wanted:
                self.alarms.clear(Wait.BODY)

    # Deadlines

    def _ring(self, wait: Wait) -> None:
        _RINGS[wait](self)

    def _head_late(self) -> None:
        if self.http.waiting_for_head:
            self._refuse(ProtocolError(408, "header_timeout", "the request head did not arrive in time"))
        else:
            self.close()

    def _body_late(self) -> None:
        if self._phase is _Phase.SKIPPING:
            self._linger()
        elif isinstance(self._current, Cycle):
            error = ProtocolError(408, "body_timeout", "the body stopped arriving")
            self._current.fail_body(error)
            self.wake()

    def _notice(self) -> None:
        if isinstance(self._current, Cycle):
            self._current.notice_disconnect()
            self.wake()
            self._start_grace()

    def _start_grace(self) -> None:
        grace = self.service.disconnect_grace
        if grace:
            self.alarms.set(Wait.GRACE, grace)
        else:
            self._grace_over()

    def _socket_due(self) -> None:
        if self._phase is _Phase.SOCKET:
            self._current.ring()  # type: ignore[union-attr]

    def _grace_over(self) -> None:
        if self._current is not None:
            self._current.cancel("its client has left")

    # The end

    def begin_drain(self) -> None:
        """The worker takes no new work: what is under way ends with ``Connection: close``."""
        self.http.announce_close()
        self.alarms.limit(Wait.CLOSE, _LINGER_DRAINING)
        if self.service.worker.retired:
            return
        # A client that is about to send has a moment; one that is merely connected must not hold up the stop.
        self.alarms.limit(_IDLE, _DRAIN_IDLE)
        if not self.http.buffered:
            self.alarms.limit(Wait.HEAD, _DRAIN_IDLE)

    def _linger(self) -> None:
        """Close without a reset: our end now, the rest when the client has closed or has had its time (RFC
        9112 9.6).
        """
        self._phase = _Phase.LINGERING
        transport = self.transport
        if self._eof or self.lost or not transport.can_write_eof():
            self.close()
            return
        self.flush()
        try:
            transport.write_eof()
        except OSError:  # the client has reset the connection, which nobody has read yet
            self.close()
            return
        self.resume_reading()
        self._wait_for_end()

    def close(self) -> None:
        """Send what is left, and close."""
        self._phase = _Phase.CLOSED
        if not self.lost:
            self.flush()
            transport = self.transport
            # Nearly always everything has been sent, and the end comes with the next turn of the loop.
            at_once = self.service.tls is None and not transport.get_write_buffer_size()
            transport.close()
            if not at_once:
                self._wait_for_end()

    def _wait_for_end(self) -> None:
        """The transport has no deadline of its own for the last bytes, nor for the client's end."""
        alarms = self.alarms
        alarms.head_arrived()
        alarms.clear(Wait.BODY)
        alarms.set(Wait.CLOSE, _LINGER_DRAINING if self.service.draining else _LINGER_SECONDS)

    def _end_late(self) -> None:
        if self.lost:
            return
        if not self.transport.get_write_buffer_size():
            self.transport.abort()
            return
        self.alarms.set(Wait.CLOSE, _LINGER_SECONDS)
        if not self.alarms.is_set(Wait.WRITE):
            self.expect_progress()  # from here on WRITE decides about a client that takes nothing

    def end_idle(self) -> None:
        """Close, unless an application is at work here."""
        if self._current is None:
            self.close()

    def cut(self) -> None:
        """Drop the connection, whatever is under way."""
        if not self.lost:
            self._phase = _Phase.CLOSED
            self.transport.abort()

    # Receivers

    def _skip(self, data: bytes) -> None:
        http = self.http
        http.receive_data(data)
        try:
            skipped = http.discard_body()
        except ProtocolError as error:
            self.service.log.debug("Bad rest of a body from %s: %s", self.peer.host, error)
            self._linger()
            return
        if skipped:
            self.alarms.clear(Wait.BODY)
            self._next_cycle(http.start_next_cycle())
        elif http.must_close:
            self._linger()

    def _feed_socket(self, data: bytes) -> None:
        assert self._current is not None
        self._current.data_received(data)  # type: ignore[union-attr]

    def _discard(self, data: bytes) -> None:
        self._budget -= len(data)
        if self._budget <= 0:
            self.close()

    def _ignore(self, data: bytes) -> None:
        """What arrives while the transport closes."""

    def _eof_open(self) -> None:
        self.http.receive_data(b"")
        if self._current is None:
            self._advance()
        else:
            # Who waits for the rest of a body learns at once that it will not come.
            self.wake()
            self.alarms.set(Wait.NOTICE, _HALF_CLOSED)

    def _eof_socket(self) -> None:
        self._feed_socket(b"")
        self._start_grace()

    def _eof_ends(self) -> None:
        self.close()


_RECEIVERS: dict[_Phase, Callable[[Connection, bytes], None]] = {
    _Phase.SKIPPING: Connection._skip,
    _Phase.SOCKET: Connection._feed_socket,
    _Phase.LINGERING: Connection._discard,
    _Phase.CLOSED: Connection._ignore,
}

_EOF: dict[_Phase, Callable[[Connection], None]] = {
    _Phase.OPEN: Connection._eof_open,
    _Phase.SKIPPING: Connection._eof_ends,
    _Phase.SOCKET: Connection._eof_socket,
    _Phase.LINGERING: Connection._eof_ends,
    _Phase.CLOSED: Connection._eof_ends,
}

_RINGS: dict[Wait, Callable[[Connection], None]] = {
    Wait.HEAD: Connection._head_late,
    Wait.IDLE: Connection.close,
    Wait.BODY: Connection._body_late,
    Wait.WRITE: Connection.write_late,
    Wait.NOTICE: Connection._notice,
    Wait.GRACE: Connection._grace_over,
    Wait.CLOSE: Connection._end_late,
    Wait.SOCKET: Connection._socket_due,
    Wait.SOCKET_END: Connection.end_socket,
}
