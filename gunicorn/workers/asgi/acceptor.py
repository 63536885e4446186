"""The listeners of a worker on asyncio: accepting, its limit, and its end.

Not ``loop.create_server``: that cannot be paused at ``worker_connections``, and closes the listener's queue
of connections with it, where a worker that leaves has to serve what is queued.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from functools import partial
from typing import TYPE_CHECKING

from gunicorn.process.slots import CONNECTIONS
from gunicorn.workers.asgi.protocol import Connection
from gunicorn.workers.engine.link import peer_of

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from gunicorn.process.listeners import Listener
    from gunicorn.workers.asgi.service import Service

__all__ = ["Acceptor"]

# Other workers wait on the same listeners: whoever takes all that is there leaves them idle.
_AT_ONCE = 4
_ANY_HOST = frozenset(("0.0.0.0", "::"))
_NO_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_SHORTAGE_PAUSE = 1.0


class Acceptor:
    """Accepts for one worker.

    Attributes:
        queue_left: Connections were queued when draining began, and there was no room for them yet.
    """

    def __init__(self, service: Service, listeners: list[Listener], limit: int) -> None:
        self.service = service
        self.queue_left = False
        self._limit = limit
        self._open = 0
        # How many are accepted before the loop goes on: twice as many as the last time, if there were that
        # many. To find the queue empty costs a system call and an exception, a tenth of a short connection.
        self._at_once = 1
        self._doors = [_Door(listener) for listener in listeners]
        self._accepting = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._shortage: asyncio.TimerHandle | None = None
        for listener in listeners:
            listener.setblocking(False)

    @property
    def idle(self) -> bool:
        """Whether no connection is left, open or queued."""
        return not self._open and not self.queue_left

    def start(self) -> None:
        """Accept from now on, as long as there is room."""
        if not self._accepting and self._open < self._limit:
            self._accepting = True
            for door in self._doors:
                self.service.loop.add_reader(door.listener.fileno(), self._ready, door)

    def stop(self) -> None:
        """Accept nothing, until ``start``."""
        if self._shortage is not None:
            self._shortage.cancel()
            self._shortage = None
        if self._accepting:
            self._accepting = False
            for door in self._doors:
                self.service.loop.remove_reader(door.listener.fileno())

    def _ready(self, door: _Door) -> None:
        for count in range(self._at_once):
            if self._open >= self._limit or not self._accept(door):
                self._at_once = max(1, count)
                return
        self._at_once = min(2 * self._at_once, _AT_ONCE)

    def _accept(self, door: _Door) -> bool:
        try:
            fd, address = door.listener._accept()  # type: ignore[attr-defined]
        except BlockingIOError:
            return False
        except OSError as error:
            self._failed(error)
            return False
        # The transport makes it non-blocking.
        sock = _Accepted(*door.kind, fd)
        self._count(1)
        connection = Connection(self.service, peer_of(address), door.name or _name_of(sock))
        if self.service.tls is None:
            opening = self.service.loop.connect_accepted_socket(lambda: connection, sock)
            self._open_plain(opening, connection, sock)
        else:
            self._tasks.add(self.service.loop.create_task(self._open_secure(connection, sock)))
        if self._open >= self._limit:
            self.stop()
        return True

    def _open_plain(
        self,
        opening: Coroutine[asyncio.Future[None], None, object],
        connection: Connection,
        sock: socket.socket,
        waited: object = None,
    ) -> None:
        """Step the loop's coroutine. All that it waits for is the next turn, which is not worth a task."""
        try:
            wait = opening.send(None)
        except StopIteration:
            return
        except OSError as error:
            self._not_opened(connection, sock, error)
            return
        wait.add_done_callback(partial(self._open_plain, opening, connection, sock))

    async def _open_secure(self, connection: Connection, sock: socket.socket) -> None:
        """The handshake."""
        service = self.service
        try:
            await service.loop.connect_accepted_socket(
                lambda: connection,
                sock,
                ssl=service.tls,
                ssl_handshake_timeout=service.handshake_timeout,
            )
        except (OSError, asyncio.CancelledError) as error:
            # It failed or never came, or the worker leaves.
            self._not_opened(connection, sock, error)
        finally:
            # Not by a callback of the task, which would cost another turn of the loop.
            self._tasks.discard(asyncio.current_task())

    def _not_opened(self, connection: Connection, sock: socket.socket, error: BaseException) -> None:
        self.service.log.debug(
            "Connection from %s dropped: %s", connection.peer.host, error or type(error).__name__
        )
        if not connection.made:
            sock.close()
            self.closed()

    def _count(self, amount: int) -> None:
        self._open += amount
        slot = self.service.worker.slot
        if slot is not None:
            slot.add(CONNECTIONS, amount)

    def _failed(self, error: OSError) -> None:
        if error.errno in _NO_DESCRIPTORS:
            # The connection stays in the queue, so the listener would be reported for ever.
            self.service.log.error("Cannot accept: %s; trying again in %s s", error.strerror, _SHORTAGE_PAUSE)
            self.stop()
            self._shortage = self.service.loop.call_later(_SHORTAGE_PAUSE, self._shortage_over)
        # Otherwise the client gave up while it was in the queue.

    def _shortage_over(self) -> None:
        self._shortage = None
        self.start()

    def closed(self) -> None:
        """One connection has ended."""
        self._count(-1)
        if self.queue_left:
            self.take_queued()
        elif not self.service.draining and self._shortage is None:
            self.start()
        self.service.check_idle()

    def take_queued(self) -> None:
        """Take over the connections that the kernel has accepted for us: closing the listener would reset
        them.
        """
        for door in self._doors:
            misses = 0
            # Another worker may be faster at the first try, or a client may have given up.
            while misses < 2 and self._open < self._limit:
                misses += not self._accept(door)
        self.queue_left = self._open >= self._limit

    def cancel(self) -> None:
        """Give up handshakes that have not ended."""
        self.queue_left = False
        for task in list(self._tasks):
            task.cancel()


class _Accepted(socket.socket):
    """A socket whose family and type are numbers, as C has them.

    Of a ``socket.socket`` they are looked for among the members of enumerations, each time that ``accept``
    and the loop ask: 3 us for each connection.
    """

    __slots__ = ()

    family = socket.SocketType.family  # type: ignore[assignment]
    type = socket.SocketType.type  # type: ignore[assignment]


class _Door:
    """A listener, and what is the same for all sockets that it accepts."""

    __slots__ = ("kind", "listener", "name")

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.kind = int(listener.family), int(listener.type), listener.proto
        name = _name_of(listener)
        self.name = None if isinstance(name, tuple) and name[0] in _ANY_HOST else name
        """None where each socket has to be asked for its own."""


def _name_of(sock: socket.socket) -> object:
    try:
        return sock.getsockname()
    except OSError:
        return None  # a connection that was reset in the queue has none on some systems
