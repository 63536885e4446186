"""A blocking connection to the pool, with one call at a time on it.

It brings no event loop, and what it uses (``socket``) is what gevent replaces: in a gevent worker a call
blocks its greenlet alone.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from typing import NamedTuple

from gunicorn.dirty import handing, protocol, tlv
from gunicorn.dirty.errors import DirtyConnectionError, DirtyProtocolError, DirtyTimeoutError
from gunicorn.dirty.frames import HANDED, Frame, FrameDecoder, Kind, header

__all__ = [
    "BUFFER",
    "Connection",
    "Message",
    "broken",
    "can_hand",
    "capabilities",
    "unreachable",
]

#: Bytes of socket buffer to ask for: a large message then takes fewer turns of all processes.
BUFFER = 1024 * 1024


#: By path. A server does not change what it can, nor its path.
_capabilities: dict[str, frozenset[str]] = {}


class Message(NamedTuple):
    """One message; the pieces of its payload, ``size`` bytes in all, are not joined before they are sent."""

    kind: Kind
    request_id: int
    parts: list[bytes]
    size: int

    @classmethod
    def of(cls, kind: Kind, request_id: int, parts: list[bytes]) -> Message:
        return cls(kind, request_id, parts, sum(map(len, parts)))


class Connection:
    """One connection.

    Args:
        path: Of the pool's socket.
        timeout: Seconds to connect, None for no limit.

    Attributes:
        slack: The arbiter keeps the deadline of a call too, and its answer says more. So much longer, in
            seconds, it is waited for.
        wants_file: The last answer was a large one, so the next one may be as well: it will find a file to be
            in if the request is in one.

    Raises:
        DirtyConnectionError: nobody listens.
    """

    slack = 0.25

    def __init__(self, path: str, timeout: float | None) -> None:
        self._adopt(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM), path, timeout)
        try:
            self._sock.connect(path)
        except OSError as error:
            self._sock.close()
            raise unreachable(path, error) from error

    def _adopt(self, sock: socket.socket, path: str, timeout: float | None) -> None:
        self.path = path
        self.wants_file = False
        self._decoder = FrameDecoder()
        self._file: handing.Handed | None = None
        self._room = handing.Room()
        self._timeout = timeout
        self._takes_files = False
        self._sock = sock
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        sock.settimeout(timeout)

    def send(self, message: Message, timeout: float | None, *, in_file: bool = False) -> None:
        """Send it within ``timeout`` seconds; ``in_file``: the arbiter can take its payload in a file.

        Raises:
            DirtyTimeoutError: it was not taken in time.
            DirtyConnectionError: the connection is not, or no longer, there.
        """
        try:
            self._limit(timeout)
            if in_file:
                self._send_file(message)
            else:
                kind, request_id, parts, size = message
                self._write(b"".join([header(kind, request_id, size), *parts]))
        except TimeoutError:
            raise DirtyTimeoutError("The call could not be sent in time", timeout=timeout) from None
        except OSError as error:
            raise broken(self.path, error) from error

    def receive(self, request_id: int, timeout: float | None) -> Frame:
        """The next frame of the answer to ``request_id``, within ``timeout`` seconds.

        Raises:
            DirtyTimeoutError: it did not come in time.
            DirtyConnectionError: the connection broke.
            DirtyProtocolError: it is the answer to something else.
        """
        decoder, deadline = self._decoder, None
        while (frame := decoder.next_frame()) is None:
            try:
                if timeout is None or deadline is None:
                    self._limit(timeout)
                    deadline = time.monotonic() + (timeout or 0.0)
                else:
                    self._limit(max(deadline - time.monotonic(), 0.001))
                count = self._fill()
            except TimeoutError:
                raise DirtyTimeoutError("The pool did not answer in time") from None
            except OSError as error:
                raise broken(self.path, error) from error
            if not count:
                raise broken(self.path, None)
        if frame.request_id != request_id:
            raise DirtyProtocolError(f"an answer to request {frame.request_id} instead of {request_id}")
        self.wants_file = frame.written >= handing.LARGE or len(frame.payload) >= handing.LARGE
        return self._take_file(frame) if frame.written or self._file is not None else frame

    def ask_for_line(self, app_path: str, request_id: int, timeout: float | None) -> socket.socket | None:
        """A direct way to a worker that has loaded ``app_path``; None when none can be spared now.

        Raises:
            DirtyError: as ``send`` and ``receive``.
        """
        self.send(Message.of(Kind.LEASE, request_id, tlv.encode_parts({"app_path": app_path})), timeout)
        self._takes_files = True
        try:
            frame = self.receive(request_id, timeout)
        finally:
            self._takes_files = False
        if frame.kind != Kind.LEASE:
            return None
        if frame.handed is None:
            raise DirtyProtocolError("a line without its descriptor")
        return socket.socket(fileno=frame.handed.detach())

    def _fill(self) -> int:
        """Receive bytes into the decoder; how many, 0 at the end."""
        if self._takes_files:
            return handing.receive_into(self._sock, self._decoder)
        count = self._sock.recv_into(self._decoder.space())
        self._decoder.wrote(count)
        return count

    def close(self) -> None:
        self._sock.close()
        self._file = None

    def _limit(self, timeout: float | None) -> None:
        """Set the timeout of the socket, which costs a system call, if it has another one."""
        if timeout != self._timeout:
            self._sock.settimeout(timeout)
            self._timeout = timeout

    def _write(self, data: bytes) -> None:
        # The socket's own methods wait for room before they write; for a small message there always is.
        try:
            sent = os.write(self._sock.fileno(), data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self._sock.sendall(memoryview(data)[sent:])

    # Large payloads

    def _send_file(self, message: Message) -> None:
        kind, request_id, parts, size = message
        if self._file is None:
            self._file = handing.Handed.create()
        self._file.write(parts, size)
        handing.send(self._sock, header(kind | HANDED, request_id, size), self._file.fd)

    def _take_file(self, frame: Frame) -> Frame:
        file = self._file
        if file is None:
            raise DirtyProtocolError("an answer in a file, and none was sent")
        if frame.written:
            file.size = frame.written
            frame = Frame(frame.kind, frame.request_id, file.read(self._room))
        # After anything but a plain answer a worker may still look at it. And memory is not kept for long.
        if frame.kind != Kind.RESPONSE or file.size > handing.KEPT:
            self._file = None
        return frame


def can_hand() -> bool:
    """Whether this process's sockets are the plain ones: gevent's wait in their own way."""
    return handing.IS_SUPPORTED and socket.socket.__module__ == "socket"


def capabilities(path: str, timeout: float | None) -> frozenset[str]:
    """What the arbiter there can; asked once for each path.

    Raises:
        DirtyError: it does not say, within ``timeout`` seconds.
    """
    known = _capabilities.get(path)
    if known is None:
        with contextlib.closing(Connection(path, timeout)) as connection:
            connection.send(Message.of(Kind.STATUS, 0, []), timeout)
            status = protocol.result_of(connection.receive(0, timeout))
        known = _capabilities[path] = frozenset(status.get("capabilities", ()))
    return known


def unreachable(path: str, error: OSError) -> DirtyConnectionError:
    """Nobody listens, or nobody who may be asked."""
    return DirtyConnectionError(f"The pool cannot be reached ({error.strerror or error})", socket_path=path)


def broken(path: str, error: OSError | None) -> DirtyConnectionError:
    """The connection has ended before the answer; None: it was closed properly."""
    why = error.strerror or error if error is not None else "closed before the answer"
    return DirtyConnectionError(f"The connection to the pool broke ({why})", socket_path=path)
