"""The head of a response: what the application gave is checked and completed (RFC 9112 sections 4 to 6)."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from gunicorn.http.errors import LocalProtocolError
from gunicorn.http.grammar import FIELD_TEXT, OWS, TOKEN
from gunicorn.http.status import reason_phrase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Field = tuple[bytes, bytes] | tuple[str, str]

__all__ = ["Framing", "OctetHeads", "ResponseHead", "TextHeads", "check_fields", "has_no_body"]


class Framing(IntEnum):
    """How the recipient finds the end of a response body (RFC 9112 6.3)."""

    NONE = 0
    LENGTH = 1
    CHUNKED = 2
    CLOSE = 3


class _Kind(IntEnum):
    HOP_BY_HOP = 0
    LENGTH = 1
    CONNECTION = 2
    UPGRADE = 3
    SERVER = 4
    DATE = 5


_LENGTH = _Kind.LENGTH
_SPECIAL = {
    b"connection": _Kind.CONNECTION,
    b"content-length": _Kind.LENGTH,
    b"date": _Kind.DATE,
    b"keep-alive": _Kind.HOP_BY_HOP,
    b"proxy-authenticate": _Kind.HOP_BY_HOP,
    b"proxy-authorization": _Kind.HOP_BY_HOP,
    b"proxy-connection": _Kind.HOP_BY_HOP,
    b"server": _Kind.SERVER,
    b"te": _Kind.HOP_BY_HOP,
    b"transfer-encoding": _Kind.HOP_BY_HOP,
    b"upgrade": _Kind.UPGRADE,
}

_MAX_STATUS_LINES = 256
_MAX_LINES = 256
_MAX_LINE = 128
_MAX_HEADS = 128
_MAX_FIELDS = 16
# They differ from answer to answer, or are nobody's business later: to keep them would only push others out.
_NEVER_KEPT = frozenset((b"etag", b"last-modified", b"location", b"set-cookie"))


class _SpecialLine(NamedTuple):
    """A field that says something to the server too."""

    kind: _Kind
    line: bytes
    value: bytes
    length: int
    """Of a Content-Length."""


class _Lines(dict[Any, "bytes | _SpecialLine"]):
    """Fields that have been checked, as the lines that they make on the wire.

    Nearly all fields of nearly all answers are old acquaintances, and looking one up takes a tenth of the
    time that checking it takes. Bounded: it starts again when it is full.
    """

    __slots__ = ("_encoded", "passing")

    def __init__(self, encoded: Callable[[Any], tuple[bytes, bytes]]) -> None:
        super().__init__()
        self._encoded = encoded
        self.passing = 0
        """How many fields were not kept."""

    def __missing__(self, field: Field) -> bytes | _SpecialLine:
        try:
            name, value = self._encoded(field)
        except (AttributeError, TypeError, ValueError) as error:
            raise LocalProtocolError(f"{error} in the response header {field!r:.100}") from None
        if not TOKEN.fullmatch(name):
            raise LocalProtocolError(f"invalid response header name {name!r}")
        if value.translate(None, FIELD_TEXT):
            # A line end would start a field, or a response, of the value's own (response splitting).
            raise LocalProtocolError(f"control character in the response header {name.decode('latin-1')}")
        plain = b"%b: %b\r\n" % (name, value)
        lower = name.lower()
        kind = _SPECIAL.get(lower)
        line = plain if kind is None else _SpecialLine(kind, plain, value, _length(kind, value))
        if len(name) + len(value) <= _MAX_LINE and lower not in _NEVER_KEPT:
            if len(self) >= _MAX_LINES:
                self.clear()
            self[field] = line
        else:
            self.passing += 1
        return line


def _length(kind: _Kind, value: bytes) -> int:
    if kind is not _Kind.LENGTH:
        return 0
    text = value.strip(OWS)
    if not text.isdigit() or len(text) > 18:
        raise LocalProtocolError(f"invalid Content-Length in the response: {value[:80]!r}")
    return int(text)


def _octets(field: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    name, value = field
    if not (isinstance(name, bytes) and isinstance(value, bytes)):
        raise TypeError("a name or value that is not bytes")
    return name, value


def _latin_1(field: tuple[str, str]) -> tuple[bytes, bytes]:
    """PEP 3333, "Unicode Issues"."""
    name, value = field
    return name.encode("latin-1"), value.encode("latin-1")


_LINES = _Lines(_octets)
_TEXT_LINES = _Lines(_latin_1)


class _StatusLines(dict[tuple[int, bytes], bytes]):
    """Status lines that have been checked."""

    def __missing__(self, key: tuple[int, bytes]) -> bytes:
        status, reason = key
        if not 100 <= status <= 999:
            raise LocalProtocolError(f"invalid status code {status}")
        if reason.translate(None, FIELD_TEXT):
            raise LocalProtocolError(f"invalid reason phrase {reason!r}")
        # Always HTTP/1.1: RFC 9110 2.5 has a server name its own version.
        line = b"HTTP/1.1 %d %b\r\n" % (status, reason or reason_phrase(status))
        if len(self) >= _MAX_STATUS_LINES:
            self.clear()
        self[key] = line
        return line


_STATUS_LINES = _StatusLines()


_BODILESS = frozenset((*range(100, 200), 204, 304))


def has_no_body(status: int) -> bool:
    """RFC 9110 6.4.1: responses that never have content, whatever their fields say."""
    return status in _BODILESS


class _Heads(dict[Any, "ResponseHead"]):
    """Heads by the status and the fields that make them, for applications that repeat themselves.

    What may be kept of a field decides on a head, too: one with a cookie is made anew each time. Bounded: it
    starts again when it is full.
    """

    __slots__ = ("_lines",)

    def __init__(self, lines: _Lines) -> None:
        super().__init__()
        self._lines = lines

    def __missing__(self, key: tuple[Any, tuple[Any, ...]]) -> ResponseHead:
        passing = self._lines.passing
        head = self._make(*key)
        # Another thread that counts meanwhile only keeps this one from being kept.
        if passing == self._lines.passing and len(key[1]) <= _MAX_FIELDS:
            if len(self) >= _MAX_HEADS:
                self.clear()
            self[key] = head
        return head

    def _make(self, status: Any, fields: tuple[Any, ...]) -> ResponseHead:
        raise NotImplementedError


class TextHeads(_Heads):
    """For the text of WSGI.

    Args:
        parse_status: From the status, as it is given, to code and phrase.
    """

    __slots__ = ("_parse_status",)

    def __init__(self, parse_status: Callable[[str], tuple[int, bytes]]) -> None:
        super().__init__(_TEXT_LINES)
        self._parse_status = parse_status

    def _make(self, status: str, fields: tuple[tuple[str, str], ...]) -> ResponseHead:
        return ResponseHead(*self._parse_status(status), fields, text=True)


class OctetHeads(_Heads):
    """For the bytes of ASGI, whose own Server and Date go out."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(_LINES)

    def _make(self, status: int, fields: tuple[tuple[bytes, bytes], ...]) -> ResponseHead:
        return ResponseHead(status, b"", fields, keep_server_and_date=True)


def check_fields(headers: Iterable[Field]) -> bytes:
    """The block of lines that trailers make.

    Raises:
        LocalProtocolError: a name or a value would break the message.
    """
    known = (_LINES[field] for field in headers)
    return b"".join(line if isinstance(line, bytes) else line.line for line in known)


class ResponseHead:
    """A response head that may be sent: checked when it is made, framed by the connection, never changed.

    Args:
        status: The code.
        reason: The phrase; empty for the registered one.
        headers: Names and values.
        text: They are latin-1 text, as WSGI has them, and not bytes.
        keep_server_and_date: Whether the application's own Server and Date go out, or are dropped.

    Attributes:
        first: The status line.
        lines: The fields that go on the wire, each with its line end.
        length: What Content-Length says.
        close: Whether Connection asks for the end of the connection.
        upgrade: The protocol that Upgrade names, where it may.
        plain: It has a body, and nothing that goes beyond Content-Length and Connection: close.

    Raises:
        LocalProtocolError: it must not be sent.
    """

    # Defaults of the class instead of slots: few heads change them.
    length: int | None = None
    close = has_date = has_server = False
    upgrade: bytes | None = None
    ready: tuple[bytes | None, bytes] = (None, b"")
    """The server's own fields with which the head was sent last, and all of it as it was sent then."""

    def __init__(
        self,
        status: int,
        reason: bytes,
        headers: Iterable[Field],
        *,
        text: bool = False,
        keep_server_and_date: bool = False,
    ) -> None:
        self.status = status
        self.plain = status not in _BODILESS
        self.first = _STATUS_LINES[status, reason]
        self.lines: list[bytes] = []
        lines, known = self.lines, _TEXT_LINES if text else _LINES
        for field in headers:
            try:
                line = known[field]
            except TypeError:
                line = known[tuple(field)]  # an application that gives lists, which cannot be looked up
            if type(line) is bytes:
                lines.append(line)
            else:
                self._take(line, keep_server_and_date)  # type: ignore[arg-type]

    def _take(self, special: _SpecialLine, keep_server_and_date: bool) -> None:
        kind, line, value, length = special
        if kind is _LENGTH:
            self._take_length(line, length)
        elif kind is _Kind.CONNECTION:
            self.close |= b"close" in {option.strip(OWS) for option in value.lower().split(b",")}
        elif kind is _Kind.UPGRADE:
            # PEP 3333 leaves hop-by-hop fields to the server. A websocket handshake and 426 (RFC 9110
            # 15.5.22) need this one.
            if self.status in (101, 426) or value.strip(OWS).lower() == b"websocket":
                self.upgrade = value
                self.plain = False
                self.lines.append(line)
        elif kind is not _Kind.HOP_BY_HOP and keep_server_and_date:
            self.has_server |= kind is _Kind.SERVER
            self.has_date |= kind is _Kind.DATE
            self.plain = False
            self.lines.append(line)

    def _take_length(self, line: bytes, length: int) -> None:
        if self.length is None:
            self.length = length
            # RFC 9110 8.6: never in 1xx and in 204.
            if self.status >= 200 and self.status != 204:
                self.lines.append(line)
        elif self.length != length:
            raise LocalProtocolError(
                f"two values of Content-Length in the response: {self.length} and {length}"
            )

    def with_length(self, length: int) -> ResponseHead:
        """The same with the Content-Length that the application left out."""
        head = object.__new__(ResponseHead)
        # A copy, since one head may serve many responses.
        head.__dict__.update(self.__dict__)
        head.length = length
        head.lines = [*self.lines, b"Content-Length: %d\r\n" % length]
        head.ready = None, b""
        return head

    def without_length(self) -> list[bytes]:
        """The lines of an answer that opens a tunnel (RFC 9110 9.3.6)."""
        return [line for line in self.lines if not line.lower().startswith(b"content-length:")]
