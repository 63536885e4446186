"""The default engine: llhttp, through httptools."""

from __future__ import annotations

from typing import TYPE_CHECKING

from httptools import HttpParserError, HttpRequestParser

from gunicorn.http.engines.engine import NAME_PREFIX, EngineError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["FastEngine"]

_SEPARATOR = b"\r\n" + NAME_PREFIX
_START = b"GET / HTTP/1.1" + _SEPARATOR
_END = b"\r\n\r\n"
_EMPTY = b"GET / HTTP/1.1" + _END


class _Collector:
    """Keeps every field."""

    __slots__ = ("fields",)

    def __init__(self) -> None:
        self.fields: list[tuple[bytes, bytes]] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser."""
        self.fields.append((name, value))


class _DistinctCollector:
    """Keeps the first of each name. Its callback is no Python function, which saves a third of the time."""

    __slots__ = ("fields", "on_header")

    def __init__(self) -> None:
        self.fields: dict[bytes, bytes] = {}
        self.on_header = self.fields.setdefault


class FastEngine:
    """See ``Engine``."""

    __slots__ = ("_fields", "_parser")

    def __init__(self) -> None:
        collector = _DistinctCollector()
        self._fields = collector.fields
        self._parser = HttpRequestParser(collector)

    def parse(self, lines: list[bytes]) -> Iterable[tuple[bytes, bytes]]:
        head = _START + _SEPARATOR.join(lines) + _END if lines else _EMPTY
        fields = self._fields
        fields.clear()
        # The constant head is HTTP/1.1 and frames no body, so the parser stands at the start of a request
        # again.
        try:
            self._parser.feed_data(head)
        except HttpParserError as error:
            raise EngineError(str(error)) from None
        return fields.items() if len(fields) == len(lines) else _all_fields(head)


def _all_fields(head: bytes) -> list[tuple[bytes, bytes]]:
    """A name is repeated in the very same spelling, which few clients do."""
    collector = _Collector()
    HttpRequestParser(collector).feed_data(head)  # taken once, it is taken again
    return collector.fields
