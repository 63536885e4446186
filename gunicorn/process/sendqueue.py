"""Whether a client takes what it was sent: the bytes in the kernel's send queue.

The queue of a socket holds megabytes, and a socket becomes writable in large steps. To whoever looks at that
alone, a client that reads slowly is dead for minutes at a time.
"""

from __future__ import annotations

import fcntl
import struct
import termios

__all__ = ["unsent"]

_INT = struct.Struct("i")
# Linux, tcp(7): SIOCOUTQ, which has the number of TIOCOUTQ.
_OUTQ = getattr(termios, "TIOCOUTQ", None)


def unsent(fd: int) -> int:
    """Bytes sent on the socket ``fd`` that the peer has not confirmed yet; 0 where nobody can tell."""
    if _OUTQ is None:
        return 0
    try:
        queued: int = _INT.unpack(fcntl.ioctl(fd, _OUTQ, bytes(_INT.size)))[0]
    except (OSError, ValueError):
        return 0  # closed, or of a kind that cannot tell
    return queued
