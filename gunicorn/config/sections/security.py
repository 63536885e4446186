"""Limits on what a client may send."""

from __future__ import annotations

from gunicorn.config.kinds import Section

__all__ = ["SETTINGS"]

_here = Section("Security")

SETTINGS = (
    _here.number(
        "limit_request_line",
        "--limit-request-line",
        4094,
        """
        The longest request line (method, target and version) in bytes, 8190 at most; 0 is no limit. A longer
        one is answered with 414.
        """,
    ),
    _here.number(
        "limit_request_fields",
        "--limit-request-fields",
        100,
        """
        The largest number of header lines in a request; 0 and everything above 32768 mean 32768. More
        are answered with 431.
        """,
    ),
    _here.number(
        "limit_request_field_size",
        "--limit-request-field_size",
        8190,
        """
        The longest header line in bytes: name, colon, value and line end. 0 means 8190. A longer one is
        answered with 431.
        """,
    ),
    _here.number(
        "limit_request_body",
        "--limit-request-body",
        0,
        """
        The largest request body in bytes; 0 is no limit. A larger one is answered with 413,
        before the application runs where the request declares its length.
        """,
        since="28.0",
    ),
)
