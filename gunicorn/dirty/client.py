"""The client: calls into the pool from synchronous code, and from asyncio and trio.

This module brings no event loop, and what it uses (``socket``, ``threading``) is what gevent replaces: in a
gevent worker a call blocks its greenlet alone.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from gunicorn.dirty import handing, protocol, tlv
from gunicorn.dirty.errors import DirtyConnectionError, DirtyProtocolError, DirtyTimeoutError
from gunicorn.dirty.frames import HANDED, Frame, FrameDecoder, Kind, header, pack
from gunicorn.dirty.location import find_socket

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator
    from types import TracebackType

    from gunicorn.dirty.client_async import AsyncConnections

__all__ = [
    "DEFAULT_TIMEOUT",
    "SLACK",
    "DirtyClient",
    "close_dirty_client",
    "close_dirty_client_async",
    "get_dirty_client",
    "get_dirty_client_async",
]

#: Seconds.
DEFAULT_TIMEOUT = 30.0
#: The arbiter keeps the deadline of a call too, and its answer says more. So much longer, in seconds, it is
#: waited for.
SLACK = 0.25
_MAX_IDLE = 4  # connections kept for the next call
_BUFFER = 1024 * 1024  # bytes


class _Message(NamedTuple):
    """One message; the pieces of its payload are not joined before they are sent."""

    kind: Kind
    request_id: int
    parts: list[bytes]

    @property
    def size(self) -> int:
        """Bytes of the payload."""
        return sum(map(len, self.parts))


class _Connection:
    """One blocking connection, with one call at a time on it."""

    def __init__(self, path: str, timeout: float | None, *, takes_files: bool = False) -> None:
        self.path = path
        self._decoder = FrameDecoder()
        self.takes_files = takes_files
        # Said with the first message, which it precedes.
        self._greeting = pack(Kind.HELLO, 0) if takes_files else b""
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
            self._sock.settimeout(timeout)
            self._sock.connect(path)
        except OSError as error:
            self._sock.close()
            raise _unreachable(path, error) from error

    def send(self, message: _Message, timeout: float | None) -> None:
        kind, request_id, parts = message
        greeting, self._greeting = self._greeting, b""
        size = message.size
        try:
            self._sock.settimeout(timeout)
            if size >= handing.LARGE and self.takes_files:
                head = greeting + header(kind | HANDED, request_id, size)
                handing.send(self._sock, head, handing.Handed.write(parts, size))
            else:
                self._sock.sendall(b"".join([greeting, header(kind, request_id, size), *parts]))
        except TimeoutError:
            raise DirtyTimeoutError("The call could not be sent in time", timeout=timeout) from None
        except OSError as error:
            raise _broken(self.path, error) from error

    def receive(self, request_id: int, deadline: float | None) -> Frame:
        """The next frame of the answer to ``request_id``; ``deadline`` by ``time.monotonic()``."""
        decoder, sock, is_first = self._decoder, self._sock, True
        while (frame := decoder.next_frame()) is None:
            try:
                # ``send`` has set the timeout for the first wait; only what is left of it is new.
                if deadline is not None and not is_first:
                    sock.settimeout(max(deadline - time.monotonic(), 0.001))
                is_first = False
                if self.takes_files:
                    count = handing.receive_into(sock, decoder)
                else:
                    count = sock.recv_into(decoder.space())
                    decoder.wrote(count)
            except TimeoutError:
                raise DirtyTimeoutError("The pool did not answer in time") from None
            except OSError as error:
                raise _broken(self.path, error) from error
            if not count:
                raise _broken(self.path, None)
        if frame.request_id != request_id:
            raise DirtyProtocolError(f"an answer to request {frame.request_id} instead of {request_id}")
        return frame

    def close(self) -> None:
        self._sock.close()


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
        self._idle: list[_Connection] = []
        self._ids = itertools.count(1)
        self._pid = os.getpid()
        self._async: AsyncConnections | None = None

    def with_timeout(self, timeout: float | None) -> DirtyClient:
        """The same client with another timeout: ``client.with_timeout(5).execute(…)``."""
        other = DirtyClient(self.socket_path, timeout)
        self._after_fork()
        other._idle, other._ids, other._async = self._idle, self._ids, self._connections()
        return other

    # Synchronous

    def execute(self, app_path: str, action: str, *args: Any, **kwargs: Any) -> Any:
        """Run ``action`` of the class ``app_path``: its result, or of a stream the list of its pieces.

        Raises:
            DirtyTimeoutError: no answer in time; the call has been stopped.
            DirtyAppError: the action raised; ``remote_type`` and ``traceback`` say what and where.
            DirtyError: as the class says.
        """
        return self._exchange(self._request(app_path, action, args, kwargs))

    def stream(self, app_path: str, action: str, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """Run an action and yield what it yields, as it comes; a plain result is yielded once.

        Leaving the iteration (``close()``, ``break``) stops the action.

        Raises:
            DirtyError: as ``execute``.
        """
        message = self._request(app_path, action, args, kwargs)
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
        return self._exchange(_Message(Kind.STASH, next(self._ids), tlv.encode_parts(fields)))

    def status(self) -> dict[str, Any]:
        """What the dirty arbiter says about itself and its workers."""
        status: dict[str, Any] = self._exchange(_Message(Kind.STATUS, next(self._ids), []))
        return status

    def manage(self, operation: int, count: int = 1) -> dict[str, Any]:
        """Ask for more workers, or fewer (``protocol.ManageOp``)."""
        parts = tlv.encode_parts({"op": int(operation), "count": count})
        answer: dict[str, Any] = self._exchange(_Message(Kind.MANAGE, next(self._ids), parts))
        return answer

    def connect(self) -> None:
        """Connect now instead of at the first call.

        Raises:
            DirtyConnectionError: nobody listens.
        """
        self._after_fork()
        if not self._idle:
            self._idle.append(self._connect(self.timeout))

    def close(self) -> None:
        """Close all idle connections; the next call makes another one."""
        while self._idle:
            self._idle.pop().close()

    def __enter__(self) -> DirtyClient:
        self.connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _request(self, app_path: str, action: str, args: Any, kwargs: Any) -> _Message:
        parts = protocol.request_parts(app_path, action, args, kwargs, self.timeout)
        return _Message(Kind.REQUEST, next(self._ids), parts)

    def _exchange(self, message: _Message) -> Any:
        pieces: list[Any] = []
        connection = self._send(message)
        try:
            while (frame := self._receive(connection, message.request_id)).kind == Kind.CHUNK:
                pieces.append(protocol.decode_dict(frame.payload).get("data"))
        except BaseException:
            connection.close()
            raise
        self._give_back(connection)
        return pieces if frame.kind == Kind.END else protocol.result_of(frame)

    def _receive(self, connection: _Connection, request_id: int) -> Frame:
        if self.timeout is None:
            return connection.receive(request_id, None)
        return connection.receive(request_id, time.monotonic() + self.timeout + SLACK)

    def _send(self, message: _Message) -> _Connection:
        """A connection on which ``message`` was sent."""
        self._after_fork()
        timeout = None if self.timeout is None else self.timeout + SLACK
        wants_files = message.size >= handing.LARGE and _takes_files.get(self.socket_path, _can_hand())
        while self._idle:
            connection = self._idle.pop()
            if wants_files and not connection.takes_files:
                connection.close()
                continue
            try:
                connection.send(message, timeout)
            except DirtyConnectionError:
                # Closed since its last call, by a dirty arbiter that has ended: it has not read the message,
                # so it can be sent again.
                connection.close()
            except BaseException:
                connection.close()
                raise
            else:
                return connection
        connection = self._connect(timeout, wants_files=wants_files)
        try:
            connection.send(message, timeout)
        except BaseException:
            connection.close()
            raise
        return connection

    def _connect(self, timeout: float | None, *, wants_files: bool = False) -> _Connection:
        if wants_files and self.socket_path not in _takes_files:
            _takes_files[self.socket_path] = self._ask_for_files(timeout)
        return _Connection(self.socket_path, timeout, takes_files=_takes_files.get(self.socket_path, False))

    def _ask_for_files(self, timeout: float | None) -> bool:
        """Whether the arbiter takes large payloads as files; asked once for each path, by the first."""
        connection = _Connection(self.socket_path, timeout)
        try:
            connection.send(_Message(Kind.STATUS, 0, []), timeout)
            status = protocol.result_of(connection.receive(0, None))
            return "files" in status.get("capabilities", ())
        finally:
            connection.close()

    def _give_back(self, connection: _Connection) -> None:
        if len(self._idle) < _MAX_IDLE:
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


def _unreachable(path: str, error: OSError) -> DirtyConnectionError:
    return DirtyConnectionError(f"The pool cannot be reached ({error.strerror or error})", socket_path=path)


def _broken(path: str, error: OSError | None) -> DirtyConnectionError:
    why = error.strerror or error if error is not None else "closed before the answer"
    return DirtyConnectionError(f"The connection to the pool broke ({why})", socket_path=path)


#: By path. A server does not change what it can, nor its path.
_takes_files: dict[str, bool] = {}


def _can_hand() -> bool:
    """Whether this process's sockets are the plain ones: gevent's wait in their own way."""
    return handing.IS_SUPPORTED and socket.socket.__module__ == "socket"


# One client for each thread, and one for each event loop.

_threads = threading.local()
_loops: dict[int, tuple[Any, DirtyClient]] = {}


def get_dirty_client(timeout: float | None = DEFAULT_TIMEOUT) -> DirtyClient:
    """This thread's client. The first ``timeout`` sticks.

    Raises:
        DirtyError: there is no pool here.
    """
    client: DirtyClient | None = getattr(_threads, "client", None)
    if client is None:
        client = _threads.client = DirtyClient(timeout=timeout)
    return client


def close_dirty_client() -> None:
    """Close this thread's client; ``get_dirty_client`` makes another one."""
    client: DirtyClient | None = _threads.__dict__.pop("client", None)
    if client is not None:
        client.close()


async def get_dirty_client_async(timeout: float | None = DEFAULT_TIMEOUT) -> DirtyClient:
    """This event loop's client, which all tasks share. The first ``timeout`` sticks.

    Raises:
        DirtyError: there is no pool here.
    """
    loop = _running_loop()
    known = _loops.get(id(loop))
    # An id can be another loop's by now; a client whose loop is gone must not be used by that one.
    if known is not None and known[0] is loop:
        return known[1]
    client = DirtyClient(timeout=timeout)
    _loops[id(loop)] = loop, client
    return client


async def close_dirty_client_async() -> None:
    """Close this event loop's client; ``get_dirty_client_async`` makes another one."""
    known = _loops.pop(id(_running_loop()), None)
    if known is not None:
        await known[1].close_async()


def _running_loop() -> Any:
    """The loop that runs this task. Neither library is imported for it: whichever runs has been."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None:
        with contextlib.suppress(RuntimeError):
            return asyncio.get_running_loop()
    return sys.modules["trio"].lowlevel.current_trio_token()
