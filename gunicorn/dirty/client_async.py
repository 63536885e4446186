"""Asynchronous connections to the pool, under asyncio and trio alike.

Calls share few connections. There is no task that reads in the background, since nothing here could own it:
one of the waiting callers reads for all, and hands that over when its own answer is there or it is cancelled.
A stream has a connection of its own, so that a slow reader holds up the action that writes to it and nothing
else.
"""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Any

import anyio

from gunicorn.dirty import protocol
from gunicorn.dirty.errors import DirtyConnectionError, DirtyError, DirtyProtocolError, DirtyTimeoutError
from gunicorn.dirty.frames import Frame, FrameDecoder, Kind, pack

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

__all__ = ["AsyncConnections"]

_SHARED = 4  # connections for calls
_IDLE = 4  # connections kept for the next stream
_CROWD = 16  # calls on each connection before another one is made
_SLACK = 0.25  # as in the synchronous client
_WRITE_WAIT = 1.0  # seconds to complete a message whose sender was cancelled half-way
_BACKLOG_PAUSE = 0.005  # seconds
_BUFFER = 1024 * 1024  # bytes
_HELLO = 0  # the id of the status message that a connection begins with; calls count from 1


class _Answer:
    """What has come for one call."""

    __slots__ = ("changed", "failure", "final", "pieces")

    def __init__(self) -> None:
        self.changed = anyio.Event()
        self.final: Frame | None = None
        self.failure: DirtyError | None = None
        self.pieces: list[Any] = []

    @property
    def is_complete(self) -> bool:
        return self.final is not None or self.failure is not None

    def result(self) -> Any:
        if self.failure is not None:
            raise self.failure
        assert self.final is not None
        return self.pieces if self.final.kind == Kind.END else protocol.result_of(self.final)


class _Socket:
    """A connected non-blocking socket that keeps frames whole."""

    def __init__(self, sock: socket.socket, path: str) -> None:
        self.path = path
        self.is_open = True
        self.sock = sock
        self.decoder = FrameDecoder()
        self._writing = anyio.Lock()

    @classmethod
    async def connect(cls, path: str) -> _Socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
            await _connect(sock, path)
        except BaseException as error:
            sock.close()
            if isinstance(error, OSError):
                text = f"The pool cannot be reached ({error.strerror or error})"
                raise DirtyConnectionError(text, socket_path=path) from error
            raise
        return cls(sock, path)

    def broken(self, why: object) -> DirtyConnectionError:
        return DirtyConnectionError(f"The connection to the pool broke ({why})", socket_path=self.path)

    async def send(self, data: bytes) -> None:
        rest = memoryview(data)
        if not self._writing.locked():
            rest = self._send_some(rest)
            if not rest:
                return
        async with self._writing:
            try:
                while rest:
                    await anyio.wait_writable(self.sock)
                    rest = self._send_some(rest)
            finally:
                if rest and len(rest) < len(data):
                    await self._complete(rest)

    async def _complete(self, rest: memoryview) -> None:
        """Half a message is out, and its sender is cancelled: the others on this connection need the rest."""
        with anyio.move_on_after(_WRITE_WAIT, shield=True):
            while rest and self.is_open:
                await anyio.wait_writable(self.sock)
                rest = self._send_some(rest)
            return
        self.close()

    def _send_some(self, data: memoryview) -> memoryview:
        if not self.is_open:
            raise self.broken("closed on this side")
        try:
            return data[self.sock.send(data) :]
        except BlockingIOError:
            return data
        except OSError as error:
            raise self.broken(error.strerror or error) from error

    async def receive(self) -> list[Frame]:
        """The frames that come next, at least the start of one."""
        if not self.is_open:
            raise self.broken("closed on this side")
        await anyio.wait_readable(self.sock)
        try:
            count = self.sock.recv_into(self.decoder.space())
        except BlockingIOError:
            return []
        except OSError as error:
            raise self.broken(error.strerror or error) from error
        if not count:
            raise self.broken("closed before the answer")
        self.decoder.wrote(count)
        frames = []
        while (frame := self.decoder.next_frame()) is not None:
            frames.append(frame)
        return frames

    def close(self) -> None:
        if self.is_open:
            self.is_open = False
            anyio.notify_closing(self.sock)
            self.sock.close()


class _Shared:
    """A connection with any number of calls at a time."""

    def __init__(self, link: _Socket) -> None:
        self.link = link
        self._answers: dict[int, _Answer] = {}
        self._is_read = False
        self._can_cancel = False

    @property
    def load(self) -> int:
        return len(self._answers)

    async def exchange(self, request_id: int, data: bytes) -> Any:
        answer = self._answers[request_id] = _Answer()
        try:
            await self.link.send(data)
            await self._wait(answer)
        finally:
            del self._answers[request_id]
            if not answer.is_complete:
                await self._cancel(request_id)
        return answer.result()

    async def _wait(self, answer: _Answer) -> None:
        while not answer.is_complete:
            if self._is_read:
                await answer.changed.wait()
                answer.changed = anyio.Event()
            else:
                await self._read_until(answer)

    async def _read_until(self, answer: _Answer) -> None:
        """Read for everybody, until there is nothing more to wait for here."""
        self._is_read = True
        try:
            while not answer.is_complete:
                for frame in await self.link.receive():
                    self._take(frame)
        except (DirtyError, OSError, anyio.ClosedResourceError) as error:
            self._fail(error if isinstance(error, DirtyError) else self.link.broken(error))
        finally:
            self._is_read = False
            for other in self._answers.values():
                if not other.is_complete:
                    other.changed.set()
                    break

    def _take(self, frame: Frame) -> None:
        if frame.request_id == _HELLO:
            self._hear_capabilities(frame)
            return
        answer = self._answers.get(frame.request_id)
        if answer is None:
            return  # of a call that was given up
        if frame.kind == Kind.CHUNK:
            answer.pieces.append(protocol.decode_dict(frame.payload).get("data"))
            return
        answer.final = frame
        answer.changed.set()

    def _hear_capabilities(self, frame: Frame) -> None:
        with contextlib.suppress(DirtyError, AttributeError):
            self._can_cancel = "cancel" in protocol.result_of(frame).get("capabilities", ())

    def _fail(self, error: DirtyError) -> None:
        self.link.close()
        for answer in self._answers.values():
            if not answer.is_complete:
                answer.failure = error
                answer.changed.set()

    async def _cancel(self, request_id: int) -> None:
        """Tell the arbiter that nobody waits any more, if it knows the message."""
        if self._can_cancel and self.link.is_open:
            with contextlib.suppress(DirtyError), anyio.move_on_after(_WRITE_WAIT, shield=True):
                await self.link.send(pack(Kind.CANCEL, request_id))


class AsyncConnections:
    """All connections of one client in one event loop."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._shared: list[_Shared] = []
        self._idle: list[_Socket] = []
        self._connecting = 0

    async def exchange(self, request_id: int, data: bytes, seconds: float | None) -> Any:
        """Send one message and wait for its answer; the pieces of a stream are gathered.

        Raises:
            DirtyError: what the answer says, or what keeps it from coming.
        """
        with anyio.move_on_after(None if seconds is None else seconds + _SLACK):
            shared = await self._find()
            return await shared.exchange(request_id, data)
        raise DirtyTimeoutError("The pool did not answer in time", timeout=seconds)

    async def stream(self, request_id: int, data: bytes, seconds: float | None) -> AsyncGenerator[Any, None]:
        """Send one message and yield the pieces of its answer.

        Raises:
            DirtyError: as ``exchange``.
        """
        link = await self._find_idle(seconds)
        is_complete = False
        try:
            await link.send(data)
            while not is_complete:
                for frame in await self._receive(link, seconds):
                    if frame.request_id != request_id:
                        text = f"an answer to request {frame.request_id} instead of {request_id}"
                        raise DirtyProtocolError(text)
                    if frame.kind == Kind.CHUNK:
                        yield protocol.decode_dict(frame.payload).get("data")
                        continue
                    is_complete = True
                    if frame.kind != Kind.END:
                        yield protocol.result_of(frame)
        finally:
            if is_complete and link.is_open and len(self._idle) < _IDLE:
                self._idle.append(link)
            else:
                link.close()

    async def connect(self) -> None:
        """Have a connection.

        Raises:
            DirtyConnectionError: nobody listens.
        """
        await self._find()

    def close(self) -> None:
        """Close all connections."""
        for shared in self._shared:
            shared.link.close()
        for link in self._idle:
            link.close()
        self._shared.clear()
        self._idle.clear()

    async def _receive(self, link: _Socket, seconds: float | None) -> list[Frame]:
        with anyio.move_on_after(None if seconds is None else seconds + _SLACK):
            return await link.receive()
        raise DirtyTimeoutError("The pool did not send the next piece in time", timeout=seconds)

    async def _find(self) -> _Shared:
        """The connection with the fewest calls; another one when all have many."""
        self._shared = [shared for shared in self._shared if shared.link.is_open]
        best = min(self._shared, key=lambda shared: shared.load, default=None)
        crowded = best is None or (best.load >= _CROWD and len(self._shared) + self._connecting < _SHARED)
        if best is not None and (not crowded) and (best.load or _is_fresh(best.link.sock)):
            return best
        if best is not None and not best.load:
            best.link.close()
        self._connecting += 1
        try:
            link = await _Socket.connect(self._path)
        finally:
            self._connecting -= 1
        await link.send(pack(Kind.STATUS, _HELLO))
        shared = _Shared(link)
        self._shared.append(shared)
        return shared

    async def _find_idle(self, seconds: float | None) -> _Socket:
        while self._idle:
            link = self._idle.pop()
            if _is_fresh(link.sock):
                return link
            link.close()
        with anyio.move_on_after(seconds):
            return await _Socket.connect(self._path)
        raise DirtyTimeoutError("The pool did not accept in time", timeout=seconds)


async def _connect(sock: socket.socket, path: str) -> None:
    while True:
        try:
            sock.connect(path)
        except BlockingIOError:
            # A full backlog. A unix socket offers no event for its end, unlike TCP.
            await anyio.sleep(_BACKLOG_PAUSE)
        else:
            return


def _is_fresh(sock: socket.socket) -> bool:
    """Whether the other side has not closed. Answers to calls that were given up may be left in it."""
    try:
        return bool(sock.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return True
    except OSError:
        return False
