"""The head of a response: what the application gave is checked and completed (RFC 9112 sections 4 to 6)."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from gunicorn.http.errors import LocalProtocolError
from gunicorn.http.grammar import CRLF, FIELD_TEXT, OWS, TOKEN
from gunicorn.http.status import reason_phrase

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gunicorn.http.policy import Policy

__all__ = ["Framing", "ResponseFields", "field_block", "has_no_body", "status_line"]


class Framing(IntEnum):
    """How the recipient finds the end of a response body (RFC 9112 6.3)."""

    NONE = 0
    LENGTH = 1
    CHUNKED = 2
    CLOSE = 3


class _Kind(IntEnum):
    PLAIN = 0
    HOP_BY_HOP = 1
    LENGTH = 2
    CONNECTION = 3
    UPGRADE = 4
    SERVER = 5
    DATE = 6


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

_MAX_CACHED = 512


class _Kinds(dict[bytes, _Kind]):
    """Field names that an application has used and that are tokens, with what is to be done about them."""

    def __missing__(self, name: bytes) -> _Kind:
        if not TOKEN.fullmatch(name):
            raise LocalProtocolError(f"invalid response header name {name!r}")
        kind = _SPECIAL.get(name.lower(), _Kind.PLAIN)
        if len(self) >= _MAX_CACHED:
            self.clear()
        self[name] = kind
        return kind


_KINDS = _Kinds()


class _StatusLines(dict[tuple[int, bytes], bytes]):
    """Status lines that have been checked."""

    def __missing__(self, key: tuple[int, bytes]) -> bytes:
        status, reason = key
        if not 100 <= status <= 999:
            raise LocalProtocolError(f"invalid status code {status}")
        if reason.translate(None, FIELD_TEXT):
            raise LocalProtocolError(f"invalid reason phrase {reason!r}")
        line = b"HTTP/1.1 %d %b\r\n" % (status, reason or reason_phrase(status))
        if len(self) >= _MAX_CACHED:
            self.clear()
        self[key] = line
        return line


_STATUS_LINES = _StatusLines()


def status_line(status: int, reason: bytes = b"") -> bytes:
    """The first line, with its line end. Always HTTP/1.1: RFC 9110 2.5 has a server name its own version.

    Raises:
        LocalProtocolError: the code has not three digits, or the phrase holds a control character.
    """
    return _STATUS_LINES[status, reason]


def has_no_body(status: int) -> bool:
    """RFC 9110 6.4.1: responses that never have content, whatever their fields say."""
    return status in (204, 304) or status < 200


def field_block(pieces: list[bytes]) -> bytes:
    """Join lines given as name, ``": "``, value and line end, unless a value would start a line of its own.

    Raises:
        LocalProtocolError: a value holds a control character (response splitting).
    """
    block = b"".join(pieces)
    count = len(pieces) // 4
    # One look at the whole block; see grammar.FIELD_TEXT and head.lines_at_once.
    if block.translate(None, FIELD_TEXT) != CRLF * count or block.count(CRLF) != count:
        names = [
            name
            for name, value in zip(pieces[::4], pieces[2::4], strict=True)
            if value.translate(None, FIELD_TEXT)
        ]
        raise LocalProtocolError(f"control character in the response header {names[0].decode('latin-1')}")
    return block


class ResponseFields:
    """What the application's fields say about framing and connection, and those that go on the wire."""

    __slots__ = ("_shows_length", "close", "has_date", "has_server", "length", "pieces", "upgrade")

    def __init__(
        self, status: int, headers: Iterable[tuple[bytes, bytes]], policy: Policy, *, tunnel: bool = False
    ) -> None:
        # RFC 9110 8.6: never in 1xx, in 204, and in the answer that opens a tunnel.
        self._shows_length = not (status < 200 or status == 204 or tunnel)
        self.pieces: list[bytes] = []
        self.length: int | None = None
        self.upgrade: bytes | None = None
        self.close = False
        self.has_date = False
        self.has_server = False
        pieces = self.pieces
        for name, value in headers:
            kind = _KINDS[name]
            if not kind or self._keeps(kind, value, status, policy):
                pieces += (name, b": ", value, CRLF)

    def _keeps(self, kind: _Kind, value: bytes, status: int, policy: Policy) -> bool:
        if kind is _Kind.LENGTH:
            return self._take_length(value)
        if kind is _Kind.SERVER:
            self.has_server = policy.keep_app_server_and_date
            return self.has_server
        if kind is _Kind.DATE:
            self.has_date = policy.keep_app_server_and_date
            return self.has_date
        if kind is _Kind.CONNECTION:
            self.close |= b"close" in {option.strip(OWS) for option in value.lower().split(b",")}
        elif kind is _Kind.UPGRADE:
            return self._take_upgrade(value, status)
        return False

    def _take_length(self, value: bytes) -> bool:
        text = value.strip(OWS)
        if not text.isdigit() or len(text) > 18:
            raise LocalProtocolError(f"invalid Content-Length in the response: {value[:80]!r}")
        length = int(text)
        if self.length is not None and self.length != length:
            raise LocalProtocolError(
                f"two values of Content-Length in the response: {self.length} and {length}"
            )
        repeated = self.length is not None
        self.length = length
        return self._shows_length and not repeated

    def _take_upgrade(self, value: bytes, status: int) -> bool:
        # PEP 3333 leaves hop-by-hop fields to the server. A websocket handshake and 426 (RFC 9110 15.5.22)
        # need this one.
        if status not in (101, 426) and value.strip(OWS).lower() != b"websocket":
            return False
        self.upgrade = value
        return True
