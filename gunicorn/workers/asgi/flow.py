"""Flow control of one connection on asyncio, both ways: what waits for the client, and what it waits for."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

from gunicorn.asgi.errors import ClientDisconnected
from gunicorn.workers.asgi.alarms import Wait
from gunicorn.workers.asgi.progress import unsent

if TYPE_CHECKING:
    from gunicorn.http.connection import ServerConnection
    from gunicorn.workers.asgi.alarms import Alarms
    from gunicorn.workers.asgi.service import Service

__all__ = ["READ_LIMIT", "FlowControl"]

# Above this many received bytes that nobody has taken, nothing more is received.
READ_LIMIT = 64 * 1024

# Pieces of a stream that follow each other faster than this (seconds) leave together. What comes later does
# not wait for the loop: an application that blocks it between pieces would keep them from its client.
_BURST_GAP = 0.002
# As many bytes leave in one system call. It costs as much as 2 kB do on their way through the kernel.
_HOLD_LIMIT = 64 * 1024


class FlowControl(asyncio.Protocol):
    """Half of ``gunicorn.workers.asgi.protocol.Connection``, which owns what is only named here.

    Attributes:
        transport: The socket's.
        held: Pieces that wait for the next turn of the loop, for others to join them.
        lost: The client is gone for certain.
        reading_paused: Nothing more is received, because nobody has taken what is here.
        write_paused: The client takes less than it is sent.
    """

    __slots__ = (
        "_arrival", "_drain", "_eof", "_file_wait", "_held_size", "_unsent", "_wrote_at", "alarms", "held",
        "http", "lost", "reading_paused", "service", "transport", "write_paused",
    )  # fmt: skip

    transport: asyncio.Transport
    service: Service
    alarms: Alarms
    http: ServerConnection

    def __init__(self) -> None:
        self.lost = False
        self.write_paused = False
        self.reading_paused = False
        self.held: list[bytes] = []
        self._held_size = 0
        self._wrote_at = 0.0
        self._eof = False
        self._unsent = 0
        self._arrival: asyncio.Event | None = None
        self._drain: asyncio.Event | None = None
        self._file_wait: asyncio.Future[None] | None = None

    # What is received

    async def arrival(self) -> None:
        """Return when something has happened that ``receive`` may be about."""
        if self._arrival is None:
            self._arrival = asyncio.Event()
        await self._arrival.wait()

    def input_taken(self) -> None:
        """Something that was received is with the application."""
        if self.http.buffered <= READ_LIMIT:
            self.resume_reading()

    def limit_backlog(self) -> None:
        if self.http.buffered > READ_LIMIT:
            self.pause_reading()

    def wake(self) -> None:
        if self._arrival is not None:
            # All that wait now, and nobody who comes later.
            self._arrival.set()
            self._arrival.clear()

    def pause_reading(self) -> None:
        if not self.reading_paused and not self._eof and not self.lost:
            self.reading_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if self.reading_paused:
            self.reading_paused = False
            if not self.lost and not self.transport.is_closing():
                self.transport.resume_reading()

    # What is sent

    def write(self, data: bytes) -> None:
        """Send ``data``, behind what is held."""
        if self.held:
            self.held.append(data)
            self.flush()
        else:
            self.transport.write(data)

    def write_piece(self, data: bytes) -> None:
        """Send a piece of a response that has more of them: the first of a burst at once, others together."""
        if len(data) >= _HOLD_LIMIT:
            self.write(data)
            return
        now = monotonic()
        if now - self._wrote_at > _BURST_GAP:
            self._wrote_at = now
            self.write(data)
            return
        held = self.held
        held.append(data)
        self._held_size += len(data)
        if self._held_size >= _HOLD_LIMIT:
            self.flush()
        elif len(held) == 1:
            self.service.loop.call_soon(self.flush)

    def flush(self) -> None:
        """Send what is held."""
        held = self.held
        if not held:
            return
        self.held, self._held_size = [], 0
        if self.lost or self.transport.is_closing():
            return
        if len(held) == 1:
            self.transport.write(held[0])
        else:
            self.transport.writelines(held)

    def pause_writing(self) -> None:
        self.write_paused = True
        self.expect_progress()

    def resume_writing(self) -> None:
        self.write_paused = False
        self.alarms.clear(Wait.WRITE)
        self.wake_writers()

    async def drained(self) -> None:
        """Return when the client has taken enough.

        Raises:
            ClientDisconnected: it has gone.
        """
        while self.write_paused:
            if self._drain is None:
                self._drain = asyncio.Event()
            await self._drain.wait()
        if self.lost:
            raise ClientDisconnected

    def waits_for_client(self, ready: asyncio.Future[None] | None) -> None:
        """Something else than the transport waits until the client takes bytes; None: no more."""
        self._file_wait = ready
        if ready is None:
            self.alarms.clear(Wait.WRITE)
        else:
            self._unsent = 0
            self.alarms.set(Wait.WRITE, self.service.write_timeout)

    def wake_writers(self) -> None:
        if self._drain is not None:
            self._drain.set()
            self._drain.clear()
        if self._file_wait is not None and not self._file_wait.done():
            self._file_wait.set_result(None)

    def expect_progress(self) -> None:
        self._unsent = unsent(self.transport)
        self.alarms.set(Wait.WRITE, self.service.write_timeout)

    def write_late(self) -> None:
        if unsent(self.transport) < self._unsent:
            self.expect_progress()  # slow, but not dead
        else:
            self.transport.abort()
