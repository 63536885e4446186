"""One WebSocket on trio: the application, its ``receive`` and its ``send``, pings, and the end."""

from __future__ import annotations

from contextvars import copy_context
from math import inf
from typing import TYPE_CHECKING, Any

import trio

from gunicorn.asgi.errors import ClientDisconnected
from gunicorn.asgi.websocket import CLOSE_WAIT, WebSocketClosed
from gunicorn.workers.asgi.trio_errors import divide
from gunicorn.workers.asgi.trio_steps import stepwise

if TYPE_CHECKING:
    from gunicorn.asgi.websocket import WebSocketSession
    from gunicorn.workers.asgi.ledger import Entry
    from gunicorn.workers.asgi.trio_connection import Connection

__all__ = ["SocketCycle"]

Message = dict[str, Any]
# How many messages an application may take or send without letting anybody else run.
_TURN = 16


class SocketCycle:
    """The driver's side of a ``WebSocketSession``; the same shape as ``Cycle``.

    Args:
        scope: What is cancelled to end the application.

    Attributes:
        reason: Why it was cancelled; empty while it was not.
    """

    __slots__ = (
        "_connection", "_end_scope", "_ending", "_ping_scope", "_pinging", "_returned", "_scope", "_sending",
        "_turn", "_urgent", "entry", "reason", "session",
    )  # fmt: skip

    def __init__(
        self, connection: Connection, session: WebSocketSession, entry: Entry, scope: trio.CancelScope
    ) -> None:
        self._connection = connection
        self.session = session
        self.entry = entry
        self.reason = ""
        self._scope = scope
        self._sending = trio.Lock()
        self._urgent = bytearray()
        # Two, because either task may begin first: an application may close at once after its accept.
        self._ping_scope = trio.CancelScope()
        self._end_scope = trio.CancelScope()
        self._ending = self._pinging = self._returned = False
        self._turn = 0
        connection.link.on_progress = self._progress

    # For the application

    async def receive(self) -> Message:
        session, connection = self.session, self._connection
        message = session.next_message()
        if message is None:
            while (message := session.next_message()) is None:
                await connection.intake.change()
        elif message["type"] == "websocket.disconnect":
            await trio.lowlevel.checkpoint()
        else:
            await self._take_turn()
        connection.intake.taken()
        return message

    async def send(self, message: Message) -> None:
        lock = self._sending
        # The pieces of two messages must not mix, and a generator has one user at a time.
        if lock.locked():
            await lock.acquire()
        else:
            lock.acquire_nowait()
        try:
            for piece in self.session.send(message):
                await self._connection.link.write(piece)
                await self._take_turn()
        except WebSocketClosed:
            raise  # by the session: after our own close, the client's answer to that is still to come
        except ClientDisconnected as error:
            self._client_gone()
            raise WebSocketClosed(f"the client has gone: {error}") from error
        except trio.Cancelled:
            if self._connection.link.broken:
                self._client_gone()
            raise
        finally:
            lock.release()
            self._settle()

    async def _take_turn(self) -> None:
        """Now and then let others run: a fast client and a fast application must not starve the loop."""
        self._turn += 1
        if not self._turn % _TURN:
            await trio.lowlevel.checkpoint()

    # For the connection's task

    async def run(self, app: Any, scope: dict[str, Any]) -> None:
        """Call the application and see to it that the WebSocket has an end.

        Raises:
            trio.Cancelled: it was cancelled. Nothing else is raised.
        """
        self._connection.start_reader()
        error: BaseException | None = None
        try:
            await stepwise(app(scope, self.receive, self.send), copy_context(), _nothing)
        except BaseException as raised:
            if not trio.lowlevel.in_trio_task():
                raise  # the loop is gone, and so is everything that could be done here
            error = raised
        own, cancelled = divide(error)
        self._finish(error, own)
        del error, own  # their tracebacks refer to this frame
        self._ping_scope.cancel()
        self._end_scope.cancel()
        if cancelled is not None:
            raise cancelled
        await self._await_end()

    def _finish(self, error: BaseException | None, own: BaseException | None) -> None:
        """
        Args:
            error: What came out of the application.
            own: The part of it that is not our cancellation.
        """
        self._returned = True
        session, service = self.session, self._connection.service
        gone = session.must_close or session.closing
        self._write_now(session.finish(failed=error is not None))
        status = 101 if session.accepted else session.denied
        reason = "" if own is not None else self.reason
        service.ledger.socket_over(self.entry, status, own or error, reason, gone=gone)
        if isinstance(own, (SystemExit, KeyboardInterrupt)):
            service.leave_with(own)

    def _write_now(self, data: bytes) -> None:
        # Without waiting: this task may be a cancelled one, and where no close frame fits in, nobody reads.
        try:
            if data:
                self._connection.link.write_now(data)
        except ClientDisconnected:
            self._client_gone()

    async def _await_end(self) -> None:
        """Give the client its time to answer our close."""
        session, connection = self.session, self._connection
        with trio.move_on_after(CLOSE_WAIT):
            while not session.must_close:
                await connection.intake.change()
        if not session.must_close:
            self._client_gone()

    def cancel(self, reason: str) -> None:
        """End the application; what it shields may take its time."""
        self.reason = self.reason or reason
        self._scope.cancel()

    def time_out(self) -> bool:
        """``request_timeout`` is about requests: pings and their answers decide how long this lasts."""
        return False

    # For the reader

    def receive_data(self, data: bytes) -> None:
        """Take in what arrived, ``b""`` for the end of it; ``flush`` comes next."""
        self._urgent += self.session.receive_data(data)

    async def flush(self) -> None:
        """Write pongs and closes, ahead of everything that has not begun."""
        urgent = bytes(self._urgent)
        self._urgent.clear()
        await self._write_urgent(urgent)

    async def _write_urgent(self, data: bytes) -> None:
        try:
            if data:
                await self._connection.link.write(data)
        except ClientDisconnected:
            self._client_gone()
        self._settle()

    def _client_gone(self) -> None:
        self.session.receive_data(b"")
        self._connection.intake.wake()
        self._settle()

    def _progress(self) -> None:
        self.session.progress(trio.current_time())

    def _settle(self) -> None:
        """Do what the session's flags ask for."""
        session, nursery = self.session, self._connection.nursery
        if session.must_close or session.closing:
            if not self._ending:
                self._ending = True
                nursery.start_soon(self._end)
        elif session.accepted and not self._pinging:
            self._pinging = True
            nursery.start_soon(self._ping)

    # Tasks beside the application's

    async def _ping(self) -> None:
        session = self.session
        with self._ping_scope:
            while True:
                await self._write_urgent(session.tick(trio.current_time()))
                if session.must_close:
                    self._connection.intake.wake()
                if session.deadline == inf:
                    return
                await trio.sleep_until(session.deadline)

    async def _end(self) -> None:
        """The WebSocket has ended or is about to; the application may not know it yet."""
        session, connection = self.session, self._connection
        self._ping_scope.cancel()
        if self._returned:
            return  # then the connection's task does the rest
        with self._end_scope:
            by_application = session.closing and not session.leaving
            await self._await_end()
            connection.link.half_close()
            if not by_application:
                await trio.sleep(connection.service.disconnect_grace)
                self.cancel("its client has left")

    def go_away(self) -> None:
        """The worker leaves: 1012 (Service Restart), or 503 before the accept."""
        self._connection.nursery.start_soon(self._write_urgent, self.session.go_away())
        self._connection.intake.wake()


def _nothing() -> None:
    """A WebSocket has its reader from the start, and no response to go on after."""
