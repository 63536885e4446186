"""``start_response``, ``write`` and the way of an application's iterable to the wire (PEP 3333).

Framing, the server's own headers and the rules against header injection are the connection's; this
module holds what PEP 3333 adds: the order of calls, ``exc_info``, and that the head leaves together with
the first byte of the body.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

from gunicorn.http.events import Data, EndOfMessage, InformationalResponse
from gunicorn.http.response import ResponseHead, TextHeads, has_no_body
from gunicorn.wsgi.file_wrapper import FileWrapper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import TracebackType

    from gunicorn.http.connection import ServerConnection

    Headers = Sequence[tuple[str, str]]
    ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None] | None

__all__ = ["BadResponse", "Response", "Wire"]

_STATUS = re.compile(r"([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?")
_STATUSES_KEPT = 256
_END = EndOfMessage()
_WHOLE = (list, tuple)
# Below this size one copy is cheaper than one more packet.
_JOINED = 64 * 1024


class BadResponse(Exception):
    """The application broke PEP 3333 or RFC 9110: its fault, so a 500 with a traceback."""


class Wire(Protocol):
    """What a response needs of its connection."""

    http: ServerConnection

    @property
    def can_send_files(self) -> bool:
        """Whether ``write_file`` works."""

    def write(self, data: bytes) -> None:
        """Send all of ``data``; waits while the client does not take it."""

    def write_file(self, fd: int, offset: int, count: int) -> None:
        """Send ``count`` bytes of a file, the same way."""


class _Statuses(dict[str, tuple[int, bytes]]):
    """Parsed statuses. Bounded: an application may make up reason phrases."""

    def __missing__(self, status: str) -> tuple[int, bytes]:
        if not isinstance(status, str):
            raise BadResponse(f"the status must be str, not {type(status).__name__}")
        match = _STATUS.fullmatch(status)
        if match is None:
            raise BadResponse(f"the status must look like '200 OK', not {status!r}")
        parsed = int(match[1]), (match[2] or "").encode("latin-1")
        if len(self) < _STATUSES_KEPT:
            self[status] = parsed
        return parsed


_STATUSES = _Statuses()
_HEADS = TextHeads(_STATUSES.__getitem__)


def _encoded(headers: Headers) -> list[tuple[bytes, bytes]]:
    try:
        return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    except (AttributeError, TypeError, ValueError) as error:
        raise BadResponse(f"headers must be a list of (str, str) in latin-1: {error}") from error


class Response:
    """The answer to one request.

    Attributes:
        status: As the application gave it, "" before ``start_response``.
        headers: The application's pairs.
        sent: Bytes of the body that the application produced and that were sent.
        headers_sent: Whether the head has left.
    """

    # Defaults of the class instead of slots: a request sets only what it changes.
    status = ""
    headers: Headers = ()
    headers_sent = False
    sent = 0
    _head: ResponseHead | None = None

    def __init__(self, wire: Wire, method: str) -> None:
        self._wire = wire
        self._method = method

    @property
    def status_code(self) -> int:
        """Of what was sent, which is the server's own page where the application failed; 0 for nothing."""
        return int(self.status[:3] or 0)

    @property
    def response_length(self) -> int | None:
        """The Content-Length that the application announced."""
        for name, value in self.headers:
            if name.lower() == "content-length" and value.isdecimal():
                return int(value)
        return None

    # What the application calls

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo = None
    ) -> Callable[[bytes], None]:
        """PEP 3333, "The start_response() Callable".

        Raises:
            BadResponse: a malformed status, or a second call without ``exc_info``.
            LocalProtocolError: a header that must not be sent.
        """
        if exc_info is not None:
            try:
                if self.headers_sent and exc_info[1] is not None:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # the traceback refers to this frame
        elif self._head is not None:
            raise BadResponse("start_response was called a second time without exc_info")
        fields = tuple(headers)
        try:
            self._head = _HEADS[status, fields]
        except TypeError:
            # Pairs that are lists, which cannot be looked up.
            self._head = ResponseHead(*_STATUSES[status], fields, text=True)
        self.status, self.headers = status, headers
        return self.write

    def write(self, data: bytes) -> None:
        """Send a piece of the body now, after the head if that has not left yet."""
        if not isinstance(data, bytes):
            raise BadResponse(f"the body must be bytes, not {type(data).__name__}")
        if not data:
            return
        event = Data(data)
        out = self._wire.http.send(event) if self.headers_sent else self._open(event)
        if out:
            self._wire.write(out)
        if self._with_body():
            self.sent += len(data)

    def early_hints(self, headers: list[tuple[str, str]]) -> None:
        """``wsgi.early_hints``: a 103 before the answer (RFC 8297). HTTP/1.0 and late calls are ignored."""
        if not self.headers_sent:
            out = self._wire.http.send(InformationalResponse(103, _encoded(headers)))
            if out:
                self._wire.write(out)

    # What the server calls

    def send(self, result: Iterable[bytes]) -> None:
        """Send the application's iterable to its end. Closing it is the caller's part."""
        if type(result) in _WHOLE and len(result) == 1:  # type: ignore[arg-type]
            # One piece is the whole body: its length is known, and everything fits into one send.
            data, head = result[0], self._head  # type: ignore[index]
            if head is not None and not self.headers_sent and type(data) is bytes and len(data) <= _JOINED:
                out = self._wire.http.send_whole(head, data)
                self.headers_sent = True
                self._wire.write(out)
                if head.plain and self._method != "HEAD":
                    self.sent = len(data)
                return
            if not self.headers_sent and isinstance(data, bytes):
                self._announce(len(data))
        self._send_pieces(result)

    def _send_pieces(self, result: Iterable[bytes]) -> None:
        if not (isinstance(result, FileWrapper) and self._send_file(result)):
            for piece in result:
                self.write(piece)
        self._finish()

    def _send_file(self, wrapper: FileWrapper) -> bool:
        """Send a regular file by sendfile; False when that cannot be, and then nothing has been sent."""
        wire = self._wire
        if self.headers_sent or not self._with_body() or not wire.can_send_files:
            return False
        found = wrapper.regular()
        if found is None:
            return False
        fd, offset, count = found
        if self._head is not None and self._head.length is not None:
            count = min(count, self._head.length)
        if count:
            self._announce(count)
            head = self._head_bytes()
            prefix, suffix = wire.http.frame(count)
            wire.write(head + prefix)
            wire.write_file(fd, offset, count)
            if suffix:
                wire.write(suffix)
            self.sent += count
        return True

    def _with_body(self) -> bool:
        return not (self._method == "HEAD" or (self._head is not None and has_no_body(self._head.status)))

    def _announce(self, length: int) -> None:
        """Add a Content-Length where the application left it out."""
        head = self._head
        if head is None or head.length is not None or has_no_body(head.status):
            return
        if length or self._method != "HEAD":
            self._head = head.with_length(length)

    def _head_bytes(self) -> bytes:
        if self._head is None:
            raise BadResponse("start_response was not called before the first byte of the body")
        out = self._wire.http.send_head(self._head)
        self.headers_sent = True
        return out

    def _open(self, event: Data | EndOfMessage) -> bytes:
        """The head with what follows it."""
        first = self._head_bytes()
        rest = self._wire.http.send(event)
        if len(rest) > _JOINED:
            self._wire.write(first)
            return rest
        return first + rest

    def _finish(self) -> None:
        if self.headers_sent:
            out = self._wire.http.send(_END)
        else:
            self._announce(0)
            out = self._open(_END)
        if out:
            self._wire.write(out)
