"""Where frames begin and end, and the messages that need no parser (RFC 6455 5.2).

Nearly every message is one frame that asks for nothing special. Those are read here, in a fraction of the
time that the library takes for them; all other frames are the library's, one after the other and whole, so
that it is the library which finds what breaks a rule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from websockets.frames import Opcode

try:
    from websockets.speedups import apply_mask
except ImportError:  # an installation without its compiled part
    from websockets.utils import apply_mask

if TYPE_CHECKING:
    from gunicorn.asgi.websocket_closed import Closed

__all__ = ["FrameScanner", "Parser"]

_FIN, _MASKED, _LENGTH, _OPCODE = 0x80, 0x80, 0x7F, 0x0F
_TEXT, _BINARY = _FIN | Opcode.TEXT, _FIN | Opcode.BINARY
_LARGE = 4096  # bytes that are kept as they came, and not copied where that can be helped
_PLAIN = (_TEXT, _BINARY)
_LAST_DATA = int(Opcode.BINARY)


class Parser(Protocol):
    """What reads the other frames."""

    ended: bool

    def parse(self, frame: bytes | memoryview, found: list[str | bytes | Closed]) -> None:
        """Take in a frame, or the beginning of one that must be refused, and add what it completes."""
        ...


class FrameScanner:
    """The bytes that one client sends.

    Args:
        max_size: Bytes of a message; None is no limit.
        parser: Ends the connection where it sees a broken rule.
    """

    __slots__ = ("_fragmented", "_max_size", "_missing", "_parser", "_parts")

    def __init__(self, max_size: int | None, parser: Parser) -> None:
        self._max_size = (1 << 63) - 1 if max_size is None else max_size
        self._parser = parser
        self._parts: list[bytes | bytearray] = []
        self._missing = 0  # of the frame that has begun; 0 while its head is not complete
        self._fragmented = False

    def receive(self, data: bytes) -> list[str | bytes | Closed]:
        """The messages that ``data`` completes."""
        found: list[str | bytes | Closed] = []
        if self._parts:
            data = self._complete(data, found)
        at, size, parser = 0, len(data), self._parser
        while at < size and not parser.ended:
            at = self._frame(data, at, size, found)
        return found

    def _complete(self, data: bytes, found: list[str | bytes | Closed]) -> bytes:
        """Go on with the frame that has begun; what is left of ``data`` behind it."""
        parts = self._parts
        if not self._missing:
            self._parts = []
            return bytes(parts[0]) + data
        taken = data[: self._missing]
        if len(taken) >= _LARGE:
            parts.append(taken)
        elif len(parts[-1]) < _LARGE and isinstance(parts[-1], bytearray):
            parts[-1] += taken  # a client that sends byte by byte must not make objects of them
        else:
            parts.append(bytearray(taken))
        self._missing -= len(taken)
        if self._missing:
            return b""
        self._parts = []
        # Joined once: a buffer that grows with each arrival is moved again and again.
        frame = b"".join(parts)
        self._frame(memoryview(frame), 0, len(frame), found)
        return data[len(taken) :]

    def _frame(self, data: bytes | memoryview, at: int, size: int, found: list[str | bytes | Closed]) -> int:
        """Take the frame at ``at``; where the next one begins."""
        if size - at < 2:
            return self._keep(data, at, 0)
        first, second = data[at], data[at + 1]
        begin, length = at + 2, second & _LENGTH
        if length >= 126:
            begin += 2 if length == 126 else 8
            if size < begin:
                return self._keep(data, at, 0)
            length = int.from_bytes(data[at + 2 : begin], "big")
        if second < _MASKED or length > self._max_size:
            end = size  # the parser refuses it, whatever follows
        elif (end := begin + 4 + length) > size:
            return self._keep(data, at, end - at)
        elif first in _PLAIN and not self._fragmented:
            source = memoryview(data) if length > _LARGE else data  # not copied once more
            payload = apply_mask(source[begin + 4 : end], bytes(data[begin : begin + 4]))
            if first == _BINARY:
                found.append(payload)
                return end
            try:
                found.append(str(payload, "utf-8"))
                return end
            except UnicodeDecodeError:
                pass  # the parser answers it with 1007
        elif first & _OPCODE <= _LAST_DATA:
            self._fragmented = first < _FIN
        self._parser.parse(data[at:end], found)
        return end

    def _keep(self, data: bytes | memoryview, at: int, wanted: int) -> int:
        begun = bytes(data[at:])
        self._parts, self._missing = [begun], wanted - len(begun) if wanted else 0
        return len(data)
