"""Whether a client takes what it was sent."""

from __future__ import annotations

import fcntl
import struct
import termios
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

__all__ = ["unsent"]

_INT = struct.Struct("i")
# Linux, tcp(7) SIOCOUTQ: the bytes in the send queue of a socket. The kernel's queue holds megabytes, and
# the transport hears of progress in large steps: a slow client would look dead for a minute.
_OUTQ = getattr(termios, "TIOCOUTQ", None)


def unsent(transport: asyncio.Transport) -> int:
    """Bytes that the client has not confirmed yet: the transport's, and where known the kernel's."""
    size = transport.get_write_buffer_size()
    sock = transport.get_extra_info("socket")
    if _OUTQ is None or sock is None:
        return size
    try:
        queued: int = _INT.unpack(fcntl.ioctl(sock.fileno(), _OUTQ, bytes(_INT.size)))[0]
    except OSError:
        return size  # closed, or of a kind that cannot tell
    return size + queued
