"""A strict decoder of the chunked transfer coding (RFC 9112 section 7.1)."""

from __future__ import annotations

import sys
from enum import IntEnum
from typing import TYPE_CHECKING

from gunicorn.errors import ProtocolError
from gunicorn.http.fields import parse_trailer
from gunicorn.http.grammar import CHUNK_LINE
from gunicorn.http.head import line_fault

if TYPE_CHECKING:
    from gunicorn.http.buffer import ReceiveBuffer
    from gunicorn.http.policy import Policy

__all__ = ["ChunkedDecoder"]

# RFC 9112 7.1.1: a server ought to limit the total length of chunk extensions. Nothing uses them, so a line
# that is longer than any size with a signature (aws-chunked) is a peer that makes work.
MAX_CHUNK_LINE = 1024
_MAX_SIZE_DIGITS = 15


class _Part(IntEnum):
    SIZE = 0
    DATA = 1
    DATA_END = 2
    TRAILERS = 3
    COMPLETE = 4


class ChunkedDecoder:
    """Takes one chunked body off the front of a buffer.

    What has been decoded before a fault is handed out first and the fault is raised by the following call, so
    that it does not depend on how the bytes were cut.
    """

    __slots__ = ("_part", "_policy", "_remaining", "_total", "trailers")

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._part = _Part.SIZE
        self._remaining = 0
        self._total = 0
        self.trailers: list[tuple[bytes, bytes]] = []

    @property
    def complete(self) -> bool:
        """The empty line after the last chunk and the trailers has been read."""
        return self._part is _Part.COMPLETE

    def decode(self, buffer: ReceiveBuffer) -> bytes:
        """All body bytes in ``buffer`` up to the end of the body, or of the buffer.

        Empty means that more bytes are needed, or that the body is ``complete``.

        Raises:
            ProtocolError: 400, 413 or 431.
        """
        pieces: list[bytes] = []
        try:
            while self._part is not _Part.COMPLETE and _STEPS[self._part](self, buffer, pieces):
                pass
        except ProtocolError:
            # Bytes stay in the buffer until they are accepted, so the same fault shows again on the next
            # call.
            if not pieces:
                raise
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _read_size(self, buffer: ReceiveBuffer, pieces: list[bytes]) -> bool:
        line = _peek_line(buffer, MAX_CHUNK_LINE, "RFC 9112 7.1.1: chunk-size line is too long")
        if line is None:
            return False
        match = CHUNK_LINE.fullmatch(line)
        if match is None:
            raise ProtocolError(400, "RFC 9112 7.1: malformed chunk-size line", repr(line[:80]))
        self._remaining = self._accept_size(match[1])
        buffer.skip(len(line) + 2)
        self._part = _Part.DATA if self._remaining else _Part.TRAILERS
        return True

    def _accept_size(self, digits: bytes) -> int:
        if len(digits.lstrip(b"0")) > _MAX_SIZE_DIGITS:
            raise ProtocolError(413, "RFC 9112 7.1: chunk-size is absurd", repr(digits[:40]))
        size = int(digits, 16)
        if self._total + size > self._policy.limit_request_body:
            raise ProtocolError(
                413, "limit_request_body", f"chunks of more than {self._policy.limit_request_body} bytes"
            )
        self._total += size
        return size

    def _read_data(self, buffer: ReceiveBuffer, pieces: list[bytes]) -> bool:
        data = buffer.take(self._remaining)
        if not data:
            return False
        pieces.append(data)
        self._remaining -= len(data)
        if not self._remaining:
            self._part = _Part.DATA_END
        return True

    def _read_data_end(self, buffer: ReceiveBuffer, pieces: list[bytes]) -> bool:
        end = buffer.peek(2)
        if end == b"\r\n":
            buffer.skip(2)
            self._part = _Part.SIZE
            return True
        if end in (b"", b"\r"):
            return False
        raise ProtocolError(400, "RFC 9112 7.1: chunk-data does not end with CRLF")

    def _read_trailer(self, buffer: ReceiveBuffer, pieces: list[bytes]) -> bool:
        limit = min(self._policy.limit_request_field_size, sys.maxsize - 2)
        line = _peek_line(buffer, limit, "limit_request_field_size: trailer is too long", status=431)
        if line is None:
            return False
        if line:
            self._accept_trailer(line)
        else:
            self._part = _Part.COMPLETE
        buffer.skip(len(line) + 2)
        return True

    def _accept_trailer(self, line: bytes) -> None:
        if len(self.trailers) >= self._policy.limit_request_fields:
            raise ProtocolError(431, "limit_request_fields", "too many trailers")
        self.trailers.append(parse_trailer(line))


def _peek_line(buffer: ReceiveBuffer, limit: int, rule: str, status: int = 400) -> bytes | None:
    """The first line without its CRLF, which stays in the buffer; None while it is incomplete.

    Args:
        buffer: Where the line is.
        limit: Its greatest size with the CRLF.
        rule: The rule that a longer line breaks.
        status: The status that answers it.
    """
    line = buffer.peek_line(limit)
    complete = line.endswith(b"\n")
    fault = line_fault(line[:-1] if line.endswith(b"\r") else line)
    if fault is not None:
        raise ProtocolError(400, fault, "in a chunked body")
    if complete:
        return line[:-2]
    if len(buffer) > limit:
        raise ProtocolError(status, rule)
    return None


# In the order of _Part.
_STEPS = (
    ChunkedDecoder._read_size,
    ChunkedDecoder._read_data,
    ChunkedDecoder._read_data_end,
    ChunkedDecoder._read_trailer,
)
