"""One WebSocket on asyncio: the application's task, its ``receive`` and its ``send``, and the bytes of both
ways.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from gunicorn.asgi.websocket import CLOSE_WAIT
from gunicorn.asgi.websocket_frames import FRAGMENT
from gunicorn.workers.asgi.alarms import Wait

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gunicorn.asgi.websocket import WebSocketSession
    from gunicorn.workers.asgi.ledger import Entry
    from gunicorn.workers.asgi.protocol import Connection

__all__ = ["SocketCycle"]

Message = dict[str, Any]


class SocketCycle:
    """The driver's side of a ``WebSocketSession``; the same shape as ``Cycle``.

    Attributes:
        task: Runs the application; set by whoever makes it.
        reason: Why it was cancelled; empty while it was not.
    """

    __slots__ = (
        "_connection", "_ended", "_holding", "_new_future", "_sending", "_started", "_ticking", "_waiters",
        "entry", "reason", "session", "task",
    )  # fmt: skip

    def __init__(self, connection: Connection, session: WebSocketSession, entry: Entry) -> None:
        self._connection = connection
        self.session = session
        self.entry = entry
        self.task: asyncio.Task[None] | None = None
        self.reason = ""
        self._sending = asyncio.Lock()
        self._started = False
        self._ended = False
        self._ticking = False
        self._holding = False
        self._new_future = connection.service.loop.create_future
        self._waiters: list[asyncio.Future[None]] = []

    async def receive(self) -> Message:
        session = self.session
        while (message := session.next_message()) is None:
            waiter = self._new_future()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                self._waiters.remove(waiter)
        if self._holding and not session.paused:
            self._holding = False
            self._connection.resume_reading()
        return message

    async def send(self, message: Message) -> None:
        if not self._sending.locked():
            pieces = self.session.send(message)
            if type(pieces) is tuple:
                # A whole message at once, as most are, needs no lock.
                await self._write_pieces(pieces)
                return
        # The pieces of two messages must not mix, and a generator has one user at a time.
        async with self._sending:
            await self._write_pieces(self.session.send(message))

    async def _write_pieces(self, pieces: Iterable[bytes]) -> None:
        connection, session = self._connection, self.session
        for piece in pieces:
            connection.transport.write(piece)
            if connection.write_paused:
                await connection.drained()
                session.progress(connection.service.loop.time())
            elif len(piece) >= FRAGMENT:
                # Else a client that reads as fast as we write would keep its own pings, and all others,
                # waiting.
                await asyncio.sleep(0)
        if not (self._ticking and session.open):
            self._settle()

    async def run(self, app: Any, scope: dict[str, Any]) -> None:
        """Call the application and see to it that the WebSocket has an end. Raises nothing."""
        self._started = True
        self._connection.service.turns.begun -= 1
        error: BaseException | None = None
        try:
            if self.reason:
                raise asyncio.CancelledError
            await app(scope, self.receive, self.send)
        except GeneratorExit:
            raise  # the loop is gone, and so is everything that could be done here
        except BaseException as raised:  # noqa: BLE001 - the boundary of the application's code
            error = raised
        self._finish(error)
        del error  # its traceback refers to this frame

    def _finish(self, error: BaseException | None) -> None:
        service = self._connection.service
        self._ended = True
        session = self.session
        gone = session.must_close or session.closing
        self._write(session.finish(failed=error is not None))
        service.ledger.socket_over(
            self.entry, 101 if session.accepted else session.denied, error, self.reason, gone=gone
        )
        if isinstance(error, (SystemExit, KeyboardInterrupt)):
            service.leave_with(error)
        self._settle()
        service.cycle_over(self)

    def cancel(self, reason: str) -> None:
        """End the application, as ``Cycle.cancel``."""
        if not self.reason:
            self.reason = reason
            if self._started and self.task is not None:
                self.task.cancel()

    def time_out(self) -> bool:
        """``request_timeout`` is about requests: pings and their answers decide how long this lasts."""
        return False

    # From the connection

    def data_received(self, data: bytes) -> None:
        """Take in what arrived, ``b""`` for the end of it. Pongs leave at once, ahead of everything."""
        session, connection = self.session, self._connection
        urgent = session.receive_data(data)
        if urgent:
            self._write(urgent)
        if session.paused:
            self._holding = True
            connection.pause_reading()
        self._wake()
        if not (self._ticking and session.open):
            self._settle()

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def client_gone(self) -> None:
        self.session.receive_data(b"")
        self._wake()

    def ring(self) -> None:
        """A ping is due, or the answer to one has not come."""
        self._write(self.session.tick(self._connection.service.loop.time()))
        self._wake()
        self._settle()

    def go_away(self) -> None:
        """The worker leaves: 1012 (Service Restart), or 503 before the accept."""
        if not self._ended:
            self._write(self.session.go_away())
            self._wake()
            self._settle()

    def _write(self, data: bytes) -> None:
        if data and not self._connection.lost:
            self._connection.transport.write(data)

    def _settle(self) -> None:
        """Do what the session's flags ask for."""
        session, connection = self.session, self._connection
        if connection.lost:
            return
        alarms = connection.alarms
        if session.must_close:
            connection.end_socket()
        elif session.closing:
            if not alarms.is_set(Wait.SOCKET_END):
                alarms.clear(Wait.SOCKET)
                alarms.set(Wait.SOCKET_END, CLOSE_WAIT)
        elif session.accepted:
            if not self._ticking:
                self._ticking = True
                self._write(session.tick(connection.service.loop.time()))
            alarms.at(Wait.SOCKET, session.deadline)
