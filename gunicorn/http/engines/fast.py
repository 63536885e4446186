"""The default engine: llhttp, through httptools."""

from __future__ import annotations

from httptools import HttpParserError, HttpRequestParser

from gunicorn.http.engines import NAME_PREFIX, EngineError

__all__ = ["FastEngine"]

_SEPARATOR = b"\r\n" + NAME_PREFIX
_START = b"GET / HTTP/1.1" + _SEPARATOR
_END = b"\r\n\r\n"
_EMPTY = b"GET / HTTP/1.1" + _END


class FastEngine:
    """See ``Engine``."""

    __slots__ = ("_fields", "_parser")

    def __init__(self) -> None:
        self._fields: list[tuple[bytes, bytes]] = []
        self._parser = HttpRequestParser(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser."""
        self._fields.append((name, value))

    def parse(self, lines: list[bytes]) -> list[tuple[bytes, bytes]]:
        self._fields = []
        try:
            # The constant head is HTTP/1.1 and frames no body, so the parser stands at the start of a request again.
            self._parser.feed_data(_START + _SEPARATOR.join(lines) + _END if lines else _EMPTY)
        except HttpParserError as error:
            raise EngineError(str(error)) from None
        return self._fields
