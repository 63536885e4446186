"""Large payloads in shared memory: written once and read once, however many processes they pass.

A caller writes a large request into an anonymous file and sends the descriptor beside a header. The arbiter
passes that on, and the worker writes a large result over the request. The caller uses the file again for its
next call: to fill pages that are there costs a fifth of what it costs to get new ones from the kernel. It
does so only after a plain answer, which the worker sends last; after anything else somebody may still read
what is there.

Nothing is mapped. What has been read nobody can change any more, and a file that its owner shortens gives a
short read instead of a signal. Only Linux has such files; elsewhere payloads go through the socket, as do
streams, and messages of a peer that does not know this.
"""

from __future__ import annotations

import array
import os
import socket
from typing import TYPE_CHECKING, Protocol

from gunicorn.dirty.errors import DirtyProtocolError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["IS_SUPPORTED", "KEPT", "LARGE", "Handed", "Room", "receive_into", "send"]

#: From this many bytes on the file is cheaper than the socket.
LARGE = 128 * 1024
#: A file (or a room) of more bytes than this is not kept for the next call.
KEPT = 8 * 1024 * 1024
IS_SUPPORTED = hasattr(os, "memfd_create")
_START = 4096  # bytes in which the route of a request is
_MAX_FDS = 16
_MAX_PARTS = 512  # IOV_MAX is 1024
_ANCILLARY = socket.CMSG_SPACE(_MAX_FDS * array.array("i").itemsize)
# A plain number: an enum makes a new member of each combination, which is slow.
_CLOEXEC = int(getattr(socket, "MSG_CMSG_CLOEXEC", 0))


class Room:
    """Memory to read files into, one after the other, for who is through with one when it reads the next.

    New memory of such a size comes from the kernel page by page, which costs more than all copies.
    """

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def view(self, size: int) -> memoryview:
        """``size`` bytes; what was read there before is lost."""
        buffer = self._buffer
        if len(buffer) < size:
            buffer = bytearray(size)
            if size <= KEPT:
                self._buffer = buffer
        return memoryview(buffer)[:size]


class Handed:
    """A file with a payload of ``size`` bytes. It is closed when nobody holds it any more."""

    __slots__ = ("fd", "size")

    def __init__(self, fd: int, size: int) -> None:
        self.fd = fd
        self.size = size

    @classmethod
    def create(cls) -> Handed:
        """A new file.

        Raises:
            OSError: no descriptor is left.
        """
        return cls(os.memfd_create("gunicorn-dirty", os.MFD_CLOEXEC), 0)

    def detach(self) -> int:
        """The descriptor, which is the caller's from now on."""
        fd, self.fd = self.fd, -1
        return fd

    def write(self, parts: Sequence[bytes], size: int) -> None:
        """Make ``parts``, ``size`` bytes in all, its payload.

        Raises:
            OSError: no memory is left.
        """
        if len(parts) > _MAX_PARTS:
            parts = [b"".join(parts)]
        written = os.pwritev(self.fd, parts, 0)
        while written < size:
            written += os.pwrite(self.fd, memoryview(b"".join(parts))[written:], written)
        self.size = size

    def read(self, room: Room | None = None) -> memoryview:
        """The payload, in ``room`` if there is one.

        Raises:
            DirtyProtocolError: it is no file, or shorter than was announced.
        """
        payload = (room or Room()).view(self.size)
        count = self._read_into(payload)
        if count != self.size:
            raise DirtyProtocolError(f"a file of {count} bytes, {self.size} were announced")
        return payload

    def start(self) -> memoryview:
        """The first bytes of the payload, in which its route is.

        Raises:
            DirtyProtocolError: it is no file.
        """
        payload = memoryview(bytearray(min(self.size, _START)))
        return payload[: self._read_into(payload)]

    def _read_into(self, payload: memoryview) -> int:
        try:
            return os.preadv(self.fd, [payload], 0)
        except OSError as error:
            raise DirtyProtocolError(f"a descriptor that cannot be read ({error.strerror})") from error

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)


def send(sock: socket.socket, head: bytes, fd: int) -> None:
    """Send a header with a descriptor beside it.

    Raises:
        BlockingIOError: there is no room; nothing was sent.
    """
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
    sock.sendmsg([head], rights)


class Decoder(Protocol):
    """What makes frames of bytes and descriptors."""

    def space(self) -> memoryview | bytearray: ...
    def wrote(self, count: int) -> None: ...
    def add_descriptors(self, fds: Sequence[int]) -> None: ...


def receive_into(sock: socket.socket, decoder: Decoder, flags: int = 0) -> int:
    """Receive bytes and descriptors into ``decoder``; how many bytes, 0 at the end."""
    count, ancillary, _, _ = sock.recvmsg_into([decoder.space()], _ANCILLARY, _CLOEXEC | flags)
    decoder.wrote(count)
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds = array.array("i")
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
            decoder.add_descriptors(fds)
    return count
