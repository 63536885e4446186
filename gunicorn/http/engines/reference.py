"""The reference engine: h11, for PyPy, for doubt, and for comparison."""

from __future__ import annotations

import h11

from gunicorn.http.engines.engine import NAME_PREFIX, EngineError

__all__ = ["ReferenceEngine"]

_SEPARATOR = b"\r\n" + NAME_PREFIX
# HTTP/1.0, because h11 insists on Host in 1.1.
_START = b"GET / HTTP/1.0"
_END = b"\r\n\r\n"


class ReferenceEngine:
    """See ``Engine``."""

    __slots__ = ()

    def parse(self, lines: list[bytes]) -> list[tuple[bytes, bytes]]:
        connection = h11.Connection(h11.SERVER)
        connection.receive_data(_SEPARATOR.join([_START, *lines]) + _END)
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError as error:
            raise EngineError(str(error)) from None
        if not isinstance(event, h11.Request):
            raise EngineError("not a request head")
        return list(event.headers)
