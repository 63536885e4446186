"""The Date field, made once per second (RFC 9110 sections 5.6.7 and 6.6.1)."""

from __future__ import annotations

from time import gmtime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DateCache", "OwnFields", "http_date"]

# Not strftime: its names follow the process's locale, and IMF-fixdate is English.
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def http_date(timestamp: float) -> bytes:
    """``timestamp`` (seconds since the epoch) as an IMF-fixdate."""
    t = gmtime(timestamp)
    day = _DAYS[t.tm_wday]
    clock = f"{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02}"
    return f"{day}, {t.tm_mday:02} {_MONTHS[t.tm_mon - 1]} {t.tm_year:04} {clock} GMT".encode("ascii")


class DateCache:
    """Calling it gives the current Date value.

    One cache serves every connection and thread of a worker. Second and text are one tuple, so that a thread
    which reads between two writes of another sees a pair that belongs together.

    Args:
        now: Seconds since the epoch.
    """

    __slots__ = ("_current", "_now")

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._current: tuple[int, bytes] = (-1, b"")

    def __call__(self) -> bytes:
        second = int(self._now())
        cached, text = self._current
        if cached != second:
            text = http_date(second)
            self._current = (second, text)
        return text


class OwnFields:
    """Calling it gives the fields of the server itself, as they are on the wire in this second.

    A pair: with ``Connection: close``, and with ``keep-alive``, so that a flag is an index.

    Args:
        server: Value of the Server field.
        date: Gives the value of the Date field.
        now: Seconds since the epoch.
    """

    __slots__ = ("_current", "_date", "_now", "_server")

    def __init__(self, server: bytes, date: Callable[[], bytes], now: Callable[[], float]) -> None:
        self._server = server
        self._date = date
        self._now = now
        self._current: tuple[int, tuple[bytes, bytes]] = (-1, (b"", b""))

    def __call__(self) -> tuple[bytes, bytes]:
        second = int(self._now())
        made_in, fields = self._current
        if made_in != second:
            common = b"Server: %b\r\nDate: %b\r\nConnection: " % (self._server, self._date())
            fields = common + b"close\r\n", common + b"keep-alive\r\n"
            self._current = (second, fields)
        return fields
