"""One request on asyncio: the application's task, its ``receive`` and its ``send``."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from gunicorn.asgi.http import FileBody, Stage
from gunicorn.workers.asgi.files import send_file

if TYPE_CHECKING:
    from gunicorn.asgi.http import HttpExchange
    from gunicorn.workers.asgi.ledger import Entry
    from gunicorn.workers.asgi.protocol import Connection

__all__ = ["Cycle"]

Message = dict[str, Any]
_DONE = Stage.DONE
_BURST = 256 * 1024


class Cycle:
    """The driver's side of an ``HttpExchange``.

    Attributes:
        task: Runs the application; set by whoever makes it.
        reason: Why it was cancelled; empty while it was not.
        responded: The response is over, and the connection has gone on.
    """

    # Defaults on the class and no slots, as in HttpExchange: most of these are never written.
    task: asyncio.Task[None] | None = None
    reason = ""
    responded = False
    go_away = None
    _started = False
    _yielded_at = 0

    def __init__(self, connection: Connection, exchange: HttpExchange, entry: Entry) -> None:
        self._connection = connection
        self.exchange = exchange
        self.entry = entry

    async def receive(self) -> Message:
        exchange = self.exchange
        while (message := exchange.next_message()) is None:
            await self._connection.wait_for_input(exchange)
        self._connection.input_taken()
        return message

    async def send(self, message: Message) -> None:
        exchange = self.exchange
        data = exchange.send(message)
        connection = self._connection
        if type(data) is bytes:
            if data:
                connection.transport.write(data)
        elif isinstance(data, FileBody):
            await send_file(connection, exchange, data.path)
        if exchange.stage is _DONE:
            connection.response_over(self, leftover=True)
        elif connection.write_paused:
            await connection.drained()
        elif exchange.body_sent - self._yielded_at > _BURST:
            # A client that reads as fast as the application sends must not keep the loop from all others.
            self._yielded_at = exchange.body_sent
            await asyncio.sleep(0)

    async def run(self, app: Any, scope: dict[str, Any]) -> None:
        """Call the application and see to it that its response has an end. Raises nothing."""
        self._started = True
        ledger = self._connection.service.ledger
        error: BaseException | None = None
        try:
            if self.reason:
                raise asyncio.CancelledError
            if ledger.pre_request is not None:
                ledger.enter(self.entry)
            await app(scope, self.receive, self.send)
        except GeneratorExit:
            raise  # the loop is gone, and so is everything that could be done here
        except BaseException as raised:  # noqa: BLE001 - the boundary of the application's code
            error = raised
        self._ended(error)
        del error  # its traceback refers to this frame

    def _ended(self, error: BaseException | None) -> None:
        connection, exchange = self._connection, self.exchange
        if error is not None or exchange.stage is not _DONE:
            data = connection.service.ledger.conclude(self.entry, exchange, error, self.reason)
            if data and not connection.lost:
                connection.transport.write(data)
            if isinstance(error, (SystemExit, KeyboardInterrupt)):
                connection.service.leave_with(error)
        if self.responded:
            connection.leftover_over()
        else:
            connection.response_over(self, leftover=False)
        connection.service.ledger.end(self.entry, exchange)
        connection.service.cycle_over(self)

    def client_gone(self) -> None:
        self.exchange.disconnect()

    def cancel(self, reason: str) -> None:
        """End the application: its task is cancelled, once; shielded cleanup may take its time."""
        if not self.reason:
            self.reason = reason
            # A task that is cancelled before its first step never runs, not even its cleanup.
            if self._started and self.task is not None:
                self.task.cancel()
