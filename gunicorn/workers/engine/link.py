"""One accepted connection: its socket, its protocol, and what the engine waits for on it.

The socket never blocks. Whoever must wait (an application that reads its body, a client that takes its
bytes slowly) waits here, with a deadline for each wait.
"""

from __future__ import annotations

import contextlib
import enum
import os
import select
import socket
import sys
from typing import TYPE_CHECKING, Any

from gunicorn.http.events import Peer
from gunicorn.workers.engine.poller import READ, WRITE

if TYPE_CHECKING:
    import ssl

    from gunicorn.http.connection import ServerConnection
    from gunicorn.http.known import KnownHead
    from gunicorn.workers.engine.front import Front

__all__ = ["ClientGone", "ClientSlow", "Link", "Phase", "TlsLink", "peer_of"]

_CHUNK = 64 * 1024
# A head, or a head with a small body. Less than a body's chunk, because each read allocates its size first.
_HEAD_CHUNK = 16 * 1024
_SENDFILE_CHUNK = 1 << 30
_TAKEN_OVER = "request_timeout has ended the exchange"
_POLL = {READ: select.POLLIN, WRITE: select.POLLOUT}


class ClientGone(Exception):
    """The client is not there any more."""


class ClientSlow(ClientGone):
    """The client neither sent nor took a byte for the whole deadline."""


class Phase(enum.IntEnum):
    """What a parked connection is parked for; the deadline's outcome depends on it."""

    HANDSHAKE = 0
    FRESH = 1
    """The first byte."""
    HEAD = 2
    """The rest of a request head."""
    IDLE = 3
    """The next request."""
    BODY = 4
    """The rest of a body that nobody read."""
    LINGER = 5
    """The client's end."""


class Link:
    """A connection over a plain socket.

    Attributes:
        http: The protocol, while it is lent to this connection.
        known: What it said last, if others may say it as well.
        host: The peer's address, "" on a unix socket; and its port, as the environ has them.
        phase: What it waits for while parked.
        want: READ or WRITE while parked.
        deadline: Monotonic seconds at which the wait is over; inf = never.
        abandoned: Set when another thread has ended the exchange (``request_timeout``): the status that the
            client got, "" when the answer had begun. Nothing is sent or received any more.
        armed: What the poller knows the descriptor for; 0 while it does not know it.
        ended: The client has closed its side, behind what is unread.
        unread: Bytes may be here for which no further event will come.
        budget: Bytes that are still thrown away in the phases BODY and LINGER.
    """

    __slots__ = (
        "abandoned", "armed", "budget", "deadline", "ended", "fd", "front", "host", "http", "known", "peer",
        "phase", "port", "sock", "unread", "want",
    )  # fmt: skip

    hides_bytes = False
    """Bytes may be here that the poller cannot see (``pending``)."""

    http: ServerConnection

    def __init__(self, sock: socket.socket, front: Front, peer: Peer) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.front = front
        self.peer = peer
        self.host = peer.host or ""
        self.port = None if peer.port is None else str(peer.port)
        self.http = None  # type: ignore[assignment]  # only who has claimed an idle link has to ask
        self.known: KnownHead | None = None
        self.phase = Phase.FRESH
        self.want = READ
        self.deadline = 0.0
        self.abandoned: str | None = None
        self.armed = 0
        self.ended = False
        self.unread = False
        self.budget = 0

    @property
    def can_send_files(self) -> bool:
        return self.front.can_send_files

    def receive(self, size: int = _HEAD_CHUNK) -> bytes | None:
        """What has arrived, at most ``size`` bytes; ``b""`` at the end of it, None when nothing has."""
        try:
            data = self.sock.recv(size)
        except BlockingIOError:
            self.unread = False
            return None
        except OSError:
            return b""
        # A short read has taken all that was here (epoll(7)).
        self.unread = len(data) == size
        return data

    def pending(self) -> bool:
        """Whether bytes are here that the poller cannot see."""
        return False

    def receive_wait(self) -> bytes:
        """What arrives next; ``b""`` at the end. Waits at most ``body_timeout``.

        Raises:
            ClientSlow: nothing came.
        """
        data = None if self.abandoned is not None else self.receive(_CHUNK)
        while data is None:
            self._wait(self.want, self.front.body_timeout)
            data = self.receive(_CHUNK)
        return data

    def write(self, data: bytes) -> None:
        """Send all of ``data``.

        Raises:
            ClientGone: it will never arrive.
            ClientSlow: the client took nothing for ``write_timeout``.
        """
        if self.abandoned is not None:
            raise ClientGone(_TAKEN_OVER)
        sent = self._send(data)
        if sent < len(data):
            self._write_rest(memoryview(data)[sent:])

    def _write_rest(self, rest: memoryview) -> None:
        while rest:
            self._wait_writable()
            rest = rest[self._send(rest) :]

    def _send(self, data: bytes | memoryview) -> int:
        try:
            return self.sock.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise ClientGone(error.strerror) from error

    def write_file(self, fd: int, offset: int, count: int) -> None:
        """Send ``count`` bytes of the file ``fd`` from ``offset`` on, without copying them into this process.

        Raises:
            ClientGone, ClientSlow: as ``write``.
            OSError: the file became shorter.
        """
        end = offset + count
        while offset < end:
            if self.abandoned is not None:
                raise ClientGone(_TAKEN_OVER)
            try:
                sent = os.sendfile(self.fd, fd, offset, min(end - offset, _SENDFILE_CHUNK))
            except BlockingIOError:
                self._wait_writable()
                continue
            except ConnectionError as error:
                raise ClientGone(error.strerror) from error
            if not sent:
                raise OSError(f"the file ended {end - offset} bytes early")
            offset += sent

    def _wait(self, want: int, timeout: float) -> None:
        if not self._ready(want, timeout):
            raise ClientSlow("sent nothing")

    def _wait_writable(self) -> None:
        """Wait for as long as the client takes something within each ``write_timeout``, however little."""
        from gunicorn.process.sendqueue import unsent  # here: most workers never meet such a client

        before = unsent(self.fd)
        while not self._ready(WRITE, self.front.write_timeout):
            now = unsent(self.fd)
            if now >= before:
                raise ClientSlow("took nothing")
            before = now  # slow, but not dead: the kernel reports room for megabytes only

    def _ready(self, want: int, timeout: float) -> bool:
        if self.abandoned is not None:
            raise ClientGone(_TAKEN_OVER)
        poll = select.poll()
        poll.register(self.fd, _POLL[want])
        return bool(poll.poll(timeout * 1000 if timeout else None))

    def abandon(self, status: str, page: bytes) -> None:
        """End the exchange from another thread than the one that serves it.

        The socket stays open until its own thread closes it: that one may be in a system call on the
        descriptor, whose number would go to somebody else's connection.

        Args:
            status: What the client is told.
            page: The whole answer; empty to cut off one that has begun.
        """
        self.abandoned = status
        with contextlib.suppress(OSError, ValueError):
            if page:
                self.sock.send(page)
        with contextlib.suppress(OSError):
            # Both ways, so that a thread which waits for the client's bytes comes back. Past TLS, whose
            # shutdown would have to share a state with the other thread.
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)

    def half_close(self) -> None:
        """Send our end of the stream: the client reads the answer to its end before a reset could cut it."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            return  # gone already: the next receive says so

    def close(self) -> None:
        self.sock.close()


class TlsLink(Link):
    """A connection over ``ssl.SSLSocket``, whose handshake and reads may each want either direction."""

    __slots__ = ("_want_read", "_want_write")

    hides_bytes = True

    def __init__(self, sock: ssl.SSLSocket, front: Front, peer: Peer) -> None:
        import ssl

        super().__init__(sock, front, peer)
        self.phase = Phase.HANDSHAKE
        # A read ends with its record, whatever has arrived behind it.
        self.unread = True
        self._want_read, self._want_write = ssl.SSLWantReadError, ssl.SSLWantWriteError

    def handshake(self) -> bool:
        """Go on with the handshake; whether it is done. ``want`` says what it waits for.

        Raises:
            OSError: it failed.
        """
        self.want = READ
        try:
            self.sock.do_handshake()  # type: ignore[attr-defined]
        except self._want_read:
            return False
        except self._want_write:
            self.want = WRITE
            return False
        return True

    def receive(self, size: int = _HEAD_CHUNK) -> bytes | None:
        self.want = READ
        try:
            return self.sock.recv(size)
        except self._want_read:
            return None
        except self._want_write:
            self.want = WRITE
            return None
        except (OSError, ValueError):
            return b""

    def pending(self) -> bool:
        return bool(self.sock.pending())  # type: ignore[attr-defined]

    def _send(self, data: bytes | memoryview) -> int:
        try:
            return self.sock.send(data)
        except self._want_write:
            return 0
        except self._want_read:
            # A key update: nothing goes out before the client's part of it is here.
            self._wait(READ, self.front.write_timeout)
            return 0
        except (OSError, ValueError) as error:
            raise ClientGone(str(error)) from error

    def half_close(self) -> None:
        # close_notify (RFC 8446 6.1). The error is that it would wait for the client's, which is not needed.
        with contextlib.suppress(OSError, ValueError):
            self.sock.unwrap()  # type: ignore[attr-defined]
        super().half_close()


def peer_of(address: Any) -> Peer:
    """The peer that ``accept`` gave: ``(host, port, …)``, or a path for a unix socket."""
    if isinstance(address, tuple):
        # Behind a proxy everybody's address is the same.
        return Peer(sys.intern(address[0]), address[1])
    return Peer(is_unix=True)
