"""The whole answer to a request that reaches no application."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gunicorn.http.status import reason_phrase

if TYPE_CHECKING:
    from gunicorn.errors import ProtocolError

__all__ = ["error_page", "error_response"]

_PAGE = b"""\
<html>
  <head>
    <title>%(reason)b</title>
  </head>
  <body>
    <h1>%(reason)b</h1>
  </body>
</html>
"""

_HEAD = b"""\
HTTP/1.1 %(status)d %(reason)b\r
Server: gunicorn\r
%(date)bConnection: close\r
Content-Type: text/html; charset=utf-8\r
Content-Length: %(length)d\r
\r
"""


def error_response(error: ProtocolError, *, date: bytes = b"", body: bool = True) -> bytes:
    """The answer to a request that broke a rule; the connection is closed after it.

    Only the status and its phrase reach the client: what was seen is for the log, a client that probes learns
    nothing, and nothing that it sent is echoed.

    Args:
        error: What was broken.
        date: The value of the Date field (RFC 9110 6.6.1); empty leaves it out.
        body: False for the answer to HEAD (RFC 9110 9.3.2).
    """
    return error_page(error.status, date=date, body=body)


def error_page(status: int, *, date: bytes = b"", body: bool = True) -> bytes:
    """As ``error_response``, for a status that no rule of the protocol led to, such as 500."""
    reason = reason_phrase(status)
    page = _PAGE % {b"reason": reason}
    date_line = b"Date: %b\r\n" % date if date else b""
    head = _HEAD % {b"status": status, b"reason": reason, b"date": date_line, b"length": len(page)}
    return head + page if body else head
