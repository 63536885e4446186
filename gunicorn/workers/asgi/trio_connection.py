"""One connection on trio: bytes to requests, deadlines, and the end.

The connection's task reads heads and runs applications. An application that goes on after its response keeps
its task, and another one goes on with the connection. ``Intake`` receives.
"""

from __future__ import annotations

from contextlib import suppress
from enum import Enum
from math import inf
from typing import TYPE_CHECKING

import trio
from trio.lowlevel import current_task

from gunicorn.asgi.errors import ClientDisconnected
from gunicorn.asgi.http import After
from gunicorn.asgi.scope import ScopeBase
from gunicorn.errors import ProtocolError
from gunicorn.http.connection import ServerConnection
from gunicorn.http.events import NEED_DATA, Event, Request
from gunicorn.workers.asgi.trio_cycle import Cycle
from gunicorn.workers.asgi.trio_intake import Intake

if TYPE_CHECKING:
    from gunicorn.http.events import Peer
    from gunicorn.workers.asgi.trio_deadlines import Alarm
    from gunicorn.workers.asgi.trio_leader import Leader
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
_LINGER_DRAINING = 0.3
_DRAIN_IDLE = 2.0
_DRAIN_NEXT = 0.5
# Applications that go on after their response, per connection, while the next requests are served.
_LEFTOVERS = 16


class _Phase(Enum):
    """What the connection's task waits for."""

    HEAD = "a request head"
    IDLE = "the next request"
    BODY = "the rest of a body that nobody wants"
    APP = "an application"
    LINGER = "the client's end"


# Bound to names: see gunicorn.http.connection.
_NEXT = After.NEXT
_IDLE, _APP = _Phase.IDLE, _Phase.APP


class Connection:
    """What happens on one socket.

    Attributes:
        http: The protocol.
        intake: What receives, and where changes are waited for.
        due: When what the connection's task waits for must have come; ``inf`` while an application runs.
        alarm: When ``Deadlines`` will look at it.
    """

    __slots__ = (
        "_budget", "_closed", "_current", "_leader", "_leftovers", "_phase", "_scope", "_socket", "_upgrade",
        "alarm", "due", "http", "intake", "link", "nursery", "peer", "scopes", "service",
    )  # fmt: skip

    nursery: trio.Nursery

    def __init__(self, service: Service, link: Link, peer: Peer, server: object) -> None:
        self.service = service
        self.link = link
        self.peer = peer
        # Requests are shared: the scope has a copy of their headers.
        self.http = ServerConnection(
            service.policy, peer, secure=service.tls is not None, shares_requests=True
        )
        self.intake = Intake(link, self)
        self.scopes = ScopeBase(
            peer,
            server,
            root_path=service.root_path,
            state=service.state,
            tls=service.tls_extension(link.sock),  # type: ignore[arg-type]  # an SSLSocket is like an SSLObject
        )
        self._phase = _Phase.HEAD
        self.due = inf
        self.alarm: Alarm | None = None
        self._current: Cycle | SocketCycle | None = None
        self._socket: SocketCycle | None = None
        self._leader: Leader | None = None
        self._upgrade: Request | None = None
        self._leftovers = 0
        self._budget = _LINGER_BYTES
        self._closed = False
        self._scope = trio.CancelScope()

    async def serve(self) -> None:
        """Return when the socket is closed and no application of it runs."""
        self._expect(_Phase.HEAD, self.service.header_timeout)
        if self.service.draining:
            self.begin_drain()
        try:
            # Most clients send as soon as they have connected: then nobody needs to wait for the socket.
            self.intake.take_what_is_here()
            async with trio.open_nursery() as self.nursery:
                await self._serve(self._scope, None)
        finally:
            self._close()

    async def _serve(self, scope: trio.CancelScope, before: Cycle | None) -> None:
        """The connection's task.

        Args:
            scope: Cancelled when ``due`` has come.
            before: Its response is complete, and its application goes on in another task.
        """
        after = After.CLOSE
        with scope:
            try:
                after = await self._requests(scope, before)
            except ClientDisconnected:
                after = After.CLOSE
        if self._scope is not scope:
            self._leftovers -= 1
            self.intake.wake()
            return  # another task has taken over
        if scope.cancelled_caught:
            after = self._expired()
        if after is After.LINGER:
            await self._linger()
        self._close()

    async def _requests(self, scope: trio.CancelScope, before: Cycle | None) -> After:
        """Serve requests until the connection should end; how it should."""
        http = self.http
        after = _NEXT if before is None else await self._follow(before)
        while after is _NEXT:
            try:
                event = self._upgrade or http.next_event()
            except ProtocolError as error:
                await self.link.write(self.service.ledger.refuse(self.peer, error))
                return After.LINGER
            if event.__class__ is Request:
                self._phase = _APP
                self.due = inf
                if event.upgrade is not None and self.service.is_websocket(event):
                    return await self._serve_socket(event, scope)
                cycle = await self._answer(event, scope, current_task())
                if self._scope is not scope:
                    return After.CLOSE
                after = await self._follow(cycle)
            elif event is NEED_DATA:
                self._expect_head()
                after = await self._wait_for_head()
            else:
                return After.CLOSE
        return after

    def _expect_head(self) -> None:
        if self._phase is _IDLE and self.http.waiting_for_head:
            self._expect(_Phase.HEAD, self.service.header_timeout)

    async def _wait_for_head(self) -> After:
        if self.intake.reading or not self.link.can_be_led:
            await self.intake.arrive()
            return _NEXT
        led = await self.service.leaders.wait(self)
        return await self._follow(led) if isinstance(led, Cycle) else led

    # What a leader does

    async def lead(self, leader: Leader) -> None:
        """Something has arrived: serve what is easy, and leave the rest to the connection's own task."""
        data = self.link.receive()
        if data:
            self.http.receive_data(data)
        elif data is None:
            return
        else:
            self.intake.take(data)
        more: bool | None = True
        while more:
            event = self._peek_request()
            if event is NEED_DATA:
                self._expect_head()
                return
            if event.__class__ is not Request:
                self.service.leaders.resume(self, _NEXT)
                return
            more = await self._answer_led(event, leader)

    def _peek_request(self) -> Event | None:
        """The next request, if a leader can serve it; None: the connection's own task asks again."""
        try:
            event = self.http.next_event()
        except ProtocolError:
            return None
        if event.__class__ is Request and event.upgrade is not None and self.service.is_websocket(event):
            self._upgrade = event
            return None
        return event

    async def _answer_led(self, request: Request, leader: Leader) -> bool | None:
        """Whether more has arrived; None when ``leader`` is not needed here any more."""
        self._phase = _APP
        self.due = inf
        self._leader = leader
        cycle = await self._answer(request, leader.scope, leader.task)
        if not leader.leads:
            return None
        self._leader = None
        if not leader.sound:
            leader.step_down(None)
            self.service.leaders.resume(self, cycle)
            return None
        more = None if cycle.unfinished or cycle.disconnected or self.link.broken else self.http.go_on()
        if more is None:
            self.service.leaders.resume(self, cycle)
        else:
            self._expect_next()
        return more

    def led_to_its_end(self, cycle: Cycle, *, cancelled: bool) -> None:
        """The application for which a leader had stepped down has returned."""
        if cycle.detached:
            self._leftovers -= 1
            self.intake.wake()
        else:
            self._leader = None
            self.service.leaders.resume(self, self._expired() if cancelled else cycle)

    # Requests

    async def _answer(self, request: Request, scope: trio.CancelScope, task: trio.lowlevel.Task) -> Cycle:
        service = self.service
        cycle = Cycle(self, request, service.ledger.begin(request, self.peer), scope, task)
        self._current = cycle
        service.cycles.add(cycle)
        try:
            await cycle.run(service.app, self.scopes.http(request))
        finally:
            service.cycles.discard(cycle)
            if service.draining:
                service.wake()
        return cycle

    async def _serve_socket(self, request: Request, scope: trio.CancelScope) -> After:
        # Here, so that workers without WebSockets do without the library behind them.
        from gunicorn.asgi.websocket import WebSocketSession, refuse_handshake
        from gunicorn.workers.asgi.trio_socket import SocketCycle

        service = self.service
        entry = service.ledger.begin(request, self.peer)
        refusal = refuse_handshake(self.http, request, draining=service.draining)
        if refusal is not None:
            service.ledger.socket_over(entry, int(refusal[9:12]))
            await self.link.write(refusal)
            return After.LINGER
        session = WebSocketSession(self.http, request, service.websocket_settings())
        cycle = self._socket = self._current = SocketCycle(self, session, entry, scope)
        service.cycles.add(cycle)
        try:
            await cycle.run(service.app, self.scopes.websocket(request))
        finally:
            service.cycles.discard(cycle)
            service.wake()
        return After.CLOSE if self.link.broken else After.LINGER

    async def _follow(self, cycle: Cycle) -> After:
        """What comes after a response; the next request, if it may come, is waited for elsewhere."""
        # What after() answers for nearly all: the request is read, the answer complete, the connection kept.
        if cycle.unfinished or cycle.disconnected or self.http.go_on() is None:
            after = await self._end_of(cycle)
            if after is not _NEXT:
                return after
            self.http.start_next_cycle()
        if self.link.broken:
            return After.CLOSE
        while self._leftovers >= _LEFTOVERS:
            await self.intake.change()
        self._expect_next()
        return _NEXT

    def _expect_next(self) -> None:
        service = self.service
        # An answer that had begun before the drain did not say that the connection closes.
        hurries = service.draining and not service.worker.retired
        self._expect(_IDLE, _DRAIN_NEXT if hurries else service.keepalive)

    async def _end_of(self, cycle: Cycle) -> After:
        """What comes after a response; read before that is what is left of its request."""
        after = cycle.after()
        while after is After.SKIP_BODY:
            self._expect(_Phase.BODY, self.service.body_timeout)
            await self.intake.arrive()
            after = cycle.after()
        self.due = inf
        return After.CLOSE if self.link.broken else after

    def _expect(self, phase: _Phase, seconds: float) -> None:
        """Wait for the client, for at most ``seconds``; 0 is no limit."""
        self._phase = phase
        self.due = due = trio.current_time() + (seconds or inf)
        alarm = self.alarm
        if alarm is None or due < alarm.at:
            self.service.deadlines.watch(self)

    def expire(self) -> None:
        """``due`` has come."""
        self._scope.cancel()

    def _expired(self) -> After:
        """The deadline of the connection's task came, or its application was cancelled."""
        if self._phase is _Phase.HEAD and self.http.waiting_for_head and not self.service.draining:
            error = ProtocolError(408, "header_timeout", "the request head did not arrive in time")
            try:
                self.link.write_now(self.service.ledger.refuse(self.peer, error))
            except ClientDisconnected:
                return After.CLOSE
            return After.LINGER
        if self._phase in (_Phase.BODY, _Phase.APP) and not self.link.broken:
            return After.LINGER
        return After.CLOSE

    # For the intake

    @property
    def full(self) -> bool:
        if self._phase is _Phase.LINGER:
            return False
        return self.http.buffered > _READ_LIMIT if self._socket is None else self._socket.session.paused

    def feed(self, data: bytes) -> None:
        if self._phase is _Phase.LINGER:
            self._budget -= len(data)
        elif self._socket is not None:
            self._socket.receive_data(data)
        else:
            self.http.receive_data(data)

    async def fed(self) -> None:
        if self._socket is not None:
            await self._socket.flush()

    def watch(self, cycle: Cycle) -> None:
        """The application of ``cycle`` has begun to wait: see whether its client stays."""
        if self._leader is not None:
            self._leader.step_down(cycle)
            self.service.leaders.take(self)
        if self.intake.ended:
            self.nursery.start_soon(self._farewell, cycle)
        else:
            self.start_reader()

    def start_reader(self) -> None:
        """Receive in a task of its own from now on."""
        if not self.intake.reading:
            self.intake.reading = True
            self.nursery.start_soon(self._read)

    async def _read(self) -> None:
        await self.intake.read()
        if isinstance(self._current, Cycle):
            await self._farewell(self._current)

    # The end of a request

    async def _farewell(self, cycle: Cycle) -> None:
        """The client of ``cycle`` has ended its side."""
        if cycle.answered:
            return
        with trio.CancelScope() as cycle.farewell:
            if self.link.broken:
                cycle.client_gone()
            else:
                await trio.sleep(_HALF_CLOSED)
                cycle.client_left()
            await trio.sleep(self.service.disconnect_grace)
            cycle.cancel("its client has left")

    def response_over(self, cycle: Cycle) -> None:
        """The response of ``cycle`` is complete or given up; its application may still run."""
        if cycle is not self._current:
            return
        self._current = None
        cycle.over = True
        if cycle.farewell is not None:
            cycle.farewell.cancel()
        self.service.ledger.answered(cycle.entry, cycle)
        self.intake.wake()

    def detach(self, cycle: Cycle) -> None:
        """The application of ``cycle`` goes on after its response: another task serves the connection."""
        cycle.detached = True
        self._leftovers += 1
        if self._leader is not None:
            self._leader = None
            self.service.leaders.resume(self, cycle)
            return
        self._scope = trio.CancelScope()
        self.nursery.start_soon(self._serve, self._scope, cycle)

    # The end of the connection

    def begin_drain(self) -> None:
        """The worker takes no new work: what is under way ends with ``Connection: close``."""
        self.http.announce_close()
        waits = self._phase is _Phase.IDLE or (self._phase is _Phase.HEAD and not self.http.buffered)
        if waits:
            # A client that is about to send has a moment; one that is merely connected must not hold us up.
            if not self.service.worker.retired:
                self._limit(_DRAIN_IDLE)
        elif self._phase is _Phase.LINGER:
            self._limit(_LINGER_DRAINING)

    def _limit(self, seconds: float) -> None:
        if self.due > trio.current_time() + seconds:
            self._expect(self._phase, seconds)

    def end_idle(self) -> None:
        """The drain is over: nothing that has not reached an application will."""
        if self._phase is not _Phase.APP:
            self._scope.cancel()

    async def _linger(self) -> None:
        """Close without a reset: our end now, the rest when the client has closed or has had its time.

        RFC 9112 9.6.
        """
        with trio.CancelScope() as self._scope:
            self._expect(_Phase.LINGER, _LINGER_DRAINING if self.service.draining else _LINGER_SECONDS)
            with suppress(ClientDisconnected):
                await self.link.flush()
            self.link.half_close()
            while not self.intake.ended and self._budget > 0:
                await self.intake.arrive()

    def _close(self) -> None:
        if not self._closed:
            self._closed = True
            self.service.deadlines.forget(self)
            self.link.close()
            self.intake.close()
            self.service.connection_over(self)
