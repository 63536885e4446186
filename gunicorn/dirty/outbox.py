"""What goes to a worker: written at once as far as there is room, the rest by a task."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from gunicorn.dirty import handing
from gunicorn.dirty.frames import HANDED, header

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from gunicorn.dirty.frames import Frame
    from gunicorn.dirty.handing import Handed

__all__ = ["SMALL", "Outbox", "join"]

#: Below this many bytes a copy is cheaper than a second buffer in the system call.
SMALL = 32 * 1024


def join(parts: Sequence[bytes | bytearray | memoryview]) -> bytes:
    """All parts as one."""
    return b"".join(parts)


class Outbox:
    """The writing half of a link.

    Args:
        flushed: Called when what was left has been written.

    Attributes:
        is_flushing: Something is left, so nothing else may be written.
    """

    def __init__(self, sock: socket.socket, flushed: Callable[[], None]) -> None:
        self._sock = sock
        self._flushed = flushed
        self._rest = memoryview(b"")
        self._wanted = trio.Event()
        self.is_flushing = False

    def send(self, frame: Frame, request_id: int) -> None:
        """Write a request under another number; a file that came with it goes with it."""
        if frame.handed is None or not self._hand_over(frame.kind, request_id, frame.handed):
            payload = frame.content()
            self.write(header(frame.kind, request_id, len(payload)), payload)

    def write(self, head: bytes, payload: bytes | bytearray | memoryview) -> None:
        """Write as much as goes at once; the rest is the task's."""
        try:
            if len(payload) <= SMALL:
                data = join((head, payload))
                sent = self._sock.send(data)
                if sent == len(data):
                    return
                rest = memoryview(data)[sent:]
            else:
                sent = self._sock.sendmsg([head, payload])
                if sent < len(head):
                    rest = memoryview(join((head, payload)))[sent:]
                else:
                    rest = memoryview(payload)[sent - len(head) :]
        except BlockingIOError:
            rest = memoryview(join((head, payload)))
        except OSError:
            # The worker has just gone: the task of its link finds the end, and fails the call.
            return
        if rest:
            self._rest, self.is_flushing = rest, True
            self._wanted.set()

    def _hand_over(self, kind: int, request_id: int, handed: Handed) -> bool:
        """Send the descriptor; False when the socket has no room for the header."""
        try:
            handing.send(self._sock, header(kind | HANDED, request_id, handed.size), handed.fd)
        except BlockingIOError:
            return False
        except OSError:
            # The worker has just gone, as in ``write``.
            return True
        return True

    async def run(self) -> None:
        """Write what is left, whenever something is."""
        while True:
            await self._wanted.wait()
            self._wanted = trio.Event()
            while self._rest and self._sock.fileno() != -1:
                await trio.lowlevel.wait_writable(self._sock)
                try:
                    self._rest = self._rest[self._sock.send(self._rest) :]
                except BlockingIOError:
                    continue
            self.is_flushing = False
            self._flushed()
