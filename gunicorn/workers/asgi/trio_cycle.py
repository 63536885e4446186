"""One request on trio: the application, its ``receive`` and its ``send``."""

from __future__ import annotations

import os
from contextvars import copy_context
from math import inf
from typing import TYPE_CHECKING, Any

import trio

from gunicorn.asgi.errors import ClientDisconnected
from gunicorn.asgi.http import HttpExchange, Stage
from gunicorn.errors import ProtocolError
from gunicorn.workers.asgi.trio_errors import divide
from gunicorn.workers.asgi.trio_steps import stepwise

if TYPE_CHECKING:
    from gunicorn.http.events import Request
    from gunicorn.workers.asgi.ledger import Entry
    from gunicorn.workers.asgi.trio_connection import Connection

__all__ = ["Cycle"]

Message = dict[str, Any]
_DONE = Stage.DONE
# How many messages an application may take or send without letting anybody else run.
_TURN = 16


class Cycle:
    """The driver's side of an ``HttpExchange``.

    Args:
        scope: What is cancelled to end the application.

    Attributes:
        reason: Why it was cancelled; empty while it was not.
        over: The response has been written, or given up.
        detached: Another task serves the connection now.
        farewell: Around the moments after the client has left.
    """

    go_away = (
        None  # there is no way to say in the middle of a response that another request should come later
    )

    __slots__ = (
        "_connection", "_scope", "_turn", "_watched", "detached", "entry", "exchange", "farewell", "over",
        "reason",
    )  # fmt: skip

    def __init__(
        self, connection: Connection, request: Request, entry: Entry, scope: trio.CancelScope
    ) -> None:
        self._connection = connection
        self.exchange = HttpExchange(connection.http, request)
        self.entry = entry
        self.reason = ""
        self.over = self.detached = False
        self.farewell: trio.CancelScope | None = None
        self._scope = scope
        self._watched = False
        self._turn = 0

    @property
    def answered(self) -> bool:
        """Whether the client needs the application no more."""
        return self.exchange.stage is _DONE

    # For the application

    async def receive(self) -> Message:
        exchange = self.exchange
        message = exchange.next_message()
        if message is None:
            message = await self._next_message()
        elif message["type"] == "http.disconnect":
            # Given again for ever: an application in a loop must not stop all others.
            await trio.lowlevel.checkpoint()
        else:
            await self._take_turn()
        self._connection.intake.taken()
        return message

    async def _next_message(self) -> Message:
        exchange, connection = self.exchange, self._connection
        while (message := exchange.next_message()) is None:
            if not exchange.body_wanted:
                await connection.intake.change()
                continue
            data = exchange.begin_body()
            if data:
                await connection.link.write(data)
            if not connection.intake.take_what_is_here():
                await self._wait_for_body()
        return message

    async def _wait_for_body(self) -> None:
        connection = self._connection
        with trio.move_on_after(connection.service.body_timeout or inf) as wait:
            await connection.intake.change()
        if wait.cancelled_caught and self.exchange.body_wanted:
            self.exchange.fail_body(ProtocolError(408, "body_timeout", "the body stopped arriving"))
            connection.intake.wake()

    async def send(self, message: Message) -> None:
        exchange = self.exchange
        data = exchange.send(message)
        if data:
            try:
                if isinstance(data, bytes):
                    await self._connection.link.write(data)
                else:
                    await self._send_file(data.path)
            except ClientDisconnected:
                self.client_gone()
                raise
        if exchange.stage is _DONE:
            self._connection.response_over(self)
        else:
            await self._take_turn()

    async def _send_file(self, path: str) -> None:
        link, exchange = self._connection.link, self.exchange
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            before, count, after = exchange.begin_file(os.fstat(fd).st_size)
            await link.write(before)
            await link.write_file(fd, count)
            if after:
                await link.write(after)
        finally:
            os.close(fd)

    async def _take_turn(self) -> None:
        """Now and then let others run: a fast client and a fast application must not starve the loop."""
        self._turn += 1
        if not self._turn % _TURN:
            await trio.lowlevel.checkpoint()

    # For the connection

    async def run(self, app: Any, scope: dict[str, Any]) -> None:
        """Call the application and see to it that its response has an end.

        Raises:
            trio.Cancelled: it was cancelled. Nothing else is raised.
        """
        ledger = self._connection.service.ledger
        error: BaseException | None = None
        try:
            if ledger.pre_request is not None:
                ledger.enter(self.entry)
            await stepwise(app(scope, self.receive, self.send), copy_context(), self._suspended)
        except BaseException as raised:
            if not trio.lowlevel.in_trio_task():
                raise  # the loop is gone, and so is everything that could be done here
            error = raised
        own, cancelled = divide(error) if error is not None else (None, None)
        self._ended(error, own)
        del error, own  # their tracebacks refer to this frame
        if cancelled is not None:
            raise cancelled

    def _suspended(self) -> None:
        if not self._watched:
            self._watched = True
            self._connection.watch(self)
        if self.over and not self.detached:
            self._connection.detach(self)

    def _ended(self, error: BaseException | None, own: BaseException | None) -> None:
        """
        Args:
            error: What came out of the application.
            own: The part of it that is not our cancellation.
        """
        connection, exchange = self._connection, self.exchange
        ledger = connection.service.ledger
        if error is not None or exchange.stage is not _DONE:
            # An error in the cleanup after a cancellation is an error.
            data = ledger.conclude(self.entry, exchange, own or error, "" if own is not None else self.reason)
            if data:
                self._write_page(data)
            if isinstance(own, (SystemExit, KeyboardInterrupt)):
                connection.service.leave_with(own)
        connection.response_over(self)
        ledger.end(self.entry, exchange)

    def _write_page(self, data: bytes) -> None:
        # Without waiting: a page fits into the socket's buffer, and this task may be a cancelled one.
        try:
            self._connection.link.write_now(data)
        except ClientDisconnected:
            self.exchange.disconnect()

    def client_gone(self) -> None:
        """Nothing that is sent arrives any more."""
        self.exchange.disconnect()
        self._connection.intake.wake()

    def client_left(self) -> None:
        """The client has ended its side; it may still read."""
        self.exchange.notice_disconnect()
        self._connection.intake.wake()

    def time_out(self) -> bool:
        """``request_timeout``: answer 504 at once, or cut the answer off, and cancel the application.

        Returns:
            False when there is nothing to do: it was answered, or ends already.
        """
        if self.over or self.reason:
            return False
        connection = self._connection
        data = self.exchange.cut_off(504, date=connection.service.ledger.date())
        if data:
            self._write_page(data)
        connection.response_over(self)
        # The client need not wait for the cleanup: the connection gets a task that closes it.
        connection.detach(self)
        self.cancel("it took longer than request_timeout")
        return True

    def cancel(self, reason: str) -> None:
        """End the application; what it shields may take its time."""
        self.reason = self.reason or reason
        self._scope.cancel()
