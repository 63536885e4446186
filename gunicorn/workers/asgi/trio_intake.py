"""The receiving side of a connection on trio: who waits for the socket, and who waits for what it brings.

At first whoever needs bytes receives. The reader, a task that begins with the first application that waits
for something, takes that over for good: so a client that leaves is noticed whatever the application does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import trio
from trio.lowlevel import ParkingLot

if TYPE_CHECKING:
    from gunicorn.workers.asgi.trio_link import Link

__all__ = ["Intake", "Sink"]


class Sink(Protocol):
    """What takes the bytes."""

    @property
    def full(self) -> bool:
        """Whether more should wait until ``Intake.taken``."""
        ...

    def feed(self, data: bytes) -> None:
        """Take in ``data``; ``b""`` is the end."""
        ...

    async def fed(self) -> None:
        """Called by the reader after each arrival, when all that waited for it have been woken."""
        ...


class Intake:
    """Receives from a link into a sink.

    Attributes:
        ended: Whether the client has ended its side.
        reading: Whether the reader receives; nobody else waits for the socket then.
    """

    __slots__ = ("_arrival", "_closed", "_link", "_room", "_sink", "ended", "reading")

    def __init__(self, link: Link, sink: Sink) -> None:
        self.ended = False
        self.reading = False
        self._closed = False
        self._link = link
        self._sink = sink
        self._arrival = ParkingLot()
        self._room = ParkingLot()

    async def arrive(self) -> None:
        """Wait until something has arrived."""
        if self.reading:
            self.taken()
            await self._arrival.park()
        else:
            await self._link.readable()
            self.take_what_is_here()

    def take_what_is_here(self) -> bool:
        """Receive without waiting; whether there was something, or its end."""
        data = self._link.receive()
        if data is None:
            return self.ended
        self.take(data)
        return True

    def take(self, data: bytes) -> None:
        """Take in what was received, ``b""`` for the end of it."""
        if not data:
            self.ended = True
        self._sink.feed(data)

    async def read(self) -> None:
        """The reader, until the end of what the client sends."""
        try:
            while not self._closed:
                if self._sink.full:
                    await self._room.park()
                    continue
                await self._link.readable()
                data = self._link.receive()
                if data is not None:
                    self.take(data)
                    self.wake()
                    await self._sink.fed()
                if data == b"":
                    return
        except trio.ClosedResourceError:
            return  # by us

    async def change(self) -> None:
        """Return when something has changed: bytes, their end, or whatever else called ``wake``."""
        await self._arrival.park()

    def wake(self) -> None:
        """Have everybody look again who waits for a change."""
        if self._arrival:
            self._arrival.unpark_all()

    def taken(self) -> None:
        """There may be room for more."""
        if self._room and not self._sink.full:
            self._room.unpark_all()

    def close(self) -> None:
        """The socket is closed: nobody waits any more."""
        self._closed = self.ended = True
        self._room.unpark_all()
        self.wake()
