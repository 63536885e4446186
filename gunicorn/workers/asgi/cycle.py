"""One request on asyncio: the application's task, its ``receive`` and its ``send``."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from gunicorn.asgi.http import HttpExchange, Stage
from gunicorn.workers.asgi.files import send_file

if TYPE_CHECKING:
    from gunicorn.http.events import Request
    from gunicorn.workers.asgi.ledger import Entry
    from gunicorn.workers.asgi.protocol import Connection

__all__ = ["Cycle"]

Message = dict[str, Any]
_DONE = Stage.DONE
_BURST = 1024 * 1024


class Cycle(HttpExchange):
    """An ``HttpExchange`` with the task that runs the application for it.

    It is one and does not have one: every request would pay 0.4 us for the second object and the way to it.

    Attributes:
        task: Runs the application; set by whoever makes it.
        reason: Why it was cancelled; empty while it was not.
        responded: The response is over, and the connection has gone on.
    """

    __slots__ = ("_link", "_started", "_yielded_at", "entry", "reason", "responded", "task")

    go_away = None

    def __init__(self, link: Connection, request: Request, entry: Entry) -> None:
        super().__init__(link.http, request)
        self._link = link
        self.entry = entry
        self.task: asyncio.Task[None] | None = None
        self.reason = ""
        self.responded = False
        self._started = False
        self._yielded_at = 0

    async def run(self, app: Any, scope: dict[str, Any]) -> None:
        """Call the application and see to it that its response has an end. Raises nothing."""
        self._started = True
        service = self._link.service
        service.turns.begun -= 1
        ledger = service.ledger
        error: BaseException | None = None
        try:
            if self.reason:
                raise asyncio.CancelledError
            if ledger.pre_request is not None:
                ledger.enter(self.entry)
            await app(scope, self._receive, self._send)
        except GeneratorExit:
            raise  # the loop is gone, and so is everything that could be done here
        except BaseException as raised:  # noqa: BLE001 - the boundary of the application's code
            error = raised
        self._ended(error)
        del error  # its traceback refers to this frame

    async def _receive(self) -> Message:
        """The application's ``receive``."""
        link = self._link
        while (message := self.next_message()) is None:
            await link.wait_for_input(self)
        if link.reading_paused:
            link.input_taken()
        return message

    async def _send(self, message: Message) -> None:
        """The application's ``send``."""
        data = self.send(message)
        link = self._link
        if type(data) is not bytes:
            link.flush()
            await send_file(link, self, data.path)  # type: ignore[union-attr]
        elif self.stage is not _DONE:
            if not data:
                return  # a head, which waits for the first of the body
            link.write_piece(data)
        elif data and link.held:
            link.write(data)
        elif data:
            link.transport.write(data)
        if self.stage is _DONE:
            link.response_over(self, leftover=True)
        elif link.write_paused:
            await link.drained()
        elif self.body_sent - self._yielded_at > _BURST:
            # A client that reads as fast as the application sends must not keep the loop from all others.
            self._yielded_at = self.body_sent
            await asyncio.sleep(0)

    def _ended(self, error: BaseException | None) -> None:
        link = self._link
        service = link.service
        if error is not None or self.stage is not _DONE:
            data = service.ledger.conclude(self.entry, self, error, self.reason)
            if data and not link.lost:
                link.write(data)
            if isinstance(error, (SystemExit, KeyboardInterrupt)):
                service.leave_with(error)
        if self.responded:
            link.leftover_over()
        else:
            link.response_over(self, leftover=False)
        service.ledger.end(self.entry, self)
        service.cycle_over(self)

    def client_gone(self) -> None:
        self.disconnect()

    def time_out(self) -> bool:
        """``request_timeout``: answer 504 at once, or cut the answer off, and cancel the application.

        Returns:
            False when there is nothing to do: it was answered, or ends already.
        """
        if self.responded or self.reason:
            return False
        link = self._link
        data = self.cut_off(504, date=link.service.ledger.date())
        if data and not link.lost:
            link.write(data)
        link.response_over(self, leftover=True)
        self.cancel("it took longer than request_timeout")
        return True

    def cancel(self, reason: str) -> None:
        """End the application: its task is cancelled, once; shielded cleanup may take its time."""
        if not self.reason:
            self.reason = reason
            # A task that is cancelled before its first step never runs, not even its cleanup.
            if self._started and self.task is not None:
                self.task.cancel()
