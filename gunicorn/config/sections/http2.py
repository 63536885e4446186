"""HTTP versions, and HTTP/2."""

from __future__ import annotations

from typing import Any

from gunicorn.config.kinds import Section
from gunicorn.config.validators import validate_int_range

__all__ = ["SETTINGS"]

_here = Section("HTTP/2")

PROTOCOLS = ("h1", "h2")


def _protocols(value: Any) -> list[str]:
    allowed = ValueError("expected 'h1', 'h2' or both with a comma, each once")
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
        raise allowed
    names = [item.strip().lower() for item in items if item.strip()]
    if not names or len(set(names)) != len(names) or not set(names) <= set(PROTOCOLS):
        raise allowed
    return names


SETTINGS = (
    _here.row(
        "http_protocols",
        "--http-protocols",
        ["h1"],
        """
        The HTTP versions to offer, with the preferred one first: `h1`, or `h2,h1`.
        """,
        validator=_protocols,
        meta="STRING",
        choices=PROTOCOLS,
        later=("h2",),
        since="25.0",
        default_text="h1",
    ),
    _here.choice(
        "http2_cleartext",
        "--http2-cleartext",
        "off prior-knowledge upgrade both",
        "off",
        """
        HTTP/2 without TLS, for trusted peers only: for clients that start with it (`prior-knowledge`), for
        those that ask on an HTTP/1.1 connection (`upgrade`), or `both`. `True` means `prior-knowledge`.
        """,
        also={True: "prior-knowledge", False: "off", None: "off"},
        since="26.2",
        effective=False,
    ),
    _here.number(
        "http2_max_concurrent_streams",
        "--http2-max-concurrent-streams",
        100,
        "How many requests an HTTP/2 client may have open on one connection.",
        validator=validate_int_range(1),
        since="25.0",
        effective=False,
    ),
    _here.number(
        "http2_initial_window_size",
        "--http2-initial-window-size",
        65535,
        "How many bytes of one HTTP/2 request body may be on the way before the application reads.",
        validator=validate_int_range(0, 2**31 - 1),
        since="25.0",
        effective=False,
    ),
    _here.number(
        "http2_max_frame_size",
        "--http2-max-frame-size",
        16384,
        "The largest HTTP/2 frame to accept, in bytes, from 16384 to 16777215.",
        validator=validate_int_range(16384, 2**24 - 1),
        since="25.0",
        effective=False,
    ),
    _here.number(
        "http2_max_header_list_size",
        "--http2-max-header-list-size",
        65536,
        "The largest set of headers in an HTTP/2 request, in bytes; 0 announces no limit.",
        since="25.0",
        effective=False,
    ),
)
