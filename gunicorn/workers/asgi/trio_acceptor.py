"""The listeners of a worker on trio: accepting, its limit, and its end."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

import trio

from gunicorn.process.slots import CONNECTIONS

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from gunicorn.process.listeners import Listener
    from gunicorn.workers.asgi.trio_service import Service

__all__ = ["Acceptor"]

# Other workers wait on the same listeners: whoever takes all that is there leaves them idle.
_AT_ONCE = 4
_NO_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_SHORTAGE_PAUSE = 1.0


class Acceptor:
    """Accepts for one worker.

    Args:
        limit: Connections that may be open.
        handle: Takes a socket that does not block, and the client's address.

    Attributes:
        open: Connections that are.
    """

    def __init__(
        self,
        service: Service,
        listeners: list[Listener],
        limit: int,
        handle: Callable[[socket.socket, Any], None],
    ) -> None:
        self.open = 0
        self.queue_left = False
        self._service = service
        self._listeners = listeners
        self._limit = limit
        self._handle = handle
        self._room = trio.lowlevel.ParkingLot()
        for listener in listeners:
            listener.setblocking(False)

    @property
    def idle(self) -> bool:
        """Whether no connection is left, open or queued."""
        return not self.open and not self.queue_left

    async def run(self) -> None:
        """Accept until cancelled."""
        async with trio.open_nursery() as nursery:
            for listener in self._listeners:
                nursery.start_soon(self._accept_from, listener)

    async def _accept_from(self, listener: Listener) -> None:
        while True:
            while self.open >= self._limit:
                await self._room.park()
            await trio.lowlevel.wait_readable(listener.fileno())
            for _ in range(_AT_ONCE):
                if self.open >= self._limit or not await self._accept_or_wait(listener):
                    break

    async def _accept_or_wait(self, listener: Listener) -> bool:
        try:
            return self._accept(listener)
        except OSError as error:
            # The connection stays in the queue, so the listener would be reported for ever.
            self._service.log.error(
                "Cannot accept: %s; trying again in %s s", error.strerror, _SHORTAGE_PAUSE
            )
            await trio.sleep(_SHORTAGE_PAUSE)
            return False

    def _accept(self, listener: Listener) -> bool:
        """Take one connection, if there is one.

        Raises:
            OSError: there is, and no descriptor for it.
        """
        try:
            sock, address = listener.accept()
        except OSError as error:
            if error.errno in _NO_DESCRIPTORS:
                raise
            return False  # nothing there, or a client that gave up while it was in the queue
        sock.setblocking(False)
        self._count(1)
        self._handle(sock, address)
        return True

    def _count(self, amount: int) -> None:
        self.open += amount
        slot = self._service.worker.slot
        if slot is not None:
            slot.add(CONNECTIONS, amount)

    def closed(self) -> None:
        """One connection has ended."""
        self._count(-1)
        self._room.unpark()
        if self.queue_left:
            self.take_queued()

    def take_queued(self) -> None:
        """Take over what the kernel has accepted for us: closing the listener would reset it."""
        for listener in self._listeners:
            misses = 0
            # Another worker may be faster at the first try, or a client may have given up.
            while misses < 2 and self.open < self._limit:
                try:
                    misses += not self._accept(listener)
                except OSError:
                    break
        self.queue_left = self.open >= self._limit

    def give_up(self) -> None:
        """Leave what is queued to others."""
        self.queue_left = False
