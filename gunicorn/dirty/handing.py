"""Large payloads in shared memory: written once and read once, however many processes they pass.

The sender writes an anonymous file and sends its descriptor beside a header; the arbiter passes that on; the
receiver maps the file. The file is sealed: its sender can no longer change or shorten it, so a reader needs
no copy of its own to be safe from that. Only Linux has such files; elsewhere payloads go through the socket,
as they do with a peer that has not said that it knows this.
"""

from __future__ import annotations

import array
import fcntl
import mmap
import os
import socket
from typing import TYPE_CHECKING

from gunicorn.dirty.errors import DirtyProtocolError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gunicorn.dirty.frames import FrameDecoder

__all__ = ["IS_SUPPORTED", "LARGE", "Handed", "receive_into", "send"]

#: From this many bytes on the file is cheaper than the socket.
LARGE = 128 * 1024
IS_SUPPORTED = hasattr(os, "memfd_create") and hasattr(fcntl, "F_ADD_SEALS")
_SEALS = (
    fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL if IS_SUPPORTED else 0
)
_NEEDED = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_WRITE if IS_SUPPORTED else 0
_MAX_FDS = 16
_MAX_PARTS = 512  # IOV_MAX is 1024
_ANCILLARY = socket.CMSG_SPACE(_MAX_FDS * array.array("i").itemsize)
_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


class Handed:
    """A sealed file with a payload. It is closed when nobody holds it any more."""

    __slots__ = ("fd", "size")

    def __init__(self, fd: int, size: int) -> None:
        self.fd = fd
        self.size = size

    @classmethod
    def write(cls, parts: Sequence[bytes], size: int) -> Handed:
        """A new file with ``parts``, ``size`` bytes in all.

        Raises:
            OSError: no memory, or no descriptor.
        """
        handed = cls(os.memfd_create("gunicorn-dirty", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING), size)
        if len(parts) > _MAX_PARTS:
            parts = [b"".join(parts)]
        written = os.writev(handed.fd, parts)
        while written < size:
            written += os.write(handed.fd, memoryview(b"".join(parts))[written:])
        fcntl.fcntl(handed.fd, fcntl.F_ADD_SEALS, _SEALS)
        return handed

    @classmethod
    def take(cls, fd: int, size: int) -> Handed:
        """The file behind a descriptor that arrived; owned from now on.

        Raises:
            DirtyProtocolError: it is not sealed, or not of the announced size.
        """
        handed = cls(fd, size)
        try:
            seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
        except OSError:
            seals = 0
        if seals & _NEEDED != _NEEDED or os.fstat(fd).st_size != size or not size:
            raise DirtyProtocolError("a descriptor that is not a sealed file of the announced size")
        return handed

    def view(self) -> memoryview:
        """The payload, mapped: a page that is not looked at costs nothing."""
        return memoryview(mmap.mmap(self.fd, self.size, prot=mmap.PROT_READ))

    def __del__(self) -> None:
        os.close(self.fd)


def send(sock: socket.socket, head: bytes, handed: Handed) -> None:
    """Send a header with the file beside it.

    Raises:
        BlockingIOError: there is no room; nothing was sent.
    """
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [handed.fd]))]
    sock.sendmsg([head], rights)


def receive_into(sock: socket.socket, decoder: FrameDecoder, flags: int = 0) -> int:
    """Receive bytes and descriptors into ``decoder``; how many bytes, 0 at the end."""
    count, ancillary, _, _ = sock.recvmsg_into([decoder.space()], _ANCILLARY, _CLOEXEC | flags)
    decoder.wrote(count)
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds = array.array("i")
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
            decoder.add_descriptors(fds)
    return count
