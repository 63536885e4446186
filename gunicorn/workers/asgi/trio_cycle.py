"""One request on trio: the application, its ``receive`` and its ``send``."""

from __future__ import annotations

import os
from contextvars import copy_context
from math import inf
from typing import TYPE_CHECKING, Any

import trio
from trio.lowlevel import checkpoint, current_task

from gunicorn.asgi.errors import ClientDisconnected
from gunicorn.asgi.http import FileBody, HttpExchange, Stage
from gunicorn.errors import ProtocolError
from gunicorn.workers.asgi.trio_errors import divide
from gunicorn.workers.asgi.trio_steps import stepwise

if TYPE_CHECKING:
    from gunicorn.http.events import Request
    from gunicorn.workers.asgi.ledger import Entry
    from gunicorn.workers.asgi.trio_connection import Connection

__all__ = ["Cycle"]

Message = dict[str, Any]
_AT_BODY, _DONE = Stage.BODY, Stage.DONE
_BODY = "http.response.body"
# Pieces of this size are sent beside their frames.
_LARGE = 16 * 1024
# How many messages an application may take or send without letting anybody else run.
_TURN = 16


class Cycle(HttpExchange):
    """An ``HttpExchange`` with what runs the application for it; one object, as on asyncio.

    Args:
        scope: What is cancelled to end the application.
        task: What runs it.

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
        "_link", "_owner", "_scope", "_task", "_turn", "_watched", "detached", "entry", "farewell", "over",
        "reason",
    )  # fmt: skip

    def __init__(
        self,
        connection: Connection,
        request: Request,
        entry: Entry,
        scope: trio.CancelScope,
        task: trio.lowlevel.Task,
    ) -> None:
        super().__init__(connection.http, request)
        self._owner = connection
        self._link = connection.link
        self._task = task
        self._scope = scope
        self._watched = False
        self._turn = 0
        self.entry = entry
        self.reason = ""
        self.over = self.detached = False
        self.farewell: trio.CancelScope | None = None

    @property
    def answered(self) -> bool:
        """Whether the client needs the application no more."""
        return self.stage is _DONE

    # For the application

    async def _receive(self) -> Message:
        message = self.next_message()
        if message is None:
            message = await self._wait_for_message()
        elif message["type"] == "http.disconnect":
            # Given again for ever: an application in a loop must not stop all others.
            await checkpoint()
        else:
            self._turn += 1
            if not self._turn % _TURN:
                await checkpoint()
        self._owner.intake.taken()
        return message

    async def _wait_for_message(self) -> Message:
        intake = self._owner.intake
        while (message := self.next_message()) is None:
            if not self.body_wanted:
                await intake.change()
                continue
            data = self.begin_body()
            if data:
                await self._link.write(data)
            if not intake.take_what_is_here():
                await self._wait_for_body()
        return message

    async def _wait_for_body(self) -> None:
        connection = self._owner
        with trio.move_on_after(connection.service.body_timeout or inf) as wait:
            await connection.intake.change()
        if wait.cancelled_caught and self.body_wanted:
            self.fail_body(ProtocolError(408, "body_timeout", "the body stopped arriving"))
            connection.intake.wake()

    async def _send(self, message: Message) -> None:
        parts = self._large_piece(message) if self.stage is _AT_BODY and self.head_sent else None
        data = b"" if parts else self.send(message)
        if data and self.stage is not _DONE and self._hold(data):
            return
        try:
            if type(data) is not bytes:
                await self._send_file(data.path)  # type: ignore[union-attr]
            elif data:
                await self._link.write(data)
            elif parts:
                await self._link.write_parts(*parts)
        except ClientDisconnected:
            self.client_gone()
            raise
        if self.stage is _DONE:
            self._owner.response_over(self)
            return
        # Now and then let others run: a fast client and a fast application must not starve the loop.
        self._turn += 1
        if not self._turn % _TURN:
            await checkpoint()

    def _large_piece(self, message: Message) -> tuple[bytes, ...] | None:
        """What ``send`` would make of a piece that is worth not to be copied into its frame."""
        body = message.get("body") if type(message) is dict else None
        if type(body) is not bytes or len(body) < _LARGE or not message.get("more_body"):
            return None
        connection = self._connection
        if connection.response_left is not None or message.get("type") != _BODY or self.disconnected:
            return None
        before, after = connection.frame(len(body))
        self.body_sent += len(body)
        return before, body, after

    def _hold(self, data: bytes | FileBody) -> bool:
        # Of the application's other tasks nobody knows when they suspend.
        return type(data) is bytes and current_task() is self._task and self._link.hold(data)

    async def _send_file(self, path: str) -> None:
        link = self._link
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            before, count, after = self.begin_file(os.fstat(fd).st_size)
            await link.write(before)
            await link.write_file(fd, count)
            if after:
                await link.write(after)
        finally:
            os.close(fd)

    # For the connection

    async def run(self, app: Any, scope: dict[str, Any]) -> None:
        """Call the application and see to it that its response has an end.

        Raises:
            trio.Cancelled: it was cancelled. Nothing else is raised.
        """
        ledger = self._owner.service.ledger
        error: BaseException | None = None
        try:
            if ledger.pre_request is not None:
                ledger.enter(self.entry)
            await stepwise(app(scope, self._receive, self._send), copy_context(), self._suspended)
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
        """Called before whatever else runs: what is held leaves now."""
        if self._link.held:
            self._flush()
        if not self._watched:
            self._watched = True
            self._owner.watch(self)
        if self.over and not self.detached:
            self._owner.detach(self)

    def _flush(self) -> None:
        try:
            if not self._link.flush_now():
                self._owner.nursery.start_soon(self._flush_rest)
        except ClientDisconnected:
            self.client_gone()

    async def _flush_rest(self) -> None:
        """Beside the application, which has gone on and learns from the next ``send`` what came of this."""
        try:
            await self._link.flush()
        except ClientDisconnected:
            self.client_gone()

    def _ended(self, error: BaseException | None, own: BaseException | None) -> None:
        """
        Args:
            error: What came out of the application.
            own: The part of it that is not our cancellation.
        """
        connection = self._owner
        ledger = connection.service.ledger
        if error is not None or self.stage is not _DONE:
            if self._link.held:
                self._flush()
            # An error in the cleanup after a cancellation is an error.
            data = ledger.conclude(self.entry, self, own or error, "" if own is not None else self.reason)
            if data:
                self._write_page(data)
            if isinstance(own, (SystemExit, KeyboardInterrupt)):
                connection.service.leave_with(own)
        if not self.over:
            connection.response_over(self)
        ledger.end(self.entry, self)

    def _write_page(self, data: bytes) -> None:
        # Without waiting: a page fits into the socket's buffer, and this task may be a cancelled one.
        try:
            self._link.write_now(data)
        except ClientDisconnected:
            self.disconnect()

    def client_gone(self) -> None:
        """Nothing that is sent arrives any more."""
        self.disconnect()
        self._owner.intake.wake()

    def client_left(self) -> None:
        """The client has ended its side; it may still read."""
        self.notice_disconnect()
        self._owner.intake.wake()

    def time_out(self) -> bool:
        """``request_timeout``: answer 504 at once, or cut the answer off, and cancel the application.

        Returns:
            False when there is nothing to do: it was answered, or ends already.
        """
        if self.over or self.reason:
            return False
        connection = self._owner
        data = self.cut_off(504, date=connection.service.ledger.date())
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
