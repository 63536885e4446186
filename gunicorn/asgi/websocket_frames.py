"""Frames of an open WebSocket: whole messages out of them, and into them (RFC 6455 5).

The rules are the ``websockets`` library's, whose protocol core does no input or output. Plain frames, which
cannot break one, are read and written without it.
"""

from __future__ import annotations

import logging
from codecs import getincrementaldecoder
from io import StringIO
from struct import Struct
from typing import TYPE_CHECKING

from websockets.exceptions import ProtocolError as InvalidFrame
from websockets.extensions import Extension
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import Protocol, Side, State
from websockets.typing import ExtensionName

from gunicorn.asgi.websocket_closed import Closed
from gunicorn.asgi.websocket_scanner import FrameScanner

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["FRAGMENT", "FrameCodec", "InvalidFrame"]

FRAGMENT = 64 * 1024
"""Bytes of payload in one frame at most: a pong or a close never waits behind more than this."""

# Deflate cannot make less of so little, and each message may choose (RFC 7692 6).
_WORTH_COMPRESSING = 64

_CONT, _TEXT, _BINARY, _CLOSE = Opcode.CONT, Opcode.TEXT, Opcode.BINARY, Opcode.CLOSE
_FIN = 0x80
_MEDIUM, _LARGE = Struct("!BBH"), Struct("!BBQ")
_NO_STATUS = int(CloseCode.NO_STATUS_RCVD)
_utf8_decoder = getincrementaldecoder("utf-8")

# The library logs each frame at DEBUG and each end at INFO, which is none of the operator's business.
_LOG = logging.getLogger("gunicorn.error.websocket")
_LOG.setLevel(logging.ERROR)


class _TextReader(Extension):
    """Decodes text while the library parses, which then closes with 1007 at the frame that is not UTF-8.

    After the parser it would be too late: a close in the same packet would have been answered already. The
    library applies it last, to what is inflated.
    """

    name = ExtensionName("text")

    def __init__(self) -> None:
        self.complete: list[str] = []
        self._decoder = _utf8_decoder()
        self._parts: StringIO | None = None

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        if frame.opcode is _TEXT and frame.fin:
            self.complete.append(str(frame.data, "utf-8"))
        elif frame.opcode is _TEXT:
            self._decoder.reset()
            self._parts = StringIO(self._decoder.decode(frame.data), newline="")
            self._parts.seek(0, 2)
        elif frame.opcode is _CONT and self._parts is not None:
            self._parts.write(self._decoder.decode(frame.data, frame.fin))
            if frame.fin:
                self.complete.append(self._parts.getvalue())
                self._parts = None
        return frame

    def encode(self, frame: Frame) -> Frame:
        return frame


class FrameCodec:
    """Both directions of one connection.

    Args:
        max_size: Of a received message, in bytes, also after inflation; None is no limit.
        extensions: As agreed in the handshake.

    Attributes:
        ended: Whether nothing more is sent or received.
    """

    __slots__ = ("_extensions", "_message", "_protocol", "_scanner", "_text", "_urgent", "ended")

    def __init__(self, max_size: int | None, extensions: Sequence[Extension]) -> None:
        self._protocol = Protocol(Side.SERVER, state=State.OPEN, max_size=max_size, logger=_LOG)
        self._text = _TextReader()
        self._protocol.extensions = [self._text, *extensions]
        self._extensions = extensions
        self._scanner = FrameScanner(max_size, self)
        self._message: bytearray | None = None
        self._urgent = b""
        self.ended = False

    def receive(self, data: bytes) -> tuple[Sequence[str | bytes | Closed], bytes]:
        """What ``data`` completes, and what must be written at once: pongs, and the answer to a close."""
        if self.ended:
            return (), b""
        found = self._scanner.receive(data)
        urgent, self._urgent = self._urgent, b""
        return found, urgent

    def parse(self, frame: bytes | memoryview, found: list[str | bytes | Closed]) -> None:
        """For the scanner: have the library take in a frame, and add what that completes to ``found``."""
        protocol = self._protocol
        protocol.receive_data(bytes(frame))
        for event in protocol.events_received():
            assert type(event) is Frame
            opcode = event.opcode
            if opcode is _TEXT and event.fin:
                found.append(self._text.complete.pop(0))
            elif opcode is _BINARY and event.fin:
                found.append(bytes(event.data))
            elif opcode <= _BINARY:
                self._join(event, found)
        self._urgent += b"".join(protocol.data_to_send())
        if protocol.eof_sent:
            self.ended = True
            close = protocol.close_rcvd or protocol.close_sent
            assert close is not None
            found.append(Closed(int(close.code), close.reason))

    def _join(self, frame: Frame, found: list[str | bytes | Closed]) -> None:
        # One growing buffer and not a list of parts: a million fragments of two bytes cost two megabytes.
        if frame.opcode is _BINARY:
            self._message = bytearray(frame.data)
        elif self._message is not None:
            self._message += frame.data
            if frame.fin:
                found.append(bytes(self._message))
                self._message = None
        elif frame.opcode is _CONT and frame.fin:
            found.append(self._text.complete.pop(0))

    # Out

    def message(self, payload: bytes, *, text: bool) -> bytes:
        """A message in one frame."""
        if self._extensions and len(payload) >= _WORTH_COMPRESSING:
            return self._compressed(_TEXT if text else _BINARY, payload, fin=True)
        return _head(_TEXT if text else _BINARY, len(payload), fin=True) + payload

    def fragments(self, payload: bytes, *, text: bool) -> Iterator[bytes]:
        """A message in frames of ``FRAGMENT`` bytes, each made when the one before it has been taken."""
        view, size = memoryview(payload), len(payload)
        opcode = _TEXT if text else _BINARY
        for start in range(0, size, FRAGMENT):
            part, fin = view[start : start + FRAGMENT], start + FRAGMENT >= size
            if self._extensions:
                yield self._compressed(opcode, part, fin=fin)
            else:
                yield b"".join((_head(opcode, len(part), fin=fin), part))
            opcode = _CONT

    def _compressed(self, opcode: Opcode, payload: bytes | memoryview, *, fin: bool) -> bytes:
        return Frame(opcode, payload, fin).serialize(mask=False, extensions=self._extensions)

    def ping(self) -> bytes:
        """A ping; its payload does not matter, because any bytes from the client answer it."""
        self._protocol.send_ping(b"")
        return b"".join(self._protocol.data_to_send())

    def close(self, code: int, reason: str) -> bytes:
        """The frame that begins our close.

        Raises:
            InvalidFrame: ``code`` must not be sent (RFC 6455 7.4).
        """
        # 1005 is the code of a close without one; an application that passes on what it got means that.
        self._protocol.send_close(None if code == _NO_STATUS else code, "" if code == _NO_STATUS else reason)
        return b"".join(self._protocol.data_to_send())

    def fail(self, code: int, reason: str) -> bytes:
        """The frame that ends the connection without waiting for the client's."""
        self._protocol.fail(code, reason)
        self.ended = True
        return b"".join(self._protocol.data_to_send())


def _head(opcode: int, size: int, *, fin: bool) -> bytes:
    """The head of a frame of a server, which masks nothing."""
    first = _FIN | opcode if fin else opcode
    if size < 126:
        return bytes((first, size))
    if size < 1 << 16:
        return _MEDIUM.pack(first, 126, size)
    return _LARGE.pack(first, 127, size)
