"""The caller's side of the pool: calls from synchronous code, and from asyncio and trio.

It brings no event loop: the asynchronous half is imported when it is used.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from typing import TYPE_CHECKING, Any

from gunicorn.dirty import protocol, tlv
from gunicorn.dirty.connection import Connection, Message, can_hand, capabilities
from gunicorn.dirty.errors import DirtyConnectionError
from gunicorn.dirty.frames import Frame, Kind, pack
from gunicorn.dirty.handing import LARGE
from gunicorn.dirty.line import Line, Lines
from gunicorn.dirty.location import find_socket

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator
    from types import TracebackType

    from gunicorn.dirty.client_async import AsyncConnections

__all__ = ["DEFAULT_TIMEOUT", "DirtyClient"]

#: Seconds.
DEFAULT_TIMEOUT = 30.0
_MAX_IDLE = 4  # connections kept for the next call


class DirtyClient:
    """Calls into the pool.

    A client may be used by one thread at a time (``get_dirty_client`` has one for each). A connection is
    only used again when its last call was answered to the end; one that timed out or was abandoned is closed.

    Args:
        socket_path: Where the pool is; None finds it as a worker of a server does.
        timeout: Seconds for one call, and for each piece of a stream; None is no limit but the server's.
    """

    def __init__(self, socket_path: str | None = None, timeout: float | None = DEFAULT_TIMEOUT) -> None:
        self.socket_path = find_socket() if socket_path is None else socket_path
        self.timeout = timeout
        self._idle: list[Connection] = []
        self._lines = Lines(self.socket_path, self._idle)
        self._ids = itertools.count(1)
        self._pid = os.getpid()
        self._async: AsyncConnections | None = None

    def with_timeout(self, timeout: float | None) -> DirtyClient:
        """The same client with another timeout: ``client.with_timeout(5).execute(…)``."""
        other = DirtyClient(self.socket_path, timeout)
        self._after_fork()
        other._idle, other._ids, other._async = self._idle, self._ids, self._connections()
        other._lines = self._lines
        return other

    # Synchronous

    def execute(self, app_path: str, action: str, *args: Any, **kwargs: Any) -> Any:
        """Run ``action`` of the class ``app_path``: its result, or of a stream the list of its pieces.

        Raises:
            DirtyTimeoutError: no answer in time; the call has been stopped.
            DirtyAppError: the action raised; ``remote_type`` and ``traceback`` say what and where.
            DirtyError: as the class says.
        """
        message = self._request(app_path, action, args, kwargs)
        self._after_fork()
        line = self._lines.send(app_path, message, self.timeout, is_large=message.size >= LARGE)
        return self._take_answer(line or self._send(message), message.request_id)

    def stream(self, app_path: str, action: str, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """Run an action and yield what it yields, as it comes; a plain result is yielded once.

        Leaving the iteration (``close()``, ``break``) stops the action.

        Raises:
            DirtyError: as ``execute``.
        """
        message = self._request(app_path, action, args, kwargs)
        self._after_fork()
        self._lines.give_back()
        connection = self._send(message)
        try:
            while (frame := self._receive(connection, message.request_id)).kind == Kind.CHUNK:
                yield protocol.decode_dict(frame.payload).get("data")
        except BaseException:
            # Left or failed before the end: what is still in the connection must reach no other call.
            connection.close()
            raise
        self._give_back(connection)
        if frame.kind != Kind.END:
            yield protocol.result_of(frame)

    def stash(self, fields: dict[str, Any]) -> Any:
        """Send one stash operation; ``gunicorn.dirty.stash`` is the way to use it."""
        return self._exchange(Message.of(Kind.STASH, next(self._ids), tlv.encode_parts(fields)))

    def status(self) -> dict[str, Any]:
        """What the dirty arbiter says about itself and its workers."""
        status: dict[str, Any] = self._exchange(Message.of(Kind.STATUS, next(self._ids), []))
        return status

    def manage(self, operation: int, count: int = 1) -> dict[str, Any]:
        """Ask for more workers, or fewer (``protocol.ManageOp``)."""
        parts = tlv.encode_parts({"op": int(operation), "count": count})
        answer: dict[str, Any] = self._exchange(Message.of(Kind.MANAGE, next(self._ids), parts))
        return answer

    def connect(self) -> None:
        """Connect now instead of at the first call.

        Raises:
            DirtyConnectionError: nobody listens.
        """
        self._after_fork()
        if not self._idle:
            self._idle.append(Connection(self.socket_path, self.timeout))

    def close(self) -> None:
        """Close all idle connections; the next call makes another one."""
        self._lines.close()
        while self._idle:
            self._idle.pop().close()

    def __enter__(self) -> DirtyClient:
        self.connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _request(self, app_path: str, action: str, args: Any, kwargs: Any) -> Message:
        parts = protocol.request_parts(app_path, action, args, kwargs, self.timeout)
        return Message.of(Kind.REQUEST, next(self._ids), parts)

    def _exchange(self, message: Message) -> Any:
        return self._take_answer(self._send(message), message.request_id)

    def _take_answer(self, connection: Connection, request_id: int) -> Any:
        pieces: list[Any] = []
        try:
            while (frame := self._receive(connection, request_id)).kind == Kind.CHUNK:
                pieces.append(protocol.decode_dict(frame.payload).get("data"))
        except BaseException:
            connection.close()
            raise
        self._give_back(connection)
        return pieces if frame.kind == Kind.END else protocol.result_of(frame)

    def _receive(self, connection: Connection, request_id: int) -> Frame:
        timeout = self.timeout
        return connection.receive(request_id, None if timeout is None else timeout + connection.slack)

    def _send(self, message: Message) -> Connection:
        """A connection on which ``message`` was sent."""
        self._after_fork()
        timeout = None if self.timeout is None else self.timeout + Connection.slack
        in_file = message.size >= LARGE and self._can_hand(timeout)
        while self._idle:
            connection = self._idle.pop()
            try:
                wants_file = in_file or (connection.wants_file and self._can_hand(timeout))
                connection.send(message, timeout, in_file=wants_file)
            except DirtyConnectionError:
                # Closed since its last call, by a dirty arbiter that has ended: it has not read the message,
                # so it can be sent again.
                connection.close()
            except BaseException:
                connection.close()
                raise
            else:
                return connection
        connection = Connection(self.socket_path, timeout)
        try:
            connection.send(message, timeout, in_file=in_file)
        except BaseException:
            connection.close()
            raise
        return connection

    def _can_hand(self, timeout: float | None) -> bool:
        """Whether the arbiter takes large payloads as files."""
        return can_hand() and "files" in capabilities(self.socket_path, timeout)

    def _give_back(self, connection: Connection) -> None:
        if isinstance(connection, Line):
            self._lines.keep(connection)
        elif len(self._idle) < _MAX_IDLE:
            self._idle.append(connection)
        else:
            connection.close()

    def _after_fork(self) -> None:
        """Connections made before a fork are the parent's: two processes would share the answers."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self.close()
            self._async = None

    # Asynchronous: any task of any loop, many calls at a time.

    def _connections(self) -> AsyncConnections:
        self._after_fork()
        if self._async is None:
            from gunicorn.dirty.client_async import AsyncConnections

            self._async = AsyncConnections(self.socket_path)
        return self._async

    async def execute_async(self, app_path: str, action: str, *args: Any, **kwargs: Any) -> Any:
        """As ``execute``; cancelling the task (or its scope) gives the call up.

        Raises:
            DirtyError: as ``execute``.
        """
        request_id = next(self._ids)
        data = protocol.request(request_id, app_path, action, args, kwargs, self.timeout)
        return await self._connections().exchange(request_id, data, self.timeout)

    async def stream_async(
        self, app_path: str, action: str, *args: Any, **kwargs: Any
    ) -> AsyncGenerator[Any, None]:
        """As ``stream``. A slow reader slows the action down; leaving the iteration stops it.

        Raises:
            DirtyError: as ``execute``.
        """
        request_id = next(self._ids)
        data = protocol.request(request_id, app_path, action, args, kwargs, self.timeout)
        pieces = self._connections().stream(request_id, data, self.timeout)
        async with contextlib.aclosing(pieces):
            async for piece in pieces:
                yield piece

    async def stash_async(self, fields: dict[str, Any]) -> Any:
        """As ``stash``."""
        request_id = next(self._ids)
        data = pack(Kind.STASH, request_id, tlv.encode(fields))
        return await self._connections().exchange(request_id, data, self.timeout)

    async def status_async(self) -> dict[str, Any]:
        """As ``status``."""
        request_id = next(self._ids)
        data = pack(Kind.STATUS, request_id)
        status: dict[str, Any] = await self._connections().exchange(request_id, data, self.timeout)
        return status

    async def connect_async(self) -> None:
        """Connect now instead of at the first call.

        Raises:
            DirtyConnectionError: nobody listens.
        """
        await self._connections().connect()

    async def close_async(self) -> None:
        """Close all connections. Calls at work on them fail."""
        if self._async is not None:
            self._async.close()

    async def __aenter__(self) -> DirtyClient:
        await self.connect_async()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close_async()
