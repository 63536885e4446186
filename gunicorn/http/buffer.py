"""Received bytes that nothing has consumed yet."""

from __future__ import annotations

__all__ = ["ReceiveBuffer"]


class ReceiveBuffer:
    """A queue of bytes that leaves what arrived where it is.

    The usual chunk holds one whole head, or nothing but body: it is kept as the object that was received and
    never copied whole. Only when something incomplete must be joined with what follows does it become a
    ``bytearray``, whose end grows and whose front goes in constant time, so that a peer that sends byte by
    byte costs no quadratic copying.
    """

    __slots__ = ("data", "position")

    def __init__(self) -> None:
        self.data: bytes | bytearray = b""
        self.position = 0

    def __len__(self) -> int:
        return len(self.data) - self.position

    def append(self, data: bytes) -> None:
        """Take ``data`` in."""
        if self.position == len(self.data):
            self.data = data
        elif isinstance(self.data, bytearray):
            del self.data[: self.position]
            self.data += data
        else:
            joined = bytearray(memoryview(self.data)[self.position :])
            joined += data
            self.data = joined
        self.position = 0

    def peek(self, size: int) -> bytes:
        """The first ``size`` bytes or fewer, which stay."""
        return bytes(self.data[self.position : self.position + size])

    def take(self, size: int) -> bytes:
        """The first ``size`` bytes or fewer, which go. Received bytes that are taken whole are not copied."""
        data = self.data
        if self.position == 0 and size >= len(data):
            self.data = b""
            return bytes(data)
        taken = bytes(data[self.position : self.position + size])
        self.skip_to(self.position + len(taken))
        return taken

    def peek_line(self, limit: int) -> bytes:
        """The first line with its end, or what there is of it, at most ``limit`` bytes; it stays."""
        stop = self.position + limit
        end = self.data.find(b"\n", self.position, stop)
        return bytes(self.data[self.position : stop if end < 0 else end + 1])

    def take_all(self) -> bytes:
        """Everything."""
        return self.take(len(self))

    def skip(self, size: int) -> None:
        """Drop the first ``size`` bytes."""
        self.skip_to(self.position + size)

    def skip_to(self, position: int) -> None:
        """Drop what is before ``position``."""
        if position == len(self.data):
            self.data = b""
            self.position = 0
        else:
            self.position = position
