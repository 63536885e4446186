"""A typed, message-keeping pipe between two processes that also carries descriptors."""

from __future__ import annotations

import array
import contextlib
import errno
import os
import socket
from typing import TYPE_CHECKING, Any

from gunicorn.errors import GunicornError
from gunicorn.process import messages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gunicorn.process.messages import Message

__all__ = ["Channel", "ChannelClosed"]

# SOCK_SEQPACKET keeps message borders, delivers in order and reports end of file, so that one recvmsg is one
# message and nothing has to be framed. macOS lacks it for AF_UNIX; a connected SOCK_DGRAM pair is the nearest
# thing there: the BSD kernels report a closed peer as ECONNRESET, which is end of file here. Only
# SOCK_SEQPACKET is tested.
_KIND = (
    getattr(socket, "SOCK_SEQPACKET", socket.SOCK_DGRAM)
    if os.uname().sysname != "Darwin"
    else socket.SOCK_DGRAM
)
_MAX_DATAGRAM = 8192
_MAX_REASON = 640  # characters; json escapes one to 12 bytes at most, so that a clipped message always fits
_MAX_FDS = 253  # SCM_MAX_FD of Linux
_FD_SIZE = array.array("i").itemsize
_ANCILLARY = socket.CMSG_SPACE(_MAX_FDS * _FD_SIZE)
_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
_GONE = frozenset({errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN, errno.ECONNREFUSED})


class ChannelClosed(GunicornError):
    """The other side has closed the channel, or its process has ended."""


class Channel:
    """One end of a pair. Blocking unless told otherwise.

    A non-blocking end raises ``BlockingIOError`` like a socket.
    """

    __slots__ = ("_sock",)

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """Two connected ends, both blocking and closed on exec."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, _KIND)
        return cls(ours), cls(theirs)

    @classmethod
    def from_fd(cls, fd: int) -> Channel:
        """Take over ``fd``, which came with a message or through exec.

        Raises:
            OSError: it is not an open socket.
        """
        sock = socket.socket(fileno=fd)
        sock.set_inheritable(False)
        sock.setblocking(True)
        return cls(sock)

    def send(self, message: Message, fds: Sequence[int] = ()) -> None:
        """Send one message with descriptors beside it. A text that is too long for a datagram is clipped.

        Raises:
            ChannelClosed: nobody will ever receive it.
            BlockingIOError: the channel is non-blocking and full.
        """
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            self._sock.sendmsg([_fitting(message)], ancillary)
        except OSError as error:
            raise _translated(error) from error

    def receive(self) -> tuple[Message, list[int]]:
        """The next message, and the descriptors beside it, closed on exec, which belong to the caller.

        Raises:
            ChannelClosed: end of file.
            BlockingIOError: the channel is non-blocking and empty.
            OSError: the descriptors did not fit into this process (``EMFILE``); those that did are closed
                again. ValueError: the datagram is not one of our messages; its descriptors are closed.
        """
        try:
            datagram, ancillary, flags, _ = self._sock.recvmsg(_MAX_DATAGRAM, _ANCILLARY, _CLOEXEC)
        except OSError as error:
            raise _translated(error) from error
        fds = _descriptors(ancillary)
        if not datagram:
            raise ChannelClosed("end of file")
        try:
            if flags & socket.MSG_CTRUNC:
                raise OSError(errno.EMFILE, "no room for the descriptors of a message")
            return messages.decode(datagram), fds
        except (OSError, ValueError):
            for fd in fds:
                os.close(fd)
            raise

    def fileno(self) -> int:
        return self._sock.fileno()

    def detach(self) -> int:
        """Give the descriptor away; this object is closed."""
        return self._sock.detach()

    def finish(self) -> bool:
        """Say nothing more: the other side reads end of file after what it was sent, and may still answer.

        Returns:
            Whether that is possible. A pair of datagram sockets has no such end; it can only be closed.
        """
        if _KIND == socket.SOCK_DGRAM:
            return False
        with contextlib.suppress(OSError):  # the other side is gone already, which is an end, too
            self._sock.shutdown(socket.SHUT_WR)
        return True

    def close(self) -> None:
        self._sock.close()

    def setblocking(self, flag: bool) -> None:
        self._sock.setblocking(flag)

    def __repr__(self) -> str:
        return f"<Channel fd={self._sock.fileno()}>"


def _fitting(message: Message) -> bytes:
    datagram = messages.encode(message)
    if len(datagram) <= _MAX_DATAGRAM:
        return datagram
    clipped: Any = message  # of the classes that carry a text; no other gets this long
    return messages.encode(clipped._replace(reason=clipped.reason[:_MAX_REASON] + "..."))


def _translated(error: OSError) -> Exception:
    return ChannelClosed(str(error)) if error.errno in _GONE else error


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    fds = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % _FD_SIZE])
    if not _CLOEXEC:
        for fd in fds:
            os.set_inheritable(fd, False)
    return list(fds)
